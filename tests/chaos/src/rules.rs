//! The rules of the chaos country.

use std::hint::black_box;

use crate::contract::citas::rules::types::{Appointment, Civil, Context, Field, Phase, Plan, Slot, Value, Violation};
use crate::contract::exports::citas::rules::{appointment_rules, notice_rules, slot_rules};

struct Chaos;

#[allow(unsafe_code, reason = "generated code")]
mod export {
    crate::contract::export!(Chaos with_types_in crate::contract);
    use super::Chaos;
}

const REQUEST_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["doctor", "date", "time", "email"],
  "properties": {
    "mode": { "type": "string" },
    "doctor": { "type": "string" },
    "date": { "type": "string", "format": "date" },
    "time": { "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$" },
    "email": { "type": "string", "format": "email", "x-personal": true }
  }
}"#;

const APPOINTMENT_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "doctor": { "type": "string" },
    "date": { "type": "string", "format": "date" },
    "time": { "type": "string" },
    "email": { "type": "string", "x-personal": true }
  }
}"#;

const RESCHEDULE_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["date", "time"],
  "properties": {
    "date": { "type": "string", "format": "date" },
    "time": { "type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$" }
  }
}"#;

const ZONE: &str = if cfg!(feature = "zone") { "America/Atlantis" } else { "America/Lima" };

/// Zone whose clocks change, unlike Lima's.
const SHIFTING_ZONE: &str = "America/Santiago";

const VERSION: &str = if cfg!(feature = "major") {
    "2.0.0"
} else if cfg!(feature = "later") {
    "1.1.0"
} else {
    env!("CARGO_PKG_VERSION")
};

const MALFORMED: &str = if cfg!(feature = "gossip") { "{value} is no time of day." } else { "{value} is no time." };

const MINUTES: u16 = if cfg!(feature = "later") { 45 } else { 30 };

impl appointment_rules::Guest for Chaos {
    fn describe() -> appointment_rules::Descriptor {
        if cfg!(feature = "slow-describe") {
            turn_for_ever();
        }
        #[cfg(feature = "import")]
        black_box(crate::contract::citas::chaos::outside::peek());
        appointment_rules::Descriptor {
            country: if cfg!(feature = "country") { "yy" } else { "xx" }.into(),
            version: VERSION.into(),
            zones: vec![ZONE.into(), SHIFTING_ZONE.into()],
            locales: vec!["en".into(), "es".into()],
            request_schema: request_schema(),
            appointment_schema: APPOINTMENT_SCHEMA.into(),
            actions: vec![
                action("cancel", r#"{"type": "object", "additionalProperties": false}"#),
                action("reschedule", RESCHEDULE_SCHEMA),
            ],
            messages: vec![
                message("xx.time.malformed", "en", MALFORMED),
                message("xx.time.malformed", "es", "{value} no es una hora."),
            ],
        }
    }

    fn book(_context: Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
        misbehave(if cfg!(feature = "mute") { "panic" } else { text(&request, "/mode") });
        if cfg!(feature = "gossip") {
            return Err(malformed("/time", text(&request, "/email")));
        }
        let mut plan = plan(&request)?;
        match text(&request, "/mode") {
            "many-claims" => plan.claims = (0..41).map(|number| format!("claim/{number}")).collect(),
            "impossible-date" => plan.slot = plan.slot.map(|slot| Slot { start: thirtieth_of_february(), ..slot }),
            "flood" => plan.patient = "x".repeat(4_000_000),
            _ => {}
        }
        Ok(plan)
    }

    fn act(_context: Context, current: Appointment, action: String, input: Vec<Field>) -> Result<Plan, Vec<Violation>> {
        let mut attributes = current.attributes;
        attributes.retain(|field| !input.iter().any(|new| new.path == field.path));
        attributes.extend(input);
        let planned = plan(&attributes)?;
        match action.as_str() {
            "cancel" => {
                Ok(Plan { phase: Phase::Cancelled, claims: Vec::new(), events: vec!["cancelled".into()], ..planned })
            }
            _ => Ok(Plan { events: vec!["rescheduled".into()], ..planned }),
        }
    }

    fn present(appointments: Vec<Appointment>) -> Vec<Vec<Field>> {
        misbehave(if cfg!(feature = "blind") { "panic" } else { "" });
        for appointment in &appointments {
            if text(&appointment.attributes, "/mode") == "heavy" {
                turn(WORK / 2);
            }
        }
        appointments.into_iter().map(|appointment| appointment.attributes).collect()
    }
}

impl slot_rules::Guest for Chaos {
    fn offers(_context: Context, place: Vec<Field>, openings: Vec<Slot>) -> Vec<slot_rules::Offer> {
        let doctor = text(&place, "/doctor");
        let offer = |slot: Slot| slot_rules::Offer { claims: vec![claim(doctor, slot.start)], slot };
        let mut offers: Vec<_> = openings.into_iter().map(offer).collect();
        if text(&place, "/mode") == "nowhere" {
            offers.iter_mut().for_each(|offer| offer.slot.zone = "America/Atlantis".into());
        }
        offers
    }
}

impl notice_rules::Guest for Chaos {
    fn notices(event: String, current: Appointment) -> Vec<notice_rules::Notice> {
        let subject = format!("Your appointment: {event}");
        let mut notice = notice_rules::Notice {
            to: text(&current.attributes, "/email").into(),
            locale: "en".into(),
            text: format!("{subject}, with {}.", text(&current.attributes, "/doctor")),
            subject,
            html: None,
            invite: event != "cancelled",
        };
        match text(&current.attributes, "/mode") {
            "many-notices" => return vec![notice; 1_000],
            "two-notices" => {
                let second = notice_rules::Notice { to: format!("second.{}", notice.to), ..notice.clone() };
                return vec![notice, second];
            }
            "carriage-return" => notice.text.push_str("\rEND:VEVENT"),
            "long-locale" => notice.locale = "en-".to_owned() + &"x".repeat(5_000),
            _ => {}
        }
        vec![notice]
    }
}

/// Runs a mode. A mode that ends the call does not return.
fn misbehave(mode: &str) {
    match mode {
        "loop" => turn_for_ever(),
        "grow" => drop(black_box(vec![1_u8; 1 << 30])),
        "recurse" => {
            black_box(recurse(0));
        }
        "panic" => panic!("asked to"),
        "work" => turn(WORK),
        "toil" => turn(8 * WORK),
        _ => {}
    }
}

/// Number of turns that take most of a call's standard fuel.
const WORK: u32 = 500_000;

fn turn(turns: u32) {
    (0..turns).for_each(|turn| drop(black_box(turn)));
}

fn turn_for_ever() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[allow(unconditional_recursion, reason = "that is its job")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    recurse(depth + 1) + black_box(frame)[3]
}

fn plan(request: &[Field]) -> Result<Plan, Vec<Violation>> {
    let start = start(text(request, "/date"), text(request, "/time"));
    let start = start.ok_or_else(|| malformed("/time", text(request, "/time")))?;
    let doctor = text(request, "/doctor").to_owned();
    let zone = if text(request, "/mode") == "santiago" { SHIFTING_ZONE } else { ZONE };
    Ok(Plan {
        phase: Phase::Booked,
        slot: Some(Slot { start, minutes: MINUTES, zone: zone.into() }),
        claims: vec![claim(&doctor, start)],
        patient: text(request, "/email").to_owned(),
        doctor: Some(doctor),
        hospital: None,
        attributes: request.to_vec(),
        events: vec!["booked".into()],
    })
}

fn malformed(path: &str, value: &str) -> Vec<Violation> {
    let params = vec![("value".into(), value.into())];
    vec![Violation { path: path.into(), code: "xx.time.malformed".into(), params }]
}

fn start(date: &str, time: &str) -> Option<Civil> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (hour, minute) = time.split_once(':')?;
    Some(Civil {
        year: year.parse().ok()?,
        month: month.parse().ok()?,
        day: day.parse().ok()?,
        hour: hour.parse().ok()?,
        minute: minute.parse().ok()?,
    })
}

