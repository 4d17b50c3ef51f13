//! Brings a version into force: check, load, self-test, golden cases, then one atomic store. Any failure keeps what is in
//! force and says why.

use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::appointment::{Appointment, CountryCode};
use crate::cases;
use crate::catalogue::{Catalogue, Refused};
use crate::json::flatten;
use crate::limits::Limits;
use crate::loaded::LoadedRules;
use crate::rules::{Engine, Plan, Refusal, Role};
use crate::time::Clock;

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

/// Each example fits its schema, gets an answer (whichever), and what comes of it can be shown.
fn try_examples(rules: &LoadedRules, now: Timestamp) -> Result<(), Refusal> {
    let context = rules.context(now, Role::Patient);
    for example in rules.request_schema["examples"].as_array().into_iter().flatten() {
        let failed = |cause: &dyn Display| Refusal::Example { example: example.to_string(), cause: cause.to_string() };
        if let Some(said) = rules.check_request(example).first() {
            return Err(failed(&format!("its own schema says {} at `{}`", said.code, said.path)));
        }
        let leaves = flatten(example).map_err(|error| failed(&error))?;
        let Ok(plan) = rules.judge_booking(&context, &leaves).map_err(|fault| failed(&fault))? else { continue };
        let Plan { phase, slot, attributes, .. } = plan;
        let appointment = Appointment { id: Uuid::nil(), phase, slot, revision: 1, attributes };
        rules.rules().present(&[&appointment]).map_err(|fault| failed(&fault))?;
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
        self.settle(country, version, what, admitted)
    }

    /// The same for native code, whose component was judged before it was compiled. `digest` is the component's.
    ///
    /// # Errors
    /// Why it will not do.
    pub fn swap_native(
        &self,
        country: CountryCode,
        version: &str,
        what: &str,
        (code, limits): (&[u8], &Limits),
        digest: &str,
    ) -> Result<(), Refusal> {
        let rules =
            self.engine.load_native(code, limits).and_then(|rules| LoadedRules::of(rules, digest.into(), self.turns));
        self.settle(country, Some(version), what, rules)
    }

    fn settle(
        &self,
        country: CountryCode,
        version: Option<&str>,
        what: &str,
        admitted: Result<LoadedRules, Refusal>,
    ) -> Result<(), Refusal> {
        let rules = admitted.and_then(|rules| {
            promised("country", rules.country.as_str(), country.as_str())?;
            promised("version", &rules.id.version, version.unwrap_or(&rules.id.version))?;
            Ok(rules)
        });
        match rules {
            Ok(rules) => {
                self.catalogue.install(rules, self.clock.now());
                Ok(())
            }
            Err(refusal) => {
                self.refuse(country, what, &refusal.to_string());
                Err(refusal)
            }
        }
    }

    /// Whether a country has rules.
    #[must_use]
    pub fn is_in_force(&self, country: CountryCode) -> bool {
        self.catalogue.rules(country).is_some()
    }

    /// What did not come into force last, and why, unless something did since.
    pub(crate) fn refused(&self, country: CountryCode) -> Option<(String, String)> {
        let Refused { what, why, .. } = self.catalogue.entry(country)?.refused?;
        Some((what, why))
    }

    /// Remembers that something did not come into force.
    pub fn refuse(&self, country: CountryCode, what: &str, why: &str) {
        let refused = Refused { at: self.clock.now(), what: what.to_owned(), why: why.to_owned() };
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

/// Whether something is what it was asked for as.
pub(crate) fn promised(what: &'static str, found: &str, promised: &str) -> Result<(), Refusal> {
    if found == promised {
        return Ok(());
    }
    Err(Refusal::NotAsPromised { what, found: found.into(), promised: promised.into() })
}
