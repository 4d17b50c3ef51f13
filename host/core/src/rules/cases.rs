//! Golden cases: calls with the results that a country's team expects, run against the rules themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::model::json::{flatten, nest};
use crate::model::{
    Appointment, Context, Fact, FactQuery, Field, Notice, Offer, Offered, Opening, Place, Plan, Role, RulesCaller,
    Slot, Step, Violation,
};
use crate::ports::{FIRST_CONTRACT, Fault};
use crate::rules::decision::{Decision, DecisionRequest, NotDecided, Planned, check_input, evaluate};
use crate::rules::links::linked_actions;
use crate::rules::loaded::{LoadedRules, MAX_PAGE, MAX_PAGE_CALLS};
use crate::rules::plan_check::check_queries;

const ONE_CALL: &str = "a case has exactly one of book, act, offers, notices, present, clock";

/// Maximum number of consecutive scheduled actions in a case.
const MAX_WAKES: usize = 50;

/// One golden case, in the format of the files under `cases/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of the case, which states what it shows.
    pub name: String,
    now: Timestamp,
    #[serde(default = "patient")]
    role: Role,
    /// The caller, if the role alone is not enough.
    caller: Option<RulesCaller>,
    /// Facts by name.
    #[serde(default)]
    facts: BTreeMap<String, KnownFact>,
    book: Option<Json>,
    act: Option<Act>,
    offers: Option<Offers>,
    notices: Option<Notices>,
    present: Option<Present>,
    clock: Option<Passing>,
    expect: Expect,
}

/// Appointments of the fact, the newest first.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum KnownFact {
    All(Vec<Current>),
    Some(SomeFound),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SomeFound {
    appointments: Vec<Current>,
    more: bool,
}

/// The clock's actions: the scheduled actions of the appointment until a time, one after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passing {
    current: Current,
    until: Timestamp,
}

/// Returns the codes that lack a text in some locale: of those that cases expect, that claims have, and that have a text
/// in another locale.
pub fn missing_texts<'a>(rules: &'a LoadedRules, cases: &'a [Case]) -> BTreeSet<&'a str> {
    let expected = cases.iter().filter_map(|case| case.expect.violations.as_ref()).flatten();
    let claims = rules.descriptor.claims.iter().map(|words| words.code.as_str());
    let messages = rules.descriptor.messages.iter().map(|message| message.code.as_str());
    let codes = expected.map(|said| said.code.as_str()).chain(claims).chain(messages);
    codes.filter(|code| !rules.messages.lacking(code).is_empty()).collect()
}

