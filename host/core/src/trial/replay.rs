//! Evaluates the decision of a stored revision again, with the rules that made it or with a candidate. Reads and stores
//! nothing.
//!
//! The decision is evaluated as of the time when it was made: input, caller, clock and facts come from its provenance. The
//! outcome therefore depends only on the rules. For a candidate it shows whether the appointment would stand if these
//! rules had been in force when it was last changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::model::claim::{key_of, resource_and_minute};
use crate::model::json::{TooManyLeaves, nest};
use crate::model::{Claim, Context, Fact, FactSource, Field, Plan, Revision, VERIFY, Violation, personal_key};
use crate::ports::Fault;
use crate::rules::{Decision, DecisionRequest, LoadedRules, NotDecided, Planned, check, evaluate};

/// Outcome of a repeated decision.
#[derive(Debug, PartialEq)]
pub enum Replayed {
    /// The plan is the stored one.
    Same,
    /// The plan differs from the stored one.
    Differs(Vec<Difference>),
    /// The rules refuse.
    Refused(Vec<Violation>),
    /// The rules give no result.
    Silent(Fault),
}

/// One stored value that differs from the repeated plan.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// JSON Pointer into phase, slot, claims, keys, wake, attributes and events.
    pub path: String,
    /// Stored value; null if there is none.
    pub stored: Json,
    /// Value of the repeated plan; null if there is none.
    pub came: Json,
}

/// Returns the facts of a decision, from the revisions that its provenance names.
///
/// # Errors
/// Returns the error of `revision`, which reads one revision.
pub async fn recall<E>(
    sources: &[FactSource],
    revision: impl AsyncFn(Uuid, u32) -> Result<Option<Revision>, E>,
) -> Result<Vec<Fact>, E> {
    let mut facts = Vec::with_capacity(sources.len());
    for FactSource { name, appointments, more } in sources {
        let mut found = Vec::with_capacity(appointments.len());
        for (id, number) in appointments {
            found.extend(revision(*id, *number).await?.map(|revision| revision.appointment));
        }
        facts.push(Fact { name: name.clone(), appointments: found, more: *more });
    }
    Ok(facts)
}

/// Evaluates the decision that made `revision` again. `before` is the preceding revision; a first revision has none.
/// `facts` are those that its provenance names. The names of the plan's events are compared if `events` is given, because
/// revisions do not store them.
pub fn replay(
    rules: &LoadedRules,
    before: Option<&Revision>,
    revision: &Revision,
    facts: Vec<Fact>,
    events: Option<&[String]>,
) -> Replayed {
    let decided = &revision.provenance;
    if decided.action == VERIFY {
        // The host did it, and no rules decided.
        return Replayed::Same;
    }
    let (request, context) = (Json::Object(nest(&decided.input)), Context { facts, ..context(rules, revision) });
    let action = before.map(|before| (decided.action.as_str(), &before.appointment));
    let request = DecisionRequest { context: &context, document: &request, action };
    match judge(rules, &request, &decided.input) {
        Err(fault) => Replayed::Silent(fault),
        Ok(Err(violations)) => Replayed::Refused(violations),
        Ok(Ok(Planned { plan, .. })) => {
            let mut differences = differences(revision, &plan);
            if let Some(events) = events.filter(|events| *events != plan.events) {
                let (stored, came) = (json!(events), json!(plan.events));
                differences.push(Difference { path: "/events".into(), stored, came });
            }
            if differences.is_empty() { Replayed::Same } else { Replayed::Differs(differences) }
        }
    }
}

/// Evaluates a decision on a request whose leaves are known. A request that the host would turn away without calling
/// the rules is refused.
pub(crate) fn judge(rules: &LoadedRules, request: &DecisionRequest<'_>, input: &[Field]) -> Result<Decision, Fault> {
    let refuse = |code: &str, action: &str| {
        let params = [("action", action), ("role", request.context.caller.role.as_str())];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Ok(Err(vec![Violation { params, ..Violation::new("", code) }]))
    };
    match check(rules, request) {
        Ok(()) => evaluate(rules, request, input),
        Err(NotDecided::Schema(violations)) => Ok(Err(violations)),
        Err(NotDecided::UnknownAction(action)) => refuse("action.unknown", &action),
        Err(NotDecided::WrongRole { action, .. }) => refuse("action.role", &action),
        Err(NotDecided::TooLarge(TooManyLeaves { limit })) => Err(Fault::InputTooLarge { limit }),
        Err(NotDecided::Fault(fault)) => Err(fault),
    }
}

/// Returns the context of the decision. Rules other than those that made it get the clocks of their own zones at that
/// time.
fn context(rules: &LoadedRules, revision: &Revision) -> Context {
    let decided = &revision.provenance;
    if rules.id.digest == decided.rules.digest {
        decided.context.clone()
    } else {
        rules.context(revision.updated_at, decided.context.caller.clone())
    }
}

