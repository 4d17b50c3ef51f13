//! Golden cases: what a country's team says its rules answer, run against the rules themselves.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::appointment::{Appointment, Field, Slot};
use crate::json::{flatten, nest};
use crate::loaded::LoadedRules;
use crate::rules::{Fault, Notice, Offer, Plan, Role, Verdict, Violation};

/// One golden case, as it stands in a file under `cases/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    now: Timestamp,
    #[serde(default = "patient")]
    role: Role,
    book: Option<Json>,
    act: Option<Act>,
    offers: Option<Offers>,
    notices: Option<Notices>,
    present: Option<Present>,
    expect: Expect,
}

/// How a case went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// Nothing when it passed; else what was expected and what came.
    pub failure: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    action: String,
    input: Json,
    current: Current,
}

/// An appointment that came of an earlier booking request, and perhaps of an action on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    booked: Option<Json>,
    acted: Option<Box<Act>>,
    at: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offers {
    place: Json,
    openings: Vec<Slot>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notices {
    event: String,
    current: Current,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    current: Current,
}

/// What is to come of it: every member that is named, equal; others are free.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    violations: Option<BTreeSet<Said>>,
    plan: Option<Map<String, Json>>,
    offers: Option<Json>,
    notices: Option<Vec<Map<String, Json>>>,
    present: Option<Map<String, Json>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    path: String,
    code: String,
}

fn patient() -> Role {
    Role::Patient
}

/// Reads a `cases.json`.
///
/// # Errors
/// Says what is wrong and where.
pub fn read(cases: &str) -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str(cases)
}

/// Runs cases against rules.
#[must_use]
pub fn run(rules: &LoadedRules, cases: &[Case]) -> Vec<Outcome> {
    let outcome = |case: &Case| Outcome { name: case.name.clone(), failure: check(rules, case).err() };
    cases.iter().map(outcome).collect()
}

fn check(rules: &LoadedRules, case: &Case) -> Result<(), String> {
    match case {
        Case { book: Some(request), act: None, offers: None, notices: None, present: None, .. } => {
            verdict(&case.expect, book(rules, request, case.now, case.role)?)
        }
        Case { book: None, act: Some(asked), offers: None, notices: None, present: None, .. } => {
            verdict(&case.expect, act(rules, asked, case.now, case.role)?)
        }
        Case { book: None, act: None, offers: Some(asked), notices: None, present: None, .. } => {
            let context = rules.context(case.now, case.role);
            let found = rules.rules().offers(&context, &leaves(&asked.place)?, &asked.openings).map_err(said)?;
            let found: Vec<Json> = found.unwrap_or_default().iter().map(offer_json).collect();
            equal("offers", case.expect.offers.as_ref().unwrap_or(&Json::Null), &Json::from(found))
        }
        Case { book: None, act: None, offers: None, notices: Some(asked), present: None, .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let found = rules.rules().notices(&asked.event, &current).map_err(said)?;
            notices(case.expect.notices.as_deref().unwrap_or_default(), &found)
        }
        Case { book: None, act: None, offers: None, notices: None, present: Some(asked), .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let found = rules.rules().present(&[&current]).map_err(said)?.pop().unwrap_or_default();
            members("present", case.expect.present.as_ref().unwrap_or(&Map::new()), &nest(&found))
        }
        _ => Err("a case has exactly one of book, act, offers, notices, present".into()),
    }
}

fn book(rules: &LoadedRules, request: &Json, now: Timestamp, role: Role) -> Result<Verdict, String> {
    let violations = rules.check_request(request);
    if !violations.is_empty() {
        return Ok(Err(violations));
    }
    let verdict = rules.judge_booking(&rules.context(now, role), &leaves(request)?).map_err(said)?;
    rules.placed(verdict).map_err(said)
}

