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
use crate::model::{Artifact, Candidate, Channel, CountryCode, RulesPackage};
use crate::ports::{NativeCodeStore, RegistryError};
use crate::release::swap::{NativeCode, Target};
use crate::release::verify::{check_digests, check_origin};

/// Maximum wait for a version. A line of 100 kB a second transfers 32 MB in this time.
const FETCH_TIMEOUT: Duration = Duration::from_mins(6);

/// Maximum wait of a starting host until each country has rules in force. Judging that takes longer goes on beside the
/// requests. A version in Rust is judged in half a second, and most starts judge nothing.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum wait for a version that was fetched before and whose turn to be judged has come. The other versions wait
/// meanwhile.
const TURN_FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Reason that is reported after a panic in a look or a check.
pub(super) const HOST_FAILED: &str = "the host failed, which is a bug of Citas";

/// A place in the queue for judging, which resolves to the permit.
type Turn = MaybeDone<BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>>;

/// A version that waits for its turn to be judged. It keeps its place in the queue from one look to the next.
struct WaitingVersion {
    version: Version,
    /// Never locked: the mutex only lets threads share the future.
    turn: Mutex<Turn>,
}

/// Follows the channel of one country.
pub struct Follower {
    following: Arc<Following>,
    country: CountryCode,
    /// Last channel that was acted upon, whether its version came into force or was refused.
    seen: Option<Channel>,
    /// Version that the channel names at this look; none if the channel could not be read.
    wanted: Option<Version>,
    /// True if the channel is an old copy of one that was seen before.
    is_old_copy: bool,
    /// Candidate and its terms, as last acted upon.
    tried: Option<Candidate>,
    /// Reason why the candidate could not be loaded at the last look.
    untried: Option<String>,
    /// Reason why the country's files could not be read, or its version could not be judged, at the last look. A reason
    /// is recorded once for each version, and later looks try again.
    unread: Option<(Option<Version>, String)>,
    /// Next attempt at the version in use, if it could not be judged.
    pub(super) retry: Option<Retry>,
    /// Next attempt at the candidate, if it could not be judged.
    trial_retry: Option<Retry>,
    /// Version that waits to be judged.
    waiting: Option<WaitingVersion>,
    /// True if a version began or continued to wait during this look.
    is_waiting: bool,
    /// True while the host starts: it then waits less for the registry.
    is_start: bool,
    /// Last good version that the host started with; none once another version has come into force.
    started_with: Option<String>,
}

