//! Selects the openings of a doctor that may be booked.

use citas_kit::fields::{Fields, unpadded};
use citas_kit::{Context, Field, Offer, Slot};

use crate::house::{SCHEDULE, visit, zone};
use crate::patient::Patient;

/// Returns the openings that Chile allows, with the claims that booking each would take. An opening is offered in the
/// time of the patient's comuna, or in its own zone while the comuna is unknown.
pub fn offers(context: &Context, place: &[Field], openings: &[Slot]) -> Vec<Offer> {
    let place = Fields::new(place);
    let zone = zone(place);
    let doctor = place.text("/doctor").map(unpadded);
    let patient = Patient::booked(place).map(|patient| patient.key());
    let offer = |opening: &Slot| {
        let clock = context.clock(zone.unwrap_or(&opening.zone))?;
        let visit = visit(context, clock, place);
        SCHEDULE.offer(&visit, opening, doctor, patient.as_deref())
    };
    openings.iter().filter_map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{noon_in_santiago, request};
    use citas_kit::civil::{Date, Time};

    fn opening(date: &str, time: &str, zone: &str) -> Slot {
        let start = Date::parse(date).expect(date).at(Time::parse(time).expect(time));
        Slot { start, minutes: 30, zone: zone.into() }
    }

    #[test]
    fn openings_are_kept_that_may_be_booked() {
        let openings = [
            opening("2026-12-01", "09:30", "America/Santiago"),
            opening("2026-12-01", "09:40", "America/Santiago"),
            opening("2026-12-08", "09:30", "America/Santiago"),
            opening("2026-12-01", "09:30", "Nowhere"),
        ];
        let offers = offers(&noon_in_santiago(), &request(&[]), &openings);
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].claims.len(), 6);
    }

    #[test]
    fn the_modality_decides_the_length() {
        let place = request(&[("/modality", "remota")]);
        let openings = [opening("2026-12-01", "09:40", "America/Santiago")];
        let offers = offers(&noon_in_santiago(), &place, &openings);
        assert_eq!(offers[0].slot.minutes, 20);
        assert_eq!(offers[0].claims.len(), 4);
    }

    #[test]
    fn a_patient_on_the_island_sees_a_doctor_of_the_mainland_by_island_time() {
        let place = request(&[("/comuna", "05201")]);
        let openings =
            [opening("2026-12-01", "12:30", "America/Santiago"), opening("2026-12-01", "09:30", "America/Santiago")];
        let offers = offers(&noon_in_santiago(), &place, &openings);
        assert_eq!(offers.len(), 1, "half past seven is too early on the island");
        assert_eq!((offers[0].slot.start.hour, offers[0].slot.zone.as_str()), (10, "Pacific/Easter"));
        assert_eq!(offers[0].claims[0], "doctor/123456/2026-12-01T15:30Z");
    }

    #[test]
    fn without_a_comuna_the_opening_s_own_clock_counts() {
        let openings = [opening("2026-12-01", "09:30", "America/Punta_Arenas")];
        let offers = offers(&noon_in_santiago(), &[Field::text("/doctor", "00123456")], &openings);
        assert_eq!(offers[0].slot.zone, "America/Punta_Arenas");
        assert_eq!(offers[0].claims.len(), 3);
        assert_eq!(offers[0].claims[0], "doctor/123456/2026-12-01T12:30Z");
    }
}
