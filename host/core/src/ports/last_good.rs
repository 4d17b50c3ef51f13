//! The port to what last came into force on this host, kept beside it: a start needs no registry for that.

use async_trait::async_trait;

use crate::model::appointment::CountryCode;
use crate::model::channel::Channel;
use crate::model::manifest::Artifact;
use crate::ports::registry::RegistryError;

/// Keeps the last good version of each country.
///
/// An adapter MUST
/// - keep a version whole or not at all, and until the next one is kept;
/// - give back the channel and the artifact as they were kept, so that they can be judged once more.
#[async_trait]
pub trait LastGood: Send + Sync {
    /// The countries of which something is kept, in order.
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError>;

    /// Keeps what came into force, and the channel that named it, in place of what was kept.
    async fn remember(&self, channel: &Channel, artifact: &Artifact) -> Result<(), RegistryError>;

    /// What was kept last.
    async fn recall(&self, country: CountryCode) -> Result<Option<(Channel, Artifact)>, RegistryError>;
}
