//! Decides requests: selects the version, evaluates its rules, and prepares the change, its events and the view. Stores
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::booking::error::BookingError;
use crate::booking::holds::NamedHold;
use crate::booking::merged::merged;
use crate::booking::presentation::entity_tag;
use crate::model::{
    AgendaRevision, Appointment, Choice, Claim, CountryCode, Event, Fact, FactQuery, FactSource, HeldClaim, Party,
    Place, Provenance, Pseudonyms, Revision, Role, Step, Violation,
};
use crate::people::Access;
use crate::ports::{
    AgendaCondition, Change, Fault, Ids, Ledger, Order, OwnerFilter, Query, Settled, Tally, Unavailable,
};
use crate::release::{Catalogue, InForce, OnTrial};
use crate::rules::{DecisionRequest, Fields, LoadedRules, Planned, Rejection, check_input, evaluate};
use crate::trial::{Call, Refused, TrialRecorder};

/// Maximum size of a revision, in bytes of JSON. It fits a DynamoDB item (400 KB).
const MAX_REVISION_BYTES: usize = 240 << 10;

/// Code of the violation of a slot outside the doctor's agenda.
const OUTSIDE: &str = "agenda.outside";

/// A request to book or to act, independent of the version that decides.
#[derive(Clone)]
pub(super) struct RuleRequest {
    pub access: Access,
    pub action: String,
    pub input: Json,
    /// Revisions that the caller accepts as current; none if any will do.
    pub if_match: Option<Vec<String>>,
    /// The hold that the request names.
    pub hold: Option<NamedHold>,
    pub now: Timestamp,
}

impl RuleRequest {
    /// Returns the action on this appointment as the rules get it; `None` for a booking.
    fn action<'a>(&'a self, before: Option<&'a Arc<Revision>>) -> Option<(&'a str, &'a Appointment)> {
        before.map(|before| (self.action.as_str(), &before.appointment))
    }
}

/// A decision that is ready to be stored.
pub(super) struct Prepared {
    /// Rules that decided.
    pub rules: Arc<LoadedRules>,
    /// Claims of the plan and of its choices, as the rules named them.
    pub claims: Vec<Claim>,
    pub change: Change,
    /// True if the slot may lie outside the doctor's agenda.
    pub off_agenda: bool,
    /// Fields that clients see, one list for each choice, or a single one without choices.
    pub shown: Vec<Fields>,
}

type Decided = Result<Prepared, BookingError>;

/// Facts for the rules in use and for a candidate. A fault in a query is a fault of the decision.
struct Facts {
    used: Result<Vec<Fact>, Fault>,
    canary: Result<Vec<Fact>, Fault>,
}

/// Decides requests with the rules in use and with a candidate.
#[derive(Clone)]
pub(super) struct Decider {
    pub catalogue: Arc<Catalogue>,
    pub ledger: Arc<dyn Ledger>,
    /// Records how candidates decide; none if the host tries no candidate.
    pub trying: Option<TrialRecorder>,
    pub ids: Arc<dyn Ids>,
    pub names: Pseudonyms,
    pub host_version: &'static str,
}

impl Decider {
    /// Returns the decision of the rules, if the caller may store it and its slot lies in the doctor's agenda. Rules decide
    /// without the agenda, and trials and replays see their decisions alone.
    pub async fn decide(&self, rules: &InForce, request: &Arc<RuleRequest>, before: Option<&Arc<Revision>>) -> Decided {
        let prepared = self.decide_by_rules(rules, request, before).await?;
        request.access.check_hospital(prepared.change.revision.appointment.hospital.as_deref())?;
        self.within_agenda(prepared, request, before.map(|before| &**before)).await
    }

    /// Refuses a decision whose slot lies outside the doctor's agenda. Otherwise the agenda that it has seen becomes a
    /// condition of the change. A slot that the appointment keeps, or that its hold has, is not checked.
    async fn within_agenda(&self, mut prepared: Prepared, request: &RuleRequest, before: Option<&Revision>) -> Decided {
        let Revision { country, appointment, provenance, .. } = &prepared.change.revision;
        let Appointment { phase, slot, starts_at, doctor, hospital, .. } = appointment;
        let (Some(slot), Some(starts_at), Some(doctor)) = (slot, *starts_at, doctor) else { return Ok(prepared) };
        let is_kept = |before: &Revision| {
            let Appointment { phase, slot, doctor, .. } = &before.appointment;
            phase.is_live() && (slot, doctor) == (&appointment.slot, &appointment.doctor)
        };
        let is_held = request
            .live_hold()
            .is_some_and(|hold| hold.slot.slot == *slot && hold.slot.doctor.as_ref() == Some(doctor));
        if prepared.off_agenda || !phase.is_live() || is_held || before.is_some_and(is_kept) {
            return Ok(prepared);
        }
        let agenda = self.ledger.agenda(*country, doctor).await?;
        if let Some(AgendaRevision { agenda, .. }) = &agenda {
            let attributes = before.map_or(&[][..], |before| &before.appointment.attributes);
            let fields = [&provenance.input, attributes].concat();
            let place = Place { doctor: None, hospital: hospital.clone(), fields };
            if !agenda.covers(slot, starts_at, &place, prepared.rules.zones()) {
                return Err(BookingError::refused(&prepared.rules, vec![Violation::new("", OUTSIDE)]));
            }
        }
        let revision = agenda.map_or(0, |agenda| agenda.revision);
        prepared.change.agenda = Some(AgendaCondition { doctor: doctor.clone(), revision });
        Ok(prepared)
    }