fn differences(stored: &Revision, plan: &Plan) -> Vec<Difference> {
    let (was, came) = (stored_members(stored), planned_members(stored, plan));
    let paths: BTreeSet<&String> = was.keys().chain(came.keys()).collect();
    let at = |members: &BTreeMap<String, Json>, path: &String| members.get(path).cloned().unwrap_or_default();
    let both =
        paths.into_iter().map(|path| Difference { path: path.clone(), stored: at(&was, path), came: at(&came, path) });
    both.filter(|difference| difference.stored != difference.came).collect()
}

/// Returns the members of a stored appointment by JSON Pointer.
fn stored_members(stored: &Revision) -> BTreeMap<String, Json> {
    let appointment = &stored.appointment;
    let claims = stored.claims.iter().map(|held| comparable(&held.key, personal_key(&held.key).is_some()));
    let mut members = BTreeMap::from([
        ("/phase".to_owned(), json!(appointment.phase)),
        ("/claims".to_owned(), json!(claims.collect::<BTreeSet<_>>())),
        ("/patient".to_owned(), json!(appointment.patient)),
        ("/doctor".to_owned(), json!(appointment.doctor)),
        ("/hospital".to_owned(), json!(appointment.hospital)),
        ("/wake".to_owned(), json!(appointment.wake)),
    ]);
    if let Some(slot) = &appointment.slot {
        members.insert("/slot/start".into(), json!(slot.start));
        members.insert("/slot/minutes".into(), json!(slot.minutes));
        members.insert("/slot/zone".into(), json!(slot.zone));
    }
    members.extend(appointment.attributes.iter().map(attribute));
    members
}

/// Returns the members of a plan by JSON Pointer, with the choice that the stored appointment has, or else the first.
fn planned_members(stored: &Revision, plan: &Plan) -> BTreeMap<String, Json> {
    let mut planned = stored.clone();
    let key = |claim: &Claim| comparable(&claim.key, claim.is_about(&plan.patient));
    let held: BTreeSet<String> =
        stored.claims.iter().map(|held| comparable(&held.key, personal_key(&held.key).is_some())).collect();
    let is_held = |choice: &&crate::model::Choice| choice.claims.iter().all(|claim| held.contains(&key(claim)));
    let choice = plan.choices.iter().find(is_held).or(plan.choices.first());
    let appointment = &mut planned.appointment;
    appointment.phase = plan.phase;
    appointment.slot.clone_from(&plan.slot);
    appointment.patient.clone_from(&plan.patient);
    appointment.doctor.clone_from(&plan.doctor);
    appointment.hospital.clone_from(&plan.hospital);
    appointment.wake.clone_from(&plan.wake);
    appointment.attributes.clone_from(&plan.attributes);
    appointment.set(choice.map_or(&[], |choice| &choice.attributes[..]));
    planned.claims.clear();
    let mut members = stored_members(&planned);
    let claims = plan.claims.iter().chain(choice.into_iter().flat_map(|choice| &choice.claims));
    members.insert("/claims".into(), json!(claims.map(key).collect::<BTreeSet<_>>()));
    members
}

/// Returns a claim's key, with an opaque resource if it is personal. The ledger stores a hash of that resource, so only the
/// minute can be compared.
fn comparable(key: &str, personal: bool) -> String {
    if !personal {
        return key.to_owned();
    }
    key_of("personal", resource_and_minute(key).1)
}

