//! Booking requests that the countries allow today. Their dates come from the countries' own rules and are never fixed.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use citas_core::booking::{SlotSearch, Spellings};
use citas_core::model::json::flatten;
use citas_core::model::{Limits, Role};
use citas_core::rules::LoadedRules;
use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::components::{component, engine};

/// Returns Peru's request `number`. Requests of different numbers do not conflict.
pub fn pe(number: usize) -> Value {
    json!({
        "doctor": (10_000 + number).to_string(), "hospital": "00006219", "date": day("pe", 0), "time": "09:30",
        "dni": format!("{:08}", number + 1), "district": "150122", "email": format!("patient{number}@example.com"),
    })
}

/// Returns a search for the free slots of one of Peru's doctors, from the day of [`pe`] on.
pub fn pe_slots(days: u8) -> SlotSearch {
    let key = |key: &str| Some(key.to_owned());
    SlotSearch {
        spelt: Spellings { patient: None, doctor: key("45678"), hospital: key("00006219") },
        members: vec![("district".into(), "150122".into())],
        appointment: None,
        from: Some(day("pe", 0).parse().unwrap()),
        days,
        after: None,
        limit: 1_000,
    }
}

/// Returns Chile's request `number`, for an appointment in person.
pub fn cl(number: usize) -> Value {
    json!({
        "doctor": (200_000 + number).to_string(), "hospital": "109100", "date": day("cl", 0), "time": "09:00",
        "run": run(10_000_000 + number), "comuna": "13101", "email": format!("patient{number}@example.com"),
        "prevision": { "system": "fonasa", "tramo": "B" }, "modality": "presencial",
    })
}

/// Returns the chaos country's request `number`.
pub fn xx(number: usize) -> Value {
    json!({
        "doctor": (300 + number).to_string(), "date": "2026-12-01", "time": "09:30",
        "email": format!("patient{number}@example.com"),
    })
}

/// Returns request `number` of the country on contract 1.0.0. Requests differ in doctor and patient.
pub fn ut(number: usize) -> Value {
    json!({
        "patient": (number + 1).to_string(), "doctor": (400 + number).to_string(), "date": "2027-12-01", "time": "09:30",
    })
}

/// Returns a RUN with its check digit (weights 2 to 7 from the right).
pub fn run(number: usize) -> String {
    let digits = number.to_string();
    let weighted = digits.bytes().rev().zip((2..=7).cycle()).map(|(digit, weight)| usize::from(digit - b'0') * weight);
    match 11 - weighted.sum::<usize>() % 11 {
        11 => format!("{digits}-0"),
        10 => format!("{digits}-K"),
        check => format!("{digits}-{check}"),
    }
}

/// Returns a working day on which the country's doctors see patients, three days ahead or later. The first is 0.
pub fn day(country: &str, number: usize) -> String {
    working_days(country)[number].to_string()
}

fn working_days(country: &str) -> Vec<Date> {
    static FOUND: OnceLock<Mutex<HashMap<String, Vec<Date>>>> = OnceLock::new();
    let mut found = FOUND.get_or_init(Mutex::default).lock().unwrap();
    found.entry(country.to_owned()).or_insert_with(|| find_working_days(country)).clone()
}

fn find_working_days(country: &str) -> Vec<Date> {
    let rules = LoadedRules::load(engine(), component(country), &Limits::default()).unwrap();
    let context = rules.context(Timestamp::now(), Role::Patient);
    let today = context.clocks[0].now.date();
    let allowed = |day: &Date| {
        let mut request = rules.request_schema["examples"][0].clone();
        request["date"] = day.to_string().into();
        rules.rules().book(&context, &flatten(&request).unwrap()).unwrap().is_ok()
    };
    let week = |day: &Date| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    (3..89).map(|ahead| today.checked_add(ahead.days()).unwrap()).filter(week).filter(allowed).collect()
}
