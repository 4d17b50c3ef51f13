//! The rules' part of a booking: which version decides, and all that comes of its decision before it is stored.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::{Booking, BookingError, No};
use crate::access::{Caller, Forbidden};
use crate::appointment::{Appointment, Field, Provenance, Revision, Slot};
use crate::catalogue::InForce;
use crate::event::Event;
use crate::idempotency::InUse;
use crate::json::{TooManyLeaves, flatten};
use crate::ledger::Change;
use crate::loaded::{Action, LoadedRules};
use crate::rules::{CONTRACT, Context, Fault, Plan, Role, Violation};
use crate::shadow::{Call, Refused};
use crate::time::Instant;
use crate::trial::Tally;
use crate::views::{View, shown};

/// Largest revision, in bytes of JSON: an event with one fits a message of SNS (256 KiB), and an item of DynamoDB (400 KB).
const LARGEST_REVISION: usize = 240 << 10;

/// A code that ends so means: not in this phase.
const NOT_ALLOWED_NOW: &str = ".not-allowed-now";

/// One request to change something, whichever rules decide.
pub(super) struct Asked<'a> {
    pub caller: &'a Caller,
    pub action: &'a str,
    pub request: Json,
    pub role: Role,
    /// The revisions that the caller would change; none when any will do.
    pub if_match: Option<Vec<u32>>,
    pub now: Timestamp,
    pub key: Option<InUse<'a>>,
}

/// A decision, ready to be stored.
pub(super) struct Prepared {
    /// Whose decision it is.
    pub rules: Arc<LoadedRules>,
    pub change: Change,
    pub view: View,
}

type Decided = Result<Prepared, BookingError>;

impl LoadedRules {
    /// An action that this role may ask for.
    pub(super) fn allow(&self, name: &str, role: Role) -> Result<&Action, BookingError> {
        let action = self.actions.get(name).ok_or_else(|| BookingError::UnknownAction(name.to_owned()))?;
        if action.roles.contains(role.as_str()) {
            Ok(action)
        } else {
            Err(Forbidden(format!("`{name}` is not for the role {}", role.as_str())).into())
        }
    }
}

impl Booking {
    /// What the rules in use make of it, or, for a patient who meets it, the version on trial.
    pub(super) async fn decide(&self, rules: &InForce, asked: &Asked<'_>, before: Option<&Arc<Revision>>) -> Decided {
        let used = self.prepare(&rules.used, asked, before).await;
        let (Some(candidate), Some(trying)) = (&rules.candidate, &self.trying) else { return used };
        if let Some(call) = call(rules, asked, before, &used) {
            trying.observe(call);
        }
        if candidate.terms.canary.is_none() {
            return used;
        }
        let known = before.map(|before| &**before).or(used.as_ref().ok().map(|used| &used.change.revision));
        if known.is_some_and(|known| !candidate.meets(&known.patient)) {
            return used;
        }
        let tried = self.prepare(&candidate.rules, asked, before).await;
        // Of whom the rules in use would not book, the candidate may know who it is.
        let known = known.or(tried.as_ref().ok().map(|tried| &tried.change.revision));
        if !known.is_some_and(|known| candidate.meets(&known.patient)) {
            return used;
        }
        // Whom it knows under a key that does not meet it would meet another version from then on.
        if tried.as_ref().is_ok_and(|tried| !candidate.meets(&tried.change.revision.patient)) {
            return used;
        }
        if let Some(tally) = tally(&used, &tried) {
            trying.count(rules.used.country, candidate, tally).await;
        }
        // Whoever could be served is.
        if matches!(tried, Err(BookingError::RulesUnavailable(_))) { used } else { tried }
    }

    /// What these rules make of it. Whatever they may still fail at is done here, before anything is stored: an answer of
    /// 503 means that nothing is.
    async fn prepare(&self, rules: &Arc<LoadedRules>, asked: &Asked<'_>, before: Option<&Arc<Revision>>) -> Decided {
        let (input, context, plan) = plan(rules, asked, before).await?;
        let revision = self.revision(rules, asked, before.map(|before| &**before), &plan, (input, context))?;
        let held: HashSet<&String> = before.into_iter().flat_map(|before| &before.claims).collect();
        let kept: HashSet<&String> = plan.claims.iter().collect();
        let number = revision.appointment.revision;
        let receipt = asked.key.as_ref().map(|key| key.receipt(revision.appointment.id, number, asked.now));
        let change = Change {
            take: plan.claims.iter().filter(|claim| !held.contains(claim)).cloned().collect(),
            release: held.difference(&kept).map(|claim| (*claim).clone()).collect(),
            events: plan.events.iter().map(|name| Event::new(self.ids.next(), name, &revision)).collect(),
            receipt,
            revision: revision.clone(),
        };
        fits(&change.revision)?;
        let view = shown(rules, vec![Arc::new(revision)]).await?.pop().expect("a view for each revision");
        Ok(Prepared { rules: rules.clone(), change, view })
    }

