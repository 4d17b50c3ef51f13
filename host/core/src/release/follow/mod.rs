//! Follows a registry's channels, each country by itself: fetches what has changed, checks that it is what it is said to be,
//! and gives it to be swapped. Remembers what came into force, for a start without the registry.
//!
//! Nothing that one country's files or versions do keeps another country waiting: each look at a country is a task of its
//! own, and every read of the registry has a deadline.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, MaybeDone, maybe_done};
use semver::Version;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use crate::model::appointment::CountryCode;
use crate::model::channel::{Candidate, Channel};
use crate::model::manifest::RulesPackage;
use crate::model::manifest::{Artifact, Manifest, digest};
use crate::ports::last_good::LastGood;
use crate::ports::native_code::NativeCodeStore;
use crate::ports::registry::{Registry, RegistryError};
use crate::ports::rules::Refusal;
use crate::release::admission::NotAdmitted;
use crate::release::swap::{NativeCode, Swapper, promised};
use crate::release::trust::{Trust, TrustSource};

/// Longest wait for a listing, a channel or a manifest.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a version: 32 MB come over a line of 100 kB a second.
const FETCH_TIMEOUT: Duration = Duration::from_mins(6);

/// Maximum wait for each read during startup.
const START_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait of a host that starts until each country has rules in force. What is judged longer goes on beside the
/// requests. A version in Rust is judged in half a second, and most starts judge nothing.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Versions that are read at once, over all countries: each is in memory as a whole.
const MAX_CONCURRENT_READS: usize = 4;

/// Longest wait of a read for its turn. After that it goes on without one, so that reads which hang delay the others
/// only once.
const READ_TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Versions that are judged at once.
const MAX_CONCURRENT_JUDGEMENTS: usize = 2;

/// Longest wait for a version that was read before and has its turn to be judged. The others wait meanwhile.
const TURN_FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Time until a version is tried again that could not be judged or is damaged: at the next look, then after this, and each
/// time doubled while the reason stays.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The longest of these times.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Time until the next look at a country after one that panicked.
const PANIC_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Why a look or a check panicked.
const HOST_FAILED: &str = "the host failed, which is a bug of Citas";

/// Why a version is not in force or on trial.
enum NotTaken {
    /// It will not do, which is noted where the platform team looks.
    Refused,
    /// It could not be had this time.
    Later(String),
    /// It could not be judged, or is damaged. To find that out takes much work, so the next attempt may have to wait.
    Unjudged(String),
    /// Other versions are judged first. There is nothing to note.
    Waiting,
}

