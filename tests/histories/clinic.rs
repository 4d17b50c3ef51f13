//! Rules of a small clinic, in this process instead of a component, so that a decision costs little. They use all that a
//! ledger has to keep: claims with one place and with several, choices, personal claims, several events and scheduled
//! actions.

use citas_core::model::claim::key_of;
use citas_core::model::{
    ActionDescriptor, Appointment, Choice, Claim, Context, Descriptor, Field, Notice, Offer, Offered, Opening, Phase,
    Place, Plan, Role, Slot, Value, Verdict, Violation, Wake,
};
use citas_core::ports::{Fault, Rules};
use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

use crate::support::appointments::{at, text};

/// Zone of the clinic, five hours behind UTC.
pub const ZONE: &str = "America/Lima";

/// Length of an appointment, in minutes.
pub const MINUTES: u16 = 30;

/// Number of starts of an appointment in a day.
pub const STARTS: usize = 5;

/// Number of patients of a doctor at once, if the doctor's name ends in `group`.
pub const GROUP: u16 = 2;

/// Number of live appointments that a patient may have.
const OF_PATIENT: u16 = 2;

/// Number of live appointments that an account may have.
const OF_ACCOUNT: u16 = 3;

/// Names of an action's events.
pub fn events(action: &str) -> &'static [&'static str] {
    match action {
        "book" => &["booked"],
        "reschedule" => &["rescheduled", "moved"],
        "cancel" => &["cancelled"],
        "no-show" => &["missed"],
        "lapse" => &["lapsed"],
        _ => &[],
    }
}

/// The clinic's rules.
pub struct Clinic;

/// Returns the start of appointment `number` of the day, by the clinic's clocks.
pub fn start(number: usize) -> DateTime {
    let first = DateTime::constant(2026, 11, 24, 10, 30, 0, 0);
    first + (i64::from(MINUTES) * i64::try_from(number).unwrap()).minutes()
}

/// Returns the instant at which the clinic's clocks show a time.
fn instant(start: DateTime) -> Timestamp {
    Offset::constant(-5).to_timestamp(start).unwrap()
}

fn slot(start: DateTime) -> Slot {
    Slot { start, minutes: MINUTES, zone: ZONE.into() }
}

/// Returns the claims of a resource for the time of an appointment, a quarter of an hour each.
fn quarters(resource: &str, start: DateTime, places: u16) -> Vec<Claim> {
    let quarter = |number: i64| {
        let minute = instant(start) + (15 * number).minutes();
        Claim { places, ..Claim::new(key_of(resource, Some(minute))) }
    };
    (0..i64::from(MINUTES / 15)).map(quarter).collect()
}

/// Returns the places of a doctor, and the rooms of which an appointment with the second doctor needs any.
fn offered(doctor: &str, start: DateTime) -> (Vec<Claim>, Vec<Choice>) {
    let is_group = doctor.ends_with("group");
    let house = doctor.split('.').next().unwrap();
    let room = |room: &str| Choice {
        claims: quarters(&format!("room/{house}.{room}"), start, 1),
        attributes: vec![text("/room", room)],
    };
    let rooms = if doctor.ends_with(".2") { ["1", "2"].map(room).into() } else { Vec::new() };
    (quarters(&format!("doctor/{doctor}"), start, if is_group { GROUP } else { 1 }), rooms)
}

/// Returns the plan of an appointment at this time. `of` has the members of its request, and the account that booked it.
fn plan(of: &[Field], phase: Phase, start: DateTime, action: &str) -> Plan {
    let [doctor, patient, account] = ["/doctor", "/patient", "/account"].map(|path| read(of, path).to_owned());
    let (mut claims, choices) = offered(&doctor, start);
    claims.extend(quarters(&format!("patient/{patient}"), start, 1));
    // The plan for the first doctor has no claim with several places, so that its places depend on nobody else.
    if !doctor.ends_with(".1") {
        claims.push(Claim { places: OF_PATIENT, ..Claim::new(format!("live/patient/{patient}")) });
        claims.push(Claim { places: OF_ACCOUNT, ..Claim::new(format!("live/account/{account}")) });
    }
    let wake = Wake { at: instant(start) + i64::from(MINUTES).minutes(), action: "lapse".into() };
    Plan {
        phase,
        slot: Some(slot(start)),
        claims,
        choices,
        patient: patient.clone(),
        hospital: doctor.split('.').next().map(str::to_owned),
        attributes: [("/doctor", &doctor), ("/patient", &patient), ("/account", &account)]
            .map(|(path, value)| text(path, value))
            .into(),
        doctor: Some(doctor),
        events: events(action).iter().map(|name| (*name).to_owned()).collect(),
        wake: (phase == Phase::Booked).then_some(wake),
        off_agenda: false,
    }
}

/// Returns the plan of a stored appointment.
pub fn plan_of(appointment: &Appointment) -> Plan {
    let start = appointment.slot.as_ref().unwrap().start;
    let mut plan = plan(&appointment.attributes, appointment.phase, start, "");
    if !appointment.phase.is_live() {
        plan.claims.clear();
        plan.choices.clear();
    }
    plan
}