/// Returns the claims of the cases' plans that have no words: whoever finds one taken is told no reason. Of the claims
/// whose keys begin with the same segment there is one.
pub fn wordless_claims(rules: &LoadedRules, cases: &[Case]) -> Vec<String> {
    if rules.contract() == FIRST_CONTRACT {
        return Vec::new();
    }
    let plans = cases.iter().flat_map(|case| case.plans(rules));
    let claims = plans.flat_map(|plan| {
        let chosen = plan.choices.into_iter().flat_map(|choice| choice.claims);
        plan.claims.into_iter().chain(chosen).map(|claim| claim.key)
    });
    let wordless = claims.filter(|key| rules.claim_violation(key).is_none());
    let by_segment = wordless.map(|key| (key.split('/').next().unwrap_or_default().to_owned(), key));
    by_segment.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Returns the names of the actions to which the notices of these cases link: the notices of each of their appointments,
/// for each of their events.
pub fn links(rules: &LoadedRules, cases: &[Case]) -> BTreeSet<String> {
    if rules.contract() == FIRST_CONTRACT {
        return BTreeSet::new();
    }
    let asked = cases.iter().filter_map(|case| case.notices.as_ref()).map(|asked| asked.event.clone());
    let events: BTreeSet<String> = events(rules, cases).into_iter().chain(asked).collect();
    let appointments: Vec<Appointment> = cases.iter().flat_map(|case| case.appointments(rules)).collect();
    let pairs = appointments.iter().flat_map(|current| events.iter().map(move |event| (event, current)));
    let notices = pairs.filter_map(|(event, current)| rules.rules().notices(event, current).ok()).flatten();
    notices.flat_map(|notice| linked_actions(&notice).map(str::to_owned).collect::<Vec<_>>()).collect()
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
    /// Time until which its scheduled actions have been done.
    until: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offers {
    place: Json,
    doctor: Option<String>,
    hospital: Option<String>,
    current: Option<Current>,
    openings: Vec<CaseOpening>,
}

/// An opening: its slot and its other members.
#[derive(Clone, Debug, Deserialize)]
struct CaseOpening {
    #[serde(flatten)]
    slot: Slot,
    doctor: Option<String>,
    hospital: Option<String>,
    places: Option<u16>,
    fields: Option<Json>,
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
    /// Reason why nothing is offered.
    reason: Option<Said>,
    notices: Option<Vec<Map<String, Json>>>,
    present: Option<Map<String, Json>>,
    /// The scheduled actions that are done, in order.
    clock: Option<Vec<Map<String, Json>>>,
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
    cases.iter().flat_map(|case| case.plans(rules)).flat_map(|plan| plan.events).collect()
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
    let present = |length: usize| rules.rules().present(Role::Patient, &page[..length]);
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
    /// Returns the plans that the case leads to.
    fn plans(&self, rules: &LoadedRules) -> Vec<Plan> {
        let decided = match self {
            Self { book: Some(request), .. } => self.book(rules, request).map(|decision| vec![decision]),
            Self { act: Some(asked), .. } => self.act(rules, asked).map(|decision| vec![decision]),
            Self { clock: Some(asked), .. } => current(rules, &asked.current, self.role)
                .and_then(|current| pass(rules, current, asked.until))
                .map(|(_, steps)| steps.into_iter().map(|step| step.decision).collect()),
            _ => return Vec::new(),
        };
        decided.into_iter().flatten().filter_map(|decision| Some(decision.ok()?.plan)).collect()
    }

    /// Returns the appointments that the case is about and those that it makes.
    fn appointments(&self, rules: &LoadedRules) -> Vec<Appointment> {
        let Self { role, book: request, act: asked, notices, present, clock, .. } = self;
        let made = |decision: Result<Decision, String>| Some(self.made(&decision.ok()?.ok()?));
        let booked = request.as_ref().and_then(|request| made(self.book(rules, request)));
        let acted = asked.as_ref().and_then(|asked| made(self.act(rules, asked)));
        let about = [
            asked.as_ref().map(|asked| &asked.current),
            notices.as_ref().map(|notices| &notices.current),
            present.as_ref().map(|present| &present.current),
            clock.as_ref().map(|clock| &clock.current),
        ];
        let about = about.into_iter().flatten().filter_map(|about| current(rules, about, *role).ok());
        about.chain(booked).chain(acted).collect()
    }

    /// Returns an appointment of the size that a plan of this case makes.
    fn made(&self, planned: &Planned) -> Appointment {
        let caller = self.caller.clone().unwrap_or_else(|| self.role.into());
        stored(planned, None, Step { action: "book".into(), role: self.role, at: self.now }, &caller)
    }

    /// Returns the context of the case's call.
    fn context(&self, rules: &LoadedRules) -> Result<Context, String> {
        let caller = self.caller.clone().unwrap_or_else(|| self.role.into());
        let mut context = rules.context(self.now, caller);
        for (name, known) in &self.facts {
            let (found, more) = match known {
                KnownFact::All(found) => (found, false),
                KnownFact::Some(SomeFound { appointments, more }) => (appointments, *more),
            };
            let role = context.caller.role;
            let appointments = found.iter().map(|found| current(rules, found, role)).collect::<Result<_, _>>()?;
            context.facts.push(Fact { name: name.clone(), appointments, more });
        }
        Ok(context)
    }

    fn book(&self, rules: &LoadedRules, request: &Json) -> Result<Decision, String> {
        decided(rules, &DecisionRequest { context: &self.context(rules)?, document: request, action: None })
    }

    fn act(&self, rules: &LoadedRules, asked: &Act) -> Result<Decision, String> {
        let context = self.context(rules)?;
        let current = current(rules, &asked.current, context.caller.role)?;
        let action = Some((asked.action.as_str(), &current));
        decided(rules, &DecisionRequest { context: &context, document: &asked.input, action })
    }

    fn offers(&self, rules: &LoadedRules, asked: &Offers) -> Result<Offered, String> {
        let context = self.context(rules)?;
        let current = asked.current.as_ref().map(|about| current(rules, about, context.caller.role)).transpose()?;
        let (doctor, hospital) = (asked.doctor.clone(), asked.hospital.clone());
        let opening = |opening: &CaseOpening| {
            Ok(Opening {
                slot: opening.slot.clone(),
                doctor: opening.doctor.clone().or_else(|| doctor.clone()),
                hospital: opening.hospital.clone().or_else(|| hospital.clone()),
                places: opening.places.unwrap_or(1),
                fields: opening.fields.as_ref().map(leaves).transpose()?.unwrap_or_default(),
            })
        };
        let openings = asked.openings.iter().map(opening).collect::<Result<Vec<_>, String>>()?;
        let place = Place { doctor: doctor.clone(), hospital: hospital.clone(), fields: leaves(&asked.place)? };
        let offered = rules.rules().offers(&context, &place, current.as_ref(), &openings).map_err(fault_message)?;
        Ok(offered.unwrap_or_default())
    }

    /// Returns what is wrong with the members of the case, if anything.
    fn misfit(&self) -> Option<String> {
        let Expect { violations, plan, offers, reason, notices, present, clock } = &self.expect;
        let asked = [
            (self.book.is_some(), "book", &["plan", "violations"][..]),
            (self.act.is_some(), "act", &["plan", "violations"]),
            (self.offers.is_some(), "offers", &["offers", "reason"]),
            (self.notices.is_some(), "notices", &["notices"]),
            (self.present.is_some(), "present", &["present"]),
            (self.clock.is_some(), "clock", &["clock"]),
        ];
        let expected = [
            (violations.is_some(), "violations"),
            (plan.is_some(), "plan"),
            (offers.is_some(), "offers"),
            (reason.is_some(), "reason"),
            (notices.is_some(), "notices"),
            (present.is_some(), "present"),
            (clock.is_some(), "clock"),
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
        Case { book: Some(request), act: None, offers: None, notices: None, present: None, clock: None, .. } => {
            verdict(&case.expect, case.book(rules, request)?)
        }
        Case { book: None, act: Some(asked), offers: None, notices: None, present: None, clock: None, .. } => {
            verdict(&case.expect, case.act(rules, asked)?)
        }
        Case { book: None, act: None, offers: Some(asked), notices: None, present: None, clock: None, .. } => {
            offers(&case.expect, &case.offers(rules, asked)?)
        }
        Case { book: None, act: None, offers: None, notices: Some(asked), present: None, clock: None, .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let found = rules.judged_notices(&asked.event, &current).map_err(fault_message)?;
            notices(case.expect.notices.as_deref().unwrap_or_default(), &found)
        }
        Case { book: None, act: None, offers: None, notices: None, present: Some(asked), clock: None, .. } => {
            let role = case.caller.as_ref().map_or(case.role, |caller| caller.role);
            let current = current(rules, &asked.current, role)?;
            let found = rules.rules().present(role, &[&current]).map_err(fault_message)?.pop().unwrap_or_default();
            let expected = Json::from(case.expect.present.clone().unwrap_or_default());
            compared("present", &expected, &nest(&found).into())
        }
        Case { book: None, act: None, offers: None, notices: None, present: None, clock: Some(asked), .. } => {
            let current = current(rules, &asked.current, case.role)?;
            let (_, steps) = pass(rules, current, asked.until)?;
            clock(case.expect.clock.as_deref().unwrap_or_default(), &steps)
        }
        _ => Err(ONE_CALL.to_owned().into()),
    }
}

/// A scheduled action that a case has done.
struct Woken {
    at: Timestamp,
    action: String,
    decision: Decision,
}

/// Does the scheduled actions of an appointment until a time, each at its own. A refusal ends them.
fn pass(rules: &LoadedRules, mut current: Appointment, until: Timestamp) -> Result<(Appointment, Vec<Woken>), String> {
    let mut steps = Vec::new();
    while let Some(wake) = current.wake.take_if(|wake| wake.at <= until) {
        if steps.len() == MAX_WAKES {
            return Err(format!("more than {MAX_WAKES} scheduled actions follow one another"));
        }
        let context = rules.context(wake.at, Role::Clock);
        let before = Appointment { wake: Some(wake.clone()), ..current.clone() };
        let action = Some((wake.action.as_str(), &before));
        let decision = decided(rules, &DecisionRequest { context: &context, document: &json!({}), action })?;
        if let Ok(planned) = &decision {
            let step = Step { action: wake.action.clone(), role: Role::Clock, at: wake.at };
            current = stored(planned, Some(&current), step, &context.caller);
        }
        steps.push(Woken { at: wake.at, action: wake.action, decision });
    }
    Ok((current, steps))
}

/// Returns the appointment that is stored for a plan, with the first of its choices.
fn stored(planned: &Planned, before: Option<&Appointment>, step: Step, caller: &RulesCaller) -> Appointment {
    let mut appointment = planned.appointment(Uuid::nil(), before, step, caller);
    appointment.set(planned.plan.choices.first().map_or(&[], |choice| &choice.attributes[..]));
    appointment
}

fn decided(rules: &LoadedRules, request: &DecisionRequest<'_>) -> Result<Decision, String> {
    let input = match check_input(rules, request) {
        Err(NotDecided::Schema(violations)) => return Ok(Err(violations)),
        input => input.map_err(|cause| cause.to_string())?,
    };
    let context = informed(rules, request, &input)?;
    let request = DecisionRequest { context: &context, ..*request };
    let decision = evaluate(rules, &request, &input).map_err(fault_message)?;
    match decision.as_ref().ok().and_then(|planned| unlisted(rules, &planned.plan)) {
        Some(why) => Err(why),
        None => Ok(decision),
    }
}

/// Asks the rules which facts they need, and returns the context with these. A fact that the case leaves out has no
/// appointments; one that nobody asks for is an error.
fn informed(rules: &LoadedRules, request: &DecisionRequest<'_>, input: &[Field]) -> Result<Context, String> {
    let DecisionRequest { context, action, .. } = *request;
    let mut context = context.clone();
    let queries = if rules.has_facts() {
        rules.rules().queries(&context, action, input).map_err(fault_message)?
    } else {
        Vec::new()
    };
    check_queries(&queries).map_err(fault_message)?;
    let mut known = std::mem::take(&mut context.facts);
    for FactQuery { name, at_most, .. } in &queries {
        let place = known.iter().position(|fact| fact.name == *name);
        let fact = place.map(|place| known.swap_remove(place));
        let fact = fact.unwrap_or_else(|| Fact { name: name.clone(), appointments: Vec::new(), more: false });
        if fact.appointments.len() > usize::from(*at_most) {
            let found = fact.appointments.len();
            return Err(format!(
                "the case's fact `{name}` has {found} appointments; the rules ask for at most {at_most}"
            ));
        }
        context.facts.push(fact);
    }
    let Some(Fact { name, .. }) = known.first() else { return Ok(context) };
    let asked: Vec<String> = queries.iter().map(|query| format!("`{}`", query.name)).collect();
    let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
    Err(format!("the rules do not ask for the case's fact `{name}`; those that they ask for here: {asked}"))
}

/// Returns the reason why a list could not be asked for the appointment of this plan.
fn unlisted(rules: &LoadedRules, plan: &Plan) -> Option<String> {
    let keys =
        [("patient", Some(&plan.patient)), ("doctor", plan.doctor.as_ref()), ("hospital", plan.hospital.as_ref())];
    let mut keys = keys.into_iter().filter_map(|(filter, key)| Some((filter, key?)));
    let (filter, key) = keys.find(|(filter, key)| rules.may_be_key(filter, key) == Ok(false))?;
    Some(format!("the plan's {filter} `{key}` does not match `/x-filters/{filter}` of the appointment schema"))
}

fn current(rules: &LoadedRules, about: &Current, role: Role) -> Result<Appointment, String> {
    let refused = |violations: Vec<Violation>| format!("the rules refuse its `current`: {}", list_codes(&violations));
    let role = |action: Option<&str>| {
        about.role.unwrap_or_else(|| action.map_or(role, |action| permitted(rules, action, role)))
    };
    let appointment = match about {
        Current { booked: Some(request), acted: None, at, .. } => {
            let (role, context) = (role(None), rules.context(*at, role(None)));
            let decision = decided(rules, &DecisionRequest { context: &context, document: request, action: None })?;
            let step = Step { action: "book".into(), role, at: *at };
            stored(&decision.map_err(refused)?, None, step, &context.caller)
        }
        Current { booked: None, acted: Some(asked), at, .. } => {
            let role = role(Some(&asked.action));
            let before = current(rules, &asked.current, role)?;
            let (context, action) = (rules.context(*at, role), Some((asked.action.as_str(), &before)));
            let decision = decided(rules, &DecisionRequest { context: &context, document: &asked.input, action })?;
            let step = Step { action: asked.action.clone(), role, at: *at };
            stored(&decision.map_err(refused)?, Some(&before), step, &context.caller)
        }
        _ => return Err("`current` has exactly one of booked, acted".into()),
    };
    match about.until {
        Some(until) => Ok(pass(rules, appointment, until)?.0),
        None => Ok(appointment),
    }
}

/// Returns the role if it may ask for the action, else the first role that may.
fn permitted(rules: &LoadedRules, action: &str, role: Role) -> Role {
    let roles = [role].into_iter().chain(Role::ALL);
    roles.clone().find(|role| rules.allow(action, *role).is_ok()).unwrap_or(role)
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

fn offers(expect: &Expect, Offered { offers, reason }: &Offered) -> Result<(), Failure> {
    if let Some(expected) = &expect.reason {
        let found = reason.as_ref().map(|reason| Said { path: reason.path.clone(), code: reason.code.clone() });
        return compared("reason", &json!(expected), &json!(found));
    }
    let found: Vec<Json> = offers.iter().map(offer_json).collect();
    compared("offers", &expect.offers.clone().unwrap_or_default(), &Json::from(found))
}

/// Compares the scheduled actions that are done with the expected ones. Each has `at`, `action`, and either `plan` or
/// `violations`.
fn clock(expected: &[Map<String, Json>], steps: &[Woken]) -> Result<(), Failure> {
    let step = |Woken { at, action, decision }: &Woken| {
        let (name, outcome) = match decision {
            Ok(planned) => ("plan", Json::from(plan_json(&planned.plan))),
            Err(violations) => ("violations", json!(codes(violations))),
        };
        json!({ "at": at, "action": action, name: outcome })
    };
    let is_refused = |(expected, step): (&Map<String, Json>, &Woken)| {
        let violations = step.decision.as_ref().err().filter(|_| expected.contains_key("plan"))?;
        Some(format!("`{}` at {}: expected a plan; came {}", step.action, step.at, list_codes(violations)))
    };
    let refused = expected.iter().zip(steps).find_map(is_refused);
    let compared = compared("clock", &json!(expected), &steps.iter().map(step).collect());
    compared.map_err(|failure| Failure { why: refused.unwrap_or(failure.why), ..failure })
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
        (Json::Array(expected), Json::Array(found)) if are_objects(expected, found) => {
            expected.iter().zip(found).map(|(expected, found)| named(expected, found)).collect()
        }
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
    if let (Json::Array(expected), Json::Array(found)) = (expected, found)
        && are_objects(expected, found)
    {
        let mut items = (0..).zip(expected.iter().zip(found));
        return items.try_for_each(|(index, (expected, found)): (usize, _)| {
            equal(&format!("{what}[{index}]"), expected, found)
        });
    }
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}; came {found}")) }
}

/// True for two lists of objects of one length. They are compared item by item, by the expected members.
fn are_objects(expected: &[Json], found: &[Json]) -> bool {
    expected.len() == found.len() && expected.iter().chain(found).all(Json::is_object)
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
    json["choices"] = json!(offer.choices);
    json["opening"] = json!(offer.opening);
    json["request"] = nest(&offer.request).into();
    json
}

fn slot_json(slot: &Slot) -> Json {
    json!({ "start": slot.start.strftime("%Y-%m-%dT%H:%M").to_string(), "minutes": slot.minutes, "zone": slot.zone })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::{ActionDescriptor, Choice, Claim, ClaimWords, Descriptor, Message, Party, Phase, Verdict, Wake};
    use crate::ports::Rules;
    use crate::testing::{Deciding, notice, plan, revision};

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
    fn a_case_fails_if_a_notice_links_to_what_no_patient_may_do_without_input() {
        let linking = |action: &str| {
            let mut rules = deciding();
            rules.descriptor.actions.push(ActionDescriptor {
                name: "confirm".into(),
                roles: vec!["patient".into()],
                input_schema: "{}".into(),
            });
            rules.notices = vec![Notice { text: format!("{{link:{action}}}"), ..notice() }];
            rules.loaded().1
        };
        let case = case(&json!({
            "notices": { "event": "booked", "current": booked() }, "expect": { "notices": [{ "locale": "es-PE" }] },
        }));
        assert_eq!(failure_of(&linking("confirm"), &case), None);
        for action in ["cancel", "arrive", "confrim"] {
            let why = failure_of(&linking(action), &case).unwrap();
            let words = format!("`{{link:{action}}}`, which is no action that a patient may do with an empty input");
            assert!(why.contains(&words), "{why}");
        }
        let cases = read(&json!([case]).to_string()).unwrap();
        assert_eq!(links(&linking("confrim"), &cases), ["confrim".to_owned()].into());
        assert_eq!(links(&deciding().loaded().1, &cases), BTreeSet::new());
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

    /// Rules with appointments that lapse after two days. They refuse a patient who missed one.
    struct Lapsing(Deciding);

    impl Lapsing {
        fn loaded() -> LoadedRules {
            let mut rules = deciding();
            rules.descriptor.actions.push(ActionDescriptor {
                name: "lapse".into(),
                roles: vec!["clock".into()],
                input_schema: "{}".into(),
            });
            LoadedRules::of(Arc::new(Self(rules)), "sha256:00".into()).unwrap()
        }
    }

    impl Rules for Lapsing {
        fn contract(&self) -> &'static str {
            self.0.contract()
        }
        fn describe(&self) -> Result<Descriptor, Fault> {
            self.0.describe()
        }
        fn book(&self, context: &Context, _: &[Field]) -> Result<Verdict, Fault> {
            if context.facts.iter().any(|fact| fact.name == "missed" && !fact.appointments.is_empty()) {
                return Ok(Err(vec![Violation::new("", "pe.call-us")]));
            }
            let at = Timestamp::from_second(context.now + 2 * 86_400).unwrap();
            let wake = Some(Wake { at, action: "lapse".into() });
            Ok(Ok(Plan { wake, ..plan(revision(Uuid::nil())) }))
        }
        fn act(&self, _: &Context, current: &Appointment, _: &str, _: &[Field]) -> Result<Verdict, Fault> {
            if current.steps.iter().any(|step| step.action == "arrive") {
                return Ok(Err(vec![Violation { conflict: true, ..Violation::new("", "pe.lapse.arrived") }]));
            }
            let wake = current.wake.clone().filter(|_| current.steps.len() == 1 && current.phase != Phase::Booked);
            Ok(Ok(Plan { phase: Phase::Cancelled, wake, events: vec!["lapsed".into()], ..plan(revision(Uuid::nil())) }))
        }
        fn present(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
            self.0.present(role, appointments)
        }
        fn has_facts(&self) -> bool {
            true
        }
        fn queries(
            &self,
            _: &Context,
            acting: Option<(&str, &Appointment)>,
            input: &[Field],
        ) -> Result<Vec<FactQuery>, Fault> {
            let at_most = if input.iter().any(|field| field.path == "/many") { 50 } else { 1 };
            let missed = FactQuery {
                name: "missed".into(),
                of: Party::Patient,
                key: "dni:10117410".into(),
                phases: vec![Phase::NoShow],
                since: None,
                until: None,
                at_most,
            };
            Ok(if acting.is_some() { Vec::new() } else { vec![missed] })
        }
    }

    fn lapsing(members: &Json) -> Option<String> {
        failure_of(&Lapsing::loaded(), &case(members))
    }

    #[test]
    fn time_passes_and_each_scheduled_action_is_done_at_its_own() {
        let until = |until: &str, expected: Json| {
            lapsing(&json!({ "clock": { "current": booked(), "until": until }, "expect": { "clock": expected } }))
        };
        let lapsed = json!([{
            "at": "2026-11-26T15:00:00Z", "action": "lapse", "plan": { "phase": "cancelled", "events": ["lapsed"] },
        }]);
        assert_eq!(until("2026-11-26T14:59:59Z", json!([])), None);
        assert_eq!(until("2026-11-26T15:00:00Z", lapsed.clone()), None);
        let why = until("2026-11-26T14:59:59Z", lapsed).unwrap();
        assert!(why.starts_with("clock: expected [{"), "{why}");
        let why = until("2027-01-01T00:00:00Z", json!([])).unwrap();
        assert!(why.contains("came [{\"action\":\"lapse\""), "{why}");
    }

    #[test]
    fn the_appointment_of_a_case_may_have_lapsed_before() {
        let mut lapsed = booked();
        lapsed["until"] = "2026-12-01T00:00:00Z".into();
        let act =
            |current: Json| json!({ "act": { "action": "cancel", "input": { "reason": "x" }, "current": current } });
        assert_eq!(lapsing(&act(lapsed)), None);
    }

    #[test]
    fn a_refused_action_ends_what_happens() {
        let arrive = json!({ "action": "arrive", "input": { "reason": "x" }, "current": booked() });
        let arrived = json!({ "acted": arrive, "at": "2026-11-24T16:00:00Z" });
        let expect = json!({ "clock": [] });
        let case = json!({ "clock": { "current": arrived, "until": "2027-01-01T00:00:00Z" }, "expect": expect });
        assert_eq!(lapsing(&case), None, "the action dropped the wake");
    }

    #[test]
    fn a_case_has_the_facts_that_the_rules_ask_for() {
        let case = |facts: Json| {
            json!({ "book": { "day": "x" }, "facts": facts, "expect": { "violations": [
            { "path": "", "code": "pe.call-us" },
        ] } })
        };
        assert_eq!(lapsing(&case(json!({ "missed": [booked()] }))), None);
        assert_eq!(lapsing(&case(json!({ "missed": { "appointments": [booked()], "more": true } }))), None);
        for left_out in [json!({ "missed": [] }), json!({})] {
            assert_eq!(lapsing(&case(left_out)).as_deref(), Some("expected violations; came a plan"));
        }
    }

    #[test]
    fn a_case_asks_for_facts_as_a_booking_does() {
        let why = |members: Json| lapsing(&members).unwrap_or_default();
        let book = |facts: Json| json!({ "book": { "day": "x" }, "facts": facts });
        assert_eq!(
            why(json!({ "book": { "day": "x", "many": "x" } })),
            "the answer breaks the contract: the query `missed` for 50; 1 to 20 are allowed"
        );
        assert_eq!(
            why(book(json!({ "mised": [] }))),
            "the rules do not ask for the case's fact `mised`; those that they ask for here: `missed`"
        );
        assert_eq!(
            why(book(json!({ "missed": [booked(), booked()] }))),
            "the case's fact `missed` has 2 appointments; the rules ask for at most 1"
        );
        let act = json!({ "action": "cancel", "input": { "reason": "x" }, "current": booked() });
        let unasked = why(json!({ "act": act, "facts": { "missed": [] } }));
        assert!(unasked.ends_with("those that they ask for here: none"), "{unasked}");
    }

    #[test]
    fn a_scheduled_action_that_is_refused_says_why() {
        let Json::Object(expected) = json!({ "action": "lapse", "plan": {} }) else { unreachable!() };
        let decision = Err(vec![Violation::new("/reason", "schema.required")]);
        let woken = Woken { at: "2026-11-26T15:00:00Z".parse().unwrap(), action: "lapse".into(), decision };
        let why = clock(&[expected], &[woken]).unwrap_err().to_string();
        assert_eq!(why, "`lapse` at 2026-11-26T15:00:00Z: expected a plan; came schema.required at `/reason`");
    }

    #[test]
    fn codes_without_a_text_and_claims_without_words_are_named() {
        let mut rules = deciding();
        let said = |code: &str, locale: &str| Message { code: code.into(), locale: locale.into(), text: "x".into() };
        rules.descriptor.locales = vec!["es".into(), "en".into()];
        rules.descriptor.messages = vec![said("pe.both", "es"), said("pe.both", "en"), said("pe.spanish", "es")];
        let words =
            |prefix: &str, code: &str| ClaimWords { prefix: prefix.into(), path: String::new(), code: code.into() };
        rules.descriptor.claims = vec![words("room/", "pe.room"), words("doctor/", "pe.both")];
        let mut planned = plan(revision(Uuid::nil()));
        planned.claims = ["doctor/1", "group/1", "group/2"].map(Claim::new).into();
        planned.choices = vec![Choice { claims: vec![Claim::new("bed/1")], attributes: vec![] }];
        let rules = Deciding { verdict: Ok(Ok(planned)), ..rules }.loaded().1;
        let cases = read(&json!([case(&json!({ "book": { "day": "x" } }))]).to_string()).unwrap();
        assert_eq!(missing_texts(&rules, &cases), BTreeSet::from(["pe.room", "pe.spanish"]));
        assert_eq!(wordless_claims(&rules, &cases), ["bed/1", "group/2"]);
    }

    #[test]
    fn a_caller_takes_the_place_of_the_role() {
        let act = |caller: Json| {
            let act = json!({ "action": "arrive", "input": { "reason": "x" }, "current": booked() });
            failure(&case(&json!({ "act": act, "caller": caller })))
        };
        assert_eq!(act(json!({ "role": "staff", "account": "a-1" })), None);
        assert!(act(json!({ "role": "patient" })).unwrap().contains("not for the role patient"));
    }
}
