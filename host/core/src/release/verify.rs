//! Verifies a version: its files are complete, a trusted key has signed it, and it is of the expected country and
//! version.

use semver::Version;

use crate::model::{Artifact, CountryCode, Manifest, digest};
use crate::ports::{Refusal, RegistryError};
use crate::release::trust::Trust;
use crate::rules::LoadedRules;

/// Checks that the files have the digests of their manifest. Files with other digests may still be incomplete, or be
/// repaired later. The error is therefore not a refusal, and the files are read again.
///
/// # Errors
/// Returns an error that names the file.
pub fn check_digests(artifact: &Artifact) -> Result<(), RegistryError> {
    let Manifest { country, version, digest: component, cases_digest: cases, .. } = &artifact.manifest;
    let files = [("rules.wasm", component, &artifact.component[..]), ("cases.json", cases, artifact.cases.as_bytes())];
    for (name, promised, bytes) in files {
        let found = digest(bytes);
        if found != *promised {
            let key = format!("{country}/versions/{version}/{name}");
            let cause = format!(
                "the digest is {found} where the manifest says {promised}: it is damaged, altered or half copied"
            );
            return Err(RegistryError::Unreadable { key, cause });
        }
    }
    Ok(())
}

/// Checks that an artifact is of this country and version, and that it is signed with a key that is trusted for the
/// country.
///
/// # Errors
/// Returns the reason of the refusal.
pub fn check_origin(
    artifact: &Artifact,
    country: CountryCode,
    version: &Version,
    trust: Option<&Trust>,
) -> Result<(), Refusal> {
    let manifest = &artifact.manifest;
    check_name("country", country.as_str(), manifest.country.as_str())?;
    check_name("version", &version.to_string(), &manifest.version.to_string())?;
    trust.map_or(Ok(()), |trust| trust.check(artifact))
}

/// Checks that the descriptor's country, and its version where one is given, are the ones that were published.
///
/// # Errors
/// Returns the reason of the refusal.
pub fn check_identity(rules: &LoadedRules, country: CountryCode, version: Option<&Version>) -> Result<(), Refusal> {
    check_name("country", rules.country.as_str(), country.as_str())?;
    version.map_or(Ok(()), |version| check_name("version", &rules.id.version, &version.to_string()))
}

/// Checks that a name in a file is the published one.
pub(crate) fn check_name(what: &'static str, found: &str, promised: &str) -> Result<(), Refusal> {
    if found == promised {
        return Ok(());
    }
    Err(Refusal::NotAsPromised { what, found: found.into(), promised: promised.into() })
}
