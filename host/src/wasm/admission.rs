//! Admits packages to a host that serves. Loads a package that it accepted before from this machine's disk, and has a
//! child process judge any other one first. Limits the number of child processes,
//! beside the limit of judgements in `citas_core::release::follow`.
//!
//! Loading new native code for the first time counts as part of the attempt to judge it, so a crash there does not recur
//! at every start.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use citas_core::model::{RulesPackage, digest};
use citas_core::ports::{Engine, Refusal};
use citas_core::release::{Admission, NotAdmitted};
use citas_core::rules::LoadedRules;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::attempts::{Attempt, Attempts};
use super::cache::NativeStore;
use super::engine::WasmEngine;
use super::judge::{Budget, ChildJudge, Judgement, NotAccepted};

/// Maximum number of child processes. They get their turns in the order of the requests, and a country requests one at
/// a time.
const MAX_CHILDREN: u32 = 2;

/// Memory above which a child process runs alone, in bytes.
const MAX_SHARED_MEMORY: u64 = 1 << 30;

/// Admits packages with child processes.
pub struct ChildAdmission(Arc<Inner>);

struct Inner {
    engine: WasmEngine,
    judge: ChildJudge,
    store: NativeStore,
    attempts: Attempts,
    children: Semaphore,
}

/// Digests that identify a package.
struct Names {
    package: String,
    component: String,
}

impl Names {
    fn of(package: &RulesPackage) -> Self {
        Self { package: package.digest(), component: digest(&package.component) }
    }
}

impl ChildAdmission {
    /// Creates an admission that loads with `engine` what `judge` accepts, and keeps native code and attempts in the
    /// data folder.
    pub fn new(engine: WasmEngine, judge: ChildJudge, data: &Path) -> Self {
        let store = NativeStore::open(&engine, &data.join("native"));
        let attempts = Attempts::new(&data.join("attempts"));
        let children = Semaphore::new(MAX_CHILDREN as usize);
        Self(Arc::new(Inner { engine, judge, store, attempts, children }))
    }

    /// Runs file access or computation on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        package: &Arc<RulesPackage>,
        work: impl FnOnce(&Inner, &RulesPackage) -> T + Send + 'static,
    ) -> Result<T, NotAdmitted> {
        let (inner, package) = (self.0.clone(), package.clone());
        let done = tokio::task::spawn_blocking(move || work(&inner, &package)).await;
        // A panic of the host says nothing of the package, and its message may contain anything.
        done.map_err(|_| NotAdmitted::Unjudged("the host failed, which is a bug of Citas".into()))
    }

    async fn judge(
        &self,
        package: &RulesPackage,
        native: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Judgement, NotAccepted> {
        let judged = self.0.judge.judge_package(package, native, now).await;
        if let Ok(Judgement { country, version, usage, .. }) = &judged {
            tracing::info!(country, version, %usage, "judged");
        }
        judged
    }
}

#[async_trait]
impl Admission for ChildAdmission {
    fn engine(&self) -> &dyn Engine {
        &self.0.engine
    }

    async fn recall(&self, package: &Arc<RulesPackage>) -> Option<LoadedRules> {
        self.run(package, Inner::recall).await.ok().flatten()
    }

    async fn admit(&self, package: &Arc<RulesPackage>, now: Timestamp) -> Result<LoadedRules, NotAdmitted> {
        if let Some(rules) = self.recall(package).await {
            return Ok(rules);
        }
        let budget = Budget::of(package.component.len() as u64);
        let places = if budget.memory > MAX_SHARED_MEMORY { MAX_CHILDREN } else { 1 };
        let _place = self.0.children.acquire_many(places).await.expect("it is never closed");
        let (attempt, native) = self.run(package, Inner::begin).await??;
        let judged = match self.judge(package, native.as_deref(), now).await {
            Ok(judged) => judged,
            Err(cause) => {
                match cause {
                    NotAccepted::Refused(_) => drop(attempt),
                    NotAccepted::Failed(_) => attempt.leave(),
                    NotAccepted::Interrupted(_) => self.run(package, move |_, _| take_back(attempt)).await?,
                }
                return Err(cause.into());
            }
        };
        let load = move |inner: &Inner, package: &RulesPackage| {
            let new = native.is_none();
            inner.load_judged(package, &native.unwrap_or(judged.code), new)
        };
        let loaded = self.run(package, load).await?;
        drop(attempt);
        Ok(loaded?)
    }
}

fn take_back(attempt: Attempt) {
    if let Err(error) = attempt.take_back() {
        tracing::warn!(%error, "an attempt to judge rules that was not made stays counted");
    }
}

impl Inner {
    /// Loads a package that was accepted before.
    fn recall(&self, package: &RulesPackage) -> Option<LoadedRules> {
        let names = Names::of(package);
        let code = self.store.accepted(&names.package, &names.component)?;
        match self.load(package, names.component, &code) {
            Ok(rules) => Some(rules),
            Err(refusal) => {
                tracing::warn!(why = %refusal, "cached code of an accepted component cannot be loaded; judging it again");
                None
            }
        }
    }

    fn begin(&self, package: &RulesPackage) -> Result<(Attempt, Option<Vec<u8>>), Refusal> {
        let names = Names::of(package);
        let attempt = self.attempts.begin(&names.package)?;
        Ok((attempt, self.store.code(&names.component)))
    }

    /// Loads a judged package and then stores its code.
    fn load_judged(&self, package: &RulesPackage, code: &[u8], new: bool) -> Result<LoadedRules, Refusal> {
        let names = Names::of(package);
        let rules = self.load(package, names.component.clone(), code)?;
        self.store.keep(&names.package, &names.component, new.then_some(code));
        Ok(rules)
    }

    fn load(&self, package: &RulesPackage, component: String, code: &[u8]) -> Result<LoadedRules, Refusal> {
        LoadedRules::of(self.engine.load_native(code, &package.limits)?, component)
    }
}
