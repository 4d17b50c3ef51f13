//! A published version: its manifest, its files, and the digests that identify them.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::model::appointment::CountryCode;
use crate::model::limits::Limits;

/// Returns the SHA-256 digest of `bytes`: `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// Serializes a value as a registry stores it: indented JSON and a line end.
pub fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("strings, numbers and null");
    bytes.push(b'\n');
    bytes
}

/// The description of a published version, stored beside its component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Country of the rules.
    pub country: CountryCode,
    /// Version, which equals the version in the descriptor.
    pub version: Version,
    /// Digest of the component's bytes; see [`digest`].
    pub digest: String,
    /// Digest of `cases.json`.
    pub cases_digest: String,
    /// Version of the contract for which the component was published.
    pub contract: String,
    /// Revision of the sources, if known.
    pub source: Option<String>,
    /// Time of publication.
    pub published_at: Timestamp,
    /// Limits of the component that differ from the standard.
    #[serde(default, skip_serializing_if = "Limits::are_standard")]
    pub limits: Limits,
}

impl Manifest {
    /// Returns the bytes of `manifest.json`, which the signature covers. They contain the digests of the component and
    /// the cases, so the signature covers both.
    pub fn bytes(&self) -> Vec<u8> {
        written(self)
    }

    /// Returns the digest of the package that the manifest describes: component, golden cases and limits.
    pub fn package_digest(&self) -> String {
        package_digest(&self.digest, &self.cases_digest, &self.limits)
    }
}

/// One published version. It never changes after it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Content of `manifest.json`.
    pub manifest: Manifest,
    /// Content of `rules.wasm`.
    pub component: Vec<u8>,
    /// Content of `cases.json`: an array of golden cases.
    pub cases: String,
    /// Content of `manifest.json.minisig`: a minisign signature of [`Manifest::bytes`]; `None` if the version is not
    /// signed.
    pub signature: Option<String>,
}

/// A component, its limits and its golden cases. They are judged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesPackage {
    /// The portable component.
    pub component: Vec<u8>,
    /// Limits that the component declares.
    pub limits: Limits,
    /// Content of `cases.json`: an array of golden cases.
    pub cases: String,
}

impl RulesPackage {
    /// Returns the digest of everything that the judgement depends on. A package with this digest is judged once.
    pub fn digest(&self) -> String {
        let Self { component, limits, cases } = self;
        package_digest(&digest(component), &digest(cases.as_bytes()), limits)
    }
}

impl From<Artifact> for RulesPackage {
    fn from(Artifact { component, manifest, cases, .. }: Artifact) -> Self {
        Self { component, limits: manifest.limits, cases }
    }
}

/// Returns the digest of a package whose parts have these digests.
fn package_digest(component: &str, cases: &str, limits: &Limits) -> String {
    let parts = json!({ "component": component, "cases": cases, "limits": limits });
    digest(parts.to_string().as_bytes())
}
