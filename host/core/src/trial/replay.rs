//! Evaluates the decision of a stored revision again, with the rules that made it or with a candidate. Reads and stores
//! nothing.
//!
//! The decision is evaluated as of the time when it was made: input, role and clock come from its provenance. The
//! outcome therefore depends only on the rules. For a candidate it shows whether the appointment would stand if these
//! rules had been in force when it was last changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::model::json::{TooManyLeaves, nest};
use crate::model::{Context, Field, Phase, Plan, Revision, Slot, Violation};
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
    /// JSON Pointer into phase, slot, claims, keys, attributes and events.
    pub path: String,
    /// Stored value; null if there is none.
    pub stored: Json,
    /// Value of the repeated plan; null if there is none.
    pub came: Json,
}

/// Evaluates the decision that made `revision` again. `before` is the preceding revision; a first revision has none.
/// The names of the plan's events are compared if `events` is given, because revisions do not store them.
pub fn replay(
    rules: &LoadedRules,
    before: Option<&Revision>,
    revision: &Revision,
    events: Option<&[String]>,
) -> Replayed {
    let decided = &revision.provenance;
    let (request, context) = (Json::Object(nest(&decided.input)), context(rules, revision));
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
        let params = [("action", action), ("role", request.context.role.as_str())];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Ok(Err(vec![Violation { path: String::new(), code: code.into(), params }]))
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
        rules.context(revision.updated_at, decided.context.role)
    }
}

fn differences(stored: &Revision, plan: &Plan) -> Vec<Difference> {
    let appointment = &stored.appointment;
    let mut was = members(appointment.phase, appointment.slot.as_ref(), &stored.claims, &appointment.attributes);
    keys(&mut was, &stored.patient, stored.doctor.as_ref(), stored.hospital.as_ref());
    let mut came = members(plan.phase, plan.slot.as_ref(), &plan.claims, &plan.attributes);
    keys(&mut came, &plan.patient, plan.doctor.as_ref(), plan.hospital.as_ref());
    let paths: BTreeSet<&String> = was.keys().chain(came.keys()).collect();
    let at = |members: &BTreeMap<String, Json>, path: &String| members.get(path).cloned().unwrap_or_default();
    let both =
        paths.into_iter().map(|path| Difference { path: path.clone(), stored: at(&was, path), came: at(&came, path) });
    both.filter(|difference| difference.stored != difference.came).collect()
}

/// Returns the members of a plan or an appointment by JSON Pointer. Claims are a set, so that their order makes no
/// difference.
fn members(phase: Phase, slot: Option<&Slot>, claims: &[String], attributes: &[Field]) -> BTreeMap<String, Json> {
    let claims: BTreeSet<&String> = claims.iter().collect();
    let mut members = BTreeMap::from([("/phase".into(), json!(phase)), ("/claims".into(), json!(claims))]);
    if let Some(slot) = slot {
        members.insert("/slot/start".into(), json!(slot.start));
        members.insert("/slot/minutes".into(), json!(slot.minutes));
        members.insert("/slot/zone".into(), json!(slot.zone));
    }
    members.extend(attributes.iter().map(|field| (format!("/attributes{}", field.path), json!(field.value))));
    members
}

fn keys(members: &mut BTreeMap<String, Json>, patient: &str, doctor: Option<&String>, hospital: Option<&String>) {
    let keys = [("/patient", json!(patient)), ("/doctor", json!(doctor)), ("/hospital", json!(hospital))];
    members.extend(keys.map(|(path, key)| (path.to_owned(), key)));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{Role, Value};
    use crate::testing::Deciding;

    /// Replays a decision with rules of that digest. Returns the outcome and the contexts that the rules received.
    fn replay_with(revision: &Revision, before: Option<&Revision>, digest: &str) -> (Replayed, Vec<Context>) {
        let agreeing = Arc::new(Deciding::new(Ok(Ok(plan()))));
        let rules = LoadedRules::of(agreeing.clone(), digest.into()).unwrap();
        (replay(&rules, before, revision, None), agreeing.calls())
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
        revision.provenance.context.role = Role::Staff;
        let own = revision.provenance.rules.digest.clone();
        let (same, told) = replay_with(&revision, None, &own);
        assert_eq!((same, told), (Replayed::Same, vec![revision.provenance.context.clone()]), "the very context");

        let (same, told) = replay_with(&revision, None, "sha256:01");
        let [context] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((same, context.now, context.role), (Replayed::Same, revision.updated_at.as_second(), Role::Staff));
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
        stored.claims = vec!["a".into(), "b".into()];
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
