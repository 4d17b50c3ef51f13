//! A small country on the bindings of contract 1.0.0 alone. Its component stands for those that teams built before
//! contract 2.0.0. `js/` and `python/` have the same country in these languages.
//!
//! On any target but WebAssembly this crate is empty.

#![cfg(target_arch = "wasm32")]

use contract::citas::rules::types::{Appointment, Civil, Context, Field, Phase, Plan, Slot, Value, Violation};
use contract::exports::citas::rules::appointment_rules::{Action, Descriptor, Guest, Message};

#[allow(unsafe_code, missing_docs, clippy::pedantic, reason = "generated code")]
mod contract {
    wit_bindgen::generate!({ path: "../../wit/1.0.0", world: "country" });
    use crate::Country;
    export!(Country);
}

struct Country;

/// Zone of the country. It is UTC, so that a claim consists of texts of the request.
const ZONE: &str = "Etc/UTC";

impl Guest for Country {
    fn describe() -> Descriptor {
        let roles = ["patient", "staff", "platform"].map(String::from).into();
        let message = |code: &str, text: &str| Message { code: code.into(), locale: "en".into(), text: text.into() };
        Descriptor {
            country: "ut".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            zones: vec![ZONE.into()],
            locales: vec!["en".into()],
            request_schema: include_str!("schema/request.json").into(),
            appointment_schema: include_str!("schema/appointment.json").into(),
            actions: vec![Action {
                name: "cancel".into(),
                roles,
                input_schema: include_str!("schema/cancel.json").into(),
            }],
            messages: vec![
                message("ut.time.closed", "Closed before {opens}."),
                message("ut.cancel.not-allowed-now", "The appointment is cancelled already."),
            ],
        }
    }

    fn book(_context: Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
        if text(&request, "/time") < "08:00" {
            return Err(vec![violation("/time", "ut.time.closed", &[("opens", "08:00")])]);
        }
        let claim =
            ["doctor/", text(&request, "/doctor"), "/", text(&request, "/date"), "T", text(&request, "/time"), "Z"];
        Ok(plan(Phase::Booked, vec![claim.concat()], request, "booked"))
    }

    fn act(
        _context: Context,
        current: Appointment,
        _action: String,
        _input: Vec<Field>,
    ) -> Result<Plan, Vec<Violation>> {
        if current.phase != Phase::Booked {
            return Err(vec![violation("", "ut.cancel.not-allowed-now", &[])]);
        }
        Ok(plan(Phase::Cancelled, Vec::new(), current.attributes, "cancelled"))
    }

    fn present(appointments: Vec<Appointment>) -> Vec<Vec<Field>> {
        appointments.into_iter().map(|appointment| appointment.attributes).collect()
    }
}

fn plan(phase: Phase, claims: Vec<String>, attributes: Vec<Field>, event: &str) -> Plan {
    Plan {
        phase,
        slot: Some(Slot { start: start(&attributes), minutes: 30, zone: ZONE.into() }),
        claims,
        patient: ["id:", text(&attributes, "/patient")].concat(),
        doctor: Some(text(&attributes, "/doctor").into()),
        hospital: None,
        attributes,
        events: vec![event.into()],
    }
}

fn start(fields: &[Field]) -> Civil {
    let (date, time) = (text(fields, "/date"), text(fields, "/time"));
    let number = |text: &str, from: usize| text.get(from..from + 2).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let year = date.get(..4).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Civil { year, month: number(date, 5), day: number(date, 8), hour: number(time, 0), minute: number(time, 3) }
}

/// Returns the text at a JSON Pointer; empty if there is none.
fn text<'a>(fields: &'a [Field], path: &str) -> &'a str {
    let found = fields.iter().find(|field| field.path == path);
    found.map_or("", |field| if let Value::Text(text) = &field.value { text } else { "" })
}

fn violation(path: &str, code: &str, params: &[(&str, &str)]) -> Violation {
    let params = params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Violation { path: path.into(), code: code.into(), params }
}
