//! Finds days on which a country's example can be booked, and moves the dates of examples to them. Knows the rules and
//! no ledger: another appointment may hold the time.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value as Json;

use crate::model::{Plan, Role};
use crate::rules::decision::{DecisionRequest, NotDecided, Planned, decide};
use crate::rules::loaded::LoadedRules;

/// Days ahead that are tried.
const DAYS_AHEAD: std::ops::Range<i64> = 2..30;

/// Maximum number of members that are tried.
const MAX_MEMBERS: usize = 4;

/// Length of a date, such as `2026-12-01`.
const DATE_LENGTH: usize = 10;

/// The member of a country's documents that has the day of an appointment, with days that the rules allow.
#[derive(Clone, Debug, PartialEq)]
pub struct BookingDays {
    member: String,
    /// The first day that a patient can book with the country's example.
    pub first: Date,
    /// The next such day, to which the appointment can be moved; `first` if there is no other.
    pub next: Date,
    /// Plan of the rules for the first day.
    pub planned: Planned,
}

impl BookingDays {
    /// Returns the days for the first example of the request schema; `None` if it has no member with a date, or if the
    /// rules allow none of the coming days. Other dates of the example, such as a date of birth, stay as they are.
    pub fn of(rules: &LoadedRules, now: Timestamp) -> Option<Self> {
        let example = rules.request_schema["examples"].get(0)?;
        let context = rules.context(now, Role::Patient);
        let today = context.clocks.first()?.now.date();
        let mut members = Vec::new();
        dated(example, &mut members);
        for member in members.into_iter().take(MAX_MEMBERS) {
            let mut found: Option<Self> = None;
            for day in DAYS_AHEAD.filter_map(|ahead| today.checked_add(ahead.days()).ok()) {
                let request = moved(example, &member, day);
                let request = DecisionRequest { context: &context, document: &request, action: None };
                let planned = match decide(rules, &request) {
                    Ok(Ok(planned)) => planned,
                    // A country that fails once is not asked twenty times.
                    Err(NotDecided::Fault(_)) => return None,
                    _ => continue,
                };
                if planned.plan.slot.as_ref().is_some_and(|slot| slot.start.date() != day) {
                    continue;
                }
                match &mut found {
                    Some(found) => return Some(Self { next: day, ..found.clone() }),
                    None => found = Some(Self { member: member.clone(), first: day, next: day, planned }),
                }
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Returns a schema or an example of the country with the day of each appointment moved.
    #[must_use]
    pub fn moved(&self, document: &Json, day: Date) -> Json {
        moved(document, &self.member, day)
    }

    /// Returns the parameters of a search for free slots on the first day, at the place of this request.
    fn search(&self, rules: &LoadedRules, request: &Json) -> Vec<(String, String)> {
        let Plan { doctor, hospital, .. } = &self.planned.plan;
        let keys = [("doctor", doctor), ("hospital", hospital)];
        let keys = keys.into_iter().filter_map(|(name, key)| Some((name.to_owned(), key.clone()?)));
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let members = rules.place_members().into_keys();
        let members = members.filter_map(|name| Some((name.to_owned(), text(request.get(name)?))));
        let days = [("from".to_owned(), self.first.to_string()), ("days".to_owned(), "1".to_owned())];
        keys.chain(members).chain(days).collect()
    }
}

/// A country's example that can be booked.
#[derive(Debug, PartialEq)]
pub struct BookableExample {
    /// The request: that of [`BookingDays`] on its first day, or the example itself if it has no date.
    pub request: Json,
    /// Parameters of a search for the free slots of that day; `None` if the country has no free slots or the example no date.
    pub search: Option<Vec<(String, String)>>,
}

impl BookableExample {
    /// Returns the first example of the request schema; `None` if the rules allow it on none of the coming days.
    pub fn of(rules: &LoadedRules, now: Timestamp) -> Option<Self> {
        let example = rules.request_schema["examples"].get(0)?;
        if let Some(days) = BookingDays::of(rules, now) {
            let request = days.moved(example, days.first);
            let search = rules.has_openings().then(|| days.search(rules, &request));
            return Some(Self { request, search });
        }
        let context = rules.context(now, Role::Patient);
        let request = DecisionRequest { context: &context, document: example, action: None };
        matches!(decide(rules, &request), Ok(Ok(_))).then(|| Self { request: example.clone(), search: None })
    }
}

/// Collects the names of members that have dates.
fn dated(document: &Json, names: &mut Vec<String>) {
    for (name, member) in document.as_object().into_iter().flatten() {
        if date_of(member).is_some() && !names.contains(name) {
            names.push(name.clone());
        }
        dated(member, names);
    }
}

/// Returns the date with which a value begins: a date, or a local time.
fn date_of(value: &Json) -> Option<Date> {
    let text = value.as_str()?;
    let rest = text.get(DATE_LENGTH..)?;
    let date = text.get(..DATE_LENGTH)?.parse().ok()?;
    (rest.is_empty() || rest.starts_with('T')).then_some(date)
}

/// Moves the dates of one member, in documents that have it and in the examples of its schema.
fn moved(document: &Json, member: &str, day: Date) -> Json {
    let at_day = |value: &Json| match (date_of(value), value.as_str()) {
        (Some(_), Some(text)) => Json::from(day.to_string() + &text[DATE_LENGTH..]),
        _ => value.clone(),
    };
    match document {
        Json::Object(members) => {
            let mut changed: serde_json::Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), moved(value, member, day))).collect();
            if let Some(value) = changed.get_mut(member) {
                *value = at_day(value);
                if let Some(examples) = value.get_mut("examples").and_then(Json::as_array_mut) {
                    *examples = examples.iter().map(at_day).collect();
                }
            }
            changed.into()
        }
        Json::Array(items) => items.iter().map(|item| moved(item, member, day)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_member_with_the_day_of_the_appointment_moves() {
        let schema = json!({
            "properties": {
                "born": { "examples": ["1990-05-01"] },
                "date": { "examples": ["2026-12-01", "tomorrow"], "const": "2026-12-01" },
                "visit": { "properties": { "date": { "examples": ["2026-12-01T09:30"] } } },
            },
            "examples": [{ "born": "1990-05-01", "date": "2026-12-01", "visit": { "date": "2026-12-01T09:30" } }],
        });
        let expected = json!({
            "properties": {
                "born": { "examples": ["1990-05-01"] },
                "date": { "examples": ["2027-01-04", "tomorrow"], "const": "2026-12-01" },
                "visit": { "properties": { "date": { "examples": ["2027-01-04T09:30"] } } },
            },
            "examples": [{ "born": "1990-05-01", "date": "2027-01-04", "visit": { "date": "2027-01-04T09:30" } }],
        });
        assert_eq!(moved(&schema, "date", "2027-01-04".parse().unwrap()), expected);
    }
}
