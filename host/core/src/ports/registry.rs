//! Port to the store of published rules (decision D18 of the architecture).

use async_trait::async_trait;
use semver::Version;

use crate::model::{Artifact, Channel, CountryCode, Limits, Manifest};

/// Reasons for which an operation of the registry fails.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The version is published already. A version is written once.
    #[error(
        "version {version} of {country} is published already, and a published version never changes; publish it under a higher version"
    )]
    Exists {
        /// Country of the rules.
        country: CountryCode,
        /// Version that exists.
        version: Version,
    },
    /// The registry does not have the version.
    #[error("there is no version {version} of {country} in the registry")]
    Absent {
        /// Country of the rules.
        country: CountryCode,
        /// Version that is missing.
        version: Version,
    },
    /// Another writer changed the channel meanwhile.
    #[error("somebody else changed which version of {0} is in use; look again (`citas rules status`) and decide anew")]
    Conflict(CountryCode),
    /// A file in the registry cannot be read.
    #[error("`{key}` in the registry cannot be read: {cause}")]
    Unreadable {
        /// Key of the file.
        key: String,
        /// Cause of the failure.
        cause: String,
    },
    /// A file is larger than the limit of its kind. It is neither read nor written.
    #[error("`{key}` in the registry is larger than {limit} bytes, the limit of such a file")]
    TooLarge {
        /// Key of the file.
        key: String,
        /// Maximum size in bytes.
        limit: u64,
    },
    /// A folder has more entries than are listed.
    #[error("`{key}` in the registry has more than {limit} entries; remove those that do not belong there")]
    TooMany {
        /// Key of the folder.
        key: String,
        /// Maximum number of entries.
        limit: usize,
    },
    /// The registry does not respond.
    #[error("the registry does not answer: {0}")]
    Unavailable(String),
}

/// Readiness of a version for the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Hosts can load the version.
    Ready,
    /// Hosts wait for the native code of the version.
    NotCompiled,
    /// The registry does not name the engine that hosts run, so none of its native code is known to be loadable.
    EngineUnknown,
    /// The version was refused instead of compiled, for this reason.
    Refused(String),
}

/// Stores published rules.
///
/// An adapter MUST
/// - read no more of a file than the limit of its kind, and list no more entries of a folder than its limit: somebody
///   who may write one country's files must not be able to stop a host;
/// - list a country whose channel cannot be read, so that the error is shown for that country and the other countries
///   are still read;
/// - write a version completely or not at all, and never over another one;
/// - write a channel only if it still equals `expected` (`None`: absent), even with concurrent writers;
/// - show a channel only if the version that it names can be fetched.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Returns the countries that have a channel, in order.
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError>;

    /// Returns the channel of a country, or `None` if no version was ever promoted.
    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError>;

    /// Replaces the channel of a country, if it still equals `expected`.
    async fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError>;

    /// Returns the published versions, the lowest first.
    async fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError>;

    /// Writes a version.
    async fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError>;

    /// Reads a version.
    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError>;

    /// Returns the readiness of a version for the hosts that follow this registry.
    async fn readiness(&self, _: CountryCode, _: &Version) -> Result<Readiness, RegistryError> {
        Ok(Readiness::Ready)
    }

    /// Reads the manifest of a version, without the other files if the adapter can avoid them.
    async fn manifest(&self, country: CountryCode, version: &Version) -> Result<Manifest, RegistryError> {
        Ok(self.fetch(country, version).await?.manifest)
    }

    /// Returns the digest of a version's component and its limits, without reading the manifest if the adapter can
    /// avoid it.
    async fn component(&self, country: CountryCode, version: &Version) -> Result<(String, Limits), RegistryError> {
        let Manifest { digest, limits, .. } = self.manifest(country, version).await?;
        Ok((digest, limits))
    }
}
