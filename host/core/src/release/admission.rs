//! Defines the port that judges versions of rules which this host has not accepted before. Judging a version compiles
//! and runs code of strangers, so the adapter of a host that serves requests does it where it cannot hurt anything
//! else.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::json::flatten;
use crate::model::{Context, Place, Plan, Role, RulesPackage, Step, Violation};
use crate::ports::{Engine, Fault, Refusal};
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
/// presented and has valid notices. Also checks that free slots can be searched at the place of each example.
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
        let decision = decision?;
        try_slots(rules, &context, example, decision.as_ref().ok().map(|planned| &planned.plan))
            .map_err(|fault| failed(&format!("a search for free slots at its place: {fault}")))?;
        let Ok(planned) = decision else { continue };
        let step = Step { action: "book".into(), role: Role::Patient, at: now };
        let appointment = planned.appointment(Uuid::nil(), None, step, &context.caller);
        rules.rules().present(Role::Patient, &[&appointment]).map_err(|fault| failed(&fault))?;
        for event in &planned.plan.events {
            let notices = rules.judged_notices(event, &appointment);
            notices.map_err(|fault| failed(&format!("notices of `{event}`: {fault}")))?;
        }
    }
    Ok(())
}

/// Checks that a search for the free slots of one day at the place of an example has a valid result.
fn try_slots(rules: &LoadedRules, context: &Context, example: &Json, plan: Option<&Plan>) -> Result<(), Fault> {
    if !rules.has_openings() {
        return Ok(());
    }
    let key = |of: fn(&Plan) -> &Option<String>| plan.and_then(|plan| of(plan).clone());
    let place = Place {
        doctor: key(|plan| &plan.doctor),
        hospital: key(|plan| &plan.hospital),
        fields: flatten(example).unwrap_or_default(),
    };
    let slot = plan.and_then(|plan| plan.slot.as_ref()).map(|slot| slot.start.date());
    let day = slot.or_else(|| Some(context.clocks.first()?.now.date())).unwrap_or_default().at(0, 0, 0, 0);
    let openings = rules.openings(context, &place, day, day.saturating_add(1.day()))?;
    rules.offers(context, &place, None, &openings).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Claim, Offer, Opening, Slot};
    use crate::ports::Clock as _;
    use crate::testing::{Deciding, ManualClock};

    #[test]
    fn a_version_whose_free_slots_cannot_be_searched_is_refused_with_the_example() {
        let slot = Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() };
        let opening = Opening { slot: slot.clone(), doctor: None, hospital: None, places: 1, fields: vec![] };
        let offer = Offer { opening: 0, slot, claims: vec![Claim::new("doctor/1")], choices: vec![], request: vec![] };
        let tried = |opening: Opening, offer: Offer| {
            let mut rules = Deciding::new(Ok(Err(vec![Violation::new("/day", "pe.day.closed")])));
            rules.descriptor.request_schema = r#"{ "examples": [{ "day": "monday" }] }"#.into();
            (rules.openings, rules.offers) = (Some(vec![opening]), Some(vec![offer]));
            try_out(&rules.loaded().1, "[]", ManualClock::default().now()).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(tried(opening.clone(), offer.clone()), Ok(()));
        let refused = tried(Opening { places: 0, ..opening.clone() }, offer.clone()).unwrap_err();
        assert!(refused.contains("monday") && refused.contains("0 places"), "{refused}");
        let refused = tried(opening, Offer { opening: 1, ..offer }).unwrap_err();
        assert!(refused.contains("free slots") && refused.contains("opening 1"), "{refused}");
    }
}
