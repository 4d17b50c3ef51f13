//! Follows a registry's channels: fetches what has changed, checks that it is what it is said to be, and gives it to be
//! swapped. Remembers what came into force, for a start without the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use semver::Version;

use crate::appointment::CountryCode;
use crate::last_good::LastGood;
use crate::registry::{Artifact, Candidate, Channel, Manifest, Natives, Registry, RegistryError, digest};
use crate::rules::Refusal;
use crate::swap::{NativeCode, Swapper, promised};
use crate::trust::{Trust, TrustSource};

/// Whether a version came into force.
type Taken = Result<(), Refusal>;

/// How long a host that starts waits for its registry, all answers together. Compiling is not waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Follows a registry's channels.
pub struct Follower {
    registry: Arc<dyn Registry>,
    swapper: Arc<Swapper>,
    /// Where the native code is, for a host that compiles nothing itself.
    natives: Option<Arc<dyn Natives>>,
    /// Who may sign; none where whoever can write the registry is trusted.
    trust: Option<TrustSource>,
    last_good: Option<Arc<dyn LastGood>>,
    /// How much longer the registry is waited for; none while it may take its time.
    patience: Option<Duration>,
    /// The channel of each country as last acted upon, whether its version came into force or was refused.
    seen: BTreeMap<CountryCode, Channel>,
    /// The same of versions on trial.
    tried: BTreeMap<CountryCode, Candidate>,
    /// Why a version on trial could not be had at the last look.
    untried: BTreeMap<CountryCode, String>,
    /// The countries whose channel is an old copy of one that was seen before.
    old: BTreeSet<CountryCode>,
    /// Whether versions are tried that decide for nobody.
    shadows: bool,
    /// What could not be read at the last look: said once, tried again at every look.
    unread: BTreeMap<Option<CountryCode>, String>,
}

impl Follower {
    /// Follows `registry`, and takes native code where that is to be had.
    pub fn new(registry: Arc<dyn Registry>, swapper: Arc<Swapper>, natives: Option<Arc<dyn Natives>>) -> Self {
        Self {
            registry,
            swapper,
            natives,
            trust: None,
            last_good: None,
            patience: None,
            seen: BTreeMap::new(),
            tried: BTreeMap::new(),
            untried: BTreeMap::new(),
            old: BTreeSet::new(),
            shadows: true,
            unread: BTreeMap::new(),
        }
    }

    /// Tries versions only that decide for somebody: nothing is compared here.
    #[must_use]
    pub fn without_shadows(self) -> Self {
        Self { shadows: false, ..self }
    }

    /// Takes signed versions alone. Native code needs no look at signatures: whoever made it has had one.
    #[must_use]
    pub fn trusting(self, trust: Option<TrustSource>) -> Self {
        Self { trust, ..self }
    }

    /// Keeps there what comes into force, and [starts](Self::start) from there where the registry gives nothing.
    #[must_use]
    pub fn with_last_good(self, last_good: Arc<dyn LastGood>) -> Self {
        Self { last_good: Some(last_good), ..self }
    }

