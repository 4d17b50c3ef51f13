//! One version of a country's rules, loaded and checked: the component, and all that the host derives from its
//! descriptor. Every call to rules for a client passes through here and is counted and timed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};
use jsonschema::Validator;
use serde_json::{Map, Value as Json, json};

use crate::model::{
    ActionDescriptor, Appointment, CalendarTexts, ClaimWords, Context, CountryCode, Demand, Descriptor, FactQuery,
    Field, Limits, Notice, Offer, Offered, Opening, Party, Place, Role, RulesCaller, RulesId, Slot, VERIFY, Violation,
    Zone, digest, json,
};
use crate::ports::{Engine, FIRST_CONTRACT, Fault, Refusal, Rules};
use crate::rules::links::linked_actions;
use crate::rules::messages::{self, Messages};
use crate::rules::plan_check::{check_notices, check_offers, check_openings, check_queries, is_slug};
use crate::rules::schema;

/// Members of an appointment that the host adds. A country's own members must not have these names.
pub const HOST_MEMBERS: [&str; 9] =
    ["id", "country", "phase", "revision", "startsAt", "minutes", "rules", "createdAt", "updatedAt"];

/// Members of an appointment that the host adds unless the country has a member of that name. Contract 1.0.0 did not
/// reserve them.
pub const ADDED_MEMBERS: [&str; 3] = ["zone", "startsAtLocal", "unverified"];

/// Member of a request that is the token of a free slot.
pub const SLOT: &str = "slot";

/// Member of a request that is the id of a hold.
pub const HOLD: &str = "hold";

/// Members that the host gives a request. Where a country has free slots, no schema of a request or of an action's input may
/// have them.
const SLOT_MEMBERS: [(&str, &str); 2] = [(SLOT, "the token of a free slot"), (HOLD, "the id of a hold")];

/// Maximum number of appointments in a page.
pub const MAX_PAGE: usize = 100;

/// Maximum number of calls for one page. Each call may use its whole budget, and a client waits for the page.
pub const MAX_PAGE_CALLS: usize = 10;

/// Maximum number of openings in a call for offers, if more than one call is needed.
const MAX_OPENINGS: usize = 400;

/// Time in which a demand about personal data must be answered if the country's rules name none.
const DUE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Maximum time for an answer that rules may name.
const MAX_DUE: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Maximum number of actions. Each action is a path of the OpenAPI document, and every booking links to all actions.
const MAX_ACTIONS: usize = 50;

/// Names that no action has, because the host has these places in the API.
const RESERVED_ACTIONS: [&str; 2] = ["history", VERIFY];

/// The country's part of an appointment, as clients see it.
pub type Fields = Arc<Map<String, Json>>;

/// Maximum number of entries in the cache of personal paths. A document has fewer.
const MAX_PATHS: usize = 1_000;

/// Number of versions that this process has loaded.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// An action on a booked appointment.
#[derive(Debug)]
pub struct Action {
    /// Roles that may use the action.
    pub roles: BTreeSet<&'static str>,
    /// JSON Schema 2020-12 of the input.
    pub schema: Json,
    validator: OnceLock<Validator>,
}

/// Counts of the calls to one loaded version.
#[derive(Debug, Default)]
pub struct Counters {
    /// Number of calls that gave a result.
    pub answered: AtomicU64,
    /// Number of calls that failed. A batch that is split does not count.
    pub faults: AtomicU64,
}

/// A country's loaded rules. They do not change while they are in force.
pub struct LoadedRules {
    /// Country of the rules.
    pub country: CountryCode,
    /// Version and digest of the rules.
    pub id: RulesId,
    /// Descriptor of the component.
    pub descriptor: Descriptor,
    /// JSON Schema 2020-12 of a booking request.
    pub request_schema: Json,
    /// JSON Schema 2020-12 of the country's part of an appointment.
    pub appointment_schema: Json,
    /// Actions by name.
    pub actions: BTreeMap<String, Action>,
    /// Texts of the codes.
    pub messages: Messages,
    /// Counts of the calls.
    pub counters: Counters,
    /// Number that is unique among the versions that this process has loaded.
    pub(crate) serial: u64,
    zones: Vec<Zone>,
    request: OnceLock<Validator>,
    filters: OnceLock<Validator>,
    rules: Arc<dyn Rules>,
    /// Number of appointments in the first batch of the next page.
    fitting: AtomicUsize,
    /// Number of openings in the first call for offers.
    offering: AtomicUsize,
    /// Cache of attribute paths: true if personal.
    personal: RwLock<HashMap<String, bool>>,
}

