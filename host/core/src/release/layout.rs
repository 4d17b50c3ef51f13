//! Layout of a registry (decision D18 of the architecture): the same names and the same content, in a folder as in
//! S3. Reads and writes nothing.

use crate::model::appointment::CountryCode;
use crate::model::limits::MAX_COMPONENT_BYTES;
use crate::ports::registry::{Artifact, Channel, Manifest, RegistryError, written};
use semver::Version;
use serde::de::DeserializeOwned;

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

/// Maximum size of `channel.json`, in bytes. It remembers fifty changes, of which the command makes none larger than 5 KB.
const MAX_CHANNEL_BYTES: u64 = 1 << 20;

/// Maximum size of `manifest.json`, in bytes. One has about 500.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Maximum size of `manifest.json.minisig`, in bytes: minisign's own limit of a comment is 8 KB, and there are two.
const MAX_SIGNATURE_BYTES: u64 = 32 << 10;

/// Maximum size of `cases.json`, in bytes. Chile's 101 cases have 65 KB. Parsed JSON takes many times the memory of its
/// text, so this is not more.
const MAX_CASES_BYTES: u64 = 4 << 20;

/// Maximum size of native code, in bytes: eight times that of a component.
const MAX_NATIVE_BYTES: u64 = 8 * MAX_COMPONENT_BYTES;

/// Maximum number of entries of a folder, or of objects below a key, that are listed: 10,000 versions in a bucket, of up to
/// five objects each.
pub const MAX_LISTED: usize = 50_000;

/// Maximum length of a version in a channel or a manifest, in bytes. It is in paths, log lines and answers.
const MAX_VERSION_BYTES: usize = 128;

/// Maximum length of a cause, in bytes: parsers repeat what they do not understand.
const MAX_CAUSE_BYTES: usize = 500;

/// Maximum size of the file under a key, in bytes.
#[must_use]
pub fn max_bytes(key: &str) -> u64 {
    match key.rsplit('/').next().unwrap_or(key) {
        CHANNEL => MAX_CHANNEL_BYTES,
        MANIFEST => MAX_MANIFEST_BYTES,
        SIGNATURE => MAX_SIGNATURE_BYTES,
        CASES => MAX_CASES_BYTES,
        COMPONENT => MAX_COMPONENT_BYTES,
        _ => MAX_NATIVE_BYTES,
    }
}

/// Which version of a country is in use.
#[must_use]
pub fn channel(country: CountryCode) -> String {
    format!("{country}/{CHANNEL}")
}

/// Where a country's versions lie.
#[must_use]
pub fn versions(country: CountryCode) -> String {
    format!("{country}/versions")
}

/// Where a version's files lie.
#[must_use]
pub fn version(country: CountryCode, version: &Version) -> String {
    format!("{}/{version}", versions(country))
}

/// One of a version's files.
#[must_use]
pub fn file(country: CountryCode, of: &Version, name: &str) -> String {
    format!("{}/{name}", version(country, of))
}

/// Where native code lies.
pub const NATIVE: &str = "native/";

/// What a component was compiled to, for one engine.
#[must_use]
pub fn native(engine: &str, component: &str) -> String {
    format!("{NATIVE}{engine}/{component}.cwasm")
}

/// Why a version was refused when it was to be compiled for one engine.
#[must_use]
pub fn refused(engine: &str, of: &Manifest) -> String {
    let Manifest { country, version, .. } = of;
    format!("{NATIVE}{engine}/{country}-{version}-{}.refused", of.package_digest())
}

/// A version's manifest.
///
/// # Errors
/// When it is about another version.
pub fn manifest(country: CountryCode, of: &Version, bytes: &[u8]) -> Result<Manifest, RegistryError> {
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

/// Checks that a version can be read again once it is written.
///
/// # Errors
/// When a file of it is larger than its kind may be, or its version is too long.
pub fn check(artifact: &Artifact) -> Result<(), RegistryError> {
    let Manifest { country, ref version, .. } = artifact.manifest;
    let key = |name| file(country, version, name);
    check_version(&key(MANIFEST), version)?;
    check_size(&key(MANIFEST), &artifact.manifest.bytes())?;
    check_size(&key(COMPONENT), &artifact.component)?;
    check_size(&key(CASES), artifact.cases.as_bytes())?;
    check_size(&key(SIGNATURE), artifact.signature.as_deref().unwrap_or_default().as_bytes())
}

/// Checks that a file under this key can be read again once it is written.
///
/// # Errors
/// When it is larger than its kind may be.
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

/// The bytes of a `channel.json`.
///
/// # Errors
/// When they are more than are read again.
pub fn channel_bytes(country: CountryCode, new: &Channel) -> Result<Vec<u8>, RegistryError> {
    let bytes = written(new);
    check_size(&channel(country), &bytes)?;
    Ok(bytes)
}

/// Parses a `channel.json`.
///
/// # Errors
/// When it is not one.
pub fn parse_channel(key: &str, bytes: &[u8]) -> Result<Channel, RegistryError> {
    let channel: Channel = parse(key, bytes)?;
    let candidate = channel.candidate.as_ref().map(|candidate| &candidate.version);
    let versions = [Some(&channel.current), channel.previous.as_ref(), candidate];
    versions.into_iter().flatten().try_for_each(|version| check_version(key, version))?;
    Ok(channel)
}

/// As it was written.
fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(key, &error))
}

/// What lies under `key` is of no use.
#[must_use]
pub fn unreadable(key: &str, cause: &dyn std::error::Error) -> RegistryError {
    let mut cause = cause.to_string();
    if cause.len() > MAX_CAUSE_BYTES {
        cause.truncate(cause.floor_char_boundary(MAX_CAUSE_BYTES));
        cause.push('…');
    }
    RegistryError::Unreadable { key: key.to_owned(), cause }
}

/// Nothing lies under `key`, and something has to.
#[must_use]
pub fn missing(key: &str) -> RegistryError {
    RegistryError::Unreadable { key: key.to_owned(), cause: "it is not there".into() }
}