fn act(rules: &LoadedRules, asked: &Act, now: Timestamp, role: Role) -> Result<Verdict, String> {
    let Some(action) = rules.actions.get(&asked.action) else {
        return Err(format!("there is no action `{}`", asked.action));
    };
    let violations = action.check(&asked.input);
    if !violations.is_empty() {
        return Ok(Err(violations));
    }
    let current = current(rules, &asked.current, role)?;
    let context = rules.context(now, role);
    let verdict = rules.judge_action(&context, &current, &asked.action, &leaves(&asked.input)?).map_err(said)?;
    rules.placed(verdict).map_err(said)
}

fn current(rules: &LoadedRules, current: &Current, role: Role) -> Result<Appointment, String> {
    let (verdict, revision) = match current {
        Current { booked: Some(request), acted: None, at } => (book(rules, request, *at, role)?, 1),
        Current { booked: None, acted: Some(asked), at } => (act(rules, asked, *at, role)?, 2),
        _ => return Err("`current` has exactly one of booked, acted".into()),
    };
    let plan = verdict.map_err(|violations| format!("the rules refuse its `current`: {}", told(&violations)))?;
    let Plan { phase, slot, attributes, .. } = plan;
    Ok(Appointment { id: Uuid::nil(), phase, slot, revision, attributes })
}

fn leaves(document: &Json) -> Result<Vec<Field>, String> {
    flatten(document).map_err(|error| error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn said(fault: Fault) -> String {
    fault.to_string()
}

fn told(violations: &[Violation]) -> String {
    let told = violations.iter().map(|violation| format!("{} at `{}`", violation.code, violation.path));
    told.collect::<Vec<_>>().join(", ")
}

fn verdict(expect: &Expect, verdict: Verdict) -> Result<(), String> {
    match (expect, verdict) {
        (Expect { violations: Some(expected), .. }, Err(violations)) => {
            let found: BTreeSet<Said> =
                violations.iter().map(|said| Said { path: said.path.clone(), code: said.code.clone() }).collect();
            if *expected == found {
                return Ok(());
            }
            let expected: Vec<String> =
                expected.iter().map(|said| format!("{} at `{}`", said.code, said.path)).collect();
            Err(format!("expected {}; came {}", expected.join(", "), told(&violations)))
        }
        (Expect { plan: Some(expected), .. }, Ok(plan)) => members("plan", expected, &plan_json(&plan)),
        (Expect { violations: Some(_), .. }, Ok(_)) => Err("expected violations; came a plan".into()),
        (_, Err(violations)) => Err(format!("expected a plan; came {}", told(&violations))),
        _ => Err("`expect` has neither violations nor a plan".into()),
    }
}

fn notices(expected: &[Map<String, Json>], found: &[Notice]) -> Result<(), String> {
    if expected.len() != found.len() {
        return Err(format!("expected {} notices; came {}", expected.len(), found.len()));
    }
    let as_json = |notice: &Notice| match json!(notice) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    expected.iter().zip(found).try_for_each(|(expected, found)| members("notice", expected, &as_json(found)))
}

/// Every member that is named, all the way down.
fn members(what: &str, expected: &Map<String, Json>, found: &Map<String, Json>) -> Result<(), String> {
    expected.iter().try_for_each(|(name, expected)| {
        equal(&format!("{what}.{name}"), expected, found.get(name).unwrap_or(&Json::Null))
    })
}

fn equal(what: &str, expected: &Json, found: &Json) -> Result<(), String> {
    if let (Json::Object(expected), Json::Object(found)) = (expected, found) {
        return members(what, expected, found);
    }
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}; came {found}")) }
}

fn plan_json(plan: &Plan) -> Map<String, Json> {
    let mut members = match json!(plan) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    members.insert("slot".into(), plan.slot.as_ref().map_or(Json::Null, slot_json));
    members.insert("attributes".into(), nest(&plan.attributes).into());
    members
}

fn offer_json(offer: &Offer) -> Json {
    let mut json = slot_json(&offer.slot);
    json["claims"] = json!(offer.claims);
    json
}

fn slot_json(slot: &Slot) -> Json {
    json!({ "start": slot.start.strftime("%Y-%m-%dT%H:%M").to_string(), "minutes": slot.minutes, "zone": slot.zone })
}
