//! The port to where published rules lie, by the architecture's decision 8.

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::appointment::CountryCode;

/// `sha256:` and the digest of `bytes` in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
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
    /// Version of the contract that it was published for.
    pub contract: String,
    /// Revision of the sources, where known.
    pub source: Option<String>,
    /// When it was published.
    pub published_at: Timestamp,
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