impl fmt::Debug for LoadedRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedRules").field("country", &self.country).field("id", &self.id).finish_non_exhaustive()
    }
}

impl LoadedRules {
    /// Loads a component and checks its descriptor.
    ///
    /// # Errors
    /// Returns a [`Refusal`] in plain words if the component cannot be used.
    pub fn load(engine: &dyn Engine, component: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        Self::of(engine.load(component, limits)?, digest(component))
    }

    /// Checks the descriptor of a component that is ready to be called. `digest` is the digest of its portable bytes.
    ///
    /// # Errors
    /// Returns a [`Refusal`] in plain words if the component cannot be used.
    pub fn of(rules: Arc<dyn Rules>, digest: String) -> Result<Self, Refusal> {
        let mut loaded = Self::described(rules, digest)?;
        schema::validator("appointment-schema", &loaded.appointment_schema)?;
        loaded.filters = schema::filters(&loaded.appointment_schema)?.into();
        loaded.request = schema::validator("request-schema", &loaded.request_schema)?.into();
        for (name, action) in &mut loaded.actions {
            let validator = schema::validator(&input_schema(name), &action.schema)?;
            if action.roles.contains(Role::Clock.as_str()) && !validator.is_valid(&json!({})) {
                let cause = "the clock does this action with the input {}, which the schema refuses";
                return Err(Refusal::bad_descriptor("the input-schema of", name, cause));
            }
            action.validator = validator.into();
        }
        Ok(loaded)
    }

    /// Loads native code. The component with this digest was judged before it was compiled.
    ///
    /// The schemas were found valid then, and are compiled on first use. In a serverless function that starts,
    /// compiling them takes as long as all the rest of loading, and reads need none of them.
    ///
    /// # Errors
    /// Returns a [`Refusal`] in plain words if the code cannot be used.
    pub fn native(engine: &dyn Engine, code: &[u8], limits: &Limits, digest: String) -> Result<Self, Refusal> {
        Self::described(engine.load_native(code, limits)?, digest)
    }

    fn described(rules: Arc<dyn Rules>, digest: String) -> Result<Self, Refusal> {
        let descriptor = rules.describe().map_err(Refusal::NoDescriptor)?;
        let country = member("country", &descriptor.country, descriptor.country.parse())?;
        member("version", &descriptor.version, descriptor.version.parse::<semver::Version>())?;
        let mut schemas = schema::Budget::default();
        let request_schema = schemas.document("request-schema", &descriptor.request_schema)?;
        let appointment_schema = schemas.document("appointment-schema", &descriptor.appointment_schema)?;
        refuse_host_members(&appointment_schema)?;
        let actions = actions(&descriptor.actions, rules.contract(), &mut schemas)?;
        if rules.has_openings() {
            refuse_slot_members("request-schema", &request_schema)?;
            let inputs = actions.iter().map(|(name, action)| (input_schema(name), &action.schema));
            inputs.into_iter().try_for_each(|(name, schema)| refuse_slot_members(&name, schema))?;
        }
        Ok(Self {
            country,
            id: RulesId { version: descriptor.version.clone(), digest },
            actions,
            zones: zones(&descriptor.zones)?,
            request: OnceLock::new(),
            filters: OnceLock::new(),
            messages: Messages::of(&descriptor)?,
            counters: Counters::default(),
            serial: LOADED.fetch_add(1, Ordering::Relaxed),
            fitting: AtomicUsize::new(MAX_PAGE),
            offering: AtomicUsize::new(MAX_OPENINGS),
            personal: RwLock::default(),
            request_schema,
            appointment_schema,
            descriptor,
            rules,
        })
    }

    /// Returns the context of a call at `now`, without facts.
    pub fn context(&self, now: Timestamp, caller: impl Into<RulesCaller>) -> Context {
        let clocks = self.zones.iter().map(|zone| zone.clock(now)).collect();
        Context { now: now.as_second(), clocks, caller: caller.into(), facts: Vec::new() }
    }

