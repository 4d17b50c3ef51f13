//! Judges a published version and keeps its native code for hosts that compile nothing themselves: what they find under
//! `native/` has passed everything that a host which compiles would ask of it.

use semver::Version;

use crate::appointment::CountryCode;
use crate::follow::{verify, whole};
use crate::registry::{Natives, Registry, RegistryError};
use crate::rules::{Engine, Refusal};
use crate::swap::{admit, promised};
use crate::time::Clock;
use crate::trust::Trust;

/// Turns a component into native code.
pub trait Compiler: Engine {
    /// Native code that this engine, and every engine of the same name, can load.
    ///
    /// # Errors
    /// Why the component will not do.
    fn compile(&self, component: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// Why there is no native code of a version.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// It will not do.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may later.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Fetches, checks (who signed it, too, where that counts), loads, tries and compiles a version, and keeps what came of it.
///
/// # Errors
/// See [`NotCompiled`].
pub async fn precompile(
    registry: &dyn Registry,
    natives: &dyn Natives,
    compiler: &dyn Compiler,
    clock: &dyn Clock,
    trust: Option<&Trust>,
    (country, version): (CountryCode, &Version),
) -> Result<(), NotCompiled> {
    let artifact = registry.fetch(country, version).await?;
    whole(&artifact)?;
    verify(&artifact, country, version, trust)?;
    let rules = admit(compiler, &artifact.component, &artifact.manifest.limits, &artifact.cases, 1, clock.now())?;
    promised("country", rules.country.as_str(), country.as_str())?;
    promised("version", &rules.id.version, &version.to_string())?;
    let code = compiler.compile(&artifact.component)?;
    natives.put_native(compiler.name(), &rules.id.digest, &code).await?;
    tracing::info!(%country, %version, digest = rules.id.digest, bytes = code.len(), "compiled");
    Ok(())
}
