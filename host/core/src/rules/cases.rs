//! Golden cases: calls with the results that a country's team expects, run against the rules themselves.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::model::json::{flatten, nest};
use crate::model::{Appointment, Field, Notice, Offer, Plan, Role, Slot, Violation};
use crate::ports::Fault;
use crate::rules::decision::{Decision, DecisionRequest, NotDecided, Planned, decide};
use crate::rules::loaded::{LoadedRules, MAX_PAGE, MAX_PAGE_CALLS};
use crate::rules::plan_check::check_notices;

const ONE_CALL: &str = "a case has exactly one of book, act, offers, notices, present";

/// One golden case, in the format of the files under `cases/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of the case, which states what it shows.
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

/// Returns the codes that cases expect and that lack a text in some locale.
pub fn unsaid<'a>(rules: &LoadedRules, cases: &'a [Case]) -> BTreeSet<&'a str> {
    let expected = cases.iter().filter_map(|case| case.expect.violations.as_ref()).flatten();
    expected.map(|said| said.code.as_str()).filter(|code| !rules.messages.is_said(code)).collect()
}

/// Outcome of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// Failure of the case; `None` if it passed.
    pub failure: Option<Failure>,
}

/// Failure of a case. Displays as one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    why: String,
    /// Expected and actual result, both in the format of `expect` and without the members that the case leaves free;
    /// `None` if the case came to no result.
    pub compared: Option<(Json, Json)>,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, compared: None }
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.why)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    action: String,
    input: Json,
    current: Current,
}

/// An appointment that an earlier booking request made, possibly with an action on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    booked: Option<Json>,
    acted: Option<Box<Act>>,
    at: Timestamp,
    /// Role of the caller at that time. Without it, it is the case's role, or a role that may ask for the action.
    role: Option<Role>,
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

/// Expected result. Each named member must be equal; the others are free.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    violations: Option<BTreeSet<Said>>,
    plan: Option<Map<String, Json>>,
    offers: Option<Json>,
    notices: Option<Vec<Map<String, Json>>>,
    present: Option<Map<String, Json>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
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
/// Returns an error that states the problem and its position.
pub fn read(cases: &str) -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str(cases)
}

/// Reads one case of a country's folder. Unlike [`read`], which reads what was published, it refuses a case that asks for
/// no call, or that expects nothing of it.
///
/// # Errors
/// Returns an error that states the problem and, for JSON, its position.
pub fn read_one(case: &str) -> Result<Case, serde_json::Error> {
    if !case.trim_start().starts_with('{') {
        return Err(serde_json::Error::custom("a file has one case, a JSON object"));
    }
    let case: Case = serde_json::from_str(case)?;
    match case.misfit() {
        None => Ok(case),
        Some(why) => Err(serde_json::Error::custom(why)),
    }
}

/// Runs cases against rules.
pub fn run(rules: &LoadedRules, cases: &[Case]) -> Vec<Outcome> {
    cases.iter().map(|case| case.run(rules)).collect()
}

/// Returns the events of the plans that these cases lead to. The descriptor does not list events, so the host learns a
/// country's events only from its cases.
pub fn events(rules: &LoadedRules, cases: &[Case]) -> BTreeSet<String> {
    let plan = |case: &Case| match case {
        Case { book: Some(request), .. } => book(rules, request, case.now, case.role).ok()?.ok(),
        Case { act: Some(asked), .. } => act(rules, asked, case.now, case.role).ok()?.ok(),
        _ => None,
    };
    cases.iter().filter_map(plan).flat_map(|planned: Planned| planned.plan.events).collect()
}

/// Result of presenting a full page of the largest appointment that the cases lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FullPage {
    /// Number of appointments that one call presents, at most [`MAX_PAGE`].
    pub fitting: usize,
    /// Number of calls for the whole page.
    pub calls: usize,
}

impl FullPage {
    /// Returns true if a list shows the whole page. Otherwise the list ends early.
    pub fn is_whole(&self) -> bool {
        self.calls <= MAX_PAGE_CALLS
    }
}

