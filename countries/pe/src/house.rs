//! House rules: opening hours, lengths, and deadlines for changes. They are the platform's own decisions, not law.

use citas_kit::Context;
use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::house::House;
use citas_kit::quotas::Quotas;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::settings::Setting;

use crate::emergency;
use crate::holidays::HOLIDAYS;
use crate::patient::Patient;

/// ISO 3166-1 code, and the first part of every violation code.
pub const COUNTRY: &str = "pe";

/// Peru's time zone. Its offset is the same all year.
pub const ZONE: &str = "America/Lima";

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 2;

/// Age of majority in years: from it on, parents no longer act for their child (Civil Code, art. 42).
pub const ADULT_AGE: u8 = 18;

/// Length of every appointment: half an hour, from any quarter hour.
pub const LENGTH: Length = Length { minutes: 30, every: 15 };

/// Opening hours from Monday to Saturday.
const HOURS: Hours = Hours { opens: Time::new(7, 0), closes: Time::new(20, 0) };

/// Peru's house rules. The messages name the quotas.
pub static HOUSE: House = House {
    schedule: Schedule {
        country: COUNTRY,
        week: Week { weekdays: HOURS, saturday: HOURS },
        holidays: &[HOLIDAYS],
        lead_minutes: 60,
        horizon_days: 90,
        claim_minutes: 15,
    },
    change_hours: CHANGE_HOURS,
    arrival_hours: 2,
    reminder_hours: Some(24),
    quotas: Quotas { patient: 3, account: 10 },
    places: &["/district", "/emergency"],
    visit: |context, request, _| visit(context, request),
    setting: |_| Setting::Doctor,
    patient: |request| Patient::booked(request).key(),
};