impl From<RegistryError> for NotTaken {
    fn from(error: RegistryError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<NotAdmitted> for NotTaken {
    fn from(cause: NotAdmitted) -> Self {
        match cause {
            NotAdmitted::Refused(_) => Self::Refused,
            NotAdmitted::Unjudged(_) => Self::Unjudged(cause.to_string()),
        }
    }
}

impl From<Refusal> for NotTaken {
    fn from(_: Refusal) -> Self {
        Self::Refused
    }
}

/// Why the registry's version is not in force at a start.
enum NotInForce {
    /// This host has not accepted it before.
    Unjudged(Version),
    /// It is not what was published, or not by somebody who may; that is noted.
    Refused,
    /// It could not be had.
    Unread(String),
}

impl NotInForce {
    /// Returns what is not in force, and why.
    fn words(&self) -> (String, String) {
        let unknown_version = || "the registry's version".to_owned();
        match self {
            Self::Unjudged(version) => {
                (format!("version {version}"), "not yet accepted by this host; judging it now".into())
            }
            Self::Refused => (unknown_version(), "it was refused".into()),
            Self::Unread(why) => (unknown_version(), why.clone()),
        }
    }
}

/// Settings and ports that all followers share.
pub struct Following {
    registry: Arc<dyn Registry>,
    swapper: Arc<Swapper>,
    /// Where the native code is, for a host that compiles nothing itself.
    natives: Option<Arc<dyn NativeCodeStore>>,
    /// Who may sign; none where whoever can write the registry is trusted.
    trust: Option<TrustSource>,
    last_good: Option<Arc<dyn LastGood>>,
    /// Whether versions are tried that decide for nobody.
    shadows: bool,
    reads: Semaphore,
    judgements: Arc<Semaphore>,
}

/// A place among those that wait to judge, which becomes the permit.
type Turn = MaybeDone<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>;

/// A version that waits for its turn to be judged. It keeps its place from one look to the next.
struct WaitingVersion {
    version: Version,
    /// Locked by nobody: it makes the future one that threads may share.
    turn: Mutex<Turn>,
}

/// A version that could not be judged or is damaged.
struct Retry {
    version: Version,
    why: String,
    interval: Duration,
    at: Instant,
}

impl Retry {
    /// Returns why this version failed, if it is not time to try it again.
    fn postponed(retry: Option<&Self>, version: &Version) -> Result<(), NotTaken> {
        match retry {
            Some(retry) if retry.version == *version && Instant::now() < retry.at => {
                Err(NotTaken::Later(retry.why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns when to try again, if an attempt failed.
    fn after(before: Option<Self>, version: &Version, taken: &Result<(), NotTaken>) -> Option<Self> {
        match taken {
            Err(NotTaken::Unjudged(why)) => {
                let same = before.filter(|before| before.version == *version && before.why == *why);
                let doubled = |before: Self| (before.interval * 2).clamp(RETRY_INTERVAL, MAX_RETRY_INTERVAL);
                let interval = same.map_or(Duration::ZERO, doubled);
                Some(Self { version: version.clone(), why: why.clone(), interval, at: Instant::now() + interval })
            }
            // What could not be read this time says nothing new.
            Err(NotTaken::Later(_) | NotTaken::Waiting) => before,
            Ok(()) | Err(NotTaken::Refused) => None,
        }
    }
}

impl Following {
    /// Follows `registry`, and takes native code where that is to be had.
    pub fn new(registry: Arc<dyn Registry>, swapper: Arc<Swapper>, natives: Option<Arc<dyn NativeCodeStore>>) -> Self {
        Self {
            registry,
            swapper,
            natives,
            trust: None,
            last_good: None,
            shadows: true,
            reads: Semaphore::new(MAX_CONCURRENT_READS),
            judgements: Arc::new(Semaphore::new(MAX_CONCURRENT_JUDGEMENTS)),
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

    /// Keeps there what comes into force, and starts from there where the registry gives nothing.
    #[must_use]
    pub fn with_last_good(self, last_good: Arc<dyn LastGood>) -> Self {
        Self { last_good: Some(last_good), ..self }
    }

    /// Returns a turn to read a version, or none after waiting long enough for one.
    async fn read_turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(READ_TURN_TIMEOUT, self.reads.acquire()).await.ok()?.ok()
    }
}

/// Follows the channel of one country.
pub struct Follower {
    following: Arc<Following>,
    country: CountryCode,
    /// The channel as last acted upon, whether its version came into force or was refused.
    seen: Option<Channel>,
    /// Whether the channel is an old copy of one that was seen before.
    is_old_copy: bool,
    /// The version on trial and its terms, as last acted upon.
    tried: Option<Candidate>,
    /// Why a version on trial could not be had at the last look.
    untried: Option<String>,
    /// Why the country's files could not be read, or its version not judged, at the last look. It is noted once and tried
    /// again at every look.
    unread: Option<String>,
    /// When to try the version in use again that could not be judged, and the version on trial.
    retry: Option<Retry>,
    trial_retry: Option<Retry>,
    /// The version that waits to be judged.
    waiting: Option<WaitingVersion>,
    /// Whether a version began to wait, or still does, in this look.
    is_waiting: bool,
    /// Whether the host starts, which waits less for the registry.
    is_start: bool,
    /// The last good version that the host started with, while no other has come into force.
    started_with: Option<String>,
}

impl Follower {
    /// Follows one country of what is followed.
    #[must_use]
    pub fn new(following: Arc<Following>, country: CountryCode) -> Self {
        Self {
            following,
            country,
            seen: None,
            is_old_copy: false,
            tried: None,
            untried: None,
            unread: None,
            retry: None,
            trial_retry: None,
            waiting: None,
            is_waiting: false,
            is_start: false,
            started_with: None,
        }
    }

    /// Brings into force or on trial what has changed since the last look. Returns whether everything that was to be read
    /// could be read, and judged.
    pub async fn look(&mut self) -> bool {
        self.is_waiting = false;
        let followed = self.follow().await;
        if !self.is_waiting {
            self.waiting = None;
        }
        self.note(followed)
    }

    /// The first look of a host that starts. A version that was accepted before comes into force at once. Where the
    /// registry has none, the last good version does, and the registry's is judged at the next look. Where there is no last
    /// good version either, the registry's is judged now. `unlisted` says why the registry's countries could not be listed.
    async fn start(&mut self, unlisted: Option<String>) {
        self.is_start = true;
        let not_in_force = match unlisted {
            Some(why) => NotInForce::Unread(why),
            None => self.start_from_registry().await,
        };
        self.is_start = false;
        if self.is_in_force() || self.recall(&not_in_force, false).await {
            return;
        }
        if matches!(not_in_force, NotInForce::Unjudged(_)) && self.look_in_turn().await && self.is_in_force() {
            return;
        }
        self.recall(&not_in_force, true).await;
    }

    /// Looks, and waits for the turn to judge if one is needed.
    async fn look_in_turn(&mut self) -> bool {
        let end = Instant::now() + START_TIMEOUT;
        let mut looked = self.look().await;
        while !looked && self.has_turn_by(end).await {
            looked = self.look().await;
        }
        looked
    }

    async fn has_turn_by(&mut self, end: Instant) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let turn = waiting.turn.get_mut().unwrap_or_else(PoisonError::into_inner);
        timeout_at(end, turn).await.is_ok()
    }

    fn is_in_force(&self) -> bool {
        self.following.swapper.is_in_force(self.country, None)
    }

    /// Puts the registry's version into force, if it was accepted before. Returns why it is not.
    async fn start_from_registry(&mut self) -> NotInForce {
        match self.accepted().await {
            Ok(Some(version)) => NotInForce::Unjudged(version),
            Ok(None) => NotInForce::Unread("the registry has no channel of this country, and had one".into()),
            Err(NotTaken::Refused) => NotInForce::Refused,
            Err(NotTaken::Waiting) => NotInForce::Unread("other versions are judged first".into()),
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                self.note(Err(NotTaken::Later(why.clone())));
                NotInForce::Unread(why)
            }
        }
    }

    /// Returns the version of the registry's channel, if there is one. It is in force if it was accepted before.
    async fn accepted(&mut self) -> Result<Option<Version>, NotTaken> {
        let following = self.following.clone();
        let Some(channel) = self.read(following.registry.channel(self.country)).await? else { return Ok(None) };
        let artifact = self.fetch(&channel.current).await?;
        let artifact = self.verify(&channel.current, artifact).await?;
        let version = channel.current.clone();
        if let Some(taken) = self.take_accepted(&channel, &artifact).await {
            self.seen = Some(channel);
            taken?;
        }
        Ok(Some(version))
    }

    /// A change of version, if there is one.
    async fn follow(&mut self) -> Result<(), NotTaken> {
        let following = self.following.clone();
        let Some(channel) = self.read(following.registry.channel(self.country)).await? else { return Ok(()) };
        if self.notice_old_copy(&channel) {
            return Ok(());
        }
        let candidate = channel.candidate.clone().filter(|candidate| following.shadows || candidate.canary.is_some());
        // Whatever cannot be had, what is no longer on trial decides no more. Only the version that is promoted goes on until
        // it is in force: its patients meet no other in between.
        let is_promoted = self.tried.as_ref().is_some_and(|tried| tried.version == channel.current);
        if !is_promoted {
            self.end_other_trial(candidate.as_ref());
        }
        let taken = if self.is_news(&channel) { self.take(&channel).await } else { Ok(()) };
        self.end_other_trial(candidate.as_ref());
        // A refusal is noted where the platform team looks; this channel is done with either way.
        match taken {
            Ok(()) | Err(NotTaken::Refused) => {}
            Err(later) => return Err(later),
        }
        self.seen = Some(channel);
        if let Some(candidate) = candidate {
            self.follow_trial(candidate).await;
        }
        Ok(())
    }

    fn is_news(&self, channel: &Channel) -> bool {
        let Some(seen) = &self.seen else { return true };
        let is_in_force = || self.following.swapper.is_in_force(self.country, Some(&channel.current));
        seen.current != channel.current || seen != channel && !is_in_force()
    }

    /// Whether a channel is older than one that was seen before; one that is brings nothing into force and nothing on trial,
    /// and what is written after it is newer than it.
    fn notice_old_copy(&mut self, channel: &Channel) -> bool {
        let Some(seen) = &self.seen else { return false };
        if seen == channel {
            return self.is_old_copy;
        }
        let (found, known) = (channel.sequence, seen.sequence);
        self.is_old_copy = found <= known;
        if self.is_old_copy {
            let why = format!(
                "the channel's sequence is {found} after {known}; it only rises, so this channel is an old copy"
            );
            self.refuse(&format!("version {}", channel.current), &why);
            self.seen = Some(channel.clone());
        }
        self.is_old_copy
    }

    /// Ends the trial of a version that is not the one to be tried.
    fn end_other_trial(&mut self, candidate: Option<&Candidate>) {
        let Some(tried) = &self.tried else { return };
        if candidate.is_none_or(|candidate| candidate.version != tried.version) {
            self.following.swapper.end_trial(self.country);
            self.tried = None;
            self.untried = None;
        }
    }

    /// A version that comes on trial, or other terms that it is on. One that cannot be had is noted once and tried again at
    /// every look; for the version in use it makes no difference.
    async fn follow_trial(&mut self, candidate: Candidate) {
        if self.tried.as_ref() == Some(&candidate) {
            return;
        }
        let following = self.following.clone();
        if !following.swapper.keep_trying(self.country, &candidate) {
            let tried = match Retry::postponed(self.trial_retry.as_ref(), &candidate.version) {
                Ok(()) => self.try_out(&candidate).await,
                Err(postponed) => Err(postponed),
            };
            self.trial_retry = Retry::after(self.trial_retry.take(), &candidate.version, &tried);
            match tried {
                Ok(()) | Err(NotTaken::Refused) => {}
                Err(NotTaken::Waiting) => return,
                Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                    if self.untried.as_ref() != Some(&why) {
                        following.swapper.refuse_candidate(self.country, &candidate.version, &why);
                        self.untried = Some(why);
                    }
                    return;
                }
            }
        }
        self.untried = None;
        self.tried = Some(candidate);
    }

    async fn try_out(&mut self, candidate: &Candidate) -> Result<(), NotTaken> {
        let following = self.following.clone();
        if let Some(natives) = &following.natives {
            let native = self.native_code(natives.as_ref(), &candidate.version).await?;
            return Ok(following.swapper.try_out_native(self.country, candidate, &native)?);
        }
        let turn = self.awaited_turn(&candidate.version)?;
        let artifact = self.fetch_in_turn(&candidate.version, turn.is_some()).await?;
        let artifact = match self.authentic(&candidate.version, artifact).await? {
            Ok(artifact) => artifact,
            Err(refusal) => {
                following.swapper.refuse_candidate(self.country, &candidate.version, &refusal.to_string());
                return Err(NotTaken::Refused);
            }
        };
        let package = Arc::new(RulesPackage::from(artifact));
        if let Some(tried) = following.swapper.try_out_accepted(self.country, candidate, &package).await {
            return Ok(tried?);
        }
        let _turn = self.turn(turn, &candidate.version)?;
        Ok(following.swapper.try_out(self.country, candidate, package).await?)
    }

    /// Puts the version in use into force, by its native code where the host compiles nothing itself.
    async fn take(&mut self, channel: &Channel) -> Result<(), NotTaken> {
        let following = self.following.clone();
        if let Some(natives) = &following.natives {
            return self.take_native(natives.as_ref(), channel).await;
        }
        Retry::postponed(self.retry.as_ref(), &channel.current)?;
        let taken = self.take_component(channel).await;
        self.retry = Retry::after(self.retry.take(), &channel.current, &taken);
        taken
    }

    async fn take_component(&mut self, channel: &Channel) -> Result<(), NotTaken> {
        let turn = self.awaited_turn(&channel.current)?;
        let artifact = self.fetch_in_turn(&channel.current, turn.is_some()).await?;
        let artifact = self.verify(&channel.current, artifact).await?;
        if let Some(taken) = self.take_accepted(channel, &artifact).await {
            return taken;
        }
        // While others are judged, this one is not kept in memory.
        let _turn = self.turn(turn, &channel.current)?;
        self.judge(&channel.current, &format!("version {}", channel.current), artifact.clone()).await?;
        self.remember(channel, &artifact).await;
        Ok(())
    }

    /// Returns the turn to judge this version if it waits for one; none if it does not wait yet.
    fn awaited_turn(&mut self, version: &Version) -> Result<Option<OwnedSemaphorePermit>, NotTaken> {
        let waits = self.waiting.as_ref().is_some_and(|waiting| waiting.version == *version);
        if waits { self.turn(None, version).map(Some) } else { Ok(None) }
    }

    /// Returns the turn to judge this version. A look does not wait for it: the channel may name another version meanwhile.
    fn turn(
        &mut self,
        turn: Option<OwnedSemaphorePermit>,
        version: &Version,
    ) -> Result<OwnedSemaphorePermit, NotTaken> {
        if let Some(turn) = turn {
            return Ok(turn);
        }
        let mut waiting = self.waiting.take().unwrap_or_else(|| {
            let turn = self.following.judgements.clone().acquire_owned().boxed();
            WaitingVersion { version: version.clone(), turn: Mutex::new(maybe_done(turn)) }
        });
        version.clone_into(&mut waiting.version);
        let turn = waiting.turn.get_mut().unwrap_or_else(PoisonError::into_inner);
        if turn.now_or_never().is_none() {
            self.waiting = Some(waiting);
            self.is_waiting = true;
            return Err(NotTaken::Waiting);
        }
        let turn = Pin::new(turn).take_output().expect("it is done and taken once");
        Ok(turn.expect("it is never closed"))
    }

    /// Reads a version; sooner if others wait for the turn that it has.
    async fn fetch_in_turn(&self, version: &Version, has_turn: bool) -> Result<Artifact, RegistryError> {
        if !has_turn {
            return self.fetch(version).await;
        }
        within(TURN_FETCH_TIMEOUT, self.following.registry.fetch(self.country, version)).await
    }

    /// Puts a version into force that was accepted before; none where it was not.
    async fn take_accepted(&mut self, channel: &Channel, artifact: &Artifact) -> Option<Result<(), NotTaken>> {
        let (version, what) = (channel.current.to_string(), format!("version {}", channel.current));
        let package = Arc::new(RulesPackage::from(artifact.clone()));
        let taken = self.following.swapper.swap_accepted(self.country, &version, &what, &package).await?;
        if taken.is_ok() {
            self.remember(channel, artifact).await;
        }
        Some(taken.map_err(Into::into))
    }

    /// Keeps what came into force, for a start without the registry.
    async fn remember(&mut self, channel: &Channel, artifact: &Artifact) {
        self.started_with = None;
        let Some(last_good) = &self.following.last_good else { return };
        if let Err(error) = last_good.remember(channel, artifact).await {
            let country = self.country;
            tracing::warn!(%country, %error, "cannot save this version as last good");
        }
    }

    /// Puts the last good version into force and notes why it was needed. Returns whether it is in force. One that was not
    /// accepted before is judged only if `judge` says so.
    async fn recall(&mut self, not_in_force: &NotInForce, judge: bool) -> bool {
        let following = self.following.clone();
        let Some(last_good) = &following.last_good else { return false };
        let recalled = match self.read_version(last_good.recall(self.country)).await {
            Ok(recalled) => recalled,
            Err(error) => {
                self.refuse("the last good version", &error.to_string());
                return false;
            }
        };
        let Some((channel, artifact)) = recalled else { return false };
        // Installing it forgets why it had to be.
        let refused = following.swapper.refused(self.country);
        let version = &channel.current;
        let what = format!("the last good version {version}");
        if !self.recall_version(version, &what, artifact, judge).await {
            return false;
        }
        let (what_not, why_not) = refused.unwrap_or_else(|| not_in_force.words());
        self.started_with = Some(what);
        self.refuse(&what_not, &why_not);
        true
    }

    async fn recall_version(&mut self, version: &Version, what: &str, artifact: Artifact, judge: bool) -> bool {
        let artifact = match self.authentic(version, artifact).await {
            Ok(Ok(artifact)) => artifact,
            Ok(Err(refusal)) => {
                self.refuse(what, &refusal.to_string());
                return false;
            }
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                self.refuse("the last good version", &why);
                return false;
            }
            Err(NotTaken::Refused | NotTaken::Waiting) => return false,
        };
        let package = Arc::new(RulesPackage::from(artifact.clone()));
        let accepted = self.following.swapper.swap_accepted(self.country, &version.to_string(), what, &package).await;
        match accepted {
            Some(taken) => taken.is_ok(),
            None if judge => match self.judge(version, what, artifact).await {
                Ok(()) => true,
                Err(NotTaken::Refused | NotTaken::Waiting) => false,
                Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                    self.refuse(what, &why);
                    false
                }
            },
            None => false,
        }
    }

    /// Has a version judged and puts it into force.
    async fn judge(&self, version: &Version, what: &str, artifact: Artifact) -> Result<(), NotTaken> {
        let swapper = &self.following.swapper;
        Ok(swapper.swap(self.country, Some(&version.to_string()), what, artifact.into()).await?)
    }

    /// Notes a version that is not what was published, or not by somebody who may.
    async fn verify(&self, version: &Version, artifact: Artifact) -> Result<Artifact, NotTaken> {
        self.authentic(version, artifact).await?.map_err(|refusal| {
            self.refuse(&format!("version {version}"), &refusal.to_string());
            NotTaken::Refused
        })
    }

    /// Returns what was fetched, if it is what was published, and by somebody who may. Digests of 36 MB take a thread's time,
    /// so a thread that may block makes them.
    async fn authentic(&self, version: &Version, artifact: Artifact) -> Result<Result<Artifact, Refusal>, NotTaken> {
        let (following, country, version) = (self.following.clone(), self.country, version.clone());
        let checked = tokio::task::spawn_blocking(move || {
            whole(&artifact).map_err(|error| NotTaken::Unjudged(error.to_string()))?;
            let trust = following.trust.as_ref().map(|trust| trust()).transpose().map_err(untrusted)?;
            Ok(verify(&artifact, country, &version, trust.as_ref()).map(|()| artifact))
        });
        checked.await.unwrap_or_else(|_| Err(NotTaken::Unjudged(HOST_FAILED.into())))
    }

    /// The version in use; where that cannot be had and nothing is in force, as in a host that has just started, the one
    /// before it.
    async fn take_native(&self, natives: &dyn NativeCodeStore, channel: &Channel) -> Result<(), NotTaken> {
        let taken = self.native(natives, &channel.current).await;
        if let Some(previous) = &channel.previous
            && taken.is_err()
            && !self.following.swapper.is_in_force(self.country, None)
            && let Err(NotTaken::Later(error) | NotTaken::Unjudged(error)) = self.native(natives, previous).await
        {
            tracing::warn!(country = %self.country, version = %previous, error, "the version before cannot be had either");
        }
        taken
    }

    async fn native(&self, natives: &dyn NativeCodeStore, version: &Version) -> Result<(), NotTaken> {
        let native = self.native_code(natives, version).await?;
        let what = format!("version {version}");
        Ok(self.following.swapper.swap_native(self.country, &version.to_string(), &what, &native)?)
    }

    /// A version's native code.
    async fn native_code(&self, natives: &dyn NativeCodeStore, version: &Version) -> Result<NativeCode, RegistryError> {
        let (digest, limits) = self.read(self.following.registry.component(self.country, version)).await?;
        let engine = self.following.swapper.engine().name();
        if let Some(code) = self.read_version(natives.native(engine, &digest)).await? {
            return Ok(NativeCode { code, digest, limits });
        }
        let manifest = self.read(self.following.registry.manifest(self.country, version)).await?;
        let cause = match self.read(natives.refused(engine, &manifest)).await? {
            Some(why) => format!("version {version} was refused when it was to be compiled: {why}"),
            None => format!("version {version} is not compiled yet"),
        };
        Err(RegistryError::Unreadable { key: format!("native/{engine}/{digest}.cwasm"), cause })
    }

    async fn fetch(&self, version: &Version) -> Result<Artifact, RegistryError> {
        let _turn = self.following.read_turn().await;
        self.read_version(self.following.registry.fetch(self.country, version)).await
    }

    /// Reads something small.
    async fn read<T>(&self, read: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
        self.within(READ_TIMEOUT, read).await
    }

    /// Reads a version, component included.
    async fn read_version<T>(&self, read: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
        self.within(FETCH_TIMEOUT, read).await
    }

    async fn within<T>(
        &self,
        longest: Duration,
        read: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        if self.is_start { start_within(read).await } else { within(longest, read).await }
    }

    /// Notes why something could not be read, when that is another reason than at the last look.
    fn note(&mut self, followed: Result<(), NotTaken>) -> bool {
        let why = match followed {
            Ok(()) | Err(NotTaken::Refused) => {
                self.unread = None;
                return true;
            }
            Err(NotTaken::Waiting) => return false,
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => why,
        };
        if self.unread.as_ref() != Some(&why) {
            self.refuse("the registry's version", &why);
            self.unread = Some(why);
        }
        false
    }

    fn refuse(&self, what: &str, why: &str) {
        let why = match &self.started_with {
            Some(started_with) => format!("{why}; started with {started_with}"),
            None => why.to_owned(),
        };
        self.following.swapper.refuse(self.country, what, &why);
    }
}

/// Follows every country of a registry, each with a follower of its own.
pub struct Followers {
    following: Arc<Following>,
    /// The countries that were heard of; none while a look at one is under way.
    countries: BTreeMap<CountryCode, Option<Follower>>,
    looks: JoinSet<Follower>,
    /// Which country each look is at.
    looked_at: HashMap<Id, CountryCode>,
    /// The countries whose last look panicked, and when the next is.
    panicked: BTreeMap<CountryCode, Instant>,
    /// Why the countries could not be listed last: logged once, tried again at every look.
    unlisted: Option<String>,
}

impl Followers {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(following: Following) -> Self {
        let following = Arc::new(following);
        let (countries, panicked, looked_at) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { following, countries, looks: JoinSet::new(), looked_at, panicked, unlisted: None }
    }

    /// The first look of a host that starts, at all countries at once. Returns when each has rules in force or has none to
    /// have, and after [`START_TIMEOUT`] at the latest; what is not done by then goes on.
    pub async fn start(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        let listed = start_within(self.following.registry.countries()).await;
        let unlisted = self.listed(listed);
        self.add_last_good().await;
        for (country, follower) in &mut self.countries {
            let mut follower = follower.take().unwrap_or_else(|| Follower::new(self.following.clone(), *country));
            let unlisted = unlisted.clone();
            let look = self.looks.spawn(async move {
                follower.start(unlisted).await;
                follower
            });
            self.looked_at.insert(look.id(), *country);
        }
        while let Ok(Some(look)) = timeout_at(end, self.looks.join_next_with_id()).await {
            self.end(look);
        }
    }

    /// Looks at every country once, and waits for it.
    pub async fn look(&mut self) {
        self.begin_looks().await;
        while let Some(look) = self.looks.join_next_with_id().await {
            self.end(look);
        }
    }

    /// Looks at every country once in an interval. A country whose last look is not over is left out; the others do not wait
    /// for it. Never returns.
    pub async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.begin_looks().await,
                Some(look) = self.looks.join_next_with_id() => self.end(look),
            }
        }
    }

