//! Synthetic requests and appointments for tests. They are made on Tuesday, 24 November 2026, at noon in Bogotá.

use citas_kit::fields::set;
use citas_kit::testing::{caller, civil, clock, context, leaves, next, stored};
use citas_kit::{Appointment, Context, Fact, Field, Phase, Role, Step};

use crate::booking::book;
use crate::changes::act;

/// Returns the context of a patient's request.
pub fn tuesday() -> Context {
    context(vec![clock("America/Bogota", civil("2026-11-24", "12:00"), -300, None)])
}

/// Returns that context with another caller.
pub fn by(role: Role) -> Context {
    Context { caller: caller(role, "s1"), ..tuesday() }
}

/// Returns that context with a patient who has missed `number` appointments.
pub fn missed(number: usize) -> Context {
    let missed = Appointment { phase: Phase::NoShow, ..requested() };
    let fact = Fact { name: "missed".into(), appointments: vec![missed; number], more: false };
    Context { facts: vec![fact], ..tuesday() }
}

/// Returns the request of the API's example with these leaves changed.
pub fn request(changes: &[(&str, &str)]) -> Vec<Field> {
    let example = [
        ("/specialty", "medicina-general"),
        ("/document/type", "CC"),
        ("/document/number", "1.032.456.789"),
        ("/municipality", "11001"),
        ("/eps", "EPS001"),
        ("/name", "Ana Pérez"),
        ("/email", "ana@example.com"),
    ];
    leaves(&example, changes)
}

/// Returns a request of a specialist's appointment.
pub fn special_request() -> Vec<Field> {
    request(&[("/specialty", "cardiologia"), ("/authorisation", "A-102030")])
}

/// Returns a request of a vaccination at a date and a time.
pub fn vaccination(date: &str, time: &str) -> Vec<Field> {
    let timed = [("/specialty", "vacunacion"), ("/hospital", "110010000101"), ("/date", date), ("/time", time)];
    request(&timed)
}

/// Returns the input that assigns a doctor and a time.
pub fn slot(date: &str, time: &str) -> Vec<Field> {
    let input = [("/doctor", "0052123456"), ("/hospital", "110010000101"), ("/date", date), ("/time", time)];
    leaves(&input, &[])
}

/// Returns the request of the example as it is stored.
pub fn requested() -> Appointment {
    stored(&tuesday(), book(&tuesday(), request(&[])).expect("allowed"))
}

/// Returns a stored request of a specialist's appointment.
pub fn specialist() -> Appointment {
    stored(&tuesday(), book(&tuesday(), special_request()).expect("allowed"))
}

/// Returns the specialist's request, authorised.
pub fn authorised() -> Appointment {
    done(&by(Role::Staff), &specialist(), "authorise", &[])
}

/// Returns the example, assigned for Friday at nine.
pub fn assigned() -> Appointment {
    done(&by(Role::Staff), &requested(), "assign", &slot("2026-11-27", "09:00"))
}

/// Returns the example, assigned and confirmed.
pub fn booked() -> Appointment {
    done(&tuesday(), &assigned(), "confirm", &[])
}

/// Returns the confirmed example after the patient has moved it `times` times.
pub fn moved(times: usize) -> Appointment {
    let step = Step { action: "reschedule".into(), role: Role::Patient, at: tuesday().now };
    let mut booked = booked();
    booked.steps.extend(vec![step; times]);
    booked
}

/// Returns the appointment after an action that is allowed.
pub fn done(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Appointment {
    next(context, current, action, act(context, current, action, input).expect(action))
}

/// Returns the appointment with another text at a path.
pub fn with(mut appointment: Appointment, path: &str, text: &str) -> Appointment {
    set(&mut appointment.attributes, Field::text(path, text));
    appointment
}
