//! Has a published version judged and keeps its native code for hosts that compile nothing themselves: what they find under
//! `native/` has passed everything that a host which compiles would ask of it.

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;

use crate::model::appointment::CountryCode;
use crate::model::manifest::RulesPackage;
use crate::ports::clock::Clock;
use crate::ports::native_code::NativeCodeStore;
use crate::ports::registry::{Registry, RegistryError};
use crate::ports::rules::Refusal;
use crate::release::admission::NotAdmitted;
use crate::release::trust::Trust;
use crate::release::verify::{check_digests, check_name, check_origin};

/// A package that was judged and accepted.
pub struct Judged {
    /// The country that its descriptor names.
    pub country: String,
    /// The version that its descriptor names.
    pub version: String,
    /// Its native code.
    pub code: Vec<u8>,
}

/// Judges packages and compiles them for other hosts.
///
/// An adapter MUST judge where a component that takes too much memory or time, or crashes the compiler, hurts nothing else.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Names the engine that loads the code, and every engine of that name can.
    fn engine_name(&self) -> &str;

    /// Judges a package and compiles it.
    async fn judge(&self, package: RulesPackage, now: Timestamp) -> Result<Judged, NotAdmitted>;
}

/// Why there is no native code of a version.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// It will not do.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was not judged, and may be later.
    #[error("it could not be judged: {0}")]
    Unjudged(String),
    /// The registry could not be read or written, and may be later.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Fetches and verifies a version, has it judged, and keeps its native code. A version that is judged and refused is
/// recorded as that, and not judged again.
///
/// # Errors
/// See [`NotCompiled`].
pub async fn precompile(
    registry: &dyn Registry,
    natives: &dyn NativeCodeStore,
    judge: &dyn Judge,
    clock: &dyn Clock,
    trust: Option<&Trust>,
    (country, version): (CountryCode, &Version),
) -> Result<(), NotCompiled> {
    let artifact = registry.fetch(country, version).await?;
    check_digests(&artifact)?;
    check_origin(&artifact, country, version, trust)?;
    let (engine, manifest) = (judge.engine_name(), artifact.manifest.clone());
    let digest = &manifest.digest;
    if let Some(why) = natives.refused(engine, &manifest).await? {
        return Err(Refusal::Reported(why).into());
    }
    match judge_version(judge, artifact.into(), clock.now(), (country, version)).await {
        Ok(code) => {
            natives.put_native(engine, digest, &code).await?;
            tracing::info!(%country, %version, digest, bytes = code.len(), "compiled");
            Ok(())
        }
        Err(NotAdmitted::Refused(refusal)) => {
            natives.put_refused(engine, &manifest, &refusal.to_string()).await?;
            Err(refusal.into())
        }
        Err(NotAdmitted::Unjudged(why)) => Err(NotCompiled::Unjudged(why)),
    }
}

/// Judges a version and checks that it is what it was published as. Returns its native code.
async fn judge_version(
    judge: &dyn Judge,
    package: RulesPackage,
    now: Timestamp,
    (country, version): (CountryCode, &Version),
) -> Result<Vec<u8>, NotAdmitted> {
    let judged = judge.judge(package, now).await?;
    check_name("country", &judged.country, country.as_str())?;
    check_name("version", &judged.version, &version.to_string())?;
    Ok(judged.code)
}
