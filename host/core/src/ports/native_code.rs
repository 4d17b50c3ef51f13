//! Port to native code that was compiled elsewhere.

use async_trait::async_trait;

use crate::model::Manifest;
use crate::ports::registry::RegistryError;

/// Stores native code beside the registry, under `native/<engine>/<digest>.cwasm`, where only Citas itself may write.
/// Also stores the reasons of refusals there (`<country>-<version>-<package's digest>.refused`). A refusal applies to
/// one country's version and package: another country may publish the same component, and is refused for reasons of its
/// own.
///
/// An adapter MUST return exactly the bytes that were stored, or nothing: the host runs them as they are.
#[async_trait]
pub trait NativeCodeStore: Send + Sync {
    /// Returns the code that `engine` made of the component with this digest, if it is stored.
    async fn native(&self, engine: &str, digest: &str) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Stores the code that `engine` made of the component with this digest.
    async fn put_native(&self, engine: &str, digest: &str, code: &[u8]) -> Result<(), RegistryError>;

    /// Adds an engine to those that hosts run. While a host is deployed with another engine, these are two, and a version
    /// is ready once both can load it.
    async fn add_engine(&self, engine: &str) -> Result<(), RegistryError>;

    /// Returns the reason for which a version was refused instead of compiled for `engine`, if it was.
    async fn refused(&self, engine: &str, version: &Manifest) -> Result<Option<String>, RegistryError>;

    /// Stores the reason for which a version was refused.
    async fn put_refused(&self, engine: &str, version: &Manifest, why: &str) -> Result<(), RegistryError>;
}
