//! Port to the published rules (decision D18 of the architecture).

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::appointment::CountryCode;
use crate::model::limits::Limits;
use crate::release::admission::package_digest;

/// `sha256:` and the digest of `bytes` in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// A registry's JSON as it is written.
#[must_use]
pub fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("strings, numbers and null");
    bytes.push(b'\n');
    bytes
}

/// What is said of a published component beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Whose rules.
    pub country: CountryCode,
    /// As `describe` has it.
    pub version: Version,
    /// Of the component's bytes: [`digest`].
    pub digest: String,
    /// Of `cases.json`.
    pub cases_digest: String,
    /// Version of the contract that it was published for.
    pub contract: String,
    /// Revision of the sources, where known.
    pub source: Option<String>,
    /// When it was published.
    pub published_at: Timestamp,
    /// What its component may use, where that is not the standard.
    #[serde(default, skip_serializing_if = "Limits::are_standard")]
    pub limits: Limits,
}

impl Manifest {
    /// The bytes of `manifest.json`, which are what is signed: by their digests they stand for component and cases too.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        written(self)
    }

    /// Returns the digest of the package that it describes: component, golden cases and limits.
    #[must_use]
    pub fn package_digest(&self) -> String {
        package_digest(&self.digest, &self.cases_digest, &self.limits)
    }
}

/// One published version. It never changes once it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// `manifest.json`
    pub manifest: Manifest,
    /// `rules.wasm`
    pub component: Vec<u8>,
    /// `cases.json`: an array of golden cases.
    pub cases: String,
    /// `manifest.json.minisig`: a minisign signature of [`Manifest::bytes`]; none where nobody signed it.
    pub signature: Option<String>,
}

/// `channel.json`: which version is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// The version in use.
    pub current: Version,
    /// The one before it: where a rollback goes.
    pub previous: Option<Version>,
    /// Rises by one with each change.
    pub sequence: u64,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Whether it stays so until it is released.
    #[serde(default)]
    pub pinned: bool,
    /// The version on trial beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// The latest changes, the last one last. It is in the same file, so that one conditional write makes both true.
    #[serde(default)]
    pub history: Vec<Change>,
}

/// What one change made of a channel, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// The channel's sequence after it.
    pub sequence: u64,
    /// What was done.
    pub verb: ChannelVerb,
    /// The version that it was about: the one in use after it, or the one on trial.
    pub version: Version,
    /// The trial that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// Why, in their words.
    pub why: String,
}

/// A version on trial beside the one in use: a shadow, whose answers are compared and count for nothing, or a canary too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// Which.
    pub version: Version,
    /// The channel's sequence when the trial began, which tells it from every other trial of the country.
    pub trial: u64,
    /// The patients for whom it decides; none for a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// For how many patients a candidate decides, and when it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// Share of the patients, in percent: 1 to 100.
    pub share: u8,
    /// How many more of its decisions, in percent, may be refusals that the version in use would not have made, and as many
    /// may get no answer: 0 to 100.
    pub margin: u8,
}

/// What may be done to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelVerb {
    /// Another version comes into use.
    Promote,
    /// The version before comes into use again.
    Rollback,
    /// The version in use stays so until it is released.
    Pin,
    /// It may be another one again.
    Unpin,
    /// A version is tried beside it, and decides nothing.
    Shadow,
    /// A version is tried beside it, and decides for some patients.
    Canary,
    /// The trial is over.
    Withdraw,
}

impl ChannelVerb {
    /// The command's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Withdraw => "withdraw",
        }
    }
}

/// How many changes a channel remembers. Hosts read the whole file, so it may not grow for ever.
const REMEMBERED_CHANGES: usize = 50;

/// Author, time and reason of a change to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Name of the author.
    pub by: String,
    /// Why, in their words.
    pub why: String,
}

/// The channel's sequence is the largest number that it can be.
#[derive(Debug, thiserror::Error)]
#[error(
    "the channel's sequence is {0} and cannot rise any further, so nothing can be changed; restore a channel.json from before"
)]
pub struct SequenceSpent(u64);

impl Channel {
    /// Returns a country's first channel.
    #[must_use]
    pub fn first(version: Version, note: Note) -> Self {
        let mut channel = Self {
            current: version.clone(),
            previous: None,
            sequence: 1,
            changed_at: note.at,
            pinned: false,
            candidate: None,
            history: Vec::new(),
        };
        channel.record(ChannelVerb::Promote, version, None, note);
        channel
    }

