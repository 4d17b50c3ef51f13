//! Defines the names and the maximum sizes of a registry's files (decision D18 of the architecture). Names and content
//! are the same in a folder and in S3. Reads and writes nothing.

use crate::model::{Artifact, Channel, CountryCode, MAX_COMPONENT_BYTES, Manifest, written};
use crate::ports::RegistryError;
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// File name of a country's channel.
pub const CHANNEL: &str = "channel.json";
/// File name of a version's component.
pub const COMPONENT: &str = "rules.wasm";
/// File name of a version's manifest.
pub const MANIFEST: &str = "manifest.json";
/// File name of a version's golden cases.
pub const CASES: &str = "cases.json";
/// File name of the signature over a manifest.
pub const SIGNATURE: &str = "manifest.json.minisig";

/// Maximum size of `channel.json`, in bytes. A channel keeps fifty changes, and the command writes no change larger
/// than 5 KB.
const MAX_CHANNEL_BYTES: u64 = 1 << 20;

/// Maximum size of `manifest.json`, in bytes. A usual manifest has about 500.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Maximum size of `manifest.json.minisig`, in bytes. The file has two comments, and minisign limits each to 8 KB.
const MAX_SIGNATURE_BYTES: u64 = 32 << 10;

/// Maximum size of `cases.json`, in bytes. Chile's 101 cases have 65 KB. The limit is not higher because parsed JSON
/// takes many times the memory of its text.
const MAX_CASES_BYTES: u64 = 4 << 20;

/// Maximum size of `engines.json`, in bytes. An engine's name has about 100.
const MAX_ENGINES_BYTES: u64 = 4 << 10;

/// Maximum size of native code, in bytes: eight times that of a component.
const MAX_NATIVE_BYTES: u64 = 8 * MAX_COMPONENT_BYTES;

/// Maximum number of listed entries of a folder, or of objects below a key: 10,000 versions in a bucket, of up to five
/// objects each.
pub const MAX_LISTED: usize = 50_000;

/// Maximum length of a version in a channel or a manifest, in bytes. Versions occur in paths, log lines and responses.
const MAX_VERSION_BYTES: usize = 128;

/// Maximum length of a cause, in bytes. Parsers repeat input that they do not understand.
const MAX_CAUSE_BYTES: usize = 500;

/// Returns the maximum size of the file under a key, in bytes.
pub fn max_bytes(key: &str) -> u64 {
    match key.rsplit('/').next().unwrap_or(key) {
        CHANNEL => MAX_CHANNEL_BYTES,
        MANIFEST => MAX_MANIFEST_BYTES,
        SIGNATURE => MAX_SIGNATURE_BYTES,
        CASES => MAX_CASES_BYTES,
        COMPONENT => MAX_COMPONENT_BYTES,
        ENGINES_FILE => MAX_ENGINES_BYTES,
        _ => MAX_NATIVE_BYTES,
    }
}

/// Returns the key of a country's channel.
pub fn channel(country: CountryCode) -> String {
    format!("{country}/{CHANNEL}")
}

/// Returns the key of the folder of a country's versions.
pub fn versions(country: CountryCode) -> String {
    format!("{country}/versions")
}

/// Returns the key of the folder of a version's files.
pub fn version(country: CountryCode, version: &Version) -> String {
    format!("{}/{version}", versions(country))
}

/// Returns the key of one of a version's files.
pub fn file(country: CountryCode, of: &Version, name: &str) -> String {
    format!("{}/{name}", version(country, of))
}

/// Prefix of the keys of native code.
pub const NATIVE: &str = "native/";

const ENGINES_FILE: &str = "engines.json";

/// Returns the key of the names of the engines that hosts run.
pub fn engines() -> String {
    format!("{NATIVE}{ENGINES_FILE}")
}

/// Names of the engines that hosts run. None if hosts compile for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    /// Engines that must be able to load a version before it comes into use.
    pub engines: BTreeSet<String>,
}

/// Parses an `engines.json`.
///
/// # Errors
/// Returns an error if it cannot be parsed.
pub fn parse_engines(bytes: &[u8]) -> Result<Engines, RegistryError> {
    parse(&engines(), bytes)
}

