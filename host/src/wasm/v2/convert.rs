//! Converts between the types of contract 2.0.0 and the core's. No other module maps one to the other.
//!
//! Every value of the core can be converted. A value from a component is checked where the contract's types allow more
//! than the core's.

use citas_core::model::{
    self as core, ActionDescriptor, Choice, Claim, ClaimWords, Context, Demand, Descriptor, Fact, FactQuery, Message,
    Notice, Offer, Offered, Opening, Party, Plan, Relation, Role, RulesCaller, Shift, Step, Tie, Verdict, Violation,
    Wake, ZoneClock,
};
use citas_core::ports::Fault;
use jiff::Timestamp;
use jiff::civil::DateTime;

use super::wit;

pub(super) fn context(context: &Context) -> wit::Context {
    wit::Context {
        now: context.now,
        clocks: context.clocks.iter().map(zone_clock).collect(),
        caller: caller(&context.caller),
        facts: context.facts.iter().map(fact).collect(),
    }
}

fn zone_clock(clock: &ZoneClock) -> wit::ZoneClock {
    let shift = |shift: &Shift| wit::Shift { at: shift.at, offset_minutes: shift.offset_minutes };
    wit::ZoneClock { zone: clock.zone.clone(), now: civil(clock.now), shifts: clock.shifts.iter().map(shift).collect() }
}

fn caller(caller: &RulesCaller) -> wit::Caller {
    let tie =
        |Tie { patient, relation }: &Tie| wit::Tie { patient: patient.clone(), relation: self::relation(*relation) };
    wit::Caller {
        role: role(caller.role),
        account: caller.account.clone(),
        ties: caller.ties.iter().map(tie).collect(),
        hospitals: caller.hospitals.clone(),
    }
}

pub(super) fn role(role: Role) -> wit::Role {
    match role {
        Role::Patient => wit::Role::Patient,
        Role::Staff => wit::Role::Staff,
        Role::Platform => wit::Role::Platform,
        Role::Clock => wit::Role::Clock,
    }
}

fn relation(relation: Relation) -> wit::Relation {
    match relation {
        Relation::Oneself => wit::Relation::Oneself,
        Relation::Parent => wit::Relation::Parent,
        Relation::Guardian => wit::Relation::Guardian,
        Relation::Carer => wit::Relation::Carer,
    }
}

pub(super) fn party(party: Party) -> wit::Party {
    match party {
        Party::Patient => wit::Party::Patient,
        Party::Doctor => wit::Party::Doctor,
        Party::Hospital => wit::Party::Hospital,
    }
}

pub(super) fn demand(demand: Demand) -> wit::Demand {
    match demand {
        Demand::Access => wit::Demand::Access,
        Demand::Rectification => wit::Demand::Rectification,
        Demand::Erasure => wit::Demand::Erasure,
        Demand::Objection => wit::Demand::Objection,
        Demand::Portability => wit::Demand::Portability,
        Demand::Blocking => wit::Demand::Blocking,
    }
}

fn fact(Fact { name, appointments, more }: &Fact) -> wit::Fact {
    wit::Fact { name: name.clone(), appointments: appointments.iter().map(appointment).collect(), more: *more }
}

pub(super) fn opening(opening: &Opening) -> wit::Opening {
    wit::Opening {
        slot: slot(&opening.slot),
        doctor: opening.doctor.clone(),
        hospital: opening.hospital.clone(),
        places: opening.places,
        fields: fields(&opening.fields),
    }
}

pub(super) fn civil(time: DateTime) -> wit::Civil {
    wit::Civil {
        year: time.year(),
        month: time.month().unsigned_abs(),
        day: time.day().unsigned_abs(),
        hour: time.hour().unsigned_abs(),
        minute: time.minute().unsigned_abs(),
    }
}

fn slot(slot: &core::Slot) -> wit::Slot {
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
    let step = |Step { action, role, at }: &Step| wit::Step {
        action: action.clone(),
        role: self::role(*role),
        at: at.as_second(),
    };
    let wake = |Wake { at, action }: &Wake| wit::Wake { at: at.as_second(), action: action.clone() };
    wit::Appointment {
        id: appointment.id.to_string(),
        phase: phase(appointment.phase),
        slot: appointment.slot.as_ref().map(slot),
        starts_at: appointment.starts_at.map(Timestamp::as_second),
        created_at: appointment.created_at.as_second(),
        patient: appointment.patient.clone(),
        doctor: appointment.doctor.clone(),
        hospital: appointment.hospital.clone(),
        unverified: appointment.unverified,
        wake: appointment.wake.as_ref().map(wake),
        revision: appointment.revision,
        steps: appointment.steps.iter().map(step).collect(),
        attributes: fields(&appointment.attributes),
    }
}

