//! Creates booking requests that are all allowed, and formats HTTP requests.

use citas::system::SystemClock;
use citas_core::model::json::flatten;
use citas_core::model::{Appointment, Field, Role, Step};
use citas_core::ports::Clock as _;
use citas_core::rules::{DecisionRequest, LoadedRules, decide};
use jiff::ToSpan as _;
use serde_json::Value;
use uuid::Uuid;

/// Number of different patients: those with a DNI of eight digits that starts with 2 to 8.
const NUMBERS: usize = 70_000_000;

/// Returns the country's own example, on the first day from a week ahead that its rules allow if it has a date.
pub fn example(rules: &LoadedRules) -> Value {
    let mut example = rules.request_schema["examples"][0].clone();
    if example.get("date").is_none() {
        return example;
    }
    let context = rules.context(SystemClock.now(), Role::Patient);
    let today = context.clocks[0].now.date();
    for ahead in 7..40 {
        example["date"] = today.checked_add(ahead.days()).expect("a date").to_string().into();
        if matches!(rules.rules().book(&context, &leaves(&example)), Ok(Ok(_))) {
            return example;
        }
    }
    panic!("the rules allow no day");
}

/// Returns the country's example, booked.
pub fn booked(rules: &LoadedRules) -> Appointment {
    let (now, document) = (SystemClock.now(), example(rules));
    let context = rules.context(now, Role::Patient);
    let request = DecisionRequest { context: &context, document: &document, action: None };
    let planned = decide(rules, &request).expect("an answer").expect("a plan");
    let step = Step { action: "book".into(), role: Role::Patient, at: now };
    planned.appointment(Uuid::nil(), None, step, &context.caller)
}

/// Returns the leaves of a request, as the rules receive them.
pub fn leaves(request: &Value) -> Vec<Field> {
    flatten(request).expect("few leaves")
}

/// Returns Peru's example with a patient and a doctor of its own, so that no two bookings conflict.
pub fn booking(example: &Value, number: usize) -> Value {
    let mut request = example.clone();
    request["doctor"] = (200_000 + number).to_string().into();
    request["dni"] = dni(number).into();
    request
}

/// Returns the DNI of a patient. Consecutive numbers give scattered patients.
pub fn dni(number: usize) -> String {
    (20_000_000 + scattered(number, NUMBERS)).to_string()
}

/// Returns each number below `end` once, in an order that no index can profit from. `end` must be a product of twos,
/// fives and sevens.
pub fn scattered(number: usize, end: usize) -> usize {
    number * 7_919_321 % end
}

pub fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}

pub fn post(path: &str, token: &str, body: &Value) -> Vec<u8> {
    with_body("POST", path, token, "", body)
}

/// Returns a `PUT` with a header of its own.
pub fn put(path: &str, token: &str, header: &str, body: &Value) -> Vec<u8> {
    with_body("PUT", path, token, &format!("{header}\r\n"), body)
}

fn with_body(method: &str, path: &str, token: &str, more: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{more}");
    format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
