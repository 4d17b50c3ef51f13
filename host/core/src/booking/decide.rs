//! Decides requests: selects the version, evaluates its rules, and prepares the change, its events and the view. Stores
//! nothing.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::booking::error::{BookingError, Rejection};
use crate::booking::presentation::{View, entity_tag, show};
use crate::model::{Appointment, Caller, CountryCode, Event, Provenance, Revision, Role};
use crate::ports::{CONTRACT, Change, Fault, Ids, Tally};
use crate::release::{Catalogue, InForce, OnTrial};
use crate::rules::{DecisionRequest, LoadedRules, Planned, check_input, evaluate};
use crate::trial::{Call, Refused, TrialRecorder};

/// Maximum size of a revision, in bytes of JSON. An event with one fits an SNS message (256 KiB) and a DynamoDB item
/// (400 KB).
const MAX_REVISION_BYTES: usize = 240 << 10;

/// A request to book or to act, independent of the version that decides.
pub(super) struct RuleRequest {
    pub caller: Caller,
    pub action: String,
    pub input: Json,
    pub role: Role,
    /// Revisions that the caller accepts as current; none if any will do.
    pub if_match: Option<Vec<String>>,
    pub now: Timestamp,
}

/// A decision that is ready to be stored.
pub(super) struct Prepared {
    /// Rules that decided.
    pub rules: Arc<LoadedRules>,
    pub change: Change,
    pub view: View,
}

type Decided = Result<Prepared, BookingError>;

/// Decides requests with the rules in use and with a candidate.
#[derive(Clone)]
pub(super) struct Decider {
    pub catalogue: Arc<Catalogue>,
    /// Records how candidates decide; none if the host tries no candidate.
    pub trying: Option<TrialRecorder>,
    pub ids: Arc<dyn Ids>,
    pub host_version: &'static str,
}

impl Decider {
    /// Returns the decision of the rules in use or, for a patient in the canary's share, of the canary. Everything from
    /// the schema check to the view is one call of the executor, so that a request waits for its turn once.
    pub async fn decide(&self, rules: &InForce, request: &Arc<RuleRequest>, before: Option<&Arc<Revision>>) -> Decided {
        let (decider, shared) = (self.clone(), (rules.clone(), request.clone(), before.cloned()));
        let decide = move || {
            let (rules, request, before) = &shared;
            let used = decider.prepare(&rules.used, request, before.as_ref());
            let canary = rules.candidate.as_ref().filter(|candidate| candidate.terms.canary.is_some());
            let canary = canary.filter(|_| decider.trying.is_some());
            let tried = canary.and_then(|canary| decider.prepare_canary(canary, request, before.as_ref(), &used));
            (used, tried)
        };
        let (used, tried) = self.catalogue.executor().run(rules.used.country, decide).await?;
        let (Some(candidate), Some(trying)) = (&rules.candidate, &self.trying) else { return used };
        if let Some(call) = call(rules, request, before, &used) {
            trying.observe(call);
        }
        let Some(tried) = tried else { return used };
        if let Some(tally) = tally(&used, &tried) {
            trying.count(rules.used.country, candidate, tally).await;
        }
        // If the canary faults, the version in use decides.
        if matches!(tried, Err(BookingError::RulesUnavailable(_))) { used } else { tried }
    }

    /// Returns the canary's decision; none if the canary does not decide for this patient.
    fn prepare_canary(
        &self,
        canary: &OnTrial,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
        used: &Decided,
    ) -> Option<Decided> {
        let known = before.map(|before| &**before).or(used.as_ref().ok().map(|used| &used.change.revision));
        if known.is_some_and(|known| !canary.meets(&known.patient)) {
            return None;
        }
        let tried = self.prepare(&canary.rules, request, before);
        // If the rules in use refuse, only the canary's plan names the patient.
        let known = known.or(tried.as_ref().ok().map(|tried| &tried.change.revision));
        let is_met = known.is_some_and(|known| canary.meets(&known.patient));
        // Discard a plan that maps the patient to a key outside the share: later requests would go to the other
        // version.
        let stays = tried.as_ref().map_or(true, |tried| canary.meets(&tried.change.revision.patient));
        (is_met && stays).then_some(tried)
    }

    /// Prepares the decision of these rules. Every step in which the rules can fail comes before anything is stored: a
    /// 503 means that nothing is stored.
    fn prepare(&self, rules: &Arc<LoadedRules>, request: &RuleRequest, before: Option<&Arc<Revision>>) -> Decided {
        let (provenance, planned) = self.plan(rules, request, before)?;
        let id = before.map_or_else(|| self.ids.next(), |before| before.appointment.id);
        let revision = revision(id, rules.country, request, before.map(|before| &**before), &planned, provenance);
        let plan = planned.plan;
        let held: HashSet<&String> = before.into_iter().flat_map(|before| &before.claims).collect();
        let kept: HashSet<&String> = plan.claims.iter().collect();
        let change = Change {
            take: plan.claims.iter().filter(|claim| !held.contains(claim)).cloned().collect(),
            release: held.difference(&kept).map(|claim| (*claim).clone()).collect(),
            events: plan.events.iter().map(|name| Event::new(self.ids.next(), name, &revision)).collect(),
            receipt: None,
            revision: revision.clone(),
        };
        fits(&change.revision)?;
        let view = show(rules, Arc::new(revision))?;
        Ok(Prepared { rules: rules.clone(), change, view })
    }

