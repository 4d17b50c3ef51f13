//! A synthetic request and a fixed noon, for tests.

use citas_kit::civil::{Date, Time};
use citas_kit::fields::set;
use citas_kit::{Appointment, Context, Field, Plan, Shift, Value, Violation, ZoneClock};

/// Returns the context of a patient's request on Tuesday, 24 November 2026, 12:00 in Lima.
pub fn noon_in_lima() -> Context {
    let day = Date::parse("2026-11-24").expect("a date");
    Context {
        now: day.days() * 86_400 + 17 * 3600,
        clocks: vec![ZoneClock {
            zone: "America/Lima".into(),
            now: day.at(Time::new(12, 0)),
            shifts: vec![Shift { at: 0, offset_minutes: -300 }],
        }],
        role: "patient".into(),
    }
}

/// Returns the same moment, with somebody else asking.
pub fn by(role: &str) -> Context {
    Context { role: role.into(), ..noon_in_lima() }
}

/// Returns the request of the API's example with these leaves changed.
pub fn request(changes: &[(&str, &str)]) -> Vec<Field> {
    let example = [
        ("/doctor", "45678"),
        ("/hospital", "00006219"),
        ("/date", "2026-12-01"),
        ("/time", "09:30"),
        ("/dni", "10117410-2"),
        ("/district", "150122"),
        ("/email", "ana@example.com"),
    ];
    let mut fields: Vec<_> = example.map(|(path, text)| Field::text(path, text)).into();
    for (path, text) in changes {
        set(&mut fields, Field::text(path, *text));
    }
    fields
}

/// Returns the leaf that makes a request an emergency.
pub fn emergency() -> Field {
    Field { path: "/emergency".into(), value: Value::Flag(true) }
}

/// Returns the appointment that the host stores for a plan.
pub fn stored(plan: Plan) -> Appointment {
    Appointment { id: "0193".into(), phase: plan.phase, slot: plan.slot, revision: 1, attributes: plan.attributes }
}

/// Returns the appointment of the example, booked at noon.
pub fn booked() -> Appointment {
    stored(crate::booking::book(&noon_in_lima(), request(&[])).expect("allowed"))
}

/// Returns the codes of a refusal, or none if the request was allowed.
pub fn codes(answer: Result<Plan, Vec<Violation>>) -> Vec<String> {
    let violations = answer.err().unwrap_or_default();
    violations.into_iter().map(|violation| violation.code).collect()
}