    /// Returns the decision of the rules in use or, for a patient in the canary's share, of the canary. Everything from
    /// the schema check to the view is one call of the executor, so that a request waits for its turn once. Only rules that
    /// need facts take a call before that one.
    async fn decide_by_rules(
        &self,
        rules: &InForce,
        request: &Arc<RuleRequest>,
        before: Option<&Arc<Revision>>,
    ) -> Decided {
        let canary = rules.candidate.as_ref().filter(|candidate| candidate.terms.canary.is_some());
        let canary = canary.filter(|_| self.trying.is_some()).cloned();
        let known = Arc::new(Facts {
            used: self.facts(&rules.used, request, before).await?,
            canary: match &canary {
                Some(canary) => self.facts(&canary.rules, request, before).await?,
                None => Ok(Vec::new()),
            },
        });
        let (decider, shared) = (self.clone(), (rules.clone(), request.clone(), before.cloned(), known.clone()));
        let decide = move || {
            let (rules, request, before, known) = &shared;
            let used = decider.prepare(&rules.used, request, before.as_ref(), &known.used);
            let tried = canary
                .as_ref()
                .and_then(|canary| decider.prepare_canary(canary, request, before.as_ref(), &known.canary, &used));
            (used, tried)
        };
        let (used, tried) = self.catalogue.executor().run(rules.used.country, decide).await?;
        let (Some(candidate), Some(trying)) = (&rules.candidate, &self.trying) else { return used };
        if let Some(call) = Self::call(rules, request, before, &known, &used) {
            trying.observe(call);
        }
        let Some(tried) = tried else { return used };
        if let Some(tally) = tally(&used, &tried) {
            trying.count(rules.used.country, candidate, tally).await;
        }
        // If the canary faults, the version in use decides.
        if matches!(tried, Err(BookingError::RulesUnavailable(_))) { used } else { tried }
    }

    /// Gets the queries of the rules and reads their facts from the ledger.
    async fn facts(
        &self,
        rules: &Arc<LoadedRules>,
        request: &Arc<RuleRequest>,
        before: Option<&Arc<Revision>>,
    ) -> Result<Result<Vec<Fact>, Fault>, BookingError> {
        if !rules.has_facts() {
            return Ok(Ok(Vec::new()));
        }
        let shared = (rules.clone(), request.clone(), before.cloned());
        let ask = move || {
            let (rules, request, before) = &shared;
            let context = rules.context(request.now, request.access.for_rules());
            let action = request.action(before.as_ref());
            let asked = DecisionRequest { context: &context, document: &request.input, action };
            // A request that the rules do not see needs no facts. The decision refuses it.
            let Ok(input) = check_input(rules, &asked) else { return Ok(Vec::new()) };
            rules.queries(&context, action, &input)
        };
        let queries = match self.catalogue.executor().run(rules.country, ask).await? {
            Ok(queries) => queries,
            Err(fault) => return Ok(Err(fault)),
        };
        let before = before.map(|before| &**before);
        let facts = queries.into_iter().map(|query| self.fact(rules.country, &request.access, before, query));
        Ok(Ok(try_join_all(facts).await?))
    }

    /// Reads the answer to a query of the rules. What others booked for a patient without a verified tie is no fact, and
    /// whoever has no verified tie learns nothing of the patient by a decision.
    async fn fact(
        &self,
        country: CountryCode,
        access: &Access,
        before: Option<&Revision>,
        asked: FactQuery,
    ) -> Result<Fact, Unavailable> {
        let FactQuery { name, of, key, phases, since, until, at_most } = asked;
        let second = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        let mut query = Query {
            from: since.map(second),
            to: until.map(second),
            phases,
            order: Order::Descending,
            limit: at_most.into(),
            ..Query::default()
        };
        let mut owners = vec![OwnerFilter::Any];
        match of {
            Party::Patient => {
                owners = owners_known(access, before, &key);
                query.person = Some(self.names.patient(country, &key));
            }
            Party::Doctor => query.doctor = Some(key),
            Party::Hospital => query.hospital = Some(key),
        }
        let queries = owners.into_iter().map(|owner| Query { owner, ..query.clone() }).collect();
        let page = merged(&*self.ledger, country, queries).await?;
        let appointments = page.items.into_iter().map(|found| found.appointment).collect();
        Ok(Fact { name, appointments, more: page.next.is_some() })
    }

