//! House rules: opening hours, lengths, and deadlines for changes. They are the platform's own decisions, not law.

use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::house::House;
use citas_kit::quotas::Quotas;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::settings::Setting;
use citas_kit::{Context, Slot};

use crate::comunas::{self, ZONES};
use crate::holidays::{EXTRA_DAYS, HOLIDAYS};
use crate::patient::Patient;

/// ISO 3166-1 code, and the first part of every violation code.
pub const COUNTRY: &str = "cl";

/// Age of majority in years: from it on, parents no longer act for their child (Civil Code, art. 26).
pub const ADULT_AGE: u8 = 18;

/// Length of an appointment in person: half an hour, on the hour or the half hour.
const IN_PERSON: Length = Length { minutes: 30, every: 30 };

/// Length of a remote appointment: 20 minutes, every 20 minutes from the hour.
const REMOTE: Length = Length { minutes: 20, every: 20 };

/// Chile's house rules. The claim grid is so fine that overlapping appointments of either length share a claim. The
/// messages name the quotas.
pub static HOUSE: House = House {
    schedule: Schedule {
        country: COUNTRY,
        week: Week {
            weekdays: Hours { opens: Time::new(8, 0), closes: Time::new(20, 0) },
            saturday: Hours { opens: Time::new(9, 0), closes: Time::new(14, 0) },
        },
        holidays: &[HOLIDAYS, EXTRA_DAYS],
        lead_minutes: 60,
        horizon_days: 120,
        claim_minutes: 10,
    },
    change_hours: 24,
    arrival_hours: 2,
    reminder_hours: None,
    quotas: Quotas { patient: 3, account: 10 },
    places: &["/comuna", "/modality"],
    visit,
    setting: |_| Setting::Doctor,
    patient: |request| Patient::booked(request).map(|patient| patient.key()),
};

/// Returns everything that determines when this appointment may take place. Its clock is that of the comuna in which the
/// patient will be. While that is unknown it is the opening's own, or else the most common one: a request without a
/// comuna is refused anyway, and the clock finds its other violations.
pub fn visit<'a>(context: &'a Context, request: Fields, opening: Option<&Slot>) -> Visit<'a> {
    let comuna = request.text("/comuna");
    let zone = comuna.and_then(comunas::find).map(|comuna| comuna.zone);
    let clock = zone.or(opening.map(|opening| opening.zone.as_str())).and_then(|zone| context.clock(zone));
    let commonest = || context.clock(ZONES[0]).expect("the host gives a clock for each zone of the descriptor");
    Visit {
        context,
        clock: clock.unwrap_or_else(commonest),
        place: comuna.unwrap_or_default().into(),
        length: length(request),
        urgent: false,
    }
}

/// Returns the length of an appointment with the request's modality; in person unless it says otherwise.
fn length(request: Fields) -> Length {
    match request.text("/modality") {
        Some("remota" | "telemedicina") => REMOTE,
        _ => IN_PERSON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::noon_in_santiago;
    use citas_kit::testing::civil;
    use citas_kit::{Field, Offered, Opening, Place};

    fn opening(date: &str, time: &str, zone: &str) -> Opening {
        Opening {
            slot: Slot { start: civil(date, time), minutes: 30, zone: zone.into() },
            doctor: Some("123456".into()),
            hospital: Some("109100".into()),
            places: 1,
            fields: Vec::new(),
        }
    }

    fn place(leaves: &[(&str, &str)]) -> Place {
        let fields = leaves.iter().map(|(path, text)| Field::text(path, *text)).collect();
        Place { doctor: Some("123456".into()), hospital: None, fields }
    }

    fn offers(leaves: &[(&str, &str)], openings: &[Opening]) -> Offered {
        HOUSE.offers(&noon_in_santiago(), &place(leaves), None, openings)
    }

    #[test]
    fn openings_are_kept_that_may_be_booked() {
        let openings = [
            opening("2026-12-01", "09:40", "America/Santiago"),
            opening("2026-12-01", "09:30", "America/Santiago"),
            opening("2026-12-08", "09:30", "America/Santiago"),
            opening("2026-12-01", "09:30", "Nowhere"),
        ];
        let offers = offers(&[("/comuna", "13101"), ("/run", "12345678-5")], &openings).offers;
        let found: Vec<_> = offers.iter().map(|offer| (offer.opening, offer.claims.len())).collect();
        assert_eq!(found, [(1, 8)]);
    }

    #[test]
    fn the_modality_decides_the_length() {
        let openings = [opening("2026-12-01", "09:40", "America/Santiago")];
        let remote = [("/comuna", "13101"), ("/modality", "remota")];
        let offered = offers(&remote, &openings);
        assert_eq!(offered.offers[0].slot.minutes, 20);
        let (since, until) = (civil("2026-12-01", "08:00"), civil("2026-12-01", "09:00"));
        let found = |leaves| HOUSE.openings(&noon_in_santiago(), &place(leaves), since, until).len();
        assert_eq!((found(&remote), found(&remote[..1])), (3, 2));
    }

    #[test]
    fn an_agenda_of_one_modality_has_nothing_for_another() {
        let remote = Opening {
            fields: vec![Field::text("/modality", "remota")],
            ..opening("2026-12-01", "09:40", "America/Santiago")
        };
        let asked = |modality| offers(&[("/comuna", "13101"), ("/modality", modality)], std::slice::from_ref(&remote));
        assert!(asked("presencial").offers.is_empty());
        assert_eq!(asked("remota").offers[0].request.last(), Some(&Field::text("/modality", "remota")));
        assert_eq!(offers(&[], &[remote]).offers[0].slot.minutes, 20);
    }

    #[test]
    fn a_patient_on_the_island_sees_a_doctor_of_the_mainland_by_island_time() {
        let openings =
            [opening("2026-12-01", "12:30", "America/Santiago"), opening("2026-12-01", "09:30", "America/Santiago")];
        let offers = offers(&[("/comuna", "05201")], &openings).offers;
        assert_eq!(offers.len(), 1, "half past seven is too early on the island");
        assert_eq!((offers[0].slot.start.hour, offers[0].slot.zone.as_str()), (10, "Pacific/Easter"));
        assert_eq!(offers[0].claims[0].key, "doctor/123456/2026-12-01T15:30Z");
        assert_eq!(offers[0].request[1], Field::text("/time", "10:30"));
    }

    #[test]
    fn without_a_comuna_the_opening_s_own_clock_counts() {
        let offered = offers(&[], &[opening("2026-12-01", "09:30", "America/Punta_Arenas")]);
        assert_eq!(offered.offers[0].slot.zone, "America/Punta_Arenas");
        assert_eq!(offered.offers[0].claims[0].key, "doctor/123456/2026-12-01T12:30Z");
    }
}