    /// Returns the version of the contract that the component was built for.
    pub fn contract(&self) -> &'static str {
        self.rules.contract()
    }

    /// Returns true if the attribute at this path identifies a person: if some schema of the country marks it as
    /// personal, or the schema of an appointment does not describe it.
    pub fn is_personal(&self, path: &str) -> bool {
        if let Some(known) = self.personal.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return *known;
        }
        let others = self.actions.values().map(|action| &action.schema).chain([&self.request_schema]);
        let is_personal = schema::is_personal(&self.appointment_schema, path)
            || others.into_iter().any(|schema| schema::is_marked_personal(schema, path));
        let mut known = self.personal.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_PATHS {
            known.insert(path.to_owned(), is_personal);
        }
        is_personal
    }

    /// Returns the violation for a taken claim, by the country's words for the longest prefix of its key.
    pub fn claim_violation(&self, key: &str) -> Option<Violation> {
        let words = self.descriptor.claims.iter().filter(|words| key.starts_with(&words.prefix));
        let ClaimWords { path, code, .. } = words.max_by_key(|words| words.prefix.len())?;
        Some(Violation { conflict: true, ..Violation::new(path, code) })
    }

    /// Returns the key that a spelling means, or `None` if it means nothing. The key fits the country's schema of the
    /// filter.
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub fn key(&self, of: Party, spelling: &str) -> Result<Option<String>, Fault> {
        let key = self.call("key", || self.rules.key(of, spelling))?;
        match key {
            Some(key) if self.may_be_key(of.as_str(), &key)? => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    /// Returns the time by which a demand about personal data that was received at this time must be answered.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result is before the demand or more than 400 days after it.
    pub fn due(&self, context: &Context, demand: Demand, received: Timestamp) -> Result<Timestamp, Fault> {
        self.call("due", || {
            let Some(due) = self.rules.due(context, demand, received.as_second())? else { return Ok(received + DUE) };
            let due = Timestamp::from_second(due).ok().filter(|due| (received..=received + MAX_DUE).contains(due));
            due.ok_or_else(|| Fault::BadAnswer("a demand is due before it, or more than 400 days after it".to_owned()))
        })
    }

    /// Returns true if decisions need facts.
    pub fn has_facts(&self) -> bool {
        self.rules.has_facts()
    }

    /// Returns the queries for the facts of a decision, for a booking or for an action on an appointment.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result breaks the contract.
    pub fn queries(
        &self,
        context: &Context,
        acting: Option<(&str, &Appointment)>,
        input: &[Field],
    ) -> Result<Vec<FactQuery>, Fault> {
        self.call("facts", || {
            let queries = self.rules.queries(context, acting, input)?;
            check_queries(&queries)?;
            Ok(queries)
        })
    }

    /// Returns the start of a slot, or `None` if the clocks of its zone skip that time.
    ///
    /// # Errors
    /// Returns an error if the descriptor does not list the zone.
    pub fn start(&self, slot: &Slot) -> Result<Option<Timestamp>, Fault> {
        let zone = self.zones.iter().find(|zone| zone.name() == slot.zone);
        let unlisted = || Fault::BadAnswer(format!("a slot in `{}`, which the descriptor does not list", slot.zone));
        zone.map(|zone| zone.instant(slot.start)).ok_or_else(unlisted)
    }

    /// Returns the zones of the country.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Returns the first instant of a day and that of the next day, in each zone of the country.
    pub fn days(&self, date: Date) -> impl Iterator<Item = Range<Timestamp>> {
        self.zones.iter().map(move |zone| zone.day(date))
    }

    /// Returns true if the key of some appointment may be `key`, by the country's schema of this filter.
    ///
    /// # Errors
    /// Returns an error if the schema is not valid; see [`LoadedRules::check_request`].
    pub fn may_be_key(&self, filter: &str, key: &str) -> Result<bool, Fault> {
        let validator = ready(&self.filters, || schema::filters(&self.appointment_schema))?;
        Ok(validator.is_valid(&Json::Object(Map::from_iter([(filter.to_owned(), key.into())]))))
    }

    /// Returns examples of keys for this filter, as the country writes them.
    pub fn example_keys(&self, filter: &str) -> Vec<String> {
        schema::example_keys(&self.appointment_schema, filter)
    }

    /// Checks a booking request against the schema, and returns the violations.
    ///
    /// # Errors
    /// Returns an error if the schema is not valid. That is possible for native code, if the host that compiled it was
    /// of another version and accepted the schema.
    pub fn check_request(&self, request: &Json) -> Result<Vec<Violation>, Fault> {
        check(&self.request, "request-schema", &self.request_schema, request)
    }

    /// Returns the actions that clients may use.
    pub fn client_actions(&self) -> impl Iterator<Item = (&String, &Action)> {
        self.actions.iter().filter(|(_, action)| !action.is_scheduled())
    }

    /// Returns the codes of messages that no violation has: those for a place or a keyword that the schemas of the
    /// request and of the actions' inputs do not have.
    pub fn misplaced_messages(&self) -> BTreeSet<&str> {
        let inputs = self.actions.values().map(|action| &action.schema);
        let schemas: Vec<&Json> = inputs.chain([&self.request_schema]).collect();
        let is_misplaced = |code: &&str| match messages::placed(code) {
            Some((keyword, place)) => !schemas.iter().any(|schema| schema::may_violate(schema, keyword, place)),
            None => code.starts_with(messages::SCHEMA) && messages::host_text(code).is_none(),
        };
        self.descriptor.messages.iter().map(|message| message.code.as_str()).filter(is_misplaced).collect()
    }

    /// Returns the component itself. Calls to it are not counted, and their results are not checked.
    pub fn rules(&self) -> &dyn Rules {
        self.rules.as_ref()
    }

    /// Presents one appointment: the country's part, as clients see it, without the members that the host adds.
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub fn present(&self, role: Role, appointment: &Appointment) -> Result<Fields, Fault> {
        Ok(self.present_all(role, &[appointment])?.pop().expect("one for each appointment"))
    }

    /// Presents appointments in one call.
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub fn present_all(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Fields>, Fault> {
        self.call("present", || self.present_batch(role, appointments))
    }

    /// Presents appointments in order with at most `budget` calls, and subtracts the calls made from it. Returns fewer
    /// appointments than it was given if the budget ends first, or if one of them cannot be presented.
    ///
    /// The first batch has the size that succeeded last. A batch is larger, at most twice as large, if the budget would
    /// not suffice otherwise. A failed batch is split, because it may be too much for one call. A whole budget is
    /// enough to present at least one appointment.
    ///
    /// # Errors
    /// Returns an error if the first appointment cannot be presented by itself.
    pub fn present_page(
        &self,
        role: Role,
        appointments: &[&Appointment],
        budget: &mut usize,
    ) -> Result<Vec<Fields>, Fault> {
        let (mut shown, mut is_split) = (Vec::with_capacity(appointments.len()), false);
        let mut fitting = self.fitting.load(Ordering::Relaxed).max(1);
        while *budget > 0 && shown.len() < appointments.len() {
            let rest = &appointments[shown.len()..];
            let needed = if is_split { 0 } else { rest.len().div_ceil(*budget).min(fitting * 2) };
            let length = fitting.max(needed).min(rest.len()).min(self.rules.fitting(rest));
            *budget -= 1;
            match self.attempt(role, &rest[..length]) {
                Ok(fields) => {
                    shown.extend(fields);
                    fitting = fitting.max(length);
                }
                Err(_) if length > 1 => {
                    is_split = true;
                    fitting = if length > fitting { fitting } else { length / 2 };
                }
                Err(fault) if shown.is_empty() => return Err(fault),
                Err(_) => break,
            }
        }
        self.fitting.store(fitting, Ordering::Relaxed);
        Ok(shown)
    }

    /// Presents a batch. A failure is a fault of the rules only if the batch cannot be split.
    fn attempt(&self, role: Role, batch: &[&Appointment]) -> Result<Vec<Fields>, Fault> {
        if batch.len() == 1 {
            return self.present_all(role, batch);
        }
        let started = Instant::now();
        let answer = self.present_batch(role, batch);
        self.count("present", if answer.is_ok() { "answered" } else { "split" }, started.elapsed());
        answer
    }

    fn present_batch(&self, role: Role, batch: &[&Appointment]) -> Result<Vec<Fields>, Fault> {
        let fields = self.rules.present(role, batch)?;
        if fields.len() != batch.len() {
            let (given, answered) = (batch.len(), fields.len());
            return Err(Fault::BadAnswer(format!("`present` was given {given} appointments and answered {answered}")));
        }
        let shown = |fields: &Vec<Field>| {
            let mut members = json::nest(fields);
            members.retain(|name, _| !HOST_MEMBERS.contains(&name.as_str()));
            Arc::new(members)
        };
        Ok(fields.iter().map(shown).collect())
    }

    /// Returns true if the country has openings of its own.
    pub fn has_openings(&self) -> bool {
        self.rules.has_openings()
    }

    /// Returns the members of a request that a search for free slots may have, each with its schema.
    pub fn place_members(&self) -> BTreeMap<&str, &Json> {
        schema::place_members(&self.request_schema)
    }

    /// Returns the country's own openings at a place that start in `since` <= start < `until`, by the clocks of the place.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result breaks the contract.
    pub fn openings(
        &self,
        context: &Context,
        place: &Place,
        since: DateTime,
        until: DateTime,
    ) -> Result<Vec<Opening>, Fault> {
        self.call("openings", || {
            let openings = self.rules.openings(context, place, since, until)?;
            check_openings(&openings)?;
            openings.iter().try_for_each(|opening| self.start(&opening.slot).map(drop))?;
            Ok(openings)
        })
    }

    /// Returns the openings that the country allows; none if the country has no rules for them. `current` is the
    /// appointment to be moved, if there is one.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result breaks the contract.
    pub fn offers(
        &self,
        context: &Context,
        place: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Offered, Fault> {
        self.call("offers", || self.offers_of_call(context, place, current, openings))
    }

    /// Returns the openings that the country allows, with as many calls as their number needs. The first call has as many
    /// openings as fitted last. A call that fails is split, because its openings or its offers may be too much for one.
    ///
    /// # Errors
    /// Returns an error if a call with one opening fails.
    pub fn offers_in_parts(
        &self,
        context: &Context,
        place: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Offered, Fault> {
        // A failure is a fault of the rules only if the openings cannot be split.
        let ask = |part: &[Opening]| {
            if part.len() <= 1 {
                return self.offers(context, place, current, part);
            }
            let started = Instant::now();
            let answer = self.offers_of_call(context, place, current, part);
            self.count("offers", if answer.is_ok() { "answered" } else { "split" }, started.elapsed());
            answer
        };
        let (mut offered, mut first, mut is_split) = (Offered::default(), 0, false);
        let mut fitting = self.offering.load(Ordering::Relaxed).max(1);
        loop {
            let part = &openings[first..openings.len().min(first + fitting)];
            match ask(part) {
                Ok(Offered { offers, reason }) => {
                    offered
                        .offers
                        .extend(offers.into_iter().map(|offer| Offer { opening: first + offer.opening, ..offer }));
                    offered.reason = offered.reason.or(reason);
                    first += part.len();
                }
                Err(_) if part.len() > 1 => (fitting, is_split) = (part.len() / 2, true),
                Err(fault) => return Err(fault),
            }
            if first >= openings.len() {
                // The openings of the next search may be smaller.
                let more = if is_split || openings.len() < fitting { 0 } else { fitting / 8 };
                self.offering.store((fitting + more).min(MAX_OPENINGS), Ordering::Relaxed);
                return Ok(offered);
            }
        }
    }

    fn offers_of_call(
        &self,
        context: &Context,
        place: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Offered, Fault> {
        let offered = self.rules.offers(context, place, current, openings)?.unwrap_or_default();
        check_offers(&offered, openings)?;
        offered.offers.iter().try_for_each(|offer| self.start(&offer.slot).map(drop))?;
        Ok(offered)
    }

    /// Returns the notices for an event.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result breaks the contract.
    pub fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        self.call("notices", || check_notices(self.rules.notices(event, current)?))
    }

    /// Returns the notices of golden cases and examples, in which each link must be valid.
    ///
    /// # Errors
    /// Returns an error if the call fails, or if its result breaks the contract.
    pub(crate) fn judged_notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        let notices = check_notices(self.rules.notices(event, current)?)?;
        let dead = notices.iter().flat_map(linked_actions).find(|action| !self.is_linkable(action));
        match dead.filter(|_| self.contract() != FIRST_CONTRACT) {
            Some(action) => Err(Fault::BadAnswer(format!(
                "a notice with `{{link:{action}}}`, which is no action that a patient may do with an empty input"
            ))),
            None => Ok(notices),
        }
    }

    /// Returns true if a notice may link to this action: a patient may do it, and its input may be empty.
    pub fn is_linkable(&self, action: &str) -> bool {
        let allowed = self.allow(action, Role::Patient);
        allowed
            .is_ok_and(|action| action.check(&Json::Object(Map::new())).is_ok_and(|violations| violations.is_empty()))
    }

    /// Returns what a calendar shows of an appointment: the texts of the members that the appointment's schema marks
    /// with `x-calendar`, as clients see them. A country without such members is not called.
    ///
    /// # Errors
    /// Returns an error if the call fails.
    pub fn calendar_texts(&self, appointment: &Appointment) -> Result<CalendarTexts, Fault> {
        let members = || self.appointment_schema["properties"].as_object().into_iter().flatten();
        let marked = |mark: &str| members().find(|(_, member)| member["x-calendar"] == mark).map(|(name, _)| name);
        let (summary, location) = (marked("summary"), marked("location"));
        if summary.or(location).is_none() {
            return Ok(CalendarTexts::default());
        }
        let shown = self.present(Role::Patient, appointment)?;
        let text = |member: Option<&String>| shown.get(member?)?.as_str().map(str::to_owned);
        Ok(CalendarTexts { summary: text(summary), location: text(location) })
    }

    /// Runs a call, counts its outcome and logs a fault.
    pub(crate) fn call<T>(&self, function: &'static str, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let started = Instant::now();
        let answer = run();
        let took = started.elapsed();
        match &answer {
            Ok(_) => self.count(function, "answered", took),
            Err(fault) => {
                self.count(function, fault.kind(), took);
                self.counters.faults.fetch_add(1, Ordering::Relaxed);
                let RulesId { version, digest } = &self.id;
                tracing::warn!(country = %self.country, version, digest, function, %fault, "the rules gave no answer");
            }
        }
        answer
    }

    fn count(&self, function: &'static str, outcome: &'static str, took: Duration) {
        if outcome == "answered" {
            self.counters.answered.fetch_add(1, Ordering::Relaxed);
        }
        let country = self.country.to_string();
        metrics::counter!("citas_rules_calls_total", "country" => country.clone(), "call" => function, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("citas_rules_seconds", "country" => country, "call" => function).record(took);
    }
}

/// Returns the parsed value of a descriptor's member, or a refusal that names the member.
fn member<T, E: std::fmt::Display>(member: &str, value: &str, parsed: Result<T, E>) -> Result<T, Refusal> {
    parsed.map_err(|cause| Refusal::bad_descriptor(member, value, cause))
}

fn zones(names: &[String]) -> Result<Vec<Zone>, Refusal> {
    if names.is_empty() {
        return Err(Refusal::bad_descriptor("zones", "", "a country has at least one zone"));
    }
    let zone = |name: &String| {
        Zone::named(name).ok_or_else(|| {
            Refusal::bad_descriptor("zones", name, "there is no such zone in the IANA time zone database")
        })
    };
    names.iter().map(zone).collect()
}

fn actions(
    actions: &[ActionDescriptor],
    contract: &str,
    schemas: &mut schema::Budget,
) -> Result<BTreeMap<String, Action>, Refusal> {
    if actions.len() > MAX_ACTIONS {
        let cause = format!("a country has at most {MAX_ACTIONS}");
        return Err(Refusal::bad_descriptor("actions", &actions.len().to_string(), cause));
    }
    actions.iter().map(|described| action(described, contract, schemas)).collect()
}

fn action(
    action: &ActionDescriptor,
    contract: &str,
    schemas: &mut schema::Budget,
) -> Result<(String, Action), Refusal> {
    let name = &action.name;
    if !is_slug(name) || RESERVED_ACTIONS.contains(&name.as_str()) {
        let cause = "an action's name is a place in the API: lower-case letters and hyphens, and neither `history` nor `verify`";
        return Err(Refusal::bad_descriptor("actions", name, cause));
    }
    let role = |word: &String| {
        let known =
            Role::ALL.into_iter().filter(|role| *role != Role::Clock || contract != FIRST_CONTRACT).map(Role::as_str);
        let cause = || format!("a role is one of {}", known.clone().collect::<Vec<_>>().join(", "));
        let role = known.clone().find(|role| role == word);
        role.ok_or_else(|| Refusal::bad_descriptor("roles", word, cause()))
    };
    let schema = schemas.document(&input_schema(name), &action.input_schema)?;
    let validator = OnceLock::new();
    Ok((name.clone(), Action { roles: action.roles.iter().map(role).collect::<Result<_, _>>()?, schema, validator }))
}

fn input_schema(action: &str) -> String {
    format!("input-schema of `{action}`")
}

impl Action {
    /// Returns the roles of the callers that may use the action: all but the clock.
    pub fn client_roles(&self) -> BTreeSet<&'static str> {
        self.roles.iter().copied().filter(|role| *role != Role::Clock.as_str()).collect()
    }

    /// Returns true if only the clock may do the action. Clients neither see nor use it.
    pub fn is_scheduled(&self) -> bool {
        self.roles.len() == 1 && self.roles.contains(Role::Clock.as_str())
    }

    /// Checks the action's input against the schema, and returns the violations.
    ///
    /// # Errors
    /// Returns an error if the schema is not valid; see [`LoadedRules::check_request`].
    pub fn check(&self, input: &Json) -> Result<Vec<Violation>, Fault> {
        check(&self.validator, "input-schema", &self.schema, input)
    }
}

/// Returns a validator that is compiled on first use.
fn ready(
    once: &OnceLock<Validator>,
    compile: impl FnOnce() -> Result<Validator, Refusal>,
) -> Result<&Validator, Fault> {
    if let Some(validator) = once.get() {
        return Ok(validator);
    }
    let validator = compile().map_err(|refusal| Fault::BadAnswer(refusal.to_string()))?;
    Ok(once.get_or_init(|| validator))
}

/// Checks a document against a schema, which is compiled on first use.
fn check(once: &OnceLock<Validator>, what: &str, schema: &Json, document: &Json) -> Result<Vec<Violation>, Fault> {
    let validator = ready(once, || schema::validator(what, schema))?;
    let violations = schema::violations(validator, document);
    Ok(violations.into_iter().map(|violation| schema::labelled(schema, violation)).collect())
}

fn refuse_slot_members(what: &str, schema: &Json) -> Result<(), Refusal> {
    let mut named = schema::named_members(schema);
    let found = named.find_map(|name| SLOT_MEMBERS.into_iter().find(|(member, _)| name == *member));
    found.map_or(Ok(()), |(name, meaning)| {
        Err(Refusal::bad_descriptor(what, name, format!("the host gives a request this member: {meaning}")))
    })
}

fn refuse_host_members(schema: &Json) -> Result<(), Refusal> {
    schema::named_members(schema).find(|name| HOST_MEMBERS.contains(name)).map_or(Ok(()), |name| {
        Err(Refusal::bad_descriptor("appointment-schema", name, "the host gives this member of every appointment"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use uuid::Uuid;

    use super::*;
    use crate::model::{Message, Value, Verdict};
    use crate::testing::{Deciding, Described, revision};

    /// Presents at most `fits` appointments in one call, and never the one with the nil id.
    struct Presenter {
        fits: AtomicUsize,
        calls: Arc<AtomicUsize>,
    }

    impl Rules for Presenter {
        fn contract(&self) -> &'static str {
            "2.0.0"
        }
        fn describe(&self) -> Result<Descriptor, Fault> {
            Described::default().describe()
        }
        fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
            Described::default().book(context, request)
        }
        fn act(&self, context: &Context, current: &Appointment, name: &str, input: &[Field]) -> Result<Verdict, Fault> {
            Described::default().act(context, current, name, input)
        }
        fn present(&self, _: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if appointments.len() > self.fits.load(Ordering::Relaxed) {
                return Err(Fault::OverBudget("fuel"));
            }
            if appointments.iter().any(|appointment| appointment.id.is_nil()) {
                return Err(Fault::Trapped("it panicked".into()));
            }
            Ok(appointments.iter().map(|appointment| appointment.attributes.clone()).collect())
        }
    }

    fn presenter(fits: usize) -> (LoadedRules, Arc<Presenter>) {
        let presenter = Arc::new(Presenter { fits: fits.into(), calls: Arc::default() });
        (LoadedRules::of(presenter.clone(), "sha256:00".into()).unwrap(), presenter)
    }

    fn stored(ids: std::ops::Range<u128>) -> Vec<Appointment> {
        ids.map(|id| revision(Uuid::from_u128(id)).appointment).collect()
    }

    /// Returns the length of a page of these appointments, and the number of calls that it took.
    fn page(rules: &LoadedRules, appointments: &[Appointment]) -> (Result<usize, Fault>, usize) {
        let mut budget = MAX_PAGE_CALLS;
        let shown = rules.present_page(Role::Patient, &appointments.iter().collect::<Vec<_>>(), &mut budget);
        (shown.map(|shown| shown.len()), MAX_PAGE_CALLS - budget)
    }

    #[test]
    fn a_calendar_shows_the_texts_that_the_schema_marks() {
        let texts = |schema: &str| {
            let mut rules = Deciding::new(Err(Fault::Busy));
            rules.descriptor.appointment_schema = schema.into();
            let text = |path: &str, text: &str| Field { path: path.into(), value: Value::Text(text.into()) };
            let mut appointment = stored(1..2).remove(0);
            appointment.attributes = vec![text("/title", "Visit"), text("/town", "Lima")];
            let CalendarTexts { summary, location } = rules.loaded().1.calendar_texts(&appointment).unwrap();
            [summary, location]
        };
        let both =
            r#"{ "properties": { "town": { "x-calendar": "location" }, "title": { "x-calendar": "summary" } } }"#;
        assert_eq!(texts(both), [Some("Visit".into()), Some("Lima".into())]);
        let absent =
            r#"{ "properties": { "place": { "x-calendar": "location" }, "title": { "x-calendar": "title" } } }"#;
        assert_eq!(texts(absent), [None, None]);
    }

    #[test]
    fn a_country_that_marks_nothing_for_calendars_is_not_called() {
        let (rules, presenter) = presenter(1);
        assert_eq!(rules.calendar_texts(&stored(1..2)[0]), Ok(CalendarTexts::default()));
        assert_eq!(presenter.calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_action_of_the_clock_takes_an_empty_input() {
        let loaded = |role: &str| {
            let input_schema = r#"{ "required": ["reason"] }"#.into();
            let action = ActionDescriptor { name: "lapse".into(), roles: vec![role.into()], input_schema };
            let rules = Described(Descriptor { actions: vec![action], ..Described::default().0 });
            LoadedRules::of(Arc::new(rules), String::new()).map(drop).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(loaded("staff"), Ok(()));
        let why = "the clock does this action with the input {}, which the schema refuses";
        assert_eq!(loaded("clock"), Err(format!("`describe` gives the input-schema of `lapse`: {why}")));
    }

    #[test]
    fn messages_for_what_no_schema_has_are_misplaced() {
        let said = [
            "schema.pattern:/dni",
            "schema.pattern:/dnii",
            "schema.format:/dni",
            "schema.required:/reason",
            "schema.required",
            "schema.requried",
            "pe.other:/x",
        ];
        let message = |code: &str| Message { code: code.into(), locale: "en".into(), text: "No.".into() };
        let rules = LoadedRules::of(
            Arc::new(Described(Descriptor {
                request_schema: r#"{ "properties": { "dni": { "pattern": "^[0-9]{8}$" } } }"#.into(),
                actions: vec![ActionDescriptor {
                    name: "cancel".into(),
                    roles: vec![],
                    input_schema: r#"{ "required": ["reason"] }"#.into(),
                }],
                messages: said.map(message).into(),
                ..Described::default().0
            })),
            String::new(),
        );
        let rules = rules.unwrap();
        let misplaced: Vec<&str> = rules.misplaced_messages().into_iter().collect();
        assert_eq!(misplaced, ["schema.format:/dni", "schema.pattern:/dnii", "schema.requried"]);
    }

    #[test]
    fn a_page_that_is_too_much_for_one_call_is_split_and_the_next_starts_with_what_fitted() {
        let hundred = stored(1..101);
        for (fits, first, second) in [(100, 1, 1), (53, 3, 2), (20, 10, 9)] {
            let (rules, _) = presenter(fits);
            let (shown, calls) = page(&rules, &hundred);
            assert_eq!(calls, first, "{fits} fit");
            assert!(shown.unwrap() > 80, "{fits} fit");
            assert_eq!(page(&rules, &hundred), (Ok(100), second), "{fits} fit");
        }
    }

    #[test]
    fn a_page_ends_early_where_its_calls_end_and_every_page_has_at_least_one() {
        let (rules, presenter) = presenter(3);
        let hundred = stored(1..101);
        let mut shown = 0;
        for _ in 0..20 {
            let (length, calls) = page(&rules, &hundred[shown..]);
            assert_eq!(presenter.calls.swap(0, Ordering::Relaxed), calls, "each call is counted");
            assert!(calls <= MAX_PAGE_CALLS);
            shown += length.unwrap();
        }
        assert_eq!(shown, 100);
    }

    #[test]
    fn a_page_that_has_hardly_any_calls_left_is_short_and_no_fault() {
        let (rules, _) = presenter(3);
        let hundred = stored(1..101);
        let mut budget = 1;
        let shown = rules.present_page(Role::Patient, &hundred.iter().collect::<Vec<_>>(), &mut budget);
        assert_eq!(shown.map(|shown| shown.len()), Ok(0));
        assert_eq!(rules.counters.faults.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn batches_grow_again_after_heavy_appointments() {
        let (rules, presenter) = presenter(1);
        let hundred = stored(1..101);
        assert!(page(&rules, &hundred).0.unwrap() >= 1);
        presenter.fits.store(100, Ordering::Relaxed);
        assert_eq!(page(&rules, &hundred).0, Ok(100));
        assert!(page(&rules, &hundred).1 <= 8);
    }

    #[test]
    fn an_appointment_that_cannot_be_presented_ends_the_page_before_it() {
        let (rules, _) = presenter(100);
        let mut appointments = stored(1..11);
        appointments[6].id = Uuid::nil();
        assert_eq!(page(&rules, &appointments).0, Ok(6));
        assert_eq!(page(&rules, &appointments[6..]).0, Err(Fault::Trapped("it panicked".into())));
        assert_eq!(rules.counters.faults.load(Ordering::Relaxed), 2, "a batch that is split is no fault");
    }
}
