//! Defines the port that judges versions of rules which this host has not accepted before. Judging a version compiles
//! and runs code of strangers, so the adapter of a host that serves requests does it where it cannot hurt anything
//! else.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{Role, RulesPackage, Step, Violation};
use crate::ports::{Engine, Refusal};
use crate::rules::{DecisionRequest, LoadedRules, NotDecided, cases, decide};

/// Reasons why a package is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// The package is refused, now and later.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The package could not be judged. The package is not at fault, and another attempt may succeed.
    #[error("it could not be judged: {0}")]
    Unjudged(String),
}

/// Judges packages and loads them.
///
/// An adapter MUST load a recalled package without judging it again, and MUST NOT recall a package that it did not
/// accept.
#[async_trait]
pub trait Admission: Send + Sync {
    /// Returns the engine that runs the admitted rules.
    fn engine(&self) -> &dyn Engine;

    /// Loads a package that was accepted before; returns none if it was not.
    async fn recall(&self, package: &Arc<RulesPackage>) -> Option<LoadedRules>;

    /// Judges a package and loads it.
    async fn admit(&self, package: &Arc<RulesPackage>, now: Timestamp) -> Result<LoadedRules, NotAdmitted>;
}

/// Judges packages in this process: for a build that compiles nothing, and for tests. A component that takes too much
/// memory ends the process.
pub struct InProcess<E>(Arc<E>);

impl<E: Engine> InProcess<E> {
    /// Judges packages with this engine.
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
        // The panic's message may contain anything, so it is left out.
        admitted
            .map_err(|_| NotAdmitted::Unjudged("the host failed, which is a bug of Citas".into()))?
            .map_err(Into::into)
    }
}

/// Loads a component, tries the examples of its request schema, and runs its golden cases.
///
/// # Errors
/// Returns an error that says in plain words why the package is refused.
pub fn admit(engine: &dyn Engine, package: &RulesPackage, now: Timestamp) -> Result<LoadedRules, Refusal> {
    let rules = LoadedRules::load(engine, &package.component, &package.limits)?;
    try_out(&rules, &package.cases, now)?;
    Ok(rules)
}

/// Tries the examples of the rules' request schema and runs their golden cases.
///
/// # Errors
/// Returns an error that says in plain words why the rules are refused.
pub fn try_out(rules: &LoadedRules, cases: &str, now: Timestamp) -> Result<(), Refusal> {
    try_examples(rules, now)?;
    let cases = cases::read(cases).map_err(|error| Refusal::Cases(vec![format!("they cannot be read: {error}")]))?;
    let failures: Vec<String> = cases::run(rules, &cases)
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.name)))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(Refusal::Cases(failures)) }
}

/// Checks that each example fits the schema and gets a decision, accepted or refused, and that an accepted one can be
/// presented and has valid notices.
fn try_examples(rules: &LoadedRules, now: Timestamp) -> Result<(), Refusal> {
    let context = rules.context(now, Role::Patient);
    for example in rules.request_schema["examples"].as_array().into_iter().flatten() {
        let failed = |cause: &dyn Display| Refusal::Example { example: example.to_string(), cause: cause.to_string() };
        let request = DecisionRequest { context: &context, document: example, action: None };
        let decision = decide(rules, &request).map_err(|cause| match cause {
            NotDecided::Schema(violations) => {
                let Violation { code, path, .. } = &violations[0];
                failed(&format!("its own schema says {code} at `{path}`"))
            }
            cause => failed(&cause),
        });
        let Ok(planned) = decision? else { continue };
        let step = Step { action: "book".into(), role: Role::Patient, at: now };
        let appointment = planned.appointment(Uuid::nil(), None, step);
        rules.rules().present(Role::Patient, &[&appointment]).map_err(|fault| failed(&fault))?;
        for event in &planned.plan.events {
            let notices = rules.judged_notices(event, &appointment);
            notices.map_err(|fault| failed(&format!("notices of `{event}`: {fault}")))?;
        }
    }
    Ok(())
}
