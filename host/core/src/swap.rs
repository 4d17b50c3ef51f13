//! Brings the registry's versions into force: fetch, check, load, self-test, golden cases, then one atomic store.
//! Any failure keeps what is in force and says why.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::appointment::CountryCode;
use crate::cases;
use crate::catalogue::{Catalogue, Refused};
use crate::loaded::LoadedRules;
use crate::registry::{Artifact, Channel, Registry, RegistryError};
use crate::rules::{Engine, Refusal};
use crate::time::Clock;

/// Judges components and puts those that will do into force.
pub struct Swapper {
    engine: Arc<dyn Engine>,
    catalogue: Arc<Catalogue>,
    clock: Arc<dyn Clock>,
    turns: usize,
}

/// Why a registry's version did not come into force.
#[derive(Debug, thiserror::Error)]
enum NotSwapped {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Loads a component and runs its golden cases.
///
/// # Errors
/// Why it will not do, in plain words.
pub fn admit(engine: &dyn Engine, component: &[u8], cases: &str, turns: usize) -> Result<LoadedRules, Refusal> {
    let rules = LoadedRules::load(engine, component, turns)?;
    let cases = cases::read(cases).map_err(|error| Refusal::Cases(vec![format!("they cannot be read: {error}")]))?;
    let failures: Vec<String> = cases::run(&rules, &cases)
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.name)))
        .collect();
    if failures.is_empty() { Ok(rules) } else { Err(Refusal::Cases(failures)) }
}

impl Swapper {
    /// Puts into `catalogue` what `engine` can load. At most `turns` calls of one country will run at once.
    pub fn new(engine: Arc<dyn Engine>, catalogue: Arc<Catalogue>, clock: Arc<dyn Clock>, turns: usize) -> Self {
        Self { engine, catalogue, clock, turns }
    }

    /// Puts a component into force, if it will do; `what` names it where the platform team looks.
    ///
    /// # Errors
    /// Why it will not do.
    pub async fn swap(
        &self,
        country: CountryCode,
        what: &str,
        component: Vec<u8>,
        cases: String,
    ) -> Result<(), Refusal> {
        let admitted = self.admit(country, component, cases).await;
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
    async fn admit(&self, country: CountryCode, component: Vec<u8>, cases: String) -> Result<LoadedRules, Refusal> {
        let (engine, turns) = (self.engine.clone(), self.turns);
        let admitted = tokio::task::spawn_blocking(move || admit(&*engine, &component, &cases, turns)).await;
        let rules = admitted.unwrap_or_else(|panic| Err(Refusal::NotAComponent(panic.to_string())))?;
        promised("country", rules.country.as_str(), country.as_str())?;
        Ok(rules)
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
}

impl Follower {
    /// Follows `registry`.
    pub fn new(registry: Arc<dyn Registry>, swapper: Arc<Swapper>) -> Self {
        Self { registry, swapper, seen: BTreeMap::new() }
    }

    /// Brings into force what has changed in the registry since the last look. What cannot be read now is tried again
    /// at the next.
    pub async fn look(&mut self) {
        let countries = match self.registry.countries().await {
            Ok(countries) => countries,
            Err(error) => return tracing::warn!(%error, "the registry cannot be read; what is in force stays so"),
        };
        for country in countries {
            let channel = match self.registry.channel(country).await {
                Ok(Some(channel)) => channel,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%country, %error, "the channel cannot be read; what is in force stays so");
                    continue;
                }
            };
            if self.seen.get(&country) != Some(&channel) {
                self.follow(country, channel).await;
            }
        }
    }

    async fn follow(&mut self, country: CountryCode, channel: Channel) {
        let what = format!("version {}", channel.current);
        match self.bring(country, &channel, &what).await {
            Ok(()) | Err(NotSwapped::Refused(_)) => {
                self.seen.insert(country, channel);
            }
            Err(NotSwapped::Registry(error)) => self.swapper.refuse(country, &what, &error.to_string()),
        }
    }

    async fn bring(&self, country: CountryCode, channel: &Channel, what: &str) -> Result<(), NotSwapped> {
        let artifact = self.registry.fetch(country, &channel.current).await?;
        if let Err(refusal) = verify(&artifact, country, channel) {
            self.swapper.refuse(country, what, &refusal.to_string());
            return Err(refusal.into());
        }
        Ok(self.swapper.swap(country, what, artifact.component, artifact.cases).await?)
    }
}

/// Whether an artefact is what its manifest and the channel say.
fn verify(artifact: &Artifact, country: CountryCode, channel: &Channel) -> Result<(), Refusal> {
    let manifest = &artifact.manifest;
    promised("digest", &crate::registry::digest(&artifact.component), &manifest.digest)?;
    promised("country", country.as_str(), manifest.country.as_str())?;
    promised("version", &channel.current.to_string(), &manifest.version.to_string())
}
