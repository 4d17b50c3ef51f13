//! The decision pipeline: action and role, schema, leaves, rules, plan check, local time. Bookings, replays, shadows,
//! golden cases and examples all use it, so a golden case that passes shows the result of a booking.
//!
//! `booking::decide` calls [`check_input`] and [`evaluate`] itself, because it checks `If-Match` between them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::json::{TooManyLeaves, flatten};
use crate::model::{Appointment, Context, Field, Plan, Role, RulesCaller, Step, Violation};
use crate::ports::Fault;
use crate::rules::loaded::{Action, LoadedRules};
use crate::rules::plan_check::check_verdict;

/// A request for a decision of the rules.
#[derive(Clone, Copy)]
pub struct DecisionRequest<'a> {
    /// Context of the decision.
    pub context: &'a Context,
    /// Booking request, or input of the action.
    pub document: &'a Json,
    /// Name of the action and the appointment that it changes; `None` for a booking.
    pub action: Option<(&'a str, &'a Appointment)>,
}

/// A plan that passed every check of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Plan of the rules.
    pub plan: Plan,
    /// Start of the slot; `None` if the plan has no date.
    pub starts_at: Option<Timestamp>,
}

impl Planned {
    /// Returns the appointment that the plan makes of the one before, or of a booking by this caller with this id. `step` is
    /// the action. The appointment has no choice yet.
    pub fn appointment(&self, id: Uuid, before: Option<&Appointment>, step: Step, caller: &RulesCaller) -> Appointment {
        let plan = &self.plan;
        let created_at = before.map_or(step.at, |before| before.created_at);
        Appointment {
            id: before.map_or(id, |before| before.id),
            phase: plan.phase,
            slot: plan.slot.clone(),
            starts_at: self.starts_at,
            created_at,
            patient: plan.patient.clone(),
            doctor: plan.doctor.clone(),
            hospital: plan.hospital.clone(),
            unverified: before.map_or_else(|| caller.is_stranger_to(&plan.patient), |before| before.unverified),
            wake: plan.wake.clone(),
            revision: before.map_or(1, |before| before.revision.saturating_add(1)),
            steps: step.after(before),
            attributes: plan.attributes.clone(),
        }
    }
}

/// A plan, or all violations that prevent one.
pub type Decision = Result<Planned, Vec<Violation>>;

/// A refusal by rules. Its messages to the client are those of the same rules.
#[derive(Debug)]
pub struct Rejection {
    /// Every reason against the request.
    pub violations: Vec<Violation>,
    /// Rules that refused.
    pub rules: Arc<LoadedRules>,
}

/// Reasons for which a request gets no decision.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// The country has no action of that name.
    #[error("there is no action `{0}` here")]
    UnknownAction(String),
    /// The action is not for the caller's role.
    #[error("`{action}` is not for the role {}", .role.as_str())]
    WrongRole {
        /// Name of the action.
        action: String,
        /// Role of the caller.
        role: Role,
    },
    /// The document does not match the schema.
    #[error("the schema refuses {}", .0.iter().map(|violation| format!("`{}`: {}", violation.path, violation.code)).collect::<Vec<_>>().join(", "))]
    Schema(Vec<Violation>),
    /// The leaves of the document are too large for the rules.
    #[error(transparent)]
    TooLarge(#[from] TooManyLeaves),
    /// The call to the rules failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl LoadedRules {
    /// Returns the action with this name if the role may use it.
    ///
    /// # Errors
    /// Returns an error if there is no such action, or if it is for other roles.
    pub fn allow(&self, name: &str, role: Role) -> Result<&Action, NotDecided> {
        let action = self.actions.get(name).filter(|action| role == Role::Clock || !action.is_scheduled());
        let action = action.ok_or_else(|| NotDecided::UnknownAction(name.to_owned()))?;
        if action.roles.contains(role.as_str()) {
            return Ok(action);
        }
        Err(NotDecided::WrongRole { action: name.to_owned(), role })
    }
}

/// Decides on a request.
///
/// # Errors
/// Returns an error if the request does not reach the rules, or if the call to them fails.
pub fn decide(rules: &LoadedRules, request: &DecisionRequest<'_>) -> Result<Decision, NotDecided> {
    let input = check_input(rules, request)?;
    Ok(evaluate(rules, request, &input)?)
}

/// Checks a request before the rules see it, and returns its leaves.
///
/// # Errors
/// Returns an error if the request must not reach the rules.
pub fn check_input(rules: &LoadedRules, request: &DecisionRequest<'_>) -> Result<Vec<Field>, NotDecided> {
    check(rules, request)?;
    Ok(flatten(request.document)?)
}

/// Checks a request before the rules see it: the action, the role and the schema.
///
/// # Errors
/// Returns an error if the rules are not to be asked.
pub fn check(rules: &LoadedRules, request: &DecisionRequest<'_>) -> Result<(), NotDecided> {
    let violations = match request.action {
        None => rules.check_request(request.document)?,
        Some((action, _)) => rules.allow(action, request.context.caller.role)?.check(request.document)?,
    };
    if violations.is_empty() { Ok(()) } else { Err(NotDecided::Schema(violations)) }
}