impl Display for FullPage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fitting, calls } = self;
        write!(formatter, "one call presents {fitting} of a page of {MAX_PAGE}, which takes {calls} calls")?;
        if self.is_whole() {
            return Ok(());
        }
        write!(
            formatter,
            "; a list makes at most {MAX_PAGE_CALLS} and ends early: make `present` cheaper, or raise the limit `fuel`"
        )
    }
}

/// Presents a full page of the largest appointment that the cases lead to. Returns `None` if they lead to no
/// appointment.
///
/// # Errors
/// Returns an error if not even one appointment can be presented.
pub fn full_page(rules: &LoadedRules, cases: &[Case]) -> Result<Option<FullPage>, Fault> {
    let appointments = cases.iter().flat_map(|case| case.appointments(rules));
    let Some(largest) = appointments.max_by_key(|appointment| json!(appointment.attributes).to_string().len()) else {
        return Ok(None);
    };
    let page = [&largest; MAX_PAGE];
    let present = |length: usize| rules.rules().present(&page[..length]);
    present(1)?;
    let (mut fitting, mut too_many) = (1, rules.rules().fitting(&page) + 1);
    while too_many - fitting > 1 {
        let length = fitting.midpoint(too_many);
        match present(length) {
            Ok(_) => fitting = length,
            Err(_) => too_many = length,
        }
    }
    Ok(Some(FullPage { fitting, calls: MAX_PAGE.div_ceil(fitting) }))
}

impl Case {
    /// Returns the appointments that the case is about and those that it makes.
    fn appointments(&self, rules: &LoadedRules) -> Vec<Appointment> {
        let Self { now, role, book: request, act: asked, notices, present, .. } = self;
        let made = |decision: Result<Decision, String>| Some(appointment(decision.ok()?.ok()?.plan, 1));
        let booked = request.as_ref().and_then(|request| made(book(rules, request, *now, *role)));
        let acted = asked.as_ref().and_then(|asked| made(act(rules, asked, *now, *role)));
        let about = [
            asked.as_ref().map(|asked| &asked.current),
            notices.as_ref().map(|notices| &notices.current),
            present.as_ref().map(|present| &present.current),
        ];
        let about = about.into_iter().flatten().filter_map(|about| current(rules, about, *role).ok());
        about.chain(booked).chain(acted).collect()
    }

    /// Returns what is wrong with the members of the case, if anything.
    fn misfit(&self) -> Option<String> {
        let Expect { violations, plan, offers, notices, present } = &self.expect;
        let asked = [
            (self.book.is_some(), "book", &["plan", "violations"][..]),
            (self.act.is_some(), "act", &["plan", "violations"]),
            (self.offers.is_some(), "offers", &["offers"]),
            (self.notices.is_some(), "notices", &["notices"]),
            (self.present.is_some(), "present", &["present"]),
        ];
        let expected = [
            (violations.is_some(), "violations"),
            (plan.is_some(), "plan"),
            (offers.is_some(), "offers"),
            (notices.is_some(), "notices"),
            (present.is_some(), "present"),
        ];
        let asked: Vec<_> = asked.into_iter().filter(|(is_some, ..)| *is_some).collect();
        let [(_, call, fitting)] = asked[..] else { return Some(ONE_CALL.into()) };
        let expected: Vec<&str> = expected.into_iter().filter(|(is_some, _)| *is_some).map(|(_, name)| name).collect();
        let fits = matches!(expected[..], [one] if fitting.contains(&one));
        (!fits).then(|| {
            let came = if expected.is_empty() { "none of these".to_owned() } else { expected.join(" and ") };
            format!("a case with `{call}` expects {}; `expect` has {came}", fitting.join(" or "))
        })
    }

    /// Runs the case against rules.
    pub fn run(&self, rules: &LoadedRules) -> Outcome {
        Outcome { name: self.name.clone(), failure: check(rules, self).err() }
    }
}

