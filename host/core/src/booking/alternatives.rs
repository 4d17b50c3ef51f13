//! Finds free slots near a taken one: the slots that the country offers there, without those whose claims are held.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};

use crate::booking::error::{BookingError, FreeSlot};
use crate::model::{Claim, Offer, Opening, Place, Pseudonyms, Revision, Slot};
use crate::ports::{Ledger, Taken};
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
    names: &Pseudonyms,
    rules: &Arc<LoadedRules>,
    wanted: &Revision,
    before: Option<&Revision>,
) -> Result<Vec<FreeSlot>, BookingError> {
    let appointment = &wanted.appointment;
    let Some(slot) = appointment.slot.clone() else { return Ok(Vec::new()) };
    let attributes = before.map_or_else(Vec::new, |before| before.appointment.attributes.clone());
    let place = Place {
        doctor: appointment.doctor.clone(),
        hospital: appointment.hospital.clone(),
        fields: [wanted.provenance.input.as_slice(), &attributes].concat(),
    };
    let context = wanted.provenance.context.clone();
    let (called, openings) = (rules.clone(), around(&slot, &place));
    let current = before.map(|before| before.appointment.clone());
    let ask = move || called.offers(&context, &place, current.as_ref(), &openings);
    let offers = executor.run(rules.country, ask).await??.offers;
    let kept = |claim: &Claim| {
        let personal = claim.is_about(&appointment.patient);
        names.claim(rules.country, Claim { personal, ..claim.clone() })
    };
    let all = offers
        .iter()
        .flat_map(|offer| offer.claims.iter().chain(offer.choices.iter().flat_map(|choice| &choice.claims)).map(&kept));
    let claims: Vec<Claim> = all.collect::<HashSet<_>>().into_iter().collect();
    let mut taken = Taken::new();
    for asked in claims.chunks(MAX_CLAIMS_ASKED) {
        taken.extend(ledger.taken(rules.country, asked).await?);
    }
    let own = before.map(|before| before.appointment.id);
    let has_place = |claim: &Claim| {
        let claim = kept(claim);
        let holders = taken.get(&claim.key).into_iter().flatten();
        let places: HashSet<u16> =
            holders.filter(|(_, holder)| Some(*holder) != own).map(|(ordinal, _)| *ordinal).collect();
        (0..claim.places).any(|ordinal| !places.contains(&ordinal))
    };
    let free = |offer: &Offer| {
        let is_free = |claims: &[Claim]| claims.iter().all(has_place);
        let is_chosen = offer.choices.is_empty() || offer.choices.iter().any(|choice| is_free(&choice.claims));
        is_free(&offer.claims) && is_chosen
    };
    let mut named: HashSet<Timestamp> = before.and_then(|before| before.appointment.starts_at).into_iter().collect();
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

/// Returns openings of the same length on both sides of the wanted slot, back to back with it.
fn around(wanted: &Slot, place: &Place) -> Vec<Opening> {
    let steps = (-STEPS..=STEPS).filter(|step| *step != 0);
    let start = |step: i64| wanted.start.checked_add((step * i64::from(wanted.minutes)).minutes()).ok();
    let opening = |start| Opening {
        slot: Slot { start, ..wanted.clone() },
        doctor: place.doctor.clone(),
        hospital: place.hospital.clone(),
        places: 1,
        fields: Vec::new(),
    };
    steps.filter_map(start).map(opening).collect()
}
