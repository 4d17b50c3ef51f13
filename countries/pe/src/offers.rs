//! Selects the openings of a doctor that may be booked.

use citas_kit::fields::{Fields, unpadded};
use citas_kit::{Context, Field, Offer, Slot};

use crate::house::{SCHEDULE, visit};
use crate::patient::Patient;

/// Returns the openings that Peru allows, with the claims that booking each would take.
pub fn offers(context: &Context, place: &[Field], openings: &[Slot]) -> Vec<Offer> {
    let place = Fields::new(place);
    let visit = visit(context, place);
    let doctor = place.text("/doctor").map(unpadded);
    let patient = Patient::booked(place).key();
    let offer = |opening| SCHEDULE.offer(&visit, opening, doctor, patient.as_deref());
    openings.iter().filter_map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{noon_in_lima, request};
    use citas_kit::civil::{Date, Time};

    fn opening(date: &str, time: &str, minutes: u16) -> Slot {
        let start = Date::parse(date).expect(date).at(Time::parse(time).expect(time));
        Slot { start, minutes, zone: "America/Lima".into() }
    }

    #[test]
    fn openings_are_kept_that_may_be_booked() {
        let openings = [
            opening("2026-12-01", "09:30", 30),
            opening("2026-12-01", "09:40", 30),
            opening("2026-12-08", "09:30", 30),
            opening("2026-12-01", "10:00", 15),
            opening("2026-11-29", "10:00", 30),
            Slot { zone: "Nowhere".into(), ..opening("2026-12-01", "11:00", 30) },
            opening("2026-12-01", "19:30", 60),
        ];
        let offers = offers(&noon_in_lima(), &request(&[]), &openings);
        let starts: Vec<_> = offers.iter().map(|offer| (offer.slot.start.hour, offer.slot.minutes)).collect();
        assert_eq!(starts, [(9, 30), (19, 30)]);
        assert_eq!(offers[0].claims.len(), 4);
    }

    #[test]
    fn without_a_patient_only_the_doctor_s_time_is_claimed() {
        let place = [Field::text("/doctor", "045678")];
        let offers = offers(&noon_in_lima(), &place, &[opening("2026-12-01", "09:30", 30)]);
        assert_eq!(offers[0].claims, ["doctor/45678/2026-12-01T14:30Z", "doctor/45678/2026-12-01T14:45Z"]);
    }
}
