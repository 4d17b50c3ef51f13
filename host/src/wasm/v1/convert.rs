//! Converts between the types of contract 1.0.0 and the core's. No other module maps one to the other.
//!
//! An appointment loses its wake, its steps and its keys, which the contract lacks, and `waitlisted` becomes `requested`.
//! Every other value of the core can be converted. A value from a component is checked where the contract's types allow more
//! than the core's.

use citas_core::model::{
    self as core, ActionDescriptor, Claim, Context, Descriptor, Message, Notice, Offer, Offered, Opening, Plan, Shift,
    Verdict, Violation, ZoneClock,
};
use citas_core::ports::Fault;
use jiff::civil::DateTime;

use super::wit;

/// Suffix of the violation codes that mean that the action is not possible in the appointment's phase.
const NOT_ALLOWED_NOW: &str = ".not-allowed-now";

pub(super) fn context(context: &Context) -> wit::Context {
    wit::Context {
        now: context.now,
        clocks: context.clocks.iter().map(|clock| zone_clock(clock, context.now)).collect(),
        role: context.caller.role.as_str().to_owned(),
    }
}

/// Returns the clock with the shifts from the one in force at `now` on, in Unix seconds.
fn zone_clock(clock: &ZoneClock, now: i64) -> wit::ZoneClock {
    let shift = |shift: &Shift| wit::Shift { at: shift.at, offset_minutes: shift.offset_minutes };
    let past = clock.shifts.iter().skip(1).take_while(|shift| shift.at <= now).count();
    let shifts = clock.shifts.iter().skip(past).map(shift).collect();
    wit::ZoneClock { zone: clock.zone.clone(), now: civil(clock.now), shifts }
}

fn civil(time: DateTime) -> wit::Civil {
    wit::Civil {
        year: time.year(),
        month: time.month().unsigned_abs(),
        day: time.day().unsigned_abs(),
        hour: time.hour().unsigned_abs(),
        minute: time.minute().unsigned_abs(),
    }
}

pub(super) fn slot(slot: &core::Slot) -> wit::Slot {
    wit::Slot { start: civil(slot.start), minutes: slot.minutes, zone: slot.zone.clone() }
}

pub(super) fn fields(fields: &[core::Field]) -> Vec<wit::Field> {
    fields.iter().map(|field| wit::Field { path: field.path.clone(), value: value(&field.value) }).collect()
}

fn value(value: &core::Value) -> wit::Value {
    match value {
        core::Value::Text(text) => wit::Value::Text(text.clone()),
        core::Value::Integer(number) => wit::Value::Integer(*number),
        core::Value::Decimal(number) => wit::Value::Decimal(number.clone()),
        core::Value::Flag(flag) => wit::Value::Flag(*flag),
        core::Value::Texts(texts) => wit::Value::Texts(texts.clone()),
    }
}

pub(super) fn appointment(appointment: &core::Appointment) -> wit::Appointment {
    wit::Appointment {
        id: appointment.id.to_string(),
        phase: phase(appointment.phase),
        slot: appointment.slot.as_ref().map(slot),
        revision: appointment.revision,
        attributes: fields(&appointment.attributes),
    }
}

fn phase(phase: core::Phase) -> wit::Phase {
    match phase {
        core::Phase::Requested | core::Phase::Waitlisted => wit::Phase::Requested,
        core::Phase::Pending => wit::Phase::Pending,
        core::Phase::Booked => wit::Phase::Booked,
        core::Phase::Arrived => wit::Phase::Arrived,
        core::Phase::Fulfilled => wit::Phase::Fulfilled,
        core::Phase::Cancelled => wit::Phase::Cancelled,
        core::Phase::NoShow => wit::Phase::NoShow,
    }
}

pub(super) fn verdict_of(verdict: Result<wit::Plan, Vec<wit::Violation>>) -> Result<Verdict, Fault> {
    match verdict {
        Ok(plan) => plan_of(plan).map(Ok),
        Err(violations) => Ok(Err(violations.into_iter().map(violation_of).collect())),
    }
}

fn plan_of(plan: wit::Plan) -> Result<Plan, Fault> {
    Ok(Plan {
        phase: phase_of(plan.phase),
        slot: plan.slot.map(slot_of).transpose()?,
        claims: plan.claims.into_iter().map(Claim::new).collect(),
        choices: Vec::new(),
        patient: plan.patient,
        doctor: plan.doctor,
        hospital: plan.hospital,
        attributes: fields_of(plan.attributes)?,
        events: plan.events,
        wake: None,
        off_agenda: false,
    })
}