    /// Returns the canary's decision; none if the canary does not decide for this patient.
    fn prepare_canary(
        &self,
        canary: &OnTrial,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
        facts: &Result<Vec<Fact>, Fault>,
        used: &Decided,
    ) -> Option<Decided> {
        let known = before.map(|before| &**before).or(used.as_ref().ok().map(|used| &used.change.revision));
        if known.is_some_and(|known| !canary.meets(&known.appointment.patient)) {
            return None;
        }
        let tried = self.prepare(&canary.rules, request, before, facts);
        // If the rules in use refuse, only the canary's plan names the patient.
        let known = known.or(tried.as_ref().ok().map(|tried| &tried.change.revision));
        let is_met = known.is_some_and(|known| canary.meets(&known.appointment.patient));
        // Discard a plan that maps the patient to a key outside the share: later requests would go to the other
        // version.
        let stays = tried.as_ref().map_or(true, |tried| canary.meets(&tried.change.revision.appointment.patient));
        (is_met && stays).then_some(tried)
    }

    /// Prepares the decision of these rules. Every step in which the rules can fail comes before anything is stored: a
    /// 503 means that nothing is stored. So an appointment is presented with each of its choices.
    fn prepare(
        &self,
        rules: &Arc<LoadedRules>,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
        facts: &Result<Vec<Fact>, Fault>,
    ) -> Decided {
        let facts = facts.clone()?;
        let (provenance, planned) = self.plan(rules, request, before, facts)?;
        let id = before.map_or_else(|| self.ids.next(), |before| before.appointment.id);
        let before = before.map(|before| &**before);
        let mut revision = self.revision(id, rules, request, before, &planned, provenance);
        let (plan, owner) = (planned.plan, revision.owner.as_deref());
        let kept = |claims: &[Claim]| self.ledger_claims(rules.country, claims, &plan.patient, owner);
        let claims = kept(&plan.claims);
        let choice = |choice: &Choice| Choice { claims: kept(&choice.claims), attributes: choice.attributes.clone() };
        let choices: Vec<Choice> = plan.choices.iter().map(choice).collect();
        revision.personal_places = personal_places(&revision, before, &claims, &choices);
        fits(&revision)?;
        let change = Change {
            claims,
            choices,
            held: before.map_or_else(Vec::new, |before| before.claims.clone()),
            hold: request.live_hold().cloned(),
            events: plan.events.iter().map(|name| Event::new(self.ids.next(), name, &revision)).collect(),
            receipt: None,
            agenda: None,
            revision,
        };
        let shown = present(rules, request.access.role, &change)?;
        let of_choices = plan.choices.into_iter().flat_map(|choice| choice.claims);
        Ok(Prepared {
            rules: rules.clone(),
            claims: plan.claims.into_iter().chain(of_choices).collect(),
            change,
            off_agenda: plan.off_agenda,
            shown,
        })
    }

    /// Returns claims of a plan for a patient in the ledger's form.
    fn ledger_claims(&self, country: CountryCode, claims: &[Claim], patient: &str, owner: Option<&str>) -> Vec<Claim> {
        let kept = |claim: &Claim| {
            self.names.claim(country, Claim { personal: claim.is_about(patient), ..claim.clone() }, owner)
        };
        claims.iter().map(kept).collect()
    }

    /// Evaluates the request, and returns the plan with its provenance.
    fn plan(
        &self,
        rules: &Arc<LoadedRules>,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
        facts: Vec<Fact>,
    ) -> Result<(Provenance, Planned), BookingError> {
        let mut context = rules.context(request.now, request.access.for_rules());
        context.facts = facts;
        let action = request.action(before);
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
        let facts = context.facts.iter().map(FactSource::from).collect();
        context.facts.clear();
        let provenance = Provenance {
            action: request.action.clone(),
            input,
            context,
            facts,
            rules: rules.id.clone(),
            contract: rules.contract().to_owned(),
            host: self.host_version.to_owned(),
            subject: request.access.subject.clone(),
            request_id: request.access.request_id.clone(),
        };
        Ok((provenance, planned))
    }