fn attribute(field: &Field) -> (String, Json) {
    (format!("/attributes{}", field.path), json!(field.value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{Choice, HeldClaim, Phase, Role, Value};
    use crate::testing::Deciding;

    /// Replays a decision with rules of that digest. Returns the outcome and the contexts that the rules received.
    fn replay_with(revision: &Revision, before: Option<&Revision>, digest: &str) -> (Replayed, Vec<Context>) {
        let agreeing = Arc::new(Deciding::new(Ok(Ok(plan()))));
        let rules = LoadedRules::of(agreeing.clone(), digest.into()).unwrap();
        (replay(&rules, before, revision, vec![], None), agreeing.calls())
    }

    fn acted(action: &str, input: &[Field]) -> Revision {
        let mut acted = stored();
        acted.appointment.revision = 2;
        acted.provenance.action = action.into();
        acted.provenance.input = input.into();
        acted
    }

    #[test]
    fn a_decision_is_judged_by_the_clock_and_in_the_role_of_then() {
        let mut revision = stored();
        revision.provenance.input = vec![field("/day", "x")];
        revision.provenance.context.caller.role = Role::Staff;
        let own = revision.provenance.rules.digest.clone();
        let (same, told) = replay_with(&revision, None, &own);
        assert_eq!((same, told), (Replayed::Same, vec![revision.provenance.context.clone()]), "the very context");

        let (same, told) = replay_with(&revision, None, "sha256:01");
        let [context] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            (same, context.now, context.caller.role),
            (Replayed::Same, revision.updated_at.as_second(), Role::Staff)
        );
        assert_eq!(context.clocks[0].zone, "America/Lima", "other rules have their own zones");
    }

    #[test]
    fn what_the_host_would_turn_away_is_refused_and_the_rules_are_not_asked() {
        let codes = |revision: &Revision, before: Option<&Revision>| {
            let (Replayed::Refused(violations), told) = replay_with(revision, before, "sha256:01") else {
                panic!("taken")
            };
            assert_eq!(told, []);
            violations.into_iter().map(|violation| violation.code).collect::<Vec<_>>()
        };
        let before = stored();
        assert_eq!(codes(&before, None), ["schema.required"]);
        assert_eq!(codes(&acted("cancel", &[]), Some(&before)), ["schema.required"]);
        assert_eq!(codes(&acted("arrive", &[field("/reason", "x")]), Some(&before)), ["action.role"]);
        assert_eq!(codes(&acted("reschedule", &[]), Some(&before)), ["action.unknown"]);
        assert_eq!(
            replay_with(&acted("cancel", &[field("/reason", "x")]), Some(&before), "sha256:01").0,
            Replayed::Same
        );
    }

    fn stored() -> Revision {
        let mut stored = crate::testing::revision(Uuid::nil());
        stored.claims = ["a", "b"].map(|key| HeldClaim { key: key.into(), ordinal: 0 }).into();
        stored.appointment.attributes = vec![field("/place", "Lima"), field("/gone", "x")];
        stored
    }

    fn field(path: &str, text: &str) -> Field {
        Field { path: path.into(), value: Value::Text(text.into()) }
    }

    fn plan() -> Plan {
        crate::testing::plan(stored())
    }

    fn differing(change: impl FnOnce(&mut Plan)) -> Vec<String> {
        let mut plan = plan();
        change(&mut plan);
        differences(&stored(), &plan).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn neither_events_nor_the_order_of_claims_make_a_difference() {
        assert_eq!(differing(|_| {}), [""; 0]);
        assert_eq!(differing(|plan| plan.claims.reverse()), [""; 0]);
        assert_eq!(differing(|plan| plan.events.clear()), [""; 0]);
        assert_eq!(differing(|plan| plan.attributes.reverse()), [""; 0]);
    }

    #[test]
    fn a_personal_claim_is_compared_by_its_minute_and_a_choice_by_what_is_held() {
        let mut stored = stored();
        stored.claims.push(HeldClaim { key: "personal/0f/2026-12-01T14:30Z".into(), ordinal: 2 });
        let with = |minute: &str| {
            let mut plan = plan();
            plan.claims.push(Claim::new(format!("patient/dni:10117410/2026-12-01T{minute}Z")));
            differences(&stored, &plan).len()
        };
        assert_eq!((with("14:30"), with("14:45")), (0, 1));

        let choice =
            |key: &str, room: &str| Choice { claims: vec![Claim::new(key)], attributes: vec![field("/room", room)] };
        let mut plan = plan();
        plan.claims.truncate(1);
        plan.choices = vec![choice("c", "3"), choice("b", "2")];
        let mut stored = super::tests::stored();
        stored.appointment.attributes.push(field("/room", "2"));
        assert_eq!(differences(&stored, &plan), []);
        plan.choices.pop();
        let paths: Vec<_> = differences(&stored, &plan).into_iter().map(|difference| difference.path).collect();
        assert_eq!(paths, ["/attributes/room", "/claims"]);
    }

    #[test]
    fn every_member_that_differs_is_named_by_itself() {
        assert_eq!(differing(|plan| plan.phase = Phase::Pending), ["/phase"]);
        assert_eq!(differing(|plan| plan.slot.as_mut().unwrap().minutes = 45), ["/slot/minutes"]);
        assert_eq!(differing(|plan| plan.slot = None), ["/slot/minutes", "/slot/start", "/slot/zone"]);
        assert_eq!(differing(|plan| plan.claims.truncate(1)), ["/claims"]);
        assert_eq!(differing(|plan| plan.patient.push('x')), ["/patient"]);
        assert_eq!(differing(|plan| plan.doctor = None), ["/doctor"]);
        assert_eq!(differing(|plan| plan.hospital = Some("x".into())), ["/hospital"]);
        let attributes = differing(|plan| plan.attributes = vec![field("/place", "Ica"), field("/new", "x")]);
        assert_eq!(attributes, ["/attributes/gone", "/attributes/new", "/attributes/place"]);
    }
}
