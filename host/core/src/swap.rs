//! Brings the registry's versions into force: fetch, check, load, self-test, golden cases, then one atomic store.
//! Any failure keeps what is in force and says why.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::appointment::{Appointment, CountryCode};
use crate::cases;
use crate::catalogue::{Catalogue, Refused};
use crate::json::flatten;
use crate::loaded::LoadedRules;
use crate::registry::{Artifact, Channel, Manifest, Registry, RegistryError, digest};
use crate::rules::{Engine, Plan, Refusal, Role};
use crate::time::Clock;

/// Judges components and puts those that will do into force.
pub struct Swapper {
    engine: Arc<dyn Engine>,
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
    cases: &str,
    turns: usize,
    now: Timestamp,
) -> Result<LoadedRules, Refusal> {
    let rules = LoadedRules::load(engine, component, turns)?;
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
        cases: String,
    ) -> Result<(), Refusal> {
        let admitted = self.admit(component, cases).await.and_then(|rules| {
            promised("country", rules.country.as_str(), country.as_str())?;
            promised("version", &rules.id.version, version.unwrap_or(&rules.id.version))?;
            Ok(rules)
        });
        match admitted {
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

    /// Remembers that something did not come into force.
    pub fn refuse(&self, country: CountryCode, what: &str, why: &str) {
        let refused = Refused { at: self.clock.now(), what: what.to_owned(), why: why.to_owned() };
        self.catalogue.refuse(country, &refused);
    }

    /// Compiling takes a core for a while, so it has a thread of its own.
    async fn admit(&self, component: Vec<u8>, cases: String) -> Result<LoadedRules, Refusal> {
        let (engine, turns, now) = (self.engine.clone(), self.turns, self.clock.now());
        let admitted = tokio::task::spawn_blocking(move || admit(&*engine, &component, &cases, turns, now)).await;
        admitted.unwrap_or_else(|panic| Err(Refusal::NotAComponent(panic.to_string())))
    }
}

fn promised(what: &'static str, found: &str, promised: &str) -> Result<(), Refusal> {
    if found == promised {
        return Ok(());
    }
    Err(Refusal::NotAsPromised { what, found: found.into(), promised: promised.into() })
}

/// Follows a registry's channels.
pub struct Follower {
    registry: Arc<dyn Registry>,
    swapper: Arc<Swapper>,
    /// The channel of each country as last acted upon, whether its version came into force or was refused.
    seen: BTreeMap<CountryCode, Channel>,
    /// What could not be read at the last look: said once, tried again at every look.
    unread: BTreeMap<Option<CountryCode>, String>,
}

impl Follower {
    /// Follows `registry`.
    pub fn new(registry: Arc<dyn Registry>, swapper: Arc<Swapper>) -> Self {
        Self { registry, swapper, seen: BTreeMap::new(), unread: BTreeMap::new() }
    }

    /// Brings into force what has changed in the registry since the last look. What cannot be read now is tried again
    /// at the next.
    pub async fn look(&mut self) {
        let read = self.registry.countries().await;
        let Some(countries) = self.noted(None, read) else { return };
        for country in countries {
            let followed = self.follow(country).await;
            self.noted(Some(country), followed);
        }
    }

    /// A change of version, if there is one.
    async fn follow(&mut self, country: CountryCode) -> Result<(), RegistryError> {
        let Some(channel) = self.registry.channel(country).await? else { return Ok(()) };
        let seen = self.seen.get(&country);
        if seen == Some(&channel) {
            return Ok(());
        }
        let what = format!("version {}", channel.current);
        if let Some(seen) = seen.filter(|seen| seen.sequence >= channel.sequence) {
            let (found, known) = (channel.sequence, seen.sequence);
            let why = format!(
                "the channel's sequence is {found} after {known}; it only rises, so this channel is an old copy"
            );
            self.swapper.refuse(country, &what, &why);
        } else {
            let artifact = self.registry.fetch(country, &channel.current).await?;
            whole(&artifact)?;
            match verify(&artifact, country, &channel) {
                Ok(()) => {
                    let version = channel.current.to_string();
                    // A refusal is noted where the platform team looks; this channel is done with either way.
                    let _ = self.swapper.swap(country, Some(&version), &what, artifact.component, artifact.cases).await;
                }
                Err(refusal) => self.swapper.refuse(country, &what, &refusal.to_string()),
            }
        }
        self.seen.insert(country, channel);
        Ok(())
    }

    /// What was read; an error is said when it is another than at the last look.
    fn noted<T>(&mut self, country: Option<CountryCode>, read: Result<T, RegistryError>) -> Option<T> {
        let error = match read {
            Ok(read) => {
                self.unread.remove(&country);
                return Some(read);
            }
            Err(error) => error.to_string(),
        };
        if self.unread.get(&country) != Some(&error) {
            if let Some(country) = country {
                self.swapper.refuse(country, "the registry's version", &error);
            } else {
                tracing::warn!(error, "the registry cannot be read; what is in force stays so");
            }
            self.unread.insert(country, error);
        }
        None
    }
}

/// A component that is not the published one may still be on its way here, or be mended: it is looked at again.
fn whole(artifact: &Artifact) -> Result<(), RegistryError> {
    let (Manifest { country, version, digest: promised, .. }, found) =
        (&artifact.manifest, digest(&artifact.component));
    if found == *promised {
        return Ok(());
    }
    let key = format!("{country}/versions/{version}/rules.wasm");
    let cause =
        format!("the digest is {found} where the manifest says {promised}: it is damaged, altered or half copied");
    Err(RegistryError::Unreadable { key, cause })
}

/// Whether an artefact is what the channel says.
fn verify(artifact: &Artifact, country: CountryCode, channel: &Channel) -> Result<(), Refusal> {
    let manifest = &artifact.manifest;
    promised("country", country.as_str(), manifest.country.as_str())?;
    promised("version", &channel.current.to_string(), &manifest.version.to_string())
}
