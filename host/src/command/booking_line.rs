//! Makes a request that would be booked now: the country's own example, on the first day that its rules allow.

use citas_core::model::Role;
use citas_core::ports::Clock;
use citas_core::rules::{DecisionRequest, LoadedRules, decide};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::Value;

/// Limit of the days ahead that are tried.
const DAYS: i64 = 30;

/// Returns a booking request that the rules allow a patient, or `None` if the country's schema has no example that
/// leads to one.
pub fn example(rules: &LoadedRules, clock: &dyn Clock) -> Option<Value> {
    let example = rules.request_schema["examples"].get(0)?;
    let (now, today) = (clock.now(), rules.context(clock.now(), Role::Patient).clocks.first()?.now.date());
    let context = rules.context(now, Role::Patient);
    let days = (2..DAYS).filter_map(|ahead| today.checked_add(ahead.days()).ok());
    let mut requests = days.map(|day| on(example, day));
    requests.find(|request| {
        let request = DecisionRequest { context: &context, document: request, action: None };
        matches!(decide(rules, &request), Ok(Ok(_)))
    })
}

/// Returns the example with every date in it moved to one day.
fn on(example: &Value, day: Date) -> Value {
    match example {
        Value::String(text) if text.parse::<Date>().is_ok() && text.len() == 10 => day.to_string().into(),
        Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), on(member, day))).collect(),
        other => other.clone(),
    }
}
