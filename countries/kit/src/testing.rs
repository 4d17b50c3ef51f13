//! Contexts and appointments for a country's tests, as the host would make them.

use crate::civil::{Date, Time};
use crate::fields::set;
use crate::{Appointment, Caller, Civil, Context, Field, Plan, Role, Shift, Step, Violation, ZoneClock};

/// Returns a caller without ties.
#[must_use]
pub fn caller(role: Role, account: &str) -> Caller {
    Caller { role, account: account.into(), ties: Vec::new(), hospitals: None }
}

/// Returns the civil time of a date and a time of day.
///
/// # Panics
/// Panics if there is no such time.
#[must_use]
pub fn civil(date: &str, time: &str) -> Civil {
    Date::parse(date).expect(date).at(Time::parse(time).expect(time))
}

/// Returns the clock of a zone with this offset from UTC from 400 days ago until `later`.
#[must_use]
pub fn clock(zone: &str, now: Civil, offset_minutes: i16, later: Option<Shift>) -> ZoneClock {
    let first = Shift { at: 0, offset_minutes };
    ZoneClock { zone: zone.into(), now, shifts: [first].into_iter().chain(later).collect() }
}

/// Returns the context of a patient's request, at the time that the first of these clocks shows.
///
/// # Panics
/// Panics if there is no clock.
#[must_use]
pub fn context(clocks: Vec<ZoneClock>) -> Context {
    let now = clocks[0].read(clocks[0].now).instant();
    Context { now, clocks, caller: caller(Role::Patient, "a1"), facts: Vec::new() }
}

/// Returns the appointment that the host stores for a plan of a first booking.
#[must_use]
pub fn stored(context: &Context, plan: Plan) -> Appointment {
    let starts_at = plan.slot.as_ref().and_then(|slot| context.start_of(slot));
    Appointment {
        id: "0193".into(),
        phase: plan.phase,
        slot: plan.slot,
        starts_at,
        created_at: context.now,
        patient: plan.patient,
        doctor: plan.doctor,
        hospital: plan.hospital,
        unverified: false,
        wake: plan.wake,
        revision: 1,
        steps: vec![Step { action: "book".into(), role: context.caller.role, at: context.now }],
        attributes: plan.attributes,
    }
}

/// Returns the appointment that the host stores for a plan of an action.
#[must_use]
pub fn next(context: &Context, current: &Appointment, action: &str, plan: Plan) -> Appointment {
    let step = Step { action: action.into(), role: context.caller.role, at: context.now };
    Appointment {
        id: current.id.clone(),
        created_at: current.created_at,
        revision: current.revision + 1,
        steps: current.steps.iter().cloned().chain([step]).collect(),
        ..stored(context, plan)
    }
}

/// Returns these text leaves, some of them changed or added.
#[must_use]
pub fn leaves(example: &[(&str, &str)], changes: &[(&str, &str)]) -> Vec<Field> {
    let mut leaves: Vec<_> = example.iter().map(|(path, text)| Field::text(path, *text)).collect();
    for (path, text) in changes {
        set(&mut leaves, Field::text(path, *text));
    }
    leaves
}

/// Returns the keys of a plan's claims.
#[must_use]
pub fn keys(plan: &Plan) -> Vec<&str> {
    plan.claims.iter().map(|claim| claim.key.as_str()).collect()
}

/// Returns the codes of a refusal, or none if the request was allowed.
#[must_use]
pub fn codes<T>(answer: Result<T, Vec<Violation>>) -> Vec<String> {
    let violations = answer.err().unwrap_or_default();
    violations.into_iter().map(|violation| violation.code).collect()
}
