//! Follows the channel of one country.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, MaybeDone, maybe_done};
use semver::Version;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::following::Following;
use super::outcome::{NotInForce, NotTaken};
use super::reads::{READ_TIMEOUT, start_within, within};
use super::retry::Retry;
use crate::model::appointment::CountryCode;
use crate::model::channel::{Candidate, Channel};
use crate::model::manifest::{Artifact, RulesPackage};
use crate::ports::native_code::NativeCodeStore;
use crate::ports::registry::RegistryError;
use crate::ports::rules::Refusal;
use crate::release::swap::{NativeCode, Target};
use crate::release::verify::{check_digests, check_origin};

/// Longest wait for a version: 32 MB come over a line of 100 kB a second.
const FETCH_TIMEOUT: Duration = Duration::from_mins(6);

/// Longest wait of a host that starts until each country has rules in force. What is judged longer goes on beside the
/// requests. A version in Rust is judged in half a second, and most starts judge nothing.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a version that was read before and has its turn to be judged. The others wait meanwhile.
const TURN_FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a look or a check panicked.
pub(super) const HOST_FAILED: &str = "the host failed, which is a bug of Citas";

/// A place among those that wait to judge, which becomes the permit.
type Turn = MaybeDone<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>;

/// A version that waits for its turn to be judged. It keeps its place from one look to the next.
struct WaitingVersion {
    version: Version,
    /// Locked by nobody: it makes the future one that threads may share.
    turn: Mutex<Turn>,
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
    pub(super) retry: Option<Retry>,
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
    pub(super) async fn start(&mut self, unlisted: Option<String>) {
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
    pub(super) async fn start_from_registry(&mut self) -> NotInForce {
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
        let (version, what) = (channel.current.clone(), format!("version {}", channel.current));
        let target = Target::Use { version: Some(&version), what: &what };
        let artifact = self.fetch(&version).await?;
        let artifact = self.verify(&version, target, artifact).await?;
        let package = Arc::new(RulesPackage::from(artifact.clone()));
        if let Some(taken) = following.swapper.swap_accepted(self.country, target, &package).await {
            if taken.is_ok() {
                self.remember(&channel, &artifact).await;
            }
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
                        following.swapper.refuse(self.country, Target::Trial(&candidate), &why);
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
        let target = Target::Trial(candidate);
        if let Some(natives) = &following.natives {
            return self.take_native(natives.as_ref(), &candidate.version, target).await;
        }
        self.take_component(&candidate.version, target).await.map(drop)
    }

    /// Puts the version in use into force, by its native code where the host compiles nothing itself.
    async fn take(&mut self, channel: &Channel) -> Result<(), NotTaken> {
        let (following, what) = (self.following.clone(), format!("version {}", channel.current));
        let target = Target::Use { version: Some(&channel.current), what: &what };
        if let Some(natives) = &following.natives {
            return self.take_native_or_previous(natives.as_ref(), channel, target).await;
        }
        Retry::postponed(self.retry.as_ref(), &channel.current)?;
        let taken = match self.take_component(&channel.current, target).await {
            Ok(artifact) => {
                self.remember(channel, &artifact).await;
                Ok(())
            }
            Err(cause) => Err(cause),
        };
        self.retry = Retry::after(self.retry.take(), &channel.current, &taken);
        taken
    }

    /// Puts a version where it is to go, and returns it. A version that was not accepted before is judged in its turn.
    async fn take_component(&mut self, version: &Version, target: Target<'_>) -> Result<Artifact, NotTaken> {
        let turn = self.awaited_turn(version)?;
        let artifact = self.fetch_in_turn(version, turn.is_some()).await?;
        let artifact = self.verify(version, target, artifact).await?;
        let (following, package) = (self.following.clone(), Arc::new(RulesPackage::from(artifact.clone())));
        if let Some(taken) = following.swapper.swap_accepted(self.country, target, &package).await {
            taken?;
            return Ok(artifact);
        }
        // While others are judged, this one is not kept in memory.
        let _turn = self.turn(turn, version)?;
        following.swapper.swap(self.country, target, &package).await?;
        Ok(artifact)
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
        let target = Target::Use { version: Some(version), what };
        match self.take_recalled(version, target, artifact, judge).await {
            Ok(is_in_force) => is_in_force,
            Err(NotTaken::Refused | NotTaken::Waiting) => false,
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                self.refuse(what, &why);
                false
            }
        }
    }

    async fn take_recalled(
        &self,
        version: &Version,
        target: Target<'_>,
        artifact: Artifact,
        judge: bool,
    ) -> Result<bool, NotTaken> {
        let package = Arc::new(RulesPackage::from(self.verify(version, target, artifact).await?));
        let swapper = &self.following.swapper;
        match swapper.swap_accepted(self.country, target, &package).await {
            Some(taken) => taken?,
            None if judge => swapper.swap(self.country, target, &package).await?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Returns what was fetched, if it is what was published, and records a refusal.
    async fn verify(&self, version: &Version, target: Target<'_>, artifact: Artifact) -> Result<Artifact, NotTaken> {
        self.authentic(version, artifact).await?.map_err(|refusal| {
            self.following.swapper.refuse(self.country, target, &self.with_start(&refusal.to_string()));
            NotTaken::Refused
        })
    }

    /// Returns what was fetched, if it is what was published, and by somebody who may. Digests of 36 MB take a thread's time,
    /// so a thread that may block makes them.
    async fn authentic(&self, version: &Version, artifact: Artifact) -> Result<Result<Artifact, Refusal>, NotTaken> {
        let (following, country, version) = (self.following.clone(), self.country, version.clone());
        let checked = tokio::task::spawn_blocking(move || {
            check_digests(&artifact).map_err(|error| NotTaken::Unjudged(error.to_string()))?;
            let trust = following.trust.as_ref().map(|trust| trust()).transpose().map_err(untrusted)?;
            Ok(check_origin(&artifact, country, &version, trust.as_ref()).map(|()| artifact))
        });
        checked.await.unwrap_or_else(|_| Err(NotTaken::Unjudged(HOST_FAILED.into())))
    }

    /// Puts the version in use into force; where it cannot be had and nothing is in force, as in a host that has just
    /// started, the one before it.
    async fn take_native_or_previous(
        &self,
        natives: &dyn NativeCodeStore,
        channel: &Channel,
        target: Target<'_>,
    ) -> Result<(), NotTaken> {
        let taken = self.take_native(natives, &channel.current, target).await;
        let Some(version) = &channel.previous else { return taken };
        if taken.is_err() && !self.following.swapper.is_in_force(self.country, None) {
            let what = format!("version {version}");
            let target = Target::Use { version: Some(version), what: &what };
            if let Err(NotTaken::Later(error) | NotTaken::Unjudged(error)) =
                self.take_native(natives, version, target).await
            {
                tracing::warn!(country = %self.country, %version, error, "the version before cannot be had either");
            }
        }
        taken
    }

    async fn take_native(
        &self,
        natives: &dyn NativeCodeStore,
        version: &Version,
        target: Target<'_>,
    ) -> Result<(), NotTaken> {
        let native = self.native_code(natives, version).await?;
        Ok(self.following.swapper.swap_native(self.country, target, &native)?)
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
        self.following.swapper.refuse(self.country, Target::named(what), &self.with_start(why));
    }

    /// Adds to a reason which version the host started with instead.
    fn with_start(&self, why: &str) -> String {
        self.started_with.as_ref().map_or_else(|| why.to_owned(), |version| format!("{why}; started with {version}"))
    }
}

/// Nothing is judged before it is known whom to trust.
fn untrusted(cause: String) -> RegistryError {
    RegistryError::Unreadable { key: "the trust file".into(), cause }
}