fn phase(phase: core::Phase) -> wit::Phase {
    match phase {
        core::Phase::Requested => wit::Phase::Requested,
        core::Phase::Waitlisted => wit::Phase::Waitlisted,
        core::Phase::Pending => wit::Phase::Pending,
        core::Phase::Booked => wit::Phase::Booked,
        core::Phase::Arrived => wit::Phase::Arrived,
        core::Phase::Fulfilled => wit::Phase::Fulfilled,
        core::Phase::Cancelled => wit::Phase::Cancelled,
        core::Phase::NoShow => wit::Phase::NoShow,
    }
}

pub(super) fn verdict_of(verdict: Result<wit::Plan, wit::Refusal>) -> Result<Verdict, Fault> {
    match verdict {
        Ok(plan) => plan_of(plan).map(Ok),
        Err(wit::Refusal::Violations(violations)) => Ok(Err(violations.into_iter().map(violation_of).collect())),
        Err(wit::Refusal::Fault(words)) => Err(Fault::Failed(words)),
    }
}

fn plan_of(plan: wit::Plan) -> Result<Plan, Fault> {
    Ok(Plan {
        phase: phase_of(plan.phase),
        slot: plan.slot.map(slot_of).transpose()?,
        claims: claims_of(plan.claims),
        choices: plan.choices.into_iter().map(choice_of).collect::<Result<_, _>>()?,
        patient: plan.patient,
        doctor: plan.doctor,
        hospital: plan.hospital,
        attributes: fields_of(plan.attributes)?,
        events: plan.events,
        wake: plan.wake.map(wake_of).transpose()?,
        off_agenda: plan.off_agenda,
    })
}

fn claims_of(claims: Vec<wit::Claim>) -> Vec<Claim> {
    claims.into_iter().map(|wit::Claim { key, places, personal }| Claim { key, places, personal }).collect()
}

fn choice_of(wit::Choice { claims, attributes }: wit::Choice) -> Result<Choice, Fault> {
    Ok(Choice { claims: claims_of(claims), attributes: fields_of(attributes)? })
}

fn wake_of(wit::Wake { at, action }: wit::Wake) -> Result<Wake, Fault> {
    let at = Timestamp::from_second(at)
        .map_err(|_| Fault::BadAnswer(format!("a wake at {at}, which is no Unix time in seconds")))?;
    Ok(Wake { at, action })
}

pub(super) fn query_of(query: wit::Query) -> FactQuery {
    let of = match query.of {
        wit::Party::Patient => Party::Patient,
        wit::Party::Doctor => Party::Doctor,
        wit::Party::Hospital => Party::Hospital,
    };
    FactQuery {
        name: query.name,
        of,
        key: query.key,
        phases: query.phases.into_iter().map(phase_of).collect(),
        since: query.since,
        until: query.until,
        at_most: query.at_most,
    }
}

fn violation_of(violation: wit::Violation) -> Violation {
    let wit::Violation { path, code, params, conflict } = violation;
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
        wit::Phase::Waitlisted => core::Phase::Waitlisted,
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

pub(super) fn opening_of(opening: wit::Opening) -> Result<Opening, Fault> {
    let wit::Opening { slot, doctor, hospital, places, fields } = opening;
    Ok(Opening { slot: slot_of(slot)?, doctor, hospital, places, fields: fields_of(fields)? })
}

pub(super) fn offered_of(offered: wit::Offered) -> Result<Offered, Fault> {
    let offer = |offer: wit::Offer| {
        Ok(Offer {
            opening: usize::try_from(offer.opening).unwrap_or(usize::MAX),
            slot: slot_of(offer.slot)?,
            claims: claims_of(offer.claims),
            choices: offer.choices.into_iter().map(choice_of).collect::<Result<_, _>>()?,
            request: fields_of(offer.request)?,
        })
    };
    let offers = offered.offers.into_iter().map(offer).collect::<Result<_, Fault>>()?;
    Ok(Offered { offers, reason: offered.reason.map(violation_of) })
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
        claims: descriptor.claims.into_iter().map(claim_words_of).collect(),
        keep_days: descriptor.keep_days,
        horizon_days: Some(descriptor.horizon_days),
        adult_age: Some(descriptor.adult_age),
    }
}

fn action_of(action: wit::Action) -> ActionDescriptor {
    let wit::Action { name, roles, input_schema } = action;
    let word = |role: wit::Role| match role {
        wit::Role::Patient => Role::Patient,
        wit::Role::Staff => Role::Staff,
        wit::Role::Platform => Role::Platform,
        wit::Role::Clock => Role::Clock,
    };
    let roles = roles.into_iter().map(|role| word(role).as_str().to_owned()).collect();
    ActionDescriptor { name, roles, input_schema }
}

fn claim_words_of(wit::ClaimWords { prefix, path, code }: wit::ClaimWords) -> ClaimWords {
    ClaimWords { prefix, path, code }
}

fn message_of(message: wit::Message) -> Message {
    let wit::Message { code, locale, text } = message;
    Message { code, locale, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_has_the_size_by_which_inputs_are_weighed() {
        assert_eq!(
            size_of::<wit::Field>(),
            crate::wasm::size::weight(&[core::Field { path: String::new(), value: core::Value::Flag(true) }])
        );
    }
}
