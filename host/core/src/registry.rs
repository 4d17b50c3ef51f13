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
    /// The version in use after it.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// Why, in their words.
    pub why: String,
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
        }
    }
}

/// How many changes a channel remembers. Hosts read the whole file, so it may not grow for ever.
const REMEMBERED_CHANGES: usize = 50;

impl Channel {
    /// The channel after one change. A rollback leaves no version before the one it goes back to: a second one would
    /// bring back what the first was there to remove.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        verb: ChannelVerb,
        version: Version,
        (at, by, why): (Timestamp, String, String),
    ) -> Self {
        let sequence = before.map_or(1, |before| before.sequence + 1);
        let previous = match verb {
            ChannelVerb::Promote => before.map(|before| before.current.clone()),
            ChannelVerb::Rollback => None,
            ChannelVerb::Pin | ChannelVerb::Unpin => before.and_then(|before| before.previous.clone()),
        };
        let mut history = before.map_or_else(Vec::new, |before| before.history.clone());
        history.push(Change { sequence, verb, version: version.clone(), at, by, why });
        history.drain(..history.len().saturating_sub(REMEMBERED_CHANGES));
        let pinned = verb == ChannelVerb::Pin;
        Self { current: version, previous, sequence, changed_at: at, pinned, history }
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

    /// Whether the hosts that follow this registry could take a version now. Not so while they wait for its native code.
    async fn can_be_taken(&self, _: CountryCode, _: &Version) -> Result<bool, RegistryError> {
        Ok(true)
    }

    /// Reads what is said of a version, without the rest where that is less.
    async fn manifest(&self, country: CountryCode, version: &Version) -> Result<Manifest, RegistryError> {
        Ok(self.fetch(country, version).await?.manifest)
    }
}

/// Keeps native code beside the registry, under `native/<engine>/<digest>.cwasm`, where only Citas itself may write.
///
/// An adapter MUST give back the very bytes that were put, or nothing: they are run as they are.
#[async_trait]
pub trait Natives: Send + Sync {
    /// What `engine` made of the component of that digest, if it has.
    async fn native(&self, engine: &str, digest: &str) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Keeps it.
    async fn put_native(&self, engine: &str, digest: &str, code: &[u8]) -> Result<(), RegistryError>;
}