fn read<'a>(fields: &'a [Field], path: &str) -> &'a str {
    let found = fields.iter().find(|field| field.path == path);
    let Some(Field { value: Value::Text(text), .. }) = found else { panic!("{path} is missing in {fields:?}") };
    text
}

/// Returns the start that a request names, if it has not passed.
fn wanted(context: &Context, fields: &[Field]) -> Result<DateTime, Vec<Violation>> {
    let start: DateTime = read(fields, "/start").parse().unwrap();
    let is_ahead = instant(start).as_second() > context.now;
    if is_ahead { Ok(start) } else { Err(vec![Violation::new("/start", "pe.start.past")]) }
}

fn not_now() -> Verdict {
    Err(vec![Violation { conflict: true, ..Violation::new("", "pe.not-now") }])
}

impl Rules for Clinic {
    fn contract(&self) -> &'static str {
        "2.0.0"
    }

    fn describe(&self) -> Result<Descriptor, Fault> {
        let action = |name: &str, roles: &[&str], input_schema: &str| ActionDescriptor {
            name: name.into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            input_schema: input_schema.into(),
        };
        let start = r#"{ "type": "object", "required": ["start"], "properties": { "start": { "type": "string" } } }"#;
        Ok(Descriptor {
            country: "pe".into(),
            version: "1.0.0".into(),
            zones: vec![ZONE.into()],
            locales: vec!["en".into()],
            request_schema: r#"{
                "type": "object", "required": ["start", "doctor", "patient"],
                "properties": { "start": { "type": "string" }, "doctor": { "type": "string" }, "patient": { "type": "string" } }
            }"#
            .into(),
            appointment_schema: "{}".into(),
            actions: vec![
                action("reschedule", &["patient", "staff"], start),
                action("cancel", &["patient", "staff"], "{}"),
                action("no-show", &["staff"], "{}"),
                action("lapse", &["clock"], "{}"),
            ],
            messages: vec![],
            claims: vec![],
            keep_days: None,
            horizon_days: Some(2),
            adult_age: None,
        })
    }

    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        let account = text("/account", &context.caller.account);
        let of = [request, &[account]].concat();
        Ok(wanted(context, request).map(|start| plan(&of, Phase::Booked, start, "book")))
    }

    fn act(&self, context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Verdict, Fault> {
        let start = current.slot.as_ref().unwrap().start;
        let has_begun = instant(start).as_second() <= context.now;
        if current.phase != Phase::Booked {
            return Ok(not_now());
        }
        let (phase, start) = match action {
            "reschedule" => match wanted(context, input) {
                Ok(start) => (Phase::Booked, start),
                Err(violations) => return Ok(Err(violations)),
            },
            "cancel" if !has_begun => (Phase::Cancelled, start),
            "no-show" if has_begun => (Phase::NoShow, start),
            "lapse" => (Phase::NoShow, start),
            _ => return Ok(not_now()),
        };
        Ok(Ok(plan(&current.attributes, phase, start, action)))
    }

    fn present(&self, _: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        Ok(appointments.iter().map(|appointment| appointment.attributes.clone()).collect())
    }

    fn has_openings(&self) -> bool {
        true
    }

    fn openings(&self, _: &Context, place: &Place, since: DateTime, until: DateTime) -> Result<Vec<Opening>, Fault> {
        let opening = |start| Opening {
            slot: slot(start),
            doctor: place.doctor.clone(),
            hospital: place.hospital.clone(),
            places: if place.doctor.as_ref().is_some_and(|doctor| doctor.ends_with("group")) { GROUP } else { 1 },
            fields: Vec::new(),
        };
        let starts = (0..STARTS).map(start).filter(|start| (since..until).contains(start));
        Ok(starts.map(opening).collect())
    }

    fn offers(
        &self,
        context: &Context,
        _: &Place,
        _: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        let is_ahead = |opening: &Opening| instant(opening.slot.start).as_second() > context.now;
        let offers =
            openings.iter().enumerate().filter(|(_, opening)| is_ahead(opening)).filter_map(|(index, opening)| {
                let (claims, choices) = offered(opening.doctor.as_ref()?, opening.slot.start);
                let request =
                    vec![text("/start", &opening.slot.start.to_string()), text("/doctor", opening.doctor.as_ref()?)];
                Some(Offer { opening: index, slot: opening.slot.clone(), claims, choices, request })
            });
        Ok(Some(Offered { offers: offers.collect(), reason: None }))
    }

    fn notices(&self, _: &str, _: &Appointment) -> Result<Vec<Notice>, Fault> {
        Ok(Vec::new())
    }
}

/// Returns the time at which every history begins, half an hour before the first appointment.
pub fn opening_time() -> Timestamp {
    at("2026-11-24T15:00:00Z")
}

/// Returns a time at which every scheduled action is due.
pub fn closing_time() -> Timestamp {
    at("2026-11-25T05:00:00Z")
}
