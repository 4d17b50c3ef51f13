//! A synthetic request and a fixed noon, for tests.

use citas_kit::civil::{Date, Time};
use citas_kit::fields::set;
use citas_kit::{Appointment, Civil, Context, Field, Plan, Shift, Violation, ZoneClock};

/// Returns the context of a patient's request on Tuesday, 24 November 2026, 12:00 in Santiago.
pub fn noon_in_santiago() -> Context {
    let day = Date::parse("2026-11-24").expect("a date");
    // 4 April 2027, 03:00Z: the clocks of the mainland and of the island go back at the same instant.
    let april = Date::parse("2027-04-04").expect("a date").days() * 86_400 + 3 * 3600;
    let winter = |offset_minutes| Shift { at: april, offset_minutes };
    Context {
        now: day.days() * 86_400 + 15 * 3600,
        clocks: vec![
            clock("America/Santiago", day.at(Time::new(12, 0)), -180, Some(winter(-240))),
            clock("Pacific/Easter", day.at(Time::new(10, 0)), -300, Some(winter(-360))),
            clock("America/Punta_Arenas", day.at(Time::new(12, 0)), -180, None),
            clock("America/Coyhaique", day.at(Time::new(12, 0)), -180, None),
        ],
        role: "patient".into(),
    }
}

fn clock(zone: &str, now: Civil, offset_minutes: i16, next: Option<Shift>) -> ZoneClock {
    let first = Shift { at: 0, offset_minutes };
    ZoneClock { zone: zone.into(), now, shifts: [first].into_iter().chain(next).collect() }
}

/// Returns a plain request with these leaves changed.
pub fn request(changes: &[(&str, &str)]) -> Vec<Field> {
    let example = [
        ("/doctor", "123456"),
        ("/hospital", "109100"),
        ("/date", "2026-12-01"),
        ("/time", "09:30"),
        ("/run", "12.345.678-5"),
        ("/comuna", "13101"),
        ("/email", "ana@example.com"),
        ("/prevision/system", "fonasa"),
        ("/prevision/tramo", "A"),
        ("/modality", "presencial"),
    ];
    let mut fields: Vec<_> = example.map(|(path, text)| Field::text(path, text)).into();
    for (path, text) in changes {
        set(&mut fields, Field::text(path, *text));
    }
    fields
}

/// Returns the appointment that the host stores for the plain request, booked at noon.
pub fn booked() -> Appointment {
    let plan = crate::booking::book(&noon_in_santiago(), request(&[])).expect("allowed");
    Appointment { id: "0193".into(), phase: plan.phase, slot: plan.slot, revision: 1, attributes: plan.attributes }
}

/// Returns the codes of a refusal, or none if the request was allowed.
pub fn codes(answer: Result<Plan, Vec<Violation>>) -> Vec<String> {
    let violations = answer.err().unwrap_or_default();
    violations.into_iter().map(|violation| violation.code).collect()
}