    /// Puts another version into use, which ends a trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn promote(&self, version: Version, note: Note) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.previous = Some(std::mem::replace(&mut channel.current, version.clone()));
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Promote, version, None, note);
        Ok(channel)
    }

    /// Puts the version before into use again, which ends a trial; none where there is no such version. The result has no
    /// version before it: a second rollback would bring back the version that the first one removed.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn rollback(&self, note: Note) -> Result<Option<Self>, SequenceSpent> {
        let Some(version) = self.previous.clone() else { return Ok(None) };
        let mut channel = self.next(note.at)?;
        (channel.current, channel.previous) = (version.clone(), None);
        (channel.pinned, channel.candidate) = (false, None);
        channel.record(ChannelVerb::Rollback, version, None, note);
        Ok(Some(channel))
    }

    /// Keeps the version in use until it is released.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn pin(&self, note: Note) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = true;
        channel.record(ChannelVerb::Pin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Lets the version in use change again.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn unpin(&self, note: Note) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        channel.pinned = false;
        channel.record(ChannelVerb::Unpin, self.current.clone(), None, note);
        Ok(channel)
    }

    /// Puts a version on trial. A change of a trial's terms does not begin another trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn try_out(&self, version: Version, canary: Option<Canary>, note: Note) -> Result<Self, SequenceSpent> {
        let mut channel = self.next(note.at)?;
        let running = self.candidate.as_ref().filter(|candidate| candidate.version == version);
        let trial = running.map_or(channel.sequence, |candidate| candidate.trial);
        channel.candidate = Some(Candidate { version: version.clone(), trial, canary });
        let verb = if canary.is_some() { ChannelVerb::Canary } else { ChannelVerb::Shadow };
        channel.record(verb, version, Some(trial), note);
        Ok(channel)
    }

    /// Ends the trial; none where no version is on trial.
    ///
    /// # Errors
    /// When the sequence cannot rise any further.
    pub fn withdraw(&self, note: Note) -> Result<Option<Self>, SequenceSpent> {
        let Some(Candidate { version, trial, .. }) = self.candidate.clone() else { return Ok(None) };
        let mut channel = self.next(note.at)?;
        channel.candidate = None;
        channel.record(ChannelVerb::Withdraw, version, Some(trial), note);
        Ok(Some(channel))
    }

    /// The last change of a kind.
    #[must_use]
    pub fn last(&self, of: impl Fn(ChannelVerb) -> bool) -> Option<&Change> {
        self.history.iter().rev().find(|change| of(change.verb))
    }

    /// The latest trial, whether or not it is over: its number and the version.
    #[must_use]
    pub fn latest_trial(&self) -> Option<(u64, &Version)> {
        self.history.iter().rev().find_map(|change| Some((change.trial?, &change.version)))
    }

    /// Returns a copy with the next sequence.
    fn next(&self, at: Timestamp) -> Result<Self, SequenceSpent> {
        let sequence = self.sequence.checked_add(1).ok_or(SequenceSpent(self.sequence))?;
        Ok(Self { sequence, changed_at: at, ..self.clone() })
    }

    fn record(&mut self, verb: ChannelVerb, version: Version, trial: Option<u64>, Note { at, by, why }: Note) {
        self.history.push(Change { sequence: self.sequence, verb, version, trial, at, by, why });
        self.history.drain(..self.history.len().saturating_sub(REMEMBERED_CHANGES));
    }
}

/// Why the registry did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A version is written once.
    #[error(
        "version {version} of {country} is published already, and a published version never changes; publish it under a higher version"
    )]
    Exists {
        /// Whose.
        country: CountryCode,
        /// Which.
        version: Version,
    },
    /// There is no such version.
    #[error("there is no version {version} of {country} in the registry")]
    Absent {
        /// Whose.
        country: CountryCode,
        /// Which.
        version: Version,
    },
    /// Somebody else changed the channel meanwhile.
    #[error("somebody else changed which version of {0} is in use; look again (`citas rules status`) and decide anew")]
    Conflict(CountryCode),
    /// What lies there cannot be read.
    #[error("`{key}` in the registry cannot be read: {cause}")]
    Unreadable {
        /// Which file.
        key: String,
        /// Why.
        cause: String,
    },
    /// A file is larger than its kind may be. It is neither read nor written.
    #[error("`{key}` in the registry is larger than {limit} bytes, the limit of such a file")]
    TooLarge {
        /// Which file.
        key: String,
        /// Maximum size in bytes.
        limit: u64,
    },
    /// A folder has more entries than are listed.
    #[error("`{key}` in the registry has more than {limit} entries; remove those that do not belong there")]
    TooMany {
        /// Which folder.
        key: String,
        /// Maximum number of entries.
        limit: usize,
    },
    /// The registry does not answer.
    #[error("the registry does not answer: {0}")]
    Unavailable(String),
}

/// Whether hosts can take a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They can.
    Ready,
    /// They wait for its native code.
    NotCompiled,
    /// It was refused when it was to be compiled, for this reason.
    Refused(String),
}