fn check(rules: &LoadedRules, case: &Case) -> Result<(), Failure> {
    match case {
        Case { book: Some(request), act: None, offers: None, notices: None, present: None, .. } => {
            verdict(&case.expect, book(rules, request, case.now, case.role)?)
        }
        Case { book: None, act: Some(asked), offers: None, notices: None, present: None, .. } => {
            verdict(&case.expect, act(rules, asked, case.now, case.role)?)
        }
        Case { book: None, act: None, offers: Some(asked), notices: None, present: None, .. } => {
            let context = rules.context(case.now, case.role);
            let found =
                rules.rules().offers(&context, &leaves(&asked.place)?, &asked.openings).map_err(fault_message)?;
            let found: Vec<Json> = found.unwrap_or_default().iter().map(offer_json).collect();
            let expected = case.expect.offers.clone().unwrap_or_default();
            compared("offers", &expected, &Json::from(found))
        }
        Case { book: None, act: None, offers: None, notices: Some(asked), present: None, .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let found = rules.rules().notices(&asked.event, &current).and_then(check_notices).map_err(fault_message)?;
            notices(case.expect.notices.as_deref().unwrap_or_default(), &found)
        }
        Case { book: None, act: None, offers: None, notices: None, present: Some(asked), .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let found = rules.rules().present(&[&current]).map_err(fault_message)?.pop().unwrap_or_default();
            let expected = Json::from(case.expect.present.clone().unwrap_or_default());
            compared("present", &expected, &nest(&found).into())
        }
        _ => Err(ONE_CALL.to_owned().into()),
    }
}

fn book(rules: &LoadedRules, request: &Json, now: Timestamp, role: Role) -> Result<Decision, String> {
    decided(rules, &DecisionRequest { context: &rules.context(now, role), document: request, action: None })
}

fn act(rules: &LoadedRules, asked: &Act, now: Timestamp, role: Role) -> Result<Decision, String> {
    let current = current(rules, &asked.current, role)?;
    let action = Some((asked.action.as_str(), &current));
    decided(rules, &DecisionRequest { context: &rules.context(now, role), document: &asked.input, action })
}

fn decided(rules: &LoadedRules, request: &DecisionRequest<'_>) -> Result<Decision, String> {
    let decision = match decide(rules, request) {
        Err(NotDecided::Schema(violations)) => return Ok(Err(violations)),
        decision => decision.map_err(|cause| cause.to_string())?,
    };
    match decision.as_ref().ok().and_then(|planned| unlisted(rules, &planned.plan)) {
        Some(why) => Err(why),
        None => Ok(decision),
    }
}

/// Returns the reason why a list could not be asked for the appointment of this plan.
fn unlisted(rules: &LoadedRules, plan: &Plan) -> Option<String> {
    let keys =
        [("patient", Some(&plan.patient)), ("doctor", plan.doctor.as_ref()), ("hospital", plan.hospital.as_ref())];
    let mut keys = keys.into_iter().filter_map(|(filter, key)| Some((filter, key?)));
    let (filter, key) = keys.find(|(filter, key)| rules.may_be_key(filter, key) == Ok(false))?;
    Some(format!("the plan's {filter} `{key}` does not match `/x-filters/{filter}` of the appointment schema"))
}

fn current(rules: &LoadedRules, current: &Current, role: Role) -> Result<Appointment, String> {
    let (decision, revision) = match current {
        Current { booked: Some(request), acted: None, at, role: own } => {
            (book(rules, request, *at, own.unwrap_or(role))?, 1)
        }
        Current { booked: None, acted: Some(asked), at, role: own } => {
            (act(rules, asked, *at, own.unwrap_or_else(|| permitted(rules, &asked.action, role)))?, 2)
        }
        _ => return Err("`current` has exactly one of booked, acted".into()),
    };
    let planned =
        decision.map_err(|violations| format!("the rules refuse its `current`: {}", list_codes(&violations)))?;
    Ok(appointment(planned.plan, revision))
}

/// Returns the role if it may ask for the action, else the first role that may.
fn permitted(rules: &LoadedRules, action: &str, role: Role) -> Role {
    let roles = [role, Role::Patient, Role::Staff, Role::Platform];
    roles.into_iter().find(|role| rules.allow(action, *role).is_ok()).unwrap_or(role)
}

