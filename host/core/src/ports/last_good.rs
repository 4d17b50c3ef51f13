//! Port to the last good version of each country. It is stored on this host, so that a start does not need the
//! registry.

use async_trait::async_trait;

use crate::model::{Artifact, Channel, CountryCode};
use crate::ports::registry::RegistryError;

/// Stores the last good version of each country: the last one that came into force.
///
/// An adapter MUST
/// - store a version completely or not at all, and keep it until the next one is stored;
/// - return the channel and the artifact as they were stored, so that they can be judged again.
#[async_trait]
pub trait LastGood: Send + Sync {
    /// Returns the countries with a stored version, in order.
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError>;

    /// Stores a version that came into force and the channel that named it. They replace what was stored before.
    async fn remember(&self, channel: &Channel, artifact: &Artifact) -> Result<(), RegistryError>;

    /// Returns the stored channel and version of a country, if any.
    async fn recall(&self, country: CountryCode) -> Result<Option<(Channel, Artifact)>, RegistryError>;
}