    async fn begin_looks(&mut self) {
        let listed = within(READ_TIMEOUT, self.following.registry.countries()).await;
        self.listed(listed);
        let now = Instant::now();
        self.panicked.retain(|_, again| now < *again);
        for (country, follower) in &mut self.countries {
            if self.panicked.contains_key(country) {
                continue;
            }
            let Some(mut follower) = follower.take() else { continue };
            let look = self.looks.spawn(async move {
                follower.look().await;
                follower
            });
            self.looked_at.insert(look.id(), *country);
        }
    }

    /// Takes back the follower of a look. One that panicked is lost, and the country gets another after a while: what is in
    /// force stays so, and the other countries do not notice.
    fn end(&mut self, look: Result<(Id, Follower), JoinError>) {
        let id = look.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let country = self.looked_at.remove(&id).expect("each look is noted when it begins");
        let follower = if let Ok((_, follower)) = look {
            follower
        } else {
            // What a panic says may hold anything.
            let swapper = &self.following.swapper;
            swapper.end_trial(country);
            swapper.refuse(country, "the registry's version", HOST_FAILED);
            self.panicked.insert(country, Instant::now() + PANIC_RETRY_INTERVAL);
            Follower::new(self.following.clone(), country)
        };
        self.countries.insert(country, Some(follower));
    }