    fn revision(
        &self,
        rules: &Arc<LoadedRules>,
        asked: &Asked<'_>,
        before: Option<&Revision>,
        plan: &Plan,
        (input, context): (Vec<Field>, Context),
    ) -> Result<Revision, BookingError> {
        Ok(Revision {
            country: rules.country,
            appointment: Appointment {
                id: before.map_or_else(|| self.ids.next(), |before| before.appointment.id),
                phase: plan.phase,
                slot: plan.slot.clone(),
                revision: before.map_or(1, |before| before.appointment.revision + 1),
                attributes: plan.attributes.clone(),
            },
            starts_at: starts_at(rules, plan.slot.as_ref())?,
            claims: plan.claims.clone(),
            owner: before.map_or_else(|| asked.caller.subject.clone(), |before| before.owner.clone()),
            patient: plan.patient.clone(),
            doctor: plan.doctor.clone(),
            hospital: plan.hospital.clone(),
            created_at: before.map_or(asked.now, |before| before.created_at),
            updated_at: asked.now,
            provenance: Provenance {
                action: asked.action.to_owned(),
                input,
                context,
                rules: rules.id.clone(),
                contract: CONTRACT.to_owned(),
                host: self.host_version.to_owned(),
                subject: asked.caller.subject.clone(),
                request_id: asked.caller.request_id.clone(),
            },
        })
    }
}

/// What the rules say, with what they were given.
async fn plan(
    rules: &Arc<LoadedRules>,
    asked: &Asked<'_>,
    before: Option<&Arc<Revision>>,
) -> Result<(Vec<Field>, Context, Plan), BookingError> {
    let context = rules.context(asked.now, asked.role);
    let Some(before) = before else {
        refuse(rules, rules.check_request(&asked.request)?)?;
        let input = leaves(&asked.request)?;
        let plan = rules.book(&context, &input).await?;
        let plan = plan.map_err(|violations| refusal(rules, violations))?;
        return Ok((input, context, plan));
    };
    let action = rules.allow(asked.action, asked.role)?;
    refuse(rules, action.check(&asked.request)?)?;
    let input = leaves(&asked.request)?;
    let at = before.appointment.revision;
    if asked.if_match.as_ref().is_some_and(|seen| !seen.contains(&at)) {
        return Err(BookingError::Stale { current: at });
    }
    let plan = rules.act(&context, &before.appointment, asked.action, &input).await?;
    let plan = plan.map_err(|violations| refusal(rules, violations))?;
    Ok((input, context, plan))
}

/// What a shadow is to be asked, and what the rules in use answered; none where that was no answer of theirs.
fn call(rules: &InForce, asked: &Asked<'_>, before: Option<&Arc<Revision>>, used: &Decided) -> Option<Call> {
    let before = before.cloned();
    match used {
        Ok(Prepared { change, view, .. }) => {
            let events = change.events.iter().map(|event| event.name().to_owned()).collect();
            Some(Call::Decided { before, revision: view.revision.clone(), events: Some(events) })
        }
        Err(BookingError::Violations(No { violations, .. }) | BookingError::NotAllowedNow(No { violations, .. })) => {
            Some(Call::Refused(Refused {
                country: rules.used.country,
                before,
                action: asked.action.to_owned(),
                request: asked.request.clone(),
                role: asked.role,
                at: asked.now,
                violations: violations.clone(),
            }))
        }
        Err(_) => None,
    }
}

/// How a canary's decision stands beside the one of the rules in use. One that did not get its turn is none.
fn tally(used: &Decided, tried: &Decided) -> Option<Tally> {
    let mut tally = Tally { decided: 1, ..Tally::default() };
    match (used, tried) {
        (_, Err(BookingError::RulesUnavailable(Some(Fault::Busy)))) => return None,
        (Err(BookingError::RulesUnavailable(_)), _) | (_, Ok(_)) => {}
        (_, Err(BookingError::RulesUnavailable(_))) => tally.unanswered = 1,
        (Ok(_), Err(_)) => tally.refused = 1,
        (_, Err(BookingError::Violations(_) | BookingError::NotAllowedNow(_))) => {}
        // Neither has decided anything.
        (Err(_), Err(_)) => return None,
    }
    Some(tally)
}

/// When the slot is.
fn starts_at(rules: &Arc<LoadedRules>, slot: Option<&Slot>) -> Result<Option<Timestamp>, BookingError> {
    let Some(slot) = slot else { return Ok(None) };
    match rules.start(slot)? {
        Instant::At(instant) => Ok(Some(instant)),
        Instant::Nonexistent => Err(refusal(rules, vec![Violation::nonexistent_time()])),
    }
}

/// What the rules see of a document.
fn leaves(document: &Json) -> Result<Vec<Field>, BookingError> {
    flatten(document).map_err(|TooManyLeaves { limit }| BookingError::TooLarge { limit })
}

/// What is stored is published and mailed about later: what no topic or table could carry is refused before that.
fn fits(revision: &Revision) -> Result<(), BookingError> {
    let size = serde_json::to_vec(revision).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_REVISION { Err(BookingError::TooLarge { limit: LARGEST_REVISION }) } else { Ok(()) }
}

fn refuse(rules: &Arc<LoadedRules>, violations: Vec<Violation>) -> Result<(), BookingError> {
    if violations.is_empty() { Ok(()) } else { Err(refusal(rules, violations)) }
}

fn refusal(rules: &Arc<LoadedRules>, violations: Vec<Violation>) -> BookingError {
    let not_now = violations.iter().any(|violation| violation.code.ends_with(NOT_ALLOWED_NOW));
    let no = No { violations, rules: rules.clone() };
    if not_now { BookingError::NotAllowedNow(no) } else { BookingError::Violations(no) }
}