/// Calls the rules and checks that their plan keeps the bounds of the contract. A local time that does not exist gives
/// a violation.
///
/// # Errors
/// Returns an error if the call fails, or if the result breaks the contract.
pub fn evaluate(rules: &LoadedRules, request: &DecisionRequest<'_>, input: &[Field]) -> Result<Decision, Fault> {
    let DecisionRequest { context, action, .. } = *request;
    let verdict = match action {
        None => rules.rules().book(context, input),
        Some((name, current)) => rules.rules().act(context, current, name, input),
    };
    let is_scheduled = |name: &str| rules.allow(name, Role::Clock).is_ok();
    let plan = match check_verdict(verdict?, context.now, is_scheduled)? {
        Ok(plan) => plan,
        Err(violations) => return Ok(Err(violations)),
    };
    let Some(slot) = &plan.slot else { return Ok(Ok(Planned { plan, starts_at: None })) };
    match rules.start(slot)? {
        None => Ok(Err(vec![Violation::nonexistent_time()])),
        starts_at => Ok(Ok(Planned { plan, starts_at })),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::model::{Verdict, Wake};
    use crate::ports::Clock as _;
    use crate::testing::{Deciding, ManualClock, plan, revision};

    /// Decides on a document by rules with this verdict. Returns the decision and the number of calls to the rules.
    fn decided(
        verdict: Result<Verdict, Fault>,
        role: Role,
        document: &Json,
        action: Option<&str>,
    ) -> (Result<Decision, NotDecided>, usize) {
        let (rules, loaded) = Deciding::load(verdict);
        let context = loaded.context(ManualClock::default().now(), role);
        let current = revision(Uuid::nil()).appointment;
        let action = action.map(|action| (action, &current));
        let decision = decide(&loaded, &DecisionRequest { context: &context, document, action });
        (decision, rules.calls().len())
    }

    fn booked() -> Plan {
        plan(revision(Uuid::nil()))
    }

    #[test]
    fn a_plan_has_the_instant_of_its_slot() {
        let (decision, calls) = decided(Ok(Ok(booked())), Role::Patient, &json!({ "day": "x" }), None);
        let planned = decision.unwrap().unwrap();
        assert_eq!((planned.starts_at, calls), (Some("2026-12-01T14:30:00Z".parse().unwrap()), 1));
    }

    #[test]
    fn the_rules_are_not_asked_about_a_document_that_does_not_fit_its_schema() {
        for action in [None, Some("cancel")] {
            let (decision, calls) = decided(Ok(Ok(booked())), Role::Patient, &json!({}), action);
            let Err(NotDecided::Schema(violations)) = decision else { panic!("{decision:?}") };
            assert_eq!((violations[0].code.as_str(), calls), ("schema.required", 0));
        }
    }

    #[test]
    fn the_rules_are_not_asked_for_an_unknown_action_or_by_a_role_that_may_not() {
        let input = json!({ "reason": "x" });
        let (unknown, calls) = decided(Ok(Ok(booked())), Role::Patient, &input, Some("fly"));
        assert!(matches!(&unknown, Err(NotDecided::UnknownAction(action)) if action == "fly"), "{unknown:?}");
        assert_eq!(calls, 0);
        let (forbidden, calls) = decided(Ok(Ok(booked())), Role::Patient, &input, Some("arrive"));
        assert_eq!(forbidden.unwrap_err().to_string(), "`arrive` is not for the role patient");
        assert_eq!(calls, 0);
        assert!(decided(Ok(Ok(booked())), Role::Staff, &input, Some("arrive")).0.unwrap().is_ok());
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_a_violation_and_a_zone_that_is_not_listed_a_fault() {
        let at = |start: &str, zone: &str| {
            let mut plan = plan(revision(Uuid::nil()));
            let slot = plan.slot.as_mut().unwrap();
            (slot.start, slot.zone) = (start.parse().unwrap(), zone.into());
            let mut rules = Deciding::new(Ok(Ok(plan)));
            rules.descriptor.zones = vec!["America/Santiago".into()];
            let (_, loaded) = rules.loaded();
            let context = loaded.context(ManualClock::default().now(), Role::Patient);
            decide(&loaded, &DecisionRequest { context: &context, document: &json!({ "day": "x" }), action: None })
        };
        let skipped = at("2026-09-06T00:30", "America/Santiago").unwrap();
        assert_eq!(skipped.unwrap_err(), [Violation::nonexistent_time()]);
        assert!(at("2026-09-06T01:30", "America/Santiago").unwrap().is_ok());
        assert!(matches!(at("2026-09-06T01:30", "America/Lima"), Err(NotDecided::Fault(Fault::BadAnswer(_)))));
    }

    #[test]
    fn a_wake_for_an_action_that_the_clock_may_not_do_is_a_fault() {
        let mut plan = booked();
        plan.wake = Some(Wake { at: ManualClock::default().now() + 60.seconds(), action: "cancel".into() });
        let (decision, _) = decided(Ok(Ok(plan)), Role::Patient, &json!({ "day": "x" }), None);
        let why = decision.unwrap_err().to_string();
        assert!(why.contains("`cancel`, which is no action for the role clock"), "{why}");
    }

    #[test]
    fn a_plan_outside_the_contract_is_a_fault() {
        let mut plan = plan(revision(Uuid::nil()));
        plan.patient = String::new();
        let (decision, _) = decided(Ok(Ok(plan)), Role::Patient, &json!({ "day": "x" }), None);
        assert!(matches!(decision, Err(NotDecided::Fault(Fault::BadAnswer(_)))), "{decision:?}");
    }
}
