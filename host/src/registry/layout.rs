//! What lies where in a registry, by the architecture's decision 8: the same names and the same content, in a folder as in
//! S3. Reads and writes nothing.

use citas_core::appointment::CountryCode;
use citas_core::registry::{Artifact, Manifest, RegistryError};
use semver::Version;
use serde::de::DeserializeOwned;

pub(super) const CHANNEL: &str = "channel.json";
pub(super) const COMPONENT: &str = "rules.wasm";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const CASES: &str = "cases.json";
pub(super) const SIGNATURE: &str = "manifest.json.minisig";

/// Which version of a country is in use.
pub(super) fn channel(country: CountryCode) -> String {
    format!("{country}/{CHANNEL}")
}

/// Where a country's versions lie.
pub(super) fn versions(country: CountryCode) -> String {
    format!("{country}/versions")
}

/// Where a version's files lie.
pub(super) fn version(country: CountryCode, version: &Version) -> String {
    format!("{}/{version}", versions(country))
}

/// One of a version's files.
pub(super) fn file(country: CountryCode, of: &Version, name: &str) -> String {
    format!("{}/{name}", version(country, of))
}

/// Where native code lies.
#[cfg(feature = "aws")]
pub(super) const NATIVE: &str = "native/";

/// What a component was compiled to, for one engine.
#[cfg(feature = "aws")]
pub(super) fn native(engine: &str, component: &str) -> String {
    format!("{NATIVE}{engine}/{}", native_name(component))
}

/// Why a component was refused when it was to be compiled for one engine.
#[cfg(feature = "aws")]
pub(super) fn refused(engine: &str, component: &str) -> String {
    format!("{NATIVE}{engine}/{}", refused_name(component))
}

/// The same, whichever the engine.
#[cfg(feature = "aws")]
pub(super) fn refused_name(component: &str) -> String {
    format!("{component}.refused")
}

/// The name of native code, whichever the engine.
#[cfg(feature = "aws")]
pub(super) fn native_name(component: &str) -> String {
    format!("{component}.cwasm")
}

/// A version's manifest.
///
/// # Errors
/// When it is about another version.
pub(super) fn manifest(country: CountryCode, of: &Version, bytes: &[u8]) -> Result<Manifest, RegistryError> {
    let key = file(country, of, MANIFEST);
    let manifest: Manifest = parse(&key, bytes)?;
    if (manifest.country, &manifest.version) == (country, of) {
        return Ok(manifest);
    }
    let cause = format!("it is about version {} of {}", manifest.version, manifest.country);
    Err(RegistryError::Unreadable { key, cause })
}

/// A version's files, made one.
///
/// # Errors
/// When one of them is not what it has to be.
pub(super) fn artifact(
    country: CountryCode,
    of: &Version,
    bytes: &[u8],
    component: Vec<u8>,
    cases: Vec<u8>,
    signature: Option<Vec<u8>>,
) -> Result<Artifact, RegistryError> {
    let manifest = manifest(country, of, bytes)?;
    let text = |name, bytes| String::from_utf8(bytes).map_err(|error| unreadable(&file(country, of, name), &error));
    let signature = signature.map(|signature| text(SIGNATURE, signature)).transpose()?;
    Ok(Artifact { manifest, component, cases: text(CASES, cases)?, signature })
}

/// As it was written.
pub(super) fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(key, &error))
}

/// What lies under `key` is of no use.
pub(super) fn unreadable(key: &str, cause: &dyn std::error::Error) -> RegistryError {
    RegistryError::Unreadable { key: key.to_owned(), cause: cause.to_string() }
}
