//! The port to native code that was compiled elsewhere.

use async_trait::async_trait;

use crate::model::manifest::Manifest;
use crate::ports::registry::RegistryError;

/// Keeps native code beside the registry, under `native/<engine>/<digest>.cwasm`, where only Citas itself may write, and
/// beside it why a version was refused (`<country>-<version>-<package's digest>.refused`). A refusal is of one country's
/// version and package: another country may publish the same component, and is refused for reasons of its own.
///
/// An adapter MUST give back the very bytes that were put, or nothing: they are run as they are.
#[async_trait]
pub trait NativeCodeStore: Send + Sync {
    /// What `engine` made of the component of that digest, if it has.
    async fn native(&self, engine: &str, digest: &str) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Keeps it.
    async fn put_native(&self, engine: &str, digest: &str, code: &[u8]) -> Result<(), RegistryError>;

    /// Why a version was refused when it was to be compiled for `engine`, if it was.
    async fn refused(&self, engine: &str, version: &Manifest) -> Result<Option<String>, RegistryError>;

    /// Keeps why it was refused.
    async fn put_refused(&self, engine: &str, version: &Manifest, why: &str) -> Result<(), RegistryError>;
}
