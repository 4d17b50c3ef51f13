//! Finds free slots near a taken one: the slots that the country offers there, without those whose claims are held.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};

use crate::booking::error::{BookingError, FreeSlot};
use crate::model::{Offer, Revision, Slot};
use crate::ports::Ledger;
use crate::rules::{Executor, LoadedRules};

/// Number of slots that are considered on each side of the taken one.
const STEPS: i64 = 8;
/// Maximum number of free slots in a response.
const NAMED: usize = 3;
/// Maximum number of claims in one query of the ledger.
const MAX_CLAIMS_ASKED: usize = 100;

/// Returns the free slots nearest to `wanted`, the nearest first, and each time once. Claims that `before` holds count as
/// free, but the time that it already has is no alternative.
pub(crate) async fn near(
    ledger: &dyn Ledger,
    executor: &Executor,
    rules: &Arc<LoadedRules>,
    wanted: &Revision,
    before: Option<&Revision>,
) -> Result<Vec<FreeSlot>, BookingError> {
    let Some(slot) = wanted.appointment.slot.clone() else { return Ok(Vec::new()) };
    let attributes = before.map_or_else(Vec::new, |before| before.appointment.attributes.clone());
    let place = [wanted.provenance.input.as_slice(), &attributes].concat();
    let context = wanted.provenance.context.clone();
    let (called, openings) = (rules.clone(), around(&slot));
    let offers = executor.run(rules.country, move || called.offers(&context, &place, &openings)).await??;
    let claims: HashSet<String> = offers.iter().flat_map(|offer| offer.claims.clone()).collect();
    let claims: Vec<String> = claims.into_iter().collect();
    let mut taken = HashSet::new();
    for asked in claims.chunks(MAX_CLAIMS_ASKED) {
        taken.extend(ledger.taken(rules.country, asked).await?.into_keys());
    }
    for own in before.into_iter().flat_map(|before| &before.claims) {
        taken.remove(own);
    }
    let free = |offer: &Offer| !offer.claims.iter().any(|claim| taken.contains(claim));
    let mut named: HashSet<Timestamp> = before.and_then(|before| before.starts_at).into_iter().collect();
    let mut slots = Vec::new();
    for offer in offers.into_iter().filter(free) {
        if let Some(starts_at) = rules.start(&offer.slot)?.filter(|start| named.insert(*start)) {
            slots.push(FreeSlot { slot: offer.slot, starts_at });
        }
    }
    let Some(asked_for) = rules.start(&slot)? else { return Ok(Vec::new()) };
    slots.sort_by_key(|free| free.starts_at.duration_since(asked_for).abs());
    slots.truncate(NAMED);
    Ok(slots)
}

/// Returns slots of the same length on both sides of the wanted one, back to back with it.
fn around(wanted: &Slot) -> Vec<Slot> {
    let steps = (-STEPS..=STEPS).filter(|step| *step != 0);
    let start = |step: i64| wanted.start.checked_add((step * i64::from(wanted.minutes)).minutes()).ok();
    steps.filter_map(start).map(|start| Slot { start, ..wanted.clone() }).collect()
}