    /// Adds the countries that are new; returns why they could not be listed.
    fn listed(&mut self, listed: Result<Vec<CountryCode>, RegistryError>) -> Option<String> {
        match listed {
            Ok(countries) => {
                for country in countries {
                    self.add(country);
                }
                self.unlisted = None;
            }
            Err(error) => {
                let error = error.to_string();
                if self.unlisted.as_ref() != Some(&error) {
                    tracing::warn!(error, "the registry cannot be read; what is in force stays so");
                    self.unlisted = Some(error);
                }
            }
        }
        self.unlisted.clone()
    }

    async fn add_last_good(&mut self) {
        let Some(last_good) = self.following.last_good.clone() else { return };
        match within(READ_TIMEOUT, last_good.countries()).await {
            Ok(countries) => {
                for country in countries {
                    self.add(country);
                }
            }
            Err(error) => tracing::warn!(%error, "the last good versions cannot be read"),
        }
    }

    fn add(&mut self, country: CountryCode) {
        let follower = || Some(Follower::new(self.following.clone(), country));
        self.countries.entry(country).or_insert_with(follower);
    }
}

/// Reads from the registry, at most for so long.
pub(crate) async fn within<T>(
    longest: Duration,
    read: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(longest, read).await.unwrap_or_else(|_| {
        let waited = longest.as_secs();
        Err(RegistryError::Unavailable(format!("it did not answer within {waited} s")))
    })
}

async fn start_within<T>(read: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
    timeout(START_READ_TIMEOUT, read).await.unwrap_or_else(|_| {
        let waited = START_READ_TIMEOUT.as_secs();
        Err(RegistryError::Unavailable(format!("no answer within the {waited} s allowed at startup")))
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

#[cfg(test)]
mod tests;