impl Follower {
    /// Follows one country with the shared settings.
    pub fn new(following: Arc<Following>, country: CountryCode) -> Self {
        Self {
            following,
            country,
            seen: None,
            wanted: None,
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

    /// Brings changes since the last look into force or on trial. Returns true if everything could be read and judged.
    pub async fn look(&mut self) -> bool {
        self.is_waiting = false;
        let followed = self.follow().await;
        if !self.is_waiting {
            self.waiting = None;
        }
        self.note(followed)
    }

    /// Performs the first look of a starting host. A registry's version that this host accepted before comes into force
    /// at once. Otherwise an accepted last good version does, and the registry's version is judged at the next look.
    /// Without either, the registry's version is judged now; if that brings nothing into force, the last good version
    /// is judged. `unlisted` is the reason why the registry's countries could not be listed.
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
        if matches!(not_in_force, NotInForce::Unjudged) && self.look_in_turn().await && self.is_in_force() {
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

    /// Puts the registry's version into force if this host accepted it before. Returns the reason that holds if it is
    /// not in force.
    pub(super) async fn start_from_registry(&mut self) -> NotInForce {
        match self.accepted().await {
            Ok(true) => NotInForce::Unjudged,
            Ok(false) => NotInForce::Unread("the registry has no channel of this country, and had one".into()),
            Err(NotTaken::Refused) => NotInForce::Refused,
            Err(NotTaken::Waiting) => NotInForce::Unread("other versions are judged first".into()),
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => {
                self.note(Err(NotTaken::Later(why.clone())));
                NotInForce::Unread(why)
            }
        }
    }

    /// Puts the version of the registry's channel into force if this host accepted it before. Returns false if there is
    /// no channel.
    async fn accepted(&mut self) -> Result<bool, NotTaken> {
        let following = self.following.clone();
        let Some(channel) = self.channel().await? else { return Ok(false) };
        let version = channel.current.clone();
        let target = Target::Version(&version);
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
        Ok(true)
    }

    /// Acts on changes of the channel.
    async fn follow(&mut self) -> Result<(), NotTaken> {
        let following = self.following.clone();
        let Some(channel) = self.channel().await? else { return Ok(()) };
        if self.notice_old_copy(&channel) {
            return Ok(());
        }
        let candidate = channel.candidate.clone().filter(|candidate| following.shadows || candidate.canary.is_some());
        // A candidate that the channel no longer names stops deciding, even if the new version cannot be loaded. Only a
        // promoted candidate continues until it is in force, so that its patients meet no other version in between.
        let is_promoted = self.tried.as_ref().is_some_and(|tried| tried.version == channel.current);
        if !is_promoted {
            self.end_other_trial(candidate.as_ref());
        }
        let taken = if self.is_news(&channel) { self.take(&channel).await } else { Ok(()) };
        self.end_other_trial(candidate.as_ref());
        // A refusal is already recorded for the platform team. The channel is done with in either case.
        match taken {
            Ok(()) | Err(NotTaken::Refused) => {}
            Err(later) => return Err(later),
        }
        if following.swapper.is_in_force(self.country, Some(&channel.current)) {
            following.swapper.forget_refusal(self.country);
        }
        self.seen = Some(channel);
        if let Some(candidate) = candidate {
            self.follow_trial(candidate).await;
        }
        Ok(())
    }

    /// Reads the channel, and notes the version that it names.
    async fn channel(&mut self) -> Result<Option<Channel>, RegistryError> {
        self.wanted = None;
        let channel = self.read(self.following.registry.channel(self.country)).await?;
        self.wanted = channel.as_ref().map(|channel| channel.current.clone());
        Ok(channel)
    }

    /// Returns true if the channel's version is to be taken. A version that is not in force is taken again when the
    /// channel changes, and when it can be read again.
    fn is_news(&self, channel: &Channel) -> bool {
        let Some(seen) = &self.seen else { return true };
        let is_in_force = || self.following.swapper.is_in_force(self.country, Some(&channel.current));
        seen.current != channel.current || (seen != channel || self.unread.is_some()) && !is_in_force()
    }

    /// Returns true if the channel's sequence is not above the last one seen, so that it is an old copy. An old copy
    /// brings nothing into force or on trial, and later channels are compared with it.
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
            self.refuse(Target::Version(&channel.current), &why);
            self.seen = Some(channel.clone());
        }
        self.is_old_copy
    }

    /// Ends the trial of any version other than the given candidate, and forgets why the candidate before could not be
    /// loaded.
    fn end_other_trial(&mut self, candidate: Option<&Candidate>) {
        let is_over = match &self.tried {
            Some(tried) => candidate.is_none_or(|candidate| candidate.version != tried.version),
            None => candidate.is_none() && self.untried.is_some(),
        };
        if is_over {
            self.following.swapper.end_trial(self.country);
            self.tried = None;
            self.untried = None;
        }
    }

    /// Puts a candidate on trial, or changes the terms of its trial. A failure to load it is recorded once and retried
    /// at later looks; it does not affect the version in use.
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
                        following.swapper.postpone(self.country, Target::Trial(&candidate), &why);
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

    /// Puts the channel's current version into force, from native code if the host does not compile.
    async fn take(&mut self, channel: &Channel) -> Result<(), NotTaken> {
        let (following, target) = (self.following.clone(), Target::Version(&channel.current));
        if let Some(natives) = &following.natives {
            return self.take_native_or_previous(natives.as_ref(), channel, target).await;
        }
        Retry::postponed(self.retry.as_ref(), &channel.current)?;
        let taken = self.take_component(&channel.current, target).await;
        if let Ok(artifact) = &taken {
            self.remember(channel, artifact).await;
        }
        let taken = taken.map(drop);
        self.retry = Retry::after(self.retry.take(), &channel.current, &taken);
        taken
    }

    /// Puts a version into its target and returns it. A version that was not accepted before is judged in its turn.
    async fn take_component(&mut self, version: &Version, target: Target<'_>) -> Result<Artifact, NotTaken> {
        let turn = self.awaited_turn(version)?;
        let artifact = self.fetch_in_turn(version, turn.is_some()).await?;
        let artifact = self.verify(version, target, artifact).await?;
        let (following, package) = (self.following.clone(), Arc::new(RulesPackage::from(artifact.clone())));
        if let Some(taken) = following.swapper.swap_accepted(self.country, target, &package).await {
            taken?;
            return Ok(artifact);
        }
        // A version that has to wait for others is not kept in memory.
        let _turn = self.turn(turn, version)?;
        following.swapper.swap(self.country, target, &package).await?;
        Ok(artifact)
    }

    /// Returns the turn to judge this version, if it already waits for one; none if it does not wait yet.
    fn awaited_turn(&mut self, version: &Version) -> Result<Option<OwnedSemaphorePermit>, NotTaken> {
        let waits = self.waiting.as_ref().is_some_and(|waiting| waiting.version == *version);
        if waits { self.turn(None, version).map(Some) } else { Ok(None) }
    }

    /// Returns the turn to judge this version. A look does not block on it, because the channel may name another
    /// version meanwhile.
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

    /// Fetches a version. The deadline is shorter if the version holds a turn that others wait for.
    async fn fetch_in_turn(&self, version: &Version, has_turn: bool) -> Result<Artifact, RegistryError> {
        if !has_turn {
            return self.fetch(version).await;
        }
        within(TURN_FETCH_TIMEOUT, self.following.registry.fetch(self.country, version)).await
    }

    /// Saves the version that came into force, for a start without the registry.
    async fn remember(&mut self, channel: &Channel, artifact: &Artifact) {
        self.started_with = None;
        let Some(last_good) = &self.following.last_good else { return };
        if let Err(error) = last_good.remember(channel, artifact).await {
            let country = self.country;
            tracing::warn!(%country, %error, "cannot save this version as last good");
        }
    }

    /// Puts the last good version into force and records why it was needed. Returns true if it is in force. A version
    /// that was not accepted before is judged only if `judge` is true.
    async fn recall(&mut self, not_in_force: &NotInForce, judge: bool) -> bool {
        let following = self.following.clone();
        let Some(last_good) = &following.last_good else { return false };
        let recalled = match self.read_version(last_good.recall(self.country)).await {
            Ok(recalled) => recalled,
            Err(error) => {
                self.refuse(Target::Unpublished("the last good version"), &error.to_string());
                return false;
            }
        };
        let Some((channel, artifact)) = recalled else { return false };
        // Installing the version clears the recorded reason.
        let refused = following.swapper.refused(self.country);
        let taken = self.take_recalled(&channel.current, artifact, judge).await;
        if let Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) = &taken {
            self.refuse(Target::LastGood(&channel.current), why);
        }
        if !matches!(taken, Ok(true)) {
            return false;
        }
        self.started_with = Some(format!("the last good version {}", channel.current));
        match refused {
            Some(refused) => {
                let why = self.with_start(&refused.why);
                following.swapper.refuse_again(self.country, refused, why);
            }
            None => self.postpone(not_in_force.why()),
        }
        true
    }