/// Returns the appointment's claim. All appointments start on the half hour, so one claim is enough.
fn claim(doctor: &str, start: Civil) -> String {
    let Civil { year, month, day, hour, minute } = start;
    format!("doctor/{doctor}/{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}")
}

fn request_schema() -> String {
    if cfg!(feature = "schema") {
        r#"{"type": 7}"#.into()
    } else if cfg!(feature = "chatter") {
        let example =
            r#"{"mode": "many-notices", "doctor": "1", "date": "2026-12-01", "time": "09:30", "email": "a@b.c"}"#;
        REQUEST_SCHEMA.replacen('{', &format!(r#"{{"examples": [{example}],"#), 1)
    } else if cfg!(feature = "heavy-schema") {
        let pattern = |number: u32| format!(r#"{{ "pattern": "\\p{{L}}{{200}}x{number}" }},"#);
        let patterns: String = (0..600).map(pattern).collect();
        format!(r#"{{ "type": "object", "properties": {{ "doctor": {{ "allOf": [{patterns} {{}}] }} }} }}"#)
    } else if cfg!(feature = "insurance") {
        REQUEST_SCHEMA.replace("\"mode\"", "\"insurance\"")
    } else {
        REQUEST_SCHEMA.into()
    }
}

fn thirtieth_of_february() -> Civil {
    Civil { year: 2026, month: 2, day: 30, hour: 9, minute: 0 }
}

fn text<'a>(fields: &'a [Field], path: &str) -> &'a str {
    let found = fields.iter().find_map(|field| match &field.value {
        Value::Text(text) if field.path == path => Some(text.as_str()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn action(name: &str, input_schema: &str) -> appointment_rules::Action {
    appointment_rules::Action {
        name: name.into(),
        roles: vec!["patient".into(), "staff".into()],
        input_schema: input_schema.into(),
    }
}

fn message(code: &str, locale: &str, text: &str) -> appointment_rules::Message {
    appointment_rules::Message { code: code.into(), locale: locale.into(), text: text.into() }
}
