//! The port to where published rules lie, by the architecture's decision 8.

use async_trait::async_trait;
use semver::Version;

use crate::model::appointment::CountryCode;
use crate::model::channel::Channel;
use crate::model::limits::Limits;
use crate::model::manifest::{Artifact, Manifest};

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