/// Returns the key of a component's native code for one engine.
pub fn native(engine: &str, component: &str) -> String {
    format!("{NATIVE}{engine}/{component}.cwasm")
}

/// Returns the key of the reason why a version was refused when it was compiled for one engine.
pub fn refused(engine: &str, of: &Manifest) -> String {
    let Manifest { country, version, .. } = of;
    format!("{NATIVE}{engine}/{country}-{version}-{}.refused", of.package_digest())
}

/// Parses a version's manifest.
///
/// # Errors
/// Returns an error if it cannot be parsed or is about another version.
pub fn manifest(country: CountryCode, of: &Version, bytes: &[u8]) -> Result<Manifest, RegistryError> {
    let key = file(country, of, MANIFEST);
    let manifest: Manifest = parse(&key, bytes)?;
    if (manifest.country, &manifest.version) == (country, of) {
        return Ok(manifest);
    }
    let cause = format!("it is about version {} of {}", manifest.version, manifest.country);
    Err(RegistryError::Unreadable { key, cause })
}

/// Assembles a version from its files.
///
/// # Errors
/// Returns an error if the manifest is invalid or about another version, or if a text is not UTF-8.
pub fn artifact(
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

/// Checks that a version can be read again after it is written.
///
/// # Errors
/// Returns an error if one of its files exceeds the maximum size, or if its version is too long.
pub fn check(artifact: &Artifact) -> Result<(), RegistryError> {
    let Manifest { country, ref version, .. } = artifact.manifest;
    let key = |name| file(country, version, name);
    check_version(&key(MANIFEST), version)?;
    check_size(&key(MANIFEST), &artifact.manifest.bytes())?;
    check_size(&key(COMPONENT), &artifact.component)?;
    check_size(&key(CASES), artifact.cases.as_bytes())?;
    check_size(&key(SIGNATURE), artifact.signature.as_deref().unwrap_or_default().as_bytes())
}

/// Checks that a file under this key can be read again after it is written.
///
/// # Errors
/// Returns an error if the content exceeds the maximum size of such a file.
pub fn check_size(key: &str, content: &[u8]) -> Result<(), RegistryError> {
    let limit = max_bytes(key);
    if u64::try_from(content.len()).is_ok_and(|length| length <= limit) {
        return Ok(());
    }
    Err(RegistryError::TooLarge { key: key.to_owned(), limit })
}

fn check_version(key: &str, version: &Version) -> Result<(), RegistryError> {
    let length = version.to_string().len();
    if length <= MAX_VERSION_BYTES {
        return Ok(());
    }
    let cause = format!("its version has {length} bytes; a version has at most {MAX_VERSION_BYTES}");
    Err(RegistryError::Unreadable { key: key.to_owned(), cause })
}

/// Returns the bytes of a `channel.json`.
///
/// # Errors
/// Returns an error if they exceed the maximum size of such a file.
pub fn channel_bytes(country: CountryCode, new: &Channel) -> Result<Vec<u8>, RegistryError> {
    let bytes = written(new);
    check_size(&channel(country), &bytes)?;
    Ok(bytes)
}

/// Parses a `channel.json`.
///
/// # Errors
/// Returns an error if it cannot be parsed, or if one of its versions is too long.
pub fn parse_channel(key: &str, bytes: &[u8]) -> Result<Channel, RegistryError> {
    let channel: Channel = parse(key, bytes)?;
    let candidate = channel.candidate.as_ref().map(|candidate| &candidate.version);
    let versions = [Some(&channel.current), channel.previous.as_ref(), candidate];
    versions.into_iter().flatten().try_for_each(|version| check_version(key, version))?;
    Ok(channel)
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(key, &error))
}

/// Returns the error of an unusable file under `key`. A long cause is cut.
pub fn unreadable(key: &str, cause: &dyn std::error::Error) -> RegistryError {
    let mut cause = cause.to_string();
    if cause.len() > MAX_CAUSE_BYTES {
        cause.truncate(cause.floor_char_boundary(MAX_CAUSE_BYTES));
        cause.push('…');
    }
    RegistryError::Unreadable { key: key.to_owned(), cause }
}

/// Returns the error of a missing file under `key`.
pub fn missing(key: &str) -> RegistryError {
    RegistryError::Unreadable { key: key.to_owned(), cause: "it is not there".into() }
}
