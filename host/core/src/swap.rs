//! Brings a version into force: check, load, self-test, golden cases, then one atomic store. Any failure keeps what is in
//! force and says why.

use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;
use uuid::Uuid;

use crate::appointment::{Appointment, CountryCode};
use crate::cases;
use crate::catalogue::{Catalogue, Refused};
use crate::json::flatten;
use crate::judged::check_notices;
use crate::limits::Limits;
use crate::loaded::LoadedRules;
use crate::registry::Candidate;
use crate::rules::{Engine, Plan, Refusal, Role};
use crate::time::Clock;
use crate::trial::OnTrial;

/// What was made of a component that was judged before, and what its manifest says.
pub struct NativeCode {
    /// The code.
    pub code: Vec<u8>,
    /// The component's.
    pub digest: String,
    /// The component's.
    pub limits: Limits,
}

/// Judges components and puts those that will do into force.
pub struct Swapper {
    pub(crate) engine: Arc<dyn Engine>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    turns: usize,
}

/// Loads a component, tries the examples of its request schema, and runs its golden cases.
///
/// # Errors
/// Why it will not do, in plain words.
pub fn admit(
    engine: &dyn Engine,
    component: &[u8],
    limits: &Limits,
    cases: &str,
    turns: usize,
    now: Timestamp,
) -> Result<LoadedRules, Refusal> {
    let rules = LoadedRules::load(engine, component, limits, turns)?;
    try_examples(&rules, now)?;
    let cases = cases::read(cases).map_err(|error| Refusal::Cases(vec![format!("they cannot be read: {error}")]))?;
    let failures: Vec<String> = cases::run(&rules, &cases)
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.name)))
        .collect();
    if failures.is_empty() { Ok(rules) } else { Err(Refusal::Cases(failures)) }
}

/// Each example fits its schema, gets an answer (whichever), and what comes of it can be shown and mailed.
fn try_examples(rules: &LoadedRules, now: Timestamp) -> Result<(), Refusal> {
    let context = rules.context(now, Role::Patient);
    for example in rules.request_schema["examples"].as_array().into_iter().flatten() {
        let failed = |cause: &dyn Display| Refusal::Example { example: example.to_string(), cause: cause.to_string() };
        if let Some(said) = rules.check_request(example).map_err(|fault| failed(&fault))?.first() {
            return Err(failed(&format!("its own schema says {} at `{}`", said.code, said.path)));
        }
        let leaves = flatten(example).map_err(|error| failed(&error))?;
        let Ok(plan) = rules.judge_booking(&context, &leaves).map_err(|fault| failed(&fault))? else { continue };
        let Plan { phase, slot, attributes, events, .. } = plan;
        let appointment = Appointment { id: Uuid::nil(), phase, slot, revision: 1, attributes };
        rules.rules().present(&[&appointment]).map_err(|fault| failed(&fault))?;
        for event in &events {
            let notices = rules.rules().notices(event, &appointment).and_then(check_notices);
            notices.map_err(|fault| failed(&format!("notices of `{event}`: {fault}")))?;
        }
    }
    Ok(())
}

impl Swapper {
    /// Puts into `catalogue` what `engine` can load. At most `turns` calls of one country will run at once.
    pub fn new(engine: Arc<dyn Engine>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>, turns: usize) -> Self {
        Self { engine, catalogue, clock, turns }
    }

    /// Puts a component into force, if it will do; `what` names it where the platform team looks. It must say that it is
    /// of that country, and of that version where one was promised.
    ///
    /// # Errors
    /// Why it will not do.
    pub async fn swap(
        &self,
        country: CountryCode,
        version: Option<&str>,
        what: &str,
        component: Vec<u8>,
        limits: Limits,
        cases: String,
    ) -> Result<(), Refusal> {
        let admitted = self.admit(component, limits, cases).await;
        let rules = self.checked(country, version, what, admitted)?;
        self.catalogue.install(rules, self.clock.now());
        Ok(())
    }

    /// The same for native code, whose component was judged before it was compiled.
    ///
    /// # Errors
    /// Why it will not do.
    pub fn swap_native(
        &self,
        country: CountryCode,
        version: &str,
        what: &str,
        native: &NativeCode,
    ) -> Result<(), Refusal> {
        let rules = self.checked(country, Some(version), what, self.native(native))?;
        self.catalogue.install(rules, self.clock.now());
        Ok(())
    }

    /// Puts a component on trial, if it will do.
    ///
    /// # Errors
    /// Why it will not do.
    pub async fn try_out(
        &self,
        country: CountryCode,
        terms: &Candidate,
        component: Vec<u8>,
        limits: Limits,
        cases: String,
    ) -> Result<(), Refusal> {
        let admitted = self.admit(component, limits, cases).await;
        self.put_on_trial(country, terms, admitted)
    }

