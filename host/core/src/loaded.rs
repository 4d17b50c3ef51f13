//! One version of a country's rules, checked and ready: what the host needs beside the component itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jsonschema::Validator;
use serde_json::Value as Json;

use crate::appointment::{Appointment, CountryCode, Field, RulesId, Slot};
use crate::judged::{check_notices, check_offers, is_slug, judged};
use crate::limits::Limits;
use crate::messages::Messages;
use crate::registry::digest;
use crate::rules::{Context, Descriptor, Engine, Fault, Notice, Offer, Plan, Refusal, Role, Rules, Verdict, Violation};
use crate::time::{self, Zone};
use crate::views::Fields;
use crate::{json, schema};

/// Members of an appointment that the host adds; a country's own may not be named so.
pub const HOST_MEMBERS: [&str; 9] =
    ["id", "country", "phase", "revision", "startsAt", "minutes", "rules", "createdAt", "updatedAt"];

/// Maximum length of a page of appointments.
pub const MAX_PAGE: usize = 100;

/// Maximum number of calls that one page takes. Each may take all of its budget, and somebody waits for the page.
pub const MAX_PAGE_CALLS: usize = 10;

/// Maximum number of actions. Each is a path of the OpenAPI document, and every booking links to all of them.
const MAX_ACTIONS: usize = 50;

/// How many versions this process has loaded.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// Something that may be done to an appointment after it is booked.
#[derive(Debug)]
pub struct Action {
    /// Who may ask for it.
    pub roles: BTreeSet<&'static str>,
    /// JSON Schema 2020-12 of its input.
    pub schema: Json,
    validator: OnceLock<Validator>,
}

/// How the calls to one loaded version went.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls that were answered.
    pub answered: AtomicU64,
    /// Calls that gave no answer.
    pub faults: AtomicU64,
}

/// A country's rules, loaded. Constant for as long as they are in force.
pub struct LoadedRules {
    /// Whose.
    pub country: CountryCode,
    /// Which.
    pub id: RulesId,
    /// What they say of themselves.
    pub descriptor: Descriptor,
    /// JSON Schema 2020-12 of a booking request.
    pub request_schema: Json,
    /// JSON Schema 2020-12 of the country's part of an appointment.
    pub appointment_schema: Json,
    /// By name.
    pub actions: BTreeMap<String, Action>,
    /// The codes in words.
    pub messages: Messages,
    /// How the calls went.
    pub counters: Counters,
    /// Tells this loaded version from every other that this process loads.
    pub(crate) serial: u64,
    zones: Vec<Zone>,
    request: OnceLock<Validator>,
    rules: Arc<dyn Rules>,
    /// Appointments that the last batch had which `present` answered.
    fitting: AtomicUsize,
}

impl fmt::Debug for LoadedRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedRules").field("country", &self.country).field("id", &self.id).finish_non_exhaustive()
    }
}

impl LoadedRules {
    /// Loads a component and checks all that it says of itself.
    ///
    /// # Errors
    /// A [`Refusal`] in plain words.
    pub fn load(engine: &dyn Engine, component: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        Self::of(engine.load(component, limits)?, digest(component))
    }

    /// The same for a component that is ready to be called; `digest` is that of its portable bytes.
    ///
    /// # Errors
    /// A [`Refusal`] in plain words.
    pub fn of(rules: Arc<dyn Rules>, digest: String) -> Result<Self, Refusal> {
        let mut loaded = Self::described(rules, digest)?;
        schema::validator("appointment-schema", &loaded.appointment_schema)?;
        loaded.request = schema::validator("request-schema", &loaded.request_schema)?.into();
        for (name, action) in &mut loaded.actions {
            action.validator = schema::validator(&input_schema(name), &action.schema)?.into();
        }
        Ok(loaded)
    }