fn violation_of(violation: wit::Violation) -> Violation {
    let wit::Violation { path, code, params } = violation;
    let conflict = code.ends_with(NOT_ALLOWED_NOW);
    Violation { path, code, params, conflict }
}

fn slot_of(slot: wit::Slot) -> Result<core::Slot, Fault> {
    Ok(core::Slot { start: time_of(slot.start)?, minutes: slot.minutes, zone: slot.zone })
}

fn time_of(civil: wit::Civil) -> Result<DateTime, Fault> {
    // A number too large for an `i8` is no month, day, hour or minute either.
    let small = |number: u8| i8::try_from(number).unwrap_or(i8::MAX);
    let wit::Civil { year, month, day, hour, minute } = civil;
    DateTime::new(year, small(month), small(day), small(hour), small(minute), 0, 0).map_err(|_| {
        Fault::BadAnswer(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02} is no date and time"))
    })
}

fn phase_of(phase: wit::Phase) -> core::Phase {
    match phase {
        wit::Phase::Requested => core::Phase::Requested,
        wit::Phase::Pending => core::Phase::Pending,
        wit::Phase::Booked => core::Phase::Booked,
        wit::Phase::Arrived => core::Phase::Arrived,
        wit::Phase::Fulfilled => core::Phase::Fulfilled,
        wit::Phase::Cancelled => core::Phase::Cancelled,
        wit::Phase::NoShow => core::Phase::NoShow,
    }
}

/// Maximum depth of a path in a result. A document that is nested too deeply cannot be written or dropped without
/// running out of stack.
const DEEPEST: usize = 32;

pub(super) fn fields_of(fields: Vec<wit::Field>) -> Result<Vec<core::Field>, Fault> {
    fields.into_iter().map(field_of).collect()
}

fn field_of(field: wit::Field) -> Result<core::Field, Fault> {
    if field.path.bytes().filter(|byte| *byte == b'/').count() > DEEPEST {
        return Err(Fault::BadAnswer(format!("a path more than {DEEPEST} levels deep")));
    }
    Ok(core::Field { path: field.path, value: value_of(field.value) })
}

fn value_of(value: wit::Value) -> core::Value {
    match value {
        wit::Value::Text(text) => core::Value::Text(text),
        wit::Value::Integer(number) => core::Value::Integer(number),
        wit::Value::Decimal(number) => core::Value::Decimal(number),
        wit::Value::Flag(flag) => core::Value::Flag(flag),
        wit::Value::Texts(texts) => core::Value::Texts(texts),
    }
}

/// Returns the offers, each with the opening that has its slot, or else the first.
pub(super) fn offered_of(offers: Vec<wit::Offer>, openings: &[Opening]) -> Result<Offered, Fault> {
    let offer = |offer: wit::Offer| {
        let slot = slot_of(offer.slot)?;
        let opening = openings.iter().position(|opening| opening.slot == slot).unwrap_or_default();
        let claims = offer.claims.into_iter().map(Claim::new).collect();
        Ok(Offer { opening, slot, claims, choices: Vec::new(), request: Vec::new() })
    };
    Ok(Offered { offers: offers.into_iter().map(offer).collect::<Result<_, _>>()?, reason: None })
}

pub(super) fn notice_of(notice: wit::Notice) -> Notice {
    let wit::Notice { to, locale, subject, text, html, invite } = notice;
    Notice { to, locale, subject, text, html, invite }
}

pub(super) fn descriptor_of(descriptor: wit::Descriptor) -> Descriptor {
    Descriptor {
        country: descriptor.country,
        version: descriptor.version,
        zones: descriptor.zones,
        locales: descriptor.locales,
        request_schema: descriptor.request_schema,
        appointment_schema: descriptor.appointment_schema,
        actions: descriptor.actions.into_iter().map(action_of).collect(),
        messages: descriptor.messages.into_iter().map(message_of).collect(),
        claims: Vec::new(),
        keep_days: None,
        horizon_days: None,
        adult_age: None,
    }
}

fn action_of(action: wit::Action) -> ActionDescriptor {
    let wit::Action { name, roles, input_schema } = action;
    ActionDescriptor { name, roles, input_schema }
}

fn message_of(message: wit::Message) -> Message {
    let wit::Message { code, locale, text } = message;
    Message { code, locale, text }
}

#[cfg(test)]
mod tests {
    use citas_core::model::{Role, Step, Wake};
    use serde_json::json;

