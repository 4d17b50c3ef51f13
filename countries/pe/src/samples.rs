//! A synthetic request and a fixed noon, for tests.

use citas_kit::testing::{caller, civil, clock, context, leaves, stored};
use citas_kit::{Appointment, Context, Field, Role, Value};

/// Returns the context of a patient's request on Tuesday, 24 November 2026, 12:00 in Lima.
pub fn noon_in_lima() -> Context {
    context(vec![clock("America/Lima", civil("2026-11-24", "12:00"), -300, None)])
}

/// Returns the same moment, with somebody else asking.
pub fn by(role: Role) -> Context {
    Context { caller: caller(role, "s1"), ..noon_in_lima() }
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
    leaves(&example, changes)
}

/// Returns the leaf that makes a request an emergency.
pub fn emergency() -> Field {
    Field { path: "/emergency".into(), value: Value::Flag(true) }
}

/// Returns the appointment of the example, booked at noon.
pub fn booked() -> Appointment {
    let noon = noon_in_lima();
    stored(&noon, crate::booking::book(&noon, request(&[])).expect("allowed"))
}