    async fn take_recalled(&self, version: &Version, artifact: Artifact, judge: bool) -> Result<bool, NotTaken> {
        let target = Target::LastGood(version);
        let package = Arc::new(RulesPackage::from(self.verify(version, target, artifact).await?));
        let swapper = &self.following.swapper;
        match swapper.swap_accepted(self.country, target, &package).await {
            Some(taken) => taken?,
            None if judge => swapper.swap(self.country, target, &package).await?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the fetched artifact if it matches its digests and is the published version, signed by a trusted key.
    /// Records a refusal. Hashing 36 MB takes long, so it runs on a blocking thread.
    async fn verify(&self, version: &Version, target: Target<'_>, artifact: Artifact) -> Result<Artifact, NotTaken> {
        let (following, country, version) = (self.following.clone(), self.country, version.clone());
        let checked = tokio::task::spawn_blocking(move || {
            check_digests(&artifact).map_err(|error| NotTaken::Unjudged(error.to_string()))?;
            let trust = following.trust.as_ref().map(|trust| trust()).transpose().map_err(untrusted)?;
            Ok((check_origin(&artifact, country, &version, trust.as_ref()), artifact))
        });
        let (origin, artifact) = checked.await.unwrap_or_else(|_| Err(NotTaken::Unjudged(HOST_FAILED.into())))?;
        if let Err(refusal) = origin {
            let why = refusal.to_string();
            let why = if matches!(target, Target::Trial(_)) { why } else { self.with_start(&why) };
            self.following.swapper.refuse_target(self.country, target, &why);
            return Err(NotTaken::Refused);
        }
        Ok(artifact)
    }

    /// Puts the current version into its target from native code. If that fails and no rules are in force, as in a host
    /// that has just started, tries the previous version.
    async fn take_native_or_previous(
        &self,
        natives: &dyn NativeCodeStore,
        channel: &Channel,
        target: Target<'_>,
    ) -> Result<(), NotTaken> {
        let taken = self.take_native(natives, &channel.current, target).await;
        let Some(version) = &channel.previous else { return taken };
        if taken.is_err() && !self.following.swapper.is_in_force(self.country, None) {
            let previous = self.take_native(natives, version, Target::Version(version)).await;
            if let Err(NotTaken::Later(error) | NotTaken::Unjudged(error)) = previous {
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

    /// Reads the native code of a version.
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

    /// Reads a small file, such as a channel or a manifest.
    async fn read<T>(&self, read: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
        self.within(READ_TIMEOUT, read).await
    }

    /// Reads a version, including its component.
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

    /// Records why something could not be read, unless the reason is the same as at the last look. Returns true if the
    /// look is complete.
    fn note(&mut self, followed: Result<(), NotTaken>) -> bool {
        let why = match followed {
            Ok(()) | Err(NotTaken::Refused) => {
                self.unread = None;
                return true;
            }
            Err(NotTaken::Waiting) => return false,
            Err(NotTaken::Later(why) | NotTaken::Unjudged(why)) => why,
        };
        let unread = Some((self.wanted.clone(), why));
        if self.unread != unread {
            if let Some((_, why)) = &unread {
                self.postpone(why);
            }
            self.unread = unread;
        }
        false
    }

    fn refuse(&mut self, target: Target<'_>, why: &str) {
        self.following.swapper.refuse_target(self.country, target, &self.with_start(why));
    }

    /// Records why the version that the channel names is not in force yet.
    fn postpone(&mut self, why: &str) {
        let why = self.with_start(why);
        let target = self.wanted.as_ref().map_or(Target::Unpublished("the registry's version"), Target::Version);
        self.following.swapper.postpone(self.country, target, &why);
    }

    /// Appends to a reason the version that the host started with instead.
    fn with_start(&self, why: &str) -> String {
        self.started_with.as_ref().map_or_else(|| why.to_owned(), |version| format!("{why}; started with {version}"))
    }
}

/// Returns the error of an unreadable trust file. No version is judged without the trusted keys.
fn untrusted(cause: String) -> RegistryError {
    RegistryError::Unreadable { key: "the trust file".into(), cause }
}
