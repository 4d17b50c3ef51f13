//! Finds free slots near a taken one: the slots that the country offers there, without those whose claims are held.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};

use crate::booking::Booking;
use crate::booking::decide::Decider;
use crate::booking::error::BookingError;
use crate::booking::openings::Openings;
use crate::booking::slots::{Candidate, FreeSlot, Vacancies};
use crate::model::{Opening, Place, Revision, Slot};
use crate::ports::Fault;
use crate::rules::LoadedRules;

/// Number of days on each side of the taken slot whose openings are considered, so that Monday's are near Saturday's.
const DAYS: i64 = 2;
/// Number of slots that are considered on each side of the taken one if the country has no openings.
const STEPS: i64 = 8;
/// Maximum number of free slots in a response.
const NAMED: usize = 3;

/// Returns the free slots nearest to `wanted`, the nearest first, and each time once. Claims that `before` holds count as
/// free, but the time that it already has is no alternative.
pub(super) async fn near(
    booking: &Booking,
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
    let Decider { ledger, catalogue, names, .. } = &booking.decider;
    let source = Openings::at(&place, &**ledger, &booking.agenda_lists, rules.country).await?;
    let context = wanted.provenance.context.clone();
    let (called, wanted_slot) = (rules.clone(), slot.clone());
    let current = before.map(|before| before.appointment.clone());
    let ask = move || {
        let openings = if called.has_openings() || source.are_of_an_agenda() {
            let start = wanted_slot.start;
            let (since, until) = (start.saturating_sub(DAYS.days()), start.saturating_add(DAYS.days()));
            source.find(&called, &context, &place, since, until)?
        } else {
            around(&wanted_slot, &place)
        };
        let offers = called.offers_in_parts(&context, &place, current.as_ref(), &openings)?.offers;
        Ok::<Vec<_>, Fault>(offers.into_iter().map(|offer| Candidate::new(offer, &openings, &place)).collect())
    };
    let candidates = catalogue.executor().run(rules.country, ask).await??;
    let own = before.map(|before| before.appointment.id);
    let (patient, owner) = (Some(appointment.patient.as_str()), wanted.owner.as_deref());
    let vacancies = Vacancies { ledger: &**ledger, names, rules, patient, owner, own, now: wanted.updated_at };
    let mut slots = vacancies.free(candidates).await?;
    let mut named: HashSet<Timestamp> = before.and_then(|before| before.appointment.starts_at).into_iter().collect();
    slots.retain(|free| named.insert(free.starts_at));
    let Some(asked_for) = rules.start(&slot)? else { return Ok(Vec::new()) };
    Ok(nearest(slots, asked_for))
}

/// Returns those of the slots that a response names: the nearest to this time, the nearest first.
pub(super) fn nearest(mut slots: Vec<FreeSlot>, to: Timestamp) -> Vec<FreeSlot> {
    slots.sort_by_key(|free| free.starts_at.duration_since(to).abs());
    slots.truncate(NAMED);
    slots
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
