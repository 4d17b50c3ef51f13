//! The port that judges versions of rules which this host has not accepted before. To judge one is to compile a stranger's
//! code and to run it, so an adapter for a host that serves does it where nothing else can be hurt.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::appointment::Appointment;
use crate::model::context::Role;
use crate::model::manifest::RulesPackage;
use crate::model::plan::Plan;
use crate::ports::rules::{Engine, Refusal};
use crate::rules::cases;
use crate::rules::decision::{DecisionRequest, Planned, decide};
use crate::rules::loaded::LoadedRules;
use crate::rules::plan_check::check_notices;

/// Why a package is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// It will not do, now or later.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was not judged. That is no fault of the package, and another attempt may succeed.
    #[error("it could not be judged: {0}")]
    Unjudged(String),
}

/// Judges packages and loads them.
///
/// An adapter MUST load what it recalls without judging it again, and MUST NOT recall a package that it did not accept.
#[async_trait]
pub trait Admission: Send + Sync {
    /// Returns the engine that runs what is admitted.
    fn engine(&self) -> &dyn Engine;

    /// Loads a package that was accepted before; none where it was not.
    async fn recall(&self, package: &Arc<RulesPackage>) -> Option<LoadedRules>;

    /// Judges a package and loads it.
    async fn admit(&self, package: &Arc<RulesPackage>, now: Timestamp) -> Result<LoadedRules, NotAdmitted>;
}

/// Judges in this process: for a build that compiles nothing, and for tests. A component that takes too much memory takes
/// the process with it.
pub struct InProcess<E>(Arc<E>);

impl<E: Engine> InProcess<E> {
    /// Judges with this engine.
    pub fn new(engine: E) -> Self {
        Self(Arc::new(engine))
    }
}

#[async_trait]
impl<E: Engine + 'static> Admission for InProcess<E> {
    fn engine(&self) -> &dyn Engine {
        &*self.0
    }

    async fn recall(&self, _: &Arc<RulesPackage>) -> Option<LoadedRules> {
        None
    }

    async fn admit(&self, package: &Arc<RulesPackage>, now: Timestamp) -> Result<LoadedRules, NotAdmitted> {
        let (engine, package) = (self.0.clone(), package.clone());
        let admitted = tokio::task::spawn_blocking(move || admit(&*engine, &package, now)).await;
        // A panic's message may hold anything.
        admitted
            .map_err(|_| NotAdmitted::Unjudged("the host failed, which is a bug of Citas".into()))?
            .map_err(Into::into)
    }
}

/// Loads a component, tries the examples of its request schema, and runs its golden cases.
///
/// # Errors
/// Why it will not do, in plain words.
pub fn admit(engine: &dyn Engine, package: &RulesPackage, now: Timestamp) -> Result<LoadedRules, Refusal> {
    let rules = LoadedRules::load(engine, &package.component, &package.limits)?;
    try_out(&rules, &package.cases, now)?;
    Ok(rules)
}

/// Tries the examples of the rules' request schema and runs their golden cases.
///
/// # Errors
/// Why the rules will not do, in plain words.
pub fn try_out(rules: &LoadedRules, cases: &str, now: Timestamp) -> Result<(), Refusal> {
    try_examples(rules, now)?;
    let cases = cases::read(cases).map_err(|error| Refusal::Cases(vec![format!("they cannot be read: {error}")]))?;
    let failures: Vec<String> = cases::run(rules, &cases)
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.name)))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(Refusal::Cases(failures)) }
}

/// Each example fits its schema, gets an answer (whichever), and what comes of it can be shown and mailed.
fn try_examples(rules: &LoadedRules, now: Timestamp) -> Result<(), Refusal> {
    let context = rules.context(now, Role::Patient);
    for example in rules.request_schema["examples"].as_array().into_iter().flatten() {
        let failed = |cause: &dyn Display| Refusal::Example { example: example.to_string(), cause: cause.to_string() };
        let request = DecisionRequest { context: &context, document: example, action: None };
        let Ok(Planned { plan, .. }) = decide(rules, &request).map_err(|cause| failed(&cause))? else { continue };
        let Plan { phase, slot, attributes, events, .. } = plan;
        let appointment = Appointment { id: Uuid::nil(), phase, slot, revision: 1, attributes };
        rules.rules().present(&[&appointment]).map_err(|fault| failed(&fault))?;
        for event in &events {
            let notices = rules.rules().notices(event, &appointment).and_then(check_notices);
            notices.map_err(|fault| failed(&format!("notices of `{event}`: {fault}")))?;
        }
    }
    Ok(())
}