    /// Returns the revision that a plan makes, without its claims. Only a booking uses `id`.
    fn revision(
        &self,
        id: Uuid,
        rules: &LoadedRules,
        request: &RuleRequest,
        before: Option<&Revision>,
        planned: &Planned,
        provenance: Provenance,
    ) -> Revision {
        let plan = &planned.plan;
        let step = Step { action: request.action.clone(), role: request.access.role, at: request.now };
        let choices = plan.choices.iter().flat_map(|choice| &choice.attributes);
        let paths = plan.attributes.iter().chain(choices).map(|field| &field.path);
        let owner = owner(&request.access, before, &plan.patient);
        let appointment =
            planned.appointment(id, before.map(|before| &before.appointment), step, &provenance.context.caller);
        Revision {
            country: rules.country,
            person: self.names.patient(rules.country, &plan.patient),
            appointment: Appointment { unverified: owner.is_some(), ..appointment },
            claims: Vec::new(),
            owner,
            personal_places: BTreeMap::new(),
            updated_at: request.now,
            provenance,
            personal: paths.filter(|path| rules.is_personal(path)).cloned().collect(),
        }
    }

    /// Returns the call for the shadow, with the result of the rules in use, or `None` if they neither decided nor refused.
    fn call(
        rules: &InForce,
        request: &RuleRequest,
        before: Option<&Arc<Revision>>,
        known: &Facts,
        used: &Decided,
    ) -> Option<Call> {
        let (before, facts) = (before.cloned(), known.used.clone().unwrap_or_default());
        match used {
            Ok(Prepared { change, .. }) => {
                let events = change.events.iter().map(|event| event.name().to_owned()).collect();
                let revision = Arc::new(change.revision_with(&first_places(change)));
                Some(Call::Decided { before, revision, facts, events: Some(events) })
            }
            Err(
                BookingError::Violations(Rejection { violations, .. })
                | BookingError::NotAllowedNow(Rejection { violations, .. }),
            ) => Some(Call::Refused(Refused {
                country: rules.used.country,
                before,
                action: request.action.clone(),
                request: request.input.clone(),
                caller: request.access.for_rules(),
                facts,
                at: request.now,
                violations: violations.clone(),
            })),
            Err(_) => None,
        }
    }
}

/// Returns the owner of the next revision of an appointment, or of a booking. An action keeps the owner, whoever does it,
/// unless it gives a verified appointment to another patient.
fn owner(access: &Access, before: Option<&Revision>, patient: &str) -> Option<String> {
    match before {
        Some(before) if before.owner.is_some() || before.appointment.patient == patient => before.owner.clone(),
        _ => access.owner_for(patient),
    }
}

/// Returns the owners of the appointments of a patient that a decision may know of. Of an appointment with an owner, only
/// staff and those who act for the patient decide with the verified ones.
fn owners_known(access: &Access, before: Option<&Revision>, patient: &str) -> Vec<OwnerFilter> {
    let known = access.owner_for(patient);
    let owner = before.and_then(|before| before.owner.clone());
    let sees_verified = known.is_none() && (owner.is_none() || access.role != Role::Clock);
    let verified = sees_verified.then_some(OwnerFilter::Nobody);
    let owned = owner.or(known).map(OwnerFilter::Account);
    verified.into_iter().chain(owned).collect()
}

/// Returns the places of the personal claims of a revision with an owner. A claim that the appointment has already keeps the
/// limit under which it was taken: rules limit bookings more than changes.
fn personal_places(
    revision: &Revision,
    before: Option<&Revision>,
    claims: &[Claim],
    choices: &[Choice],
) -> BTreeMap<String, u16> {
    if revision.owner.is_none() {
        return BTreeMap::new();
    }
    let limit = |claim: &Claim| {
        let held = before.filter(|before| before.claims.iter().any(|held| held.key == claim.key));
        held.map_or(claim.places, |before| before.personal_places.get(&claim.key).copied().unwrap_or(1))
    };
    let all = claims.iter().chain(choices.iter().flat_map(|choice| &choice.claims));
    let personal = all.filter(|claim| claim.personal).map(|claim| (claim.key.clone(), limit(claim)));
    personal.filter(|(_, places)| *places > 1).collect()
}

/// Returns the places that a change takes if no other appointment holds any.
fn first_places(change: &Change) -> Settled {
    let choice = change.choices.first();
    let claims = change.claims.iter().chain(choice.into_iter().flat_map(|choice| &choice.claims));
    let claims = claims.map(|claim| HeldClaim { key: claim.key.clone(), ordinal: 0 }).collect();
    Settled { choice: choice.map(|_| 0), claims }
}

/// Presents the appointment of a change with each of its choices, or once if it has none.
fn present(rules: &LoadedRules, role: Role, Change { revision, choices, .. }: &Change) -> Result<Vec<Fields>, Fault> {
    if choices.is_empty() {
        return Ok(vec![rules.present(role, &revision.appointment)?]);
    }
    let with = |choice: &Choice| {
        let mut appointment = revision.appointment.clone();
        appointment.set(&choice.attributes);
        appointment
    };
    let appointments: Vec<Appointment> = choices.iter().map(with).collect();
    rules.present_all(role, &appointments.iter().collect::<Vec<_>>())
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