    /// The same for native code, whose component with that digest was judged before it was compiled. Its schemas were found
    /// valid then, and are made ready when they are first needed: in a function that starts, that takes as long as all the
    /// rest of loading, and what is only read needs none of them.
    ///
    /// # Errors
    /// A [`Refusal`] in plain words.
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
        Ok(Self {
            country,
            id: RulesId { version: descriptor.version.clone(), digest },
            actions: actions(&descriptor.actions, &mut schemas)?,
            zones: zones(&descriptor.zones)?,
            request: OnceLock::new(),
            messages: Messages::of(&descriptor)?,
            counters: Counters::default(),
            serial: LOADED.fetch_add(1, Ordering::Relaxed),
            fitting: AtomicUsize::new(MAX_PAGE),
            request_schema,
            appointment_schema,
            descriptor,
            rules,
        })
    }

    /// What the rules are told of the world.
    #[must_use]
    pub fn context(&self, now: Timestamp, role: Role) -> Context {
        Context { now: now.as_second(), clocks: self.zones.iter().map(|zone| zone.clock(now)).collect(), role }
    }

    /// When a slot starts; `None` in the result when the clocks of its zone skip that time.
    ///
    /// # Errors
    /// When the zone is none of those that the rules list.
    pub fn start(&self, slot: &Slot) -> Result<time::Instant, Fault> {
        let zone = self.zones.iter().find(|zone| zone.name() == slot.zone);
        let unlisted = || Fault::BadAnswer(format!("a slot in `{}`, which the descriptor does not list", slot.zone));
        zone.map(|zone| zone.start(slot)).ok_or_else(unlisted)
    }

    /// What the schema says against a booking request.
    ///
    /// # Errors
    /// When the schema is none, which another version of this host may have found otherwise before it compiled them.
    pub fn check_request(&self, request: &Json) -> Result<Vec<Violation>, Fault> {
        check(&self.request, "request-schema", &self.request_schema, request)
    }

    /// `book`, outside anybody's turn: for checks and golden cases.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn judge_booking(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        judged(self.rules.book(context, request)?)
    }

    /// `act`, outside anybody's turn.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn judge_action(
        &self,
        context: &Context,
        current: &Appointment,
        action: &str,
        input: &[Field],
    ) -> Result<Verdict, Fault> {
        judged(self.rules.act(context, current, action, input)?)
    }

    /// The host's own word on a plan: its time exists.
    ///
    /// # Errors
    /// When the slot is in a zone that the rules do not list.
    pub fn placed(&self, verdict: Verdict) -> Result<Verdict, Fault> {
        let Ok(Plan { slot: Some(slot), .. }) = &verdict else { return Ok(verdict) };
        match self.start(slot)? {
            time::Instant::At(_) => Ok(verdict),
            time::Instant::Nonexistent => Ok(Err(vec![Violation::nonexistent_time()])),
        }
    }

    /// The component itself, for calls outside anybody's turn.
    #[must_use]
    pub fn rules(&self) -> &dyn Rules {
        self.rules.as_ref()
    }

    /// May this be booked, and as what?
    ///
    /// # Errors
    /// When there is no answer.
    pub fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        self.call("book", || self.judge_booking(context, request))
    }

    /// May this be done to it, and what does it become?
    ///
    /// # Errors
    /// When there is no answer.
    pub fn act(
        &self,
        context: &Context,
        current: &Appointment,
        action: &str,
        input: &[Field],
    ) -> Result<Verdict, Fault> {
        self.call("act", || self.judge_action(context, current, action, input))
    }

    /// Presents one appointment: the country's part, as clients see it, without anything that is the host's to say.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn present(&self, appointment: &Appointment) -> Result<Fields, Fault> {
        let mut shown = self.call("present", || self.present_batch(&[appointment]))?;
        Ok(shown.pop().expect("one for each appointment"))
    }

    /// Presents appointments in order, as many as `budget` calls allow; fewer than there are when it ends before that. It
    /// is reduced by the calls that were made.
    ///
    /// A batch starts with as many as fitted last. One that gets no answer is split: it may have been too much for one
    /// call. A whole budget is enough to show at least one.
    ///
    /// # Errors
    /// When the first appointment gets no answer by itself.
    pub fn present_page(&self, appointments: &[&Appointment], budget: &mut usize) -> Result<Vec<Fields>, Fault> {
        let (mut shown, mut is_split) = (Vec::with_capacity(appointments.len()), false);
        let mut fitting = self.fitting.load(Ordering::Relaxed).max(1);
        while *budget > 0 && shown.len() < appointments.len() {
            let rest = &appointments[shown.len()..];
            let needed = if is_split { 0 } else { rest.len().div_ceil(*budget).min(fitting * 2) };
            let length = fitting.max(needed).min(rest.len()).min(self.rules.fitting(rest));
            *budget -= 1;
            match self.attempt(&rest[..length]) {
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

    /// Presents a batch. Without an answer it is no fault of the rules as long as the batch can be split.
    fn attempt(&self, batch: &[&Appointment]) -> Result<Vec<Fields>, Fault> {
        if batch.len() == 1 {
            return self.call("present", || self.present_batch(batch));
        }
        let started = Instant::now();
        let answer = self.present_batch(batch);
        self.count("present", if answer.is_ok() { "answered" } else { "split" }, started.elapsed());
        answer
    }

    fn present_batch(&self, batch: &[&Appointment]) -> Result<Vec<Fields>, Fault> {
        let fields = self.rules.present(batch)?;
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

    /// The openings that the country allows; empty where it has no rules for them.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn offers(&self, context: &Context, place: &[Field], openings: &[Slot]) -> Result<Vec<Offer>, Fault> {
        self.call("offers", || {
            let offers = self.rules.offers(context, place, openings)?.unwrap_or_default();
            check_offers(&offers, openings)?;
            offers.iter().try_for_each(|offer| self.start(&offer.slot).map(drop))?;
            Ok(offers)
        })
    }

    /// What people are told of an event.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        self.call("notices", || check_notices(self.rules.notices(event, current)?))
    }

    /// Runs a call and counts what came of it.
    fn call<T>(&self, function: &'static str, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
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

/// What `describe` says in `member`, or why that will not do.
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
    actions: &[crate::rules::Action],
    schemas: &mut schema::Budget,
) -> Result<BTreeMap<String, Action>, Refusal> {
    if actions.len() > MAX_ACTIONS {
        let cause = format!("a country has at most {MAX_ACTIONS}");
        return Err(Refusal::bad_descriptor("actions", &actions.len().to_string(), cause));
    }
    actions.iter().map(|described| action(described, schemas)).collect()
}

fn action(action: &crate::rules::Action, schemas: &mut schema::Budget) -> Result<(String, Action), Refusal> {
    let name = &action.name;
    if !is_slug(name) || name == "history" {
        let cause = "an action's name is a place in the API: lower-case letters and hyphens, and not `history`";
        return Err(Refusal::bad_descriptor("actions", name, cause));
    }
    let role = |word: &String| {
        let known = [Role::Patient, Role::Staff, Role::Platform].map(Role::as_str);
        known
            .into_iter()
            .find(|role| role == word)
            .ok_or_else(|| Refusal::bad_descriptor("roles", word, "a role is one of patient, staff, platform"))
    };
    let schema = schemas.document(&input_schema(name), &action.input_schema)?;
    let validator = OnceLock::new();
    Ok((name.clone(), Action { roles: action.roles.iter().map(role).collect::<Result<_, _>>()?, schema, validator }))
}

fn input_schema(action: &str) -> String {
    format!("input-schema of `{action}`")
}

impl Action {
    /// What the schema says against the action's input.
    ///
    /// # Errors
    /// As of a booking request.
    pub fn check(&self, input: &Json) -> Result<Vec<Violation>, Fault> {
        check(&self.validator, "input-schema", &self.schema, input)
    }
}

/// What a schema says against a document; it is made ready where it is not yet.
fn check(ready: &OnceLock<Validator>, what: &str, schema: &Json, document: &Json) -> Result<Vec<Violation>, Fault> {
    if ready.get().is_none() {
        let validator = schema::validator(what, schema).map_err(|refusal| Fault::BadAnswer(refusal.to_string()))?;
        // Who was faster made the same.
        let _ = ready.set(validator);
    }
    Ok(schema::violations(ready.get().expect("it was just set"), document))
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
    use crate::testing::{Described, revision};

    /// Presents at most so many appointments in one call, and never the one with the nil id.
    struct Presenter {
        fits: AtomicUsize,
        calls: Arc<AtomicUsize>,
    }

    impl Rules for Presenter {
        fn describe(&self) -> Result<Descriptor, Fault> {
            Described::default().describe()
        }
        fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
            Described::default().book(context, request)
        }
        fn act(&self, context: &Context, current: &Appointment, name: &str, input: &[Field]) -> Result<Verdict, Fault> {
            Described::default().act(context, current, name, input)
        }
        fn present(&self, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if appointments.len() > self.fits.load(Ordering::Relaxed) {
                return Err(Fault::OverBudget("fuel"));
            }
            if appointments.iter().any(|appointment| appointment.id.is_nil()) {
                return Err(Fault::Trapped("it panicked".into()));
            }
            Ok(appointments.iter().map(|appointment| appointment.attributes.clone()).collect())
        }
        fn offers(&self, context: &Context, place: &[Field], openings: &[Slot]) -> Result<Option<Vec<Offer>>, Fault> {
            Described::default().offers(context, place, openings)
        }
        fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
            Described::default().notices(event, current)
        }
    }

    fn presenter(fits: usize) -> (LoadedRules, Arc<Presenter>) {
        let presenter = Arc::new(Presenter { fits: fits.into(), calls: Arc::default() });
        (LoadedRules::of(presenter.clone(), "sha256:00".into()).unwrap(), presenter)
    }

    fn stored(ids: std::ops::Range<u128>) -> Vec<Appointment> {
        ids.map(|id| revision(Uuid::from_u128(id)).appointment).collect()
    }

    /// The length of a page of these, and the calls that it took.
    fn page(rules: &LoadedRules, appointments: &[Appointment]) -> (Result<usize, Fault>, usize) {
        let mut budget = MAX_PAGE_CALLS;
        let shown = rules.present_page(&appointments.iter().collect::<Vec<_>>(), &mut budget);
        (shown.map(|shown| shown.len()), MAX_PAGE_CALLS - budget)
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
        let shown = rules.present_page(&hundred.iter().collect::<Vec<_>>(), &mut budget);
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
