//! The port to where published rules lie, by the architecture's decision 8.

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::appointment::CountryCode;
use crate::limits::Limits;

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

/// When something is done to a channel, by whom, and why.
pub type Note = (Timestamp, String, String);

impl Channel {
    /// The channel after one change of the version in use, which ends a trial. A rollback leaves no version before the one
    /// it goes back to: a second one would bring back what the first was there to remove.
    #[must_use]
    pub fn after(before: Option<&Self>, verb: ChannelVerb, version: Version, note: Note) -> Self {
        let sequence = before.map_or(1, |before| before.sequence + 1);
        let previous = match verb {
            ChannelVerb::Promote => before.map(|before| before.current.clone()),
            ChannelVerb::Rollback => None,
            _ => before.and_then(|before| before.previous.clone()),
        };
        let is_kept = matches!(verb, ChannelVerb::Pin | ChannelVerb::Unpin);
        let candidate = before.filter(|_| is_kept).and_then(|before| before.candidate.clone());
        let history = before.map_or_else(Vec::new, |before| before.history.clone());
        let pinned = verb == ChannelVerb::Pin;
        let (changed_at, current) = (note.0, version.clone());
        let mut channel = Self { current, previous, sequence, changed_at, pinned, candidate, history };
        channel.note(verb, version, None, note);
        channel
    }

    /// The channel with a version on trial. To change the terms of a trial does not begin another one.
    #[must_use]
    pub fn trying(&self, version: Version, canary: Option<Canary>, note: Note) -> Self {
        let sequence = self.sequence + 1;
        let same = self.candidate.as_ref().filter(|candidate| candidate.version == version);
        let trial = same.map_or(sequence, |candidate| candidate.trial);
        let candidate = Some(Candidate { version: version.clone(), trial, canary });
        let mut channel = Self { sequence, changed_at: note.0, candidate, ..self.clone() };
        let verb = if canary.is_some() { ChannelVerb::Canary } else { ChannelVerb::Shadow };
        channel.note(verb, version, Some(trial), note);
        channel
    }

    /// The channel without its candidate; none where there is none.
    #[must_use]
    pub fn withdrawn(&self, note: Note) -> Option<Self> {
        let Candidate { version, trial, .. } = self.candidate.clone()?;
        let mut channel = Self { sequence: self.sequence + 1, changed_at: note.0, candidate: None, ..self.clone() };
        channel.note(ChannelVerb::Withdraw, version, Some(trial), note);
        Some(channel)
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

    fn note(&mut self, verb: ChannelVerb, version: Version, trial: Option<u64>, (at, by, why): Note) {
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
/// beside it why a component was refused (`<digest>.refused`).
///
/// An adapter MUST give back the very bytes that were put, or nothing: they are run as they are.
#[async_trait]
pub trait Natives: Send + Sync {
    /// What `engine` made of the component of that digest, if it has.
    async fn native(&self, engine: &str, digest: &str) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Keeps it.
    async fn put_native(&self, engine: &str, digest: &str, code: &[u8]) -> Result<(), RegistryError>;

    /// Why the component of that digest was refused when it was to be compiled for `engine`, if it was.
    async fn refused(&self, engine: &str, digest: &str) -> Result<Option<String>, RegistryError>;

    /// Keeps why it was refused.
    async fn put_refused(&self, engine: &str, digest: &str, why: &str) -> Result<(), RegistryError>;
}