    /// Evaluates the request, and returns the plan with its provenance.
    fn plan(
        &self,
        rules: &Arc<LoadedRules>,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
    ) -> Result<(Provenance, Planned), BookingError> {
        let context = rules.context(request.now, request.role);
        let action = before.map(|before| (request.action.as_str(), &before.appointment));
        let asked = DecisionRequest { context: &context, document: &request.input, action };
        let input = check_input(rules, &asked).map_err(|cause| BookingError::not_decided(rules, cause))?;
        if let (Some(before), Some(seen)) = (before, &request.if_match)
            && !seen.contains(&entity_tag(before, &rules.id.digest))
        {
            return Err(BookingError::Stale { current: before.appointment.revision });
        }
        let function = if action.is_some() { "act" } else { "book" };
        let decision = rules.call(function, || evaluate(rules, &asked, &input))?;
        let planned = decision.map_err(|violations| BookingError::refused(rules, violations))?;
        let provenance = Provenance {
            action: request.action.clone(),
            input,
            context,
            rules: rules.id.clone(),
            contract: CONTRACT.to_owned(),
            host: self.host_version.to_owned(),
            subject: request.caller.subject.clone(),
            request_id: request.caller.request_id.clone(),
        };
        Ok((provenance, planned))
    }
}

/// Returns the revision that a plan makes. Only a booking uses `id`; an action keeps the appointment's id.
fn revision(
    id: Uuid,
    country: CountryCode,
    request: &RuleRequest,
    before: Option<&Revision>,
    Planned { plan, starts_at }: &Planned,
    provenance: Provenance,
) -> Revision {
    Revision {
        country,
        appointment: Appointment {
            id,
            phase: plan.phase,
            slot: plan.slot.clone(),
            revision: before.map_or(1, |before| before.appointment.revision.saturating_add(1)),
            attributes: plan.attributes.clone(),
        },
        starts_at: *starts_at,
        claims: plan.claims.clone(),
        owner: before.map_or_else(|| request.caller.subject.clone(), |before| before.owner.clone()),
        patient: plan.patient.clone(),
        doctor: plan.doctor.clone(),
        hospital: plan.hospital.clone(),
        created_at: before.map_or(request.now, |before| before.created_at),
        updated_at: request.now,
        provenance,
    }
}

/// Returns the call for the shadow, with the result of the rules in use; none if they neither decided nor refused.
fn call(rules: &InForce, request: &RuleRequest, before: Option<&Arc<Revision>>, used: &Decided) -> Option<Call> {
    let before = before.cloned();
    match used {
        Ok(Prepared { change, view, .. }) => {
            let events = change.events.iter().map(|event| event.name().to_owned()).collect();
            Some(Call::Decided { before, revision: view.revision.clone(), events: Some(events) })
        }
        Err(
            BookingError::Violations(Rejection { violations, .. })
            | BookingError::NotAllowedNow(Rejection { violations, .. }),
        ) => Some(Call::Refused(Refused {
            country: rules.used.country,
            before,
            action: request.action.clone(),
            request: request.input.clone(),
            role: request.role,
            at: request.now,
            violations: violations.clone(),
        })),
        Err(_) => None,
    }
}

/// Returns the tally of a canary's decision beside that of the rules in use; none if the canary was too busy to decide.
fn tally(used: &Decided, tried: &Decided) -> Option<Tally> {
    let mut tally = Tally { decided: 1, ..Tally::default() };
    match (used, tried) {
        (_, Err(BookingError::RulesUnavailable(Some(Fault::Busy)))) => return None,
        (Err(BookingError::RulesUnavailable(_)), _) | (_, Ok(_)) => {}
        (_, Err(BookingError::RulesUnavailable(_))) => tally.unanswered = 1,
        (Ok(_), Err(_)) => tally.refused = 1,
        (_, Err(BookingError::Violations(_) | BookingError::NotAllowedNow(_))) => {}
        // Neither version decided.
        (Err(_), Err(_)) => return None,
    }
    Some(tally)
}

/// Refuses a revision that no topic or table can carry. A stored revision is published and mailed later, so the check
/// comes before the commit.
fn fits(revision: &Revision) -> Result<(), BookingError> {
    let size = serde_json::to_vec(revision).map_or(usize::MAX, |json| json.len());
    if size > MAX_REVISION_BYTES { Err(BookingError::TooLarge { limit: MAX_REVISION_BYTES }) } else { Ok(()) }
}