/// Returns everything that determines when this appointment may take place.
pub fn visit<'a>(context: &'a Context, request: Fields) -> Visit<'a> {
    Visit {
        context,
        clock: context.clock(ZONE).expect("the host gives a clock for each zone of the descriptor"),
        place: request.text("/district").unwrap_or_default().into(),
        length: LENGTH,
        urgent: emergency::is_recorded(context, request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::book;
    use crate::samples::{booked, by, emergency, noon_in_lima, request};
    use citas_kit::testing::civil;
    use citas_kit::{Appointment, Field, Offered, Opening, Phase, Place, Role, Slot};

    fn opening(date: &str, time: &str, minutes: u16) -> Opening {
        Opening {
            slot: Slot { start: civil(date, time), minutes, zone: ZONE.into() },
            doctor: Some("45678".into()),
            hospital: Some("00006219".into()),
            places: 1,
            fields: Vec::new(),
        }
    }

    fn place(fields: Vec<Field>) -> Place {
        Place { doctor: Some("45678".into()), hospital: Some("00006219".into()), fields }
    }

    fn ana() -> Vec<Field> {
        vec![Field::text("/district", "150122"), Field::text("/dni", "10117410")]
    }

    fn offers(fields: Vec<Field>, openings: &[Opening]) -> Offered {
        HOUSE.offers(&noon_in_lima(), &place(fields), None, openings)
    }

    fn reason(offered: &Offered) -> Option<&str> {
        assert!(offered.offers.is_empty(), "{offered:?}");
        offered.reason.as_ref().map(|reason| reason.code.as_str())
    }

    #[test]
    fn openings_are_kept_that_may_be_booked() {
        let openings = [
            opening("2026-12-01", "09:40", 30),
            opening("2026-12-01", "09:30", 30),
            opening("2026-12-08", "09:30", 30),
            opening("2026-12-01", "10:00", 15),
            opening("2026-11-29", "10:00", 30),
            opening("2026-12-01", "19:30", 60),
        ];
        let offered = offers(ana(), &openings);
        let found: Vec<_> = offered.offers.iter().map(|offer| (offer.opening, offer.slot.minutes)).collect();
        assert_eq!(found, [(1, 30), (5, 30)]);
        assert_eq!(offered.reason, None);
    }

    #[test]
    fn what_is_offered_can_be_booked_and_claims_what_the_offer_says() {
        let openings = [opening("2026-12-01", "09:30", 30), opening("2026-12-02", "10:15", 30)];
        let offered = offers(ana(), &openings);
        assert_eq!(offered.offers.len(), 2);
        for offer in offered.offers {
            let leaves = offer.request.iter().map(|field| (field.path.as_str(), Fields::new(&offer.request)));
            let leaves: Vec<_> = leaves.map(|(path, fields)| (path, fields.text(path).expect("a text"))).collect();
            let plan = book(&noon_in_lima(), request(&leaves)).expect("allowed");
            assert_eq!((plan.claims, plan.slot), (offer.claims, Some(offer.slot)));
        }
    }

    #[test]
    fn an_empty_offer_has_a_reason() {
        let holiday = [opening("2026-12-08", "09:30", 30), opening("2026-12-08", "10:00", 30)];
        assert_eq!(reason(&offers(ana(), &holiday)), Some("pe.date.holiday"));
        assert_eq!(reason(&offers(ana(), &[opening("2026-11-29", "10:00", 30)])), Some("pe.time.closed"));
        assert_eq!(reason(&offers(ana(), &[])), None);
        let late = Context { now: noon_in_lima().now + 7 * 86_400 - 10_000, ..noon_in_lima() };
        let offered = HOUSE.offers(&late, &place(ana()), Some(&booked()), &[opening("2026-12-02", "09:30", 30)]);
        assert_eq!(reason(&offered), Some("pe.reschedule.too-late"));
        let over = Appointment { phase: Phase::Cancelled, ..booked() };
        let offered = HOUSE.offers(&noon_in_lima(), &place(ana()), Some(&over), &holiday);
        assert_eq!(reason(&offered), Some("pe.reschedule.not-allowed-now"));
    }

    #[test]
    fn an_appointment_is_moved_to_its_own_doctor_only() {
        let other = Opening { doctor: Some("999".into()), ..opening("2026-12-02", "09:30", 30) };
        let elsewhere = Opening { hospital: Some("00000001".into()), ..opening("2026-12-02", "09:30", 30) };
        let openings = [other, elsewhere, opening("2026-12-02", "10:15", 30)];
        let anywhere = Place { doctor: None, hospital: None, fields: Vec::new() };
        let offered = HOUSE.offers(&noon_in_lima(), &anywhere, Some(&booked()), &openings);
        assert_eq!(offered.offers.len(), 1);
        let offer = &offered.offers[0];
        assert_eq!(offer.request, [Field::text("/date", "2026-12-02"), Field::text("/time", "10:15")]);
        let moved = HOUSE.act(&noon_in_lima(), &booked(), "reschedule", &offer.request).expect("allowed");
        assert_eq!(moved.claims, offer.claims);
    }

    #[test]
    fn a_leaf_that_the_agenda_fixes_goes_with_the_offer_and_must_be_the_one_asked_for() {
        let in_district = |district| Opening {
            fields: vec![Field::text("/district", district), Field::text("/specialty", "cardiología")],
            ..opening("2027-01-05", "09:30", 30)
        };
        let offered = offers(Vec::new(), &[in_district("040101")]);
        assert_eq!(offered.offers[0].request.last(), Some(&Field::text("/district", "040101")));
        assert_eq!(reason(&offers(ana(), &[in_district("040101")])), None);
        assert_eq!(offers(ana(), &[in_district("150122")]).offers.len(), 1);
    }

    #[test]
    fn without_a_patient_only_the_doctor_s_time_is_claimed() {
        let offered = offers(Vec::new(), &[opening("2026-12-01", "09:30", 30)]);
        let keys: Vec<_> = offered.offers[0].claims.iter().map(|claim| claim.key.as_str()).collect();
        assert_eq!(keys, ["doctor/45678/2026-12-01T14:30Z", "doctor/45678/2026-12-01T14:45Z", "live/account/a1"]);
    }

    #[test]
    fn a_doctor_without_an_agenda_has_the_house_s_hours() {
        let day = (civil("2026-12-08", "00:00"), civil("2026-12-09", "00:00"));
        let openings = HOUSE.openings(&noon_in_lima(), &place(ana()), day.0, day.1);
        assert_eq!(openings.len(), 26);
        assert_eq!(openings[0], opening("2026-12-08", "07:00", 30));
        assert_eq!(reason(&offers(ana(), &openings)), Some("pe.date.holiday"));
        let nobody = Place { doctor: None, ..place(ana()) };
        assert!(HOUSE.openings(&noon_in_lima(), &nobody, day.0, day.1).is_empty());
        let urgent = HOUSE.openings(&by(Role::Staff), &place(vec![emergency()]), day.0, day.1);
        assert_eq!(urgent.len(), 48);
    }
}