/// Keeps published rules.
///
/// An adapter MUST
/// - read no more of a file than such a file may have, and list no more entries of a folder than its limit: whoever may write
///   one country's files must not be able to stop a host;
/// - list a country whose channel cannot be read, so that its own error is shown and no other country's reading fails;
/// - write a version whole or not at all, and never over another;
/// - write a channel only if it still is what `expected` says (`None`: absent), whoever else writes;
/// - show a channel only when the version that it names can be fetched.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The countries that have a channel, in order.
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError>;

    /// Which version of a country is in use; none when nothing was ever promoted.
    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError>;

    /// Changes which version is in use.
    async fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError>;

    /// The versions that are published, the lowest first.
    async fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError>;

    /// Writes a version.
    async fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError>;

    /// Reads a version.
    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError>;

    /// Whether the hosts that follow this registry could take a version now.
    async fn readiness(&self, _: CountryCode, _: &Version) -> Result<Readiness, RegistryError> {
        Ok(Readiness::Ready)
    }

    /// Reads what is said of a version, without the rest where that is less.
    async fn manifest(&self, country: CountryCode, version: &Version) -> Result<Manifest, RegistryError> {
        Ok(self.fetch(country, version).await?.manifest)
    }

    /// The digest of a version's component and its limits, without reading the manifest for them where that can be.
    async fn component(&self, country: CountryCode, version: &Version) -> Result<(String, Limits), RegistryError> {
        let Manifest { digest, limits, .. } = self.manifest(country, version).await?;
        Ok((digest, limits))
    }
}

/// Keeps native code beside the registry, under `native/<engine>/<digest>.cwasm`, where only Citas itself may write, and
/// beside it why a version was refused (`<country>-<version>-<package's digest>.refused`). A refusal is of one country's
/// version and package: another country may publish the same component, and is refused for reasons of its own.
///
/// An adapter MUST give back the very bytes that were put, or nothing: they are run as they are.
#[async_trait]
pub trait Natives: Send + Sync {
    /// What `engine` made of the component of that digest, if it has.
    async fn native(&self, engine: &str, digest: &str) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Keeps it.
    async fn put_native(&self, engine: &str, digest: &str, code: &[u8]) -> Result<(), RegistryError>;

    /// Why a version was refused when it was to be compiled for `engine`, if it was.
    async fn refused(&self, engine: &str, version: &Manifest) -> Result<Option<String>, RegistryError>;

    /// Keeps why it was refused.
    async fn put_refused(&self, engine: &str, version: &Manifest, why: &str) -> Result<(), RegistryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note { at: Timestamp::UNIX_EPOCH, by: "ana".into(), why: "a test".into() }
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn second() -> Channel {
        Channel::first(version("1.0.0"), note()).promote(version("1.1.0"), note()).unwrap()
    }

    #[test]
    fn a_rollback_goes_back_once() {
        let back = second().rollback(note()).unwrap().unwrap();
        assert_eq!((back.current.clone(), back.previous.clone(), back.sequence), (version("1.0.0"), None, 3));
        assert_eq!(back.rollback(note()).unwrap(), None);
    }

    #[test]
    fn a_pin_keeps_the_trial_and_a_promotion_ends_it() {
        let tried = second().try_out(version("1.2.0"), None, note()).unwrap();
        let pinned = tried.pin(note()).unwrap();
        assert!(pinned.pinned && pinned.candidate == tried.candidate && pinned.previous == tried.previous);
        let released = pinned.unpin(note()).unwrap();
        assert!(!released.pinned && released.candidate == tried.candidate);
        let promoted = pinned.promote(version("1.2.0"), note()).unwrap();
        assert!(!promoted.pinned && promoted.candidate.is_none());
    }

    #[test]
    fn other_terms_do_not_begin_another_trial() {
        let tried = second().try_out(version("1.2.0"), None, note()).unwrap();
        let canary = Some(Canary { share: 5, margin: 5 });
        let canary = tried.try_out(version("1.2.0"), canary, note()).unwrap();
        assert_eq!((tried.candidate.unwrap().trial, canary.candidate.as_ref().unwrap().trial), (3, 3));
        assert_eq!(canary.withdraw(note()).unwrap().unwrap().candidate, None);
    }

    #[test]
    fn the_last_sequence_changes_no_more() {
        let last = Channel { sequence: u64::MAX, ..second().try_out(version("1.2.0"), None, note()).unwrap() };
        let refused = [
            last.promote(version("1.3.0"), note()).map(drop),
            last.rollback(note()).map(drop),
            last.pin(note()).map(drop),
            last.unpin(note()).map(drop),
            last.try_out(version("1.3.0"), None, note()).map(drop),
            last.withdraw(note()).map(drop),
        ];
        for refused in refused {
            let words = refused.unwrap_err().to_string();
            assert!(words.contains("18446744073709551615 and cannot rise any further"), "{words}");
        }
        let before_last = Channel { sequence: u64::MAX - 1, ..last };
        assert_eq!(before_last.pin(note()).unwrap().sequence, u64::MAX);
    }

    #[test]
    fn a_channel_remembers_its_last_changes() {
        let mut channel = Channel::first(version("1.0.0"), note());
        channel.history = vec![channel.history[0].clone(); 10_000];
        assert_eq!(channel.pin(note()).unwrap().history.len(), REMEMBERED_CHANGES);
    }
}