    /// The first look of a host that starts: it does not wait long for the registry, and a country of which nothing came
    /// into force for whatever reason goes on with its last good version. The next look asks the registry again.
    pub async fn start(&mut self) {
        self.patience = Some(PATIENCE);
        self.look().await;
        self.patience = None;
        let Some(last_good) = self.last_good.clone() else { return };
        match last_good.countries().await {
            Ok(countries) => {
                for country in countries.into_iter().filter(|country| !self.swapper.is_in_force(*country, None)) {
                    self.recall(&*last_good, country).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the last good versions cannot be read"),
        }
    }

    /// Brings into force what has changed in the registry since the last look. What cannot be read now is tried again
    /// at the next.
    pub async fn look(&mut self) {
        let read = answer(&mut self.patience, self.registry.countries()).await;
        let Some(countries) = self.noted(None, read) else { return };
        for country in countries {
            self.look_at(country).await;
        }
    }

    /// The same for one country. Whether all that was to be read could be.
    pub async fn look_at(&mut self, country: CountryCode) -> bool {
        let followed = self.follow(country).await;
        self.noted(Some(country), followed).is_some()
    }

    /// A change of version, if there is one.
    async fn follow(&mut self, country: CountryCode) -> Result<(), RegistryError> {
        let asked = self.registry.channel(country);
        let Some(channel) = answer(&mut self.patience, asked).await? else { return Ok(()) };
        if self.is_old_copy(country, &channel) {
            return Ok(());
        }
        let candidate = channel.candidate.clone().filter(|candidate| self.shadows || candidate.canary.is_some());
        // Whatever cannot be had, what is no longer on trial decides no more. Only the version that is promoted goes on until
        // it is in force: its patients meet no other in between.
        let is_promoted = self.tried.get(&country).is_some_and(|tried| tried.version == channel.current);
        if !is_promoted {
            self.end_other_trial(country, candidate.as_ref());
        }
        let seen = self.seen.get(&country);
        let is_news = seen.is_none_or(|seen| seen.current != channel.current)
            || seen != Some(&channel) && !self.swapper.is_in_force(country, Some(&channel.current));
        // A refusal is noted where the platform team looks; this channel is done with either way.
        let read = match &self.natives {
            _ if !is_news => Ok(()),
            Some(natives) => self.take_native(natives.as_ref(), country, &channel).await.map(drop),
            None => self.take(country, &channel).await.map(drop),
        };
        self.end_other_trial(country, candidate.as_ref());
        read?;
        self.seen.insert(country, channel);
        if let Some(candidate) = candidate {
            self.follow_trial(country, candidate).await;
        }
        Ok(())
    }

    /// Whether a channel is older than one that was seen before; one that is brings nothing into force and nothing on trial,
    /// and what is written after it is newer than it.
    fn is_old_copy(&mut self, country: CountryCode, channel: &Channel) -> bool {
        let Some(seen) = self.seen.get(&country) else { return false };
        if seen == channel {
            return self.old.contains(&country);
        }
        let (found, known) = (channel.sequence, seen.sequence);
        if found > known {
            self.old.remove(&country);
            return false;
        }
        let why =
            format!("the channel's sequence is {found} after {known}; it only rises, so this channel is an old copy");
        self.swapper.refuse(country, &format!("version {}", channel.current), &why);
        self.seen.insert(country, channel.clone());
        self.old.insert(country);
        true
    }

    /// Ends the trial of a version that is not the one to be tried.
    fn end_other_trial(&mut self, country: CountryCode, candidate: Option<&Candidate>) {
        let tried = self.tried.get(&country);
        if tried.is_some_and(|tried| candidate.is_none_or(|candidate| candidate.version != tried.version)) {
            self.swapper.end_trial(country);
            self.tried.remove(&country);
            self.untried.remove(&country);
        }
    }

    /// A version that comes on trial, or other terms that it is on. One that cannot be had is said once and tried again at
    /// every look; for the version in use it makes no difference.
    async fn follow_trial(&mut self, country: CountryCode, candidate: Candidate) {
        if self.tried.get(&country) == Some(&candidate) {
            return;
        }
        if !self.swapper.keep_trying(country, &candidate) {
            // A refusal is noted where the platform team looks.
            if let Err(error) = self.try_out(country, &candidate).await {
                let error = error.to_string();
                if self.untried.get(&country) != Some(&error) {
                    self.swapper.refuse_candidate(country, &candidate.version, &error);
                    self.untried.insert(country, error);
                }
                return;
            }
        }
        self.untried.remove(&country);
        self.tried.insert(country, candidate);
    }

    async fn try_out(&mut self, country: CountryCode, candidate: &Candidate) -> Result<Taken, RegistryError> {
        if let Some(natives) = self.natives.clone() {
            let native = self.native_code(natives.as_ref(), country, &candidate.version).await?;
            return Ok(self.swapper.try_out_native(country, candidate, &native));
        }
        let asked = self.registry.fetch(country, &candidate.version);
        let artifact = answer(&mut self.patience, asked).await?;
        if let Err(refusal) = self.authentic(country, &candidate.version, &artifact)? {
            self.swapper.refuse_candidate(country, &candidate.version, &refusal.to_string());
            return Ok(Err(refusal));
        }
        let Artifact { component, manifest, cases, .. } = artifact;
        Ok(self.swapper.try_out(country, candidate, component, manifest.limits, cases).await)
    }

    /// The version in use, which is remembered once it is in force.
    async fn take(&mut self, country: CountryCode, channel: &Channel) -> Result<Taken, RegistryError> {
        let what = &format!("version {}", channel.current);
        let asked = self.registry.fetch(country, &channel.current);
        let artifact = answer(&mut self.patience, asked).await?;
        let taken = self.judge(country, channel, what, artifact.clone()).await?;
        if let (Ok(()), Some(last_good)) = (&taken, &self.last_good)
            && let Err(error) = last_good.remember(channel, &artifact).await
        {
            tracing::warn!(%country, %error, "this version is not kept; without the registry, a start has an older one or none");
        }
        Ok(taken)
    }

    /// Puts the last good version into force, and says where the platform team looks why it was needed.
    async fn recall(&self, last_good: &dyn LastGood, country: CountryCode) {
        let recalled = match last_good.recall(country).await {
            Ok(Some((channel, artifact))) => {
                let what = format!("the last good version {}", channel.current);
                // Installing it forgets why it had to be.
                let refused = self.swapper.refused(country);
                let taken = self.judge(country, &channel, &what, artifact).await;
                taken.map(|taken| taken.is_ok().then_some((what, refused)))
            }
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match recalled {
            Ok(Some((started_with, refused))) => {
                let (what, why) = refused.unwrap_or_else(|| ("the registry's version".into(), self.silence()));
                self.swapper.refuse(country, &what, &format!("{why}; started with {started_with}"));
            }
            // Said already.
            Ok(None) => {}
            Err(error) => self.swapper.refuse(country, "the last good version", &error.to_string()),
        }
    }

    /// Why nothing was heard of a country.
    fn silence(&self) -> String {
        let absent = "the registry has no channel of this country, and had one";
        self.unread.get(&None).cloned().unwrap_or_else(|| absent.into())
    }

    /// Puts what was fetched into force, if it is what it was asked for as and will do.
    async fn judge(
        &self,
        country: CountryCode,
        channel: &Channel,
        what: &str,
        artifact: Artifact,
    ) -> Result<Taken, RegistryError> {
        if let Err(refusal) = self.authentic(country, &channel.current, &artifact)? {
            self.swapper.refuse(country, what, &refusal.to_string());
            return Ok(Err(refusal));
        }
        let version = channel.current.to_string();
        Ok(self
            .swapper
            .swap(country, Some(&version), what, artifact.component, artifact.manifest.limits, artifact.cases)
            .await)
    }

    /// Whether what was fetched is what was published, and by somebody who may.
    fn authentic(
        &self,
        country: CountryCode,
        version: &Version,
        artifact: &Artifact,
    ) -> Result<Result<(), Refusal>, RegistryError> {
        whole(artifact)?;
        let trust = self.trust.as_ref().map(|trust| trust()).transpose().map_err(untrusted)?;
        Ok(verify(artifact, country, version, trust.as_ref()))
    }

    /// The version in use; where that cannot be had and nothing is in force, as in a host that has just started, the one
    /// before it.
    async fn take_native(
        &self,
        natives: &dyn Natives,
        country: CountryCode,
        channel: &Channel,
    ) -> Result<Taken, RegistryError> {
        let taken = self.native(natives, country, &channel.current).await;
        if let Some(previous) = &channel.previous
            && !matches!(taken, Ok(Ok(())))
            && !self.swapper.is_in_force(country, None)
            && let Err(error) = self.native(natives, country, previous).await
        {
            tracing::warn!(%country, version = %previous, %error, "the version before cannot be had either");
        }
        taken
    }

    async fn native(
        &self,
        natives: &dyn Natives,
        country: CountryCode,
        version: &Version,
    ) -> Result<Taken, RegistryError> {
        let native = self.native_code(natives, country, version).await?;
        let what = format!("version {version}");
        Ok(self.swapper.swap_native(country, &version.to_string(), &what, &native))
    }

    /// A version's native code.
    async fn native_code(
        &self,
        natives: &dyn Natives,
        country: CountryCode,
        version: &Version,
    ) -> Result<NativeCode, RegistryError> {
        let (digest, limits) = self.registry.component(country, version).await?;
        let engine = self.swapper.engine.name();
        let code = natives.native(engine, &digest).await?.ok_or_else(|| RegistryError::Unreadable {
            key: format!("native/{engine}/{digest}.cwasm"),
            cause: format!("version {version} is not compiled yet, or was refused when it was to be"),
        })?;
        Ok(NativeCode { code, digest, limits })
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

/// What the registry answers, as long as there is patience left.
async fn answer<T>(
    patience: &mut Option<Duration>,
    asked: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    let Some(left) = patience else { return asked.await };
    let started = Instant::now();
    let answer = tokio::time::timeout(*left, asked).await;
    *left = left.saturating_sub(started.elapsed());
    answer.unwrap_or_else(|_| {
        let waited = PATIENCE.as_secs();
        Err(RegistryError::Unavailable(format!("a start waits {waited} s for it, and it took longer")))
    })
}

/// A component that is not the published one may still be on its way here, or be mended: it is looked at again.
pub(crate) fn whole(artifact: &Artifact) -> Result<(), RegistryError> {
    let Manifest { country, version, digest: component, cases_digest: cases, .. } = &artifact.manifest;
    let files = [("rules.wasm", component, &artifact.component[..]), ("cases.json", cases, artifact.cases.as_bytes())];
    for (name, promised, bytes) in files {
        let found = digest(bytes);
        if found != *promised {
            let key = format!("{country}/versions/{version}/{name}");
            let cause = format!(
                "the digest is {found} where the manifest says {promised}: it is damaged, altered or half copied"
            );
            return Err(RegistryError::Unreadable { key, cause });
        }
    }
    Ok(())
}

/// Nothing is judged before it is known whom to trust.
fn untrusted(cause: String) -> RegistryError {
    RegistryError::Unreadable { key: "the trust file".into(), cause }
}

/// Whether an artefact is what it was asked for as, and by somebody who may make it.
pub(crate) fn verify(
    artifact: &Artifact,
    country: CountryCode,
    version: &Version,
    trust: Option<&Trust>,
) -> Result<(), Refusal> {
    let manifest = &artifact.manifest;
    promised("country", country.as_str(), manifest.country.as_str())?;
    promised("version", &version.to_string(), &manifest.version.to_string())?;
    trust.map_or(Ok(()), |trust| trust.check(artifact))
}
