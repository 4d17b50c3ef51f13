//! Asks for the judgement of published versions, and stores their native code for hosts that do not compile. Code under
//! `native/` has passed every check that a compiling host would make.

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;

use crate::model::{CountryCode, RulesPackage};
use crate::ports::{Clock, NativeCodeStore, Refusal, Registry, RegistryError};
use crate::release::admission::NotAdmitted;
use crate::release::trust::Trust;
use crate::release::verify::{check_digests, check_name, check_origin};

/// A package that was judged and accepted.
pub struct Judged {
    /// Country in the package's descriptor.
    pub country: String,
    /// Version in the package's descriptor.
    pub version: String,
    /// Native code of the package's component.
    pub code: Vec<u8>,
}

/// Judges packages and compiles them for other hosts.
///
/// An adapter MUST judge in a place where a component that takes too much memory or time, or crashes the compiler,
/// hurts nothing else.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Returns the name of the engine. Every engine of that name can load the code.
    fn engine_name(&self) -> &str;

    /// Judges a package and compiles it.
    async fn judge(&self, package: RulesPackage, now: Timestamp) -> Result<Judged, NotAdmitted>;
}

/// Reasons why a version has no native code.
#[derive(Debug, thiserror::Error)]
pub enum NotCompiled {
    /// The version is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The version could not be judged. A later attempt may succeed.
    #[error("it could not be judged: {0}")]
    Unjudged(String),
    /// The registry could not be read or written. A later attempt may succeed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Fetches and verifies a version, has it judged, and stores its native code. The refusal of a judged version is
/// recorded, so that it is not judged again. The engine counts as one that hosts run.
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
    natives.add_engine(judge.engine_name()).await?;
    let artifact = registry.fetch(country, version).await?;
    check_digests(&artifact)?;
    check_origin(&artifact, country, version, trust)?;
    let (engine, manifest) = (judge.engine_name(), artifact.manifest.clone());
    let digest = &manifest.digest;
    if let Some(why) = natives.refused(engine, &manifest).await? {
        return Err(Refusal::Reported { why, failed: Vec::new() }.into());
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

/// Judges a version and checks that its descriptor has the published country and version. Returns its native code.
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