    /// The same for native code.
    ///
    /// # Errors
    /// Why it will not do.
    pub fn try_out_native(&self, country: CountryCode, terms: &Candidate, native: &NativeCode) -> Result<(), Refusal> {
        self.put_on_trial(country, terms, self.native(native))
    }

    /// Has the trial go on under other terms. Whether there is one.
    pub(crate) fn keep_trying(&self, country: CountryCode, terms: &Candidate) -> bool {
        let tried = self.catalogue.entry(country).and_then(|entry| entry.candidate);
        let Some(tried) = tried.filter(|tried| tried.terms.version == terms.version) else { return false };
        self.catalogue.try_out(country, Some(OnTrial::new(tried.rules.clone(), terms.clone())));
        true
    }

    /// Ends the trial, if there is one.
    pub(crate) fn end_trial(&self, country: CountryCode) {
        self.catalogue.try_out(country, None);
    }

    fn put_on_trial(
        &self,
        country: CountryCode,
        terms: &Candidate,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let version = &terms.version;
        let rules = as_promised(country, Some(&version.to_string()), admitted)
            .inspect_err(|refusal| self.refuse_candidate(country, version, &refusal.to_string()))?;
        self.catalogue.try_out(country, Some(OnTrial::new(Arc::new(rules), terms.clone())));
        Ok(())
    }

    fn native(&self, NativeCode { code, digest, limits }: &NativeCode) -> Result<LoadedRules, Refusal> {
        LoadedRules::native(&*self.engine, code, limits, digest.clone(), self.turns)
    }

    /// Rules that are what they were promised to be; what is not is noted where the platform team looks.
    fn checked(
        &self,
        country: CountryCode,
        version: Option<&str>,
        what: &str,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<LoadedRules, Refusal> {
        as_promised(country, version, admitted).inspect_err(|refusal| self.refuse(country, what, &refusal.to_string()))
    }

    /// Whether a country has rules; of that version, where one is asked for.
    pub(crate) fn is_in_force(&self, country: CountryCode, version: Option<&Version>) -> bool {
        let rules = self.catalogue.rules(country);
        rules.is_some_and(|rules| version.is_none_or(|version| version.to_string() == rules.id.version))
    }

    /// What did not come into force last, and why, unless something did since.
    pub(crate) fn refused(&self, country: CountryCode) -> Option<(String, String)> {
        let refused = self.catalogue.entry(country)?.refused.filter(|refused| !refused.on_trial);
        let Refused { what, why, .. } = refused?;
        Some((what, why))
    }

    /// Remembers that something did not come into force.
    pub fn refuse(&self, country: CountryCode, what: &str, why: &str) {
        self.note(country, what.to_owned(), why, false);
    }

    /// Remembers that a version did not come on trial.
    pub(crate) fn refuse_candidate(&self, country: CountryCode, version: &Version, why: &str) {
        self.note(country, format!("the candidate {version}"), why, true);
    }

    fn note(&self, country: CountryCode, what: String, why: &str, on_trial: bool) {
        let refused = Refused { at: self.clock.now(), what, why: why.to_owned(), on_trial };
        self.catalogue.refuse(country, &refused);
    }

    /// Compiling takes a core for a while, so it has a thread of its own.
    async fn admit(&self, component: Vec<u8>, limits: Limits, cases: String) -> Result<LoadedRules, Refusal> {
        let (engine, turns, now) = (self.engine.clone(), self.turns, self.clock.now());
        let admitted =
            tokio::task::spawn_blocking(move || admit(&*engine, &component, &limits, &cases, turns, now)).await;
        admitted.unwrap_or_else(|panic| Err(Refusal::NotAComponent(panic.to_string())))
    }
}

/// Rules that say of themselves what they were asked for as.
fn as_promised(
    country: CountryCode,
    version: Option<&str>,
    admitted: Result<LoadedRules, Refusal>,
) -> Result<LoadedRules, Refusal> {
    let rules = admitted?;
    promised("country", rules.country.as_str(), country.as_str())?;
    promised("version", &rules.id.version, version.unwrap_or(&rules.id.version))?;
    Ok(rules)
}

/// Whether something is what it was asked for as.
pub(crate) fn promised(what: &'static str, found: &str, promised: &str) -> Result<(), Refusal> {
    if found == promised {
        return Ok(());
    }
    Err(Refusal::NotAsPromised { what, found: found.into(), promised: promised.into() })
}