    use super::*;

    /// An appointment with all members that only a later contract has.
    fn appointment_of_2() -> core::Appointment {
        let appointment = json!({
            "id": "00000000-0000-0000-0000-000000000007", "phase": "waitlisted",
            "slot": { "start": "2026-12-01T09:30:00", "minutes": 30, "zone": "America/Lima" },
            "startsAt": "2026-12-01T14:30:00Z", "createdAt": "2026-11-24T15:00:00Z",
            "patient": "dni:10117410", "doctor": "45678", "hospital": "00006219", "unverified": true,
            "wake": { "at": "2026-11-30T14:30:00Z", "action": "remind" }, "revision": 3,
            "steps": [{ "action": "book", "role": "patient", "at": "2026-11-24T15:00:00Z" }],
            "attributes": [{ "path": "/doctor", "value": { "text": "45678" } }],
        });
        serde_json::from_value(appointment).unwrap()
    }

    #[test]
    fn an_appointment_of_a_later_contract_loses_what_this_one_cannot_say() {
        let seen = appointment(&appointment_of_2());
        let golden = r#"Appointment { id: "00000000-0000-0000-0000-000000000007", phase: Phase::Requested, slot: Some(Slot { start: Civil { year: 2026, month: 12, day: 1, hour: 9, minute: 30 }, minutes: 30, zone: "America/Lima" }), revision: 3, attributes: [Field { path: "/doctor", value: Value::Text("45678") }] }"#;
        assert_eq!(format!("{seen:?}"), golden);
    }

    #[test]
    fn a_plan_claims_one_place_of_each_key_and_schedules_nothing() {
        let plan = wit::Plan {
            phase: wit::Phase::Booked,
            slot: None,
            claims: vec!["doctor/45678/2026-12-01T14:30Z".into()],
            patient: "dni:10117410".into(),
            doctor: None,
            hospital: None,
            attributes: vec![],
            events: vec!["booked".into()],
        };
        let golden = json!({
            "phase": "booked", "slot": null, "claims": ["doctor/45678/2026-12-01T14:30Z"], "choices": [],
            "patient": "dni:10117410", "doctor": null, "hospital": null, "attributes": [], "events": ["booked"],
            "wake": null, "offAgenda": false,
        });
        assert_eq!(json!(verdict_of(Ok(plan)).unwrap().unwrap()), golden);
    }

    #[test]
    fn a_violation_is_a_conflict_by_the_end_of_its_code() {
        let conflict = |code: &str| {
            let violation = wit::Violation { path: String::new(), code: code.into(), params: vec![] };
            verdict_of(Err(vec![violation])).unwrap().unwrap_err()[0].conflict
        };
        assert!(conflict("pe.cancel.not-allowed-now"));
        assert!(!conflict("pe.cancel.too-late"));
    }

    #[test]
    fn a_clock_begins_with_the_shift_in_force() {
        let shift = |at, offset_minutes| Shift { at, offset_minutes };
        let clock = |shifts| ZoneClock {
            zone: "America/Santiago".into(),
            now: DateTime::constant(2026, 11, 24, 12, 0, 0, 0),
            shifts,
        };
        let seen = |shifts, now| {
            zone_clock(&clock(shifts), now).shifts.into_iter().map(|shift| shift.offset_minutes).collect::<Vec<_>>()
        };
        let all = || vec![shift(i64::MIN, -240), shift(100, -180), shift(200, -240)];
        assert_eq!(seen(all(), 99), [-240, -180, -240]);
        assert_eq!(seen(all(), 100), [-180, -240]);
        assert_eq!(seen(all(), 200), [-240]);
        assert_eq!(seen(vec![shift(i64::MIN, -300)], 0), [-300]);
    }

    #[test]
    fn a_caller_is_a_role_alone() {
        let context = Context { now: 0, clocks: vec![], caller: Role::Staff.into(), facts: vec![] };
        assert_eq!(super::context(&context).role, "staff");
    }

    #[test]
    fn the_fixture_has_what_is_left_out() {
        let appointment = appointment_of_2();
        let wake = Wake { at: "2026-11-30T14:30:00Z".parse().unwrap(), action: "remind".into() };
        let step = Step { action: "book".into(), role: Role::Patient, at: appointment.created_at };
        assert_eq!(
            (appointment.phase, appointment.wake, appointment.steps),
            (core::Phase::Waitlisted, Some(wake), vec![step])
        );
    }
}