fn appointment(Plan { phase, slot, attributes, .. }: Plan, revision: u32) -> Appointment {
    Appointment { id: Uuid::nil(), phase, slot, revision, attributes }
}

fn leaves(document: &Json) -> Result<Vec<Field>, String> {
    flatten(document).map_err(|error| error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn fault_message(fault: Fault) -> String {
    fault.to_string()
}

fn list_codes(violations: &[Violation]) -> String {
    let told = violations.iter().map(|violation| format!("{} at `{}`", violation.code, violation.path));
    told.collect::<Vec<_>>().join(", ")
}

fn verdict(expect: &Expect, decision: Decision) -> Result<(), Failure> {
    match (expect, decision.map(|planned| planned.plan)) {
        (Expect { violations: Some(expected), .. }, Err(violations)) => {
            let found = codes(&violations);
            if *expected == found {
                return Ok(());
            }
            let listed: Vec<String> = expected.iter().map(|said| format!("{} at `{}`", said.code, said.path)).collect();
            let why = format!("expected {}; came {}", listed.join(", "), list_codes(&violations));
            Err(failure(why, json!({ "violations": expected }), json!({ "violations": found })))
        }
        (Expect { plan: Some(expected), .. }, Ok(plan)) => {
            compared("plan", &expected.clone().into(), &plan_json(&plan).into())
        }
        (Expect { violations: Some(expected), .. }, Ok(plan)) => Err(failure(
            "expected violations; came a plan".into(),
            json!({ "violations": expected }),
            json!({ "plan": plan_json(&plan) }),
        )),
        (_, Err(violations)) => Err(failure(
            format!("expected a plan; came {}", list_codes(&violations)),
            json!({ "plan": expect.plan }),
            json!({ "violations": codes(&violations) }),
        )),
        _ => Err("`expect` has neither violations nor a plan".to_owned().into()),
    }
}

fn codes(violations: &[Violation]) -> BTreeSet<Said> {
    violations.iter().map(|said| Said { path: said.path.clone(), code: said.code.clone() }).collect()
}

fn notices(expected: &[Map<String, Json>], found: &[Notice]) -> Result<(), Failure> {
    let as_json = |notice: &Notice| match json!(notice) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let found: Vec<Map<String, Json>> = found.iter().map(as_json).collect();
    let counted = if expected.len() == found.len() {
        expected.iter().zip(&found).try_for_each(|(expected, found)| members("notice", expected, found))
    } else {
        Err(format!("expected {} notices; came {}", expected.len(), found.len()))
    };
    counted.map_err(|why| {
        let named = found.iter().enumerate().map(|(place, found)| match expected.get(place) {
            Some(expected) => named_members(expected, found),
            None => found.clone(),
        });
        let found: Vec<Map<String, Json>> = named.collect();
        failure(why, json!({ "notices": expected }), json!({ "notices": found }))
    })
}

/// Checks that the result has every named member with the expected value. The failure contains both sides.
fn compared(what: &str, expected: &Json, found: &Json) -> Result<(), Failure> {
    equal(what, expected, found)
        .map_err(|why| failure(why, json!({ what: expected }), json!({ what: named(expected, found) })))
}

fn failure(why: String, expected: Json, found: Json) -> Failure {
    Failure { why, compared: Some((expected, found)) }
}

/// Returns the part of the result that the case names.
fn named(expected: &Json, found: &Json) -> Json {
    match (expected, found) {
        (Json::Object(expected), Json::Object(found)) => named_members(expected, found).into(),
        _ => found.clone(),
    }
}

fn named_members(expected: &Map<String, Json>, found: &Map<String, Json>) -> Map<String, Json> {
    let member =
        |(name, expected): (&String, &Json)| (name.clone(), named(expected, found.get(name).unwrap_or(&Json::Null)));
    expected.iter().map(member).collect()
}

/// Checks every named member, at every depth.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Deciding, plan, revision};

    /// Runs a case against rules that plan the same for every request. Returns why it fails.
    fn failure(case: &Json) -> Option<String> {
        failure_of(&deciding().loaded().1, case)
    }

    fn deciding() -> Deciding {
        Deciding::new(Ok(Ok(plan(revision(Uuid::nil())))))
    }

    fn failure_of(rules: &LoadedRules, case: &Json) -> Option<String> {
        let cases = read(&json!([case]).to_string()).unwrap();
        run(rules, &cases).pop().unwrap().failure.map(|failure| failure.to_string())
    }

    fn case(members: &Json) -> Json {
        let mut case = json!({ "name": "x", "now": "2026-11-24T15:00:00Z", "expect": { "plan": {} } });
        case.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        case
    }

    fn booked() -> Json {
        json!({ "booked": { "day": "x" }, "at": "2026-11-24T15:00:00Z" })
    }

    #[test]
    fn a_case_fails_if_its_role_may_not_ask_for_the_action() {
        let act = json!({ "action": "arrive", "input": { "reason": "x" }, "current": booked() });
        let why = failure(&case(&json!({ "act": act }))).unwrap();
        assert!(why.contains("`arrive` is not for the role patient"), "{why}");
        assert_eq!(failure(&case(&json!({ "act": act, "role": "staff" }))), None);
    }

    #[test]
    fn a_case_fails_if_its_plan_has_a_key_that_no_list_takes() {
        let failure = |patients: &str| {
            let mut rules = deciding();
            rules.descriptor.appointment_schema =
                json!({ "x-filters": { "patient": { "pattern": patients } } }).to_string();
            failure_of(&rules.loaded().1, &case(&json!({ "book": { "day": "x" } })))
        };
        assert_eq!(failure("^dni:[0-9]{8}$"), None);
        let why = failure("^[0-9]{8}$").unwrap();
        assert_eq!(
            why,
            "the plan's patient `dni:10117410` does not match `/x-filters/patient` of the appointment schema"
        );
    }

    #[test]
    fn a_case_that_asks_for_nothing_or_expects_nothing_is_not_read() {
        let why = |members: Json| read_one(&case(&members).to_string()).err().map(|error| error.to_string());
        let present = || json!({ "current": booked() });
        for members in [
            json!({ "book": {} }),
            json!({ "book": {}, "expect": { "violations": [] } }),
            json!({ "present": present(), "expect": { "present": {} } }),
        ] {
            assert_eq!(why(members), None);
        }
        for members in [json!({}), json!({ "book": {}, "present": present() })] {
            assert_eq!(why(members).as_deref(), Some(ONE_CALL));
        }
        let several = read_one(&format!("[{}]", case(&json!({ "book": {} })))).unwrap_err();
        assert_eq!(several.to_string(), "a file has one case, a JSON object");
        for (expect, told) in [
            (json!({}), "none of these"),
            (json!({ "present": {} }), "present"),
            (json!({ "plan": {}, "violations": [] }), "violations and plan"),
        ] {
            let why = why(json!({ "book": {}, "expect": expect })).unwrap();
            assert_eq!(why, format!("a case with `book` expects plan or violations; `expect` has {told}"));
        }
        let why = why(json!({ "present": present() })).unwrap();
        assert_eq!(why, "a case with `present` expects present; `expect` has plan");
    }

    #[test]
    fn an_earlier_action_may_have_had_another_role() {
        let arrived = |role: Option<&str>| {
            let act = json!({ "action": "arrive", "input": { "reason": "x" }, "current": booked() });
            let mut current = json!({ "acted": act, "at": "2026-11-24T15:00:00Z" });
            if let Some(role) = role {
                current["role"] = role.into();
            }
            case(&json!({ "act": { "action": "cancel", "input": { "reason": "x" }, "current": current } }))
        };
        assert_eq!(failure(&arrived(None)), None, "staff is a role that may");
        assert_eq!(failure(&arrived(Some("staff"))), None);
        let why = failure(&arrived(Some("patient"))).unwrap();
        assert!(why.contains("`arrive` is not for the role patient"), "{why}");
    }
}
