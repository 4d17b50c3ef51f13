//! A published version: its manifest, its files, and the digests that identify them.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::model::appointment::CountryCode;
use crate::model::limits::Limits;

/// `sha256:` and the digest of `bytes` in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// A registry's JSON as it is written.
#[must_use]
pub fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("strings, numbers and null");
    bytes.push(b'\n');
    bytes
}

/// What is said of a published component beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Whose rules.
    pub country: CountryCode,
    /// As `describe` has it.
    pub version: Version,
    /// Of the component's bytes: [`digest`].
    pub digest: String,
    /// Of `cases.json`.
    pub cases_digest: String,
    /// Version of the contract that it was published for.
    pub contract: String,
    /// Revision of the sources, where known.
    pub source: Option<String>,
    /// When it was published.
    pub published_at: Timestamp,
    /// What its component may use, where that is not the standard.
    #[serde(default, skip_serializing_if = "Limits::are_standard")]
    pub limits: Limits,
}

impl Manifest {
    /// The bytes of `manifest.json`, which are what is signed: by their digests they stand for component and cases too.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        written(self)
    }

    /// Returns the digest of the package that it describes: component, golden cases and limits.
    #[must_use]
    pub fn package_digest(&self) -> String {
        package_digest(&self.digest, &self.cases_digest, &self.limits)
    }
}

/// One published version. It never changes once it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// `manifest.json`
    pub manifest: Manifest,
    /// `rules.wasm`
    pub component: Vec<u8>,
    /// `cases.json`: an array of golden cases.
    pub cases: String,
    /// `manifest.json.minisig`: a minisign signature of [`Manifest::bytes`]; none where nobody signed it.
    pub signature: Option<String>,
}

/// A component, its limits and its golden cases: what is judged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesPackage {
    /// The portable component.
    pub component: Vec<u8>,
    /// The limits that it declares.
    pub limits: Limits,
    /// `cases.json`: an array of golden cases.
    pub cases: String,
}

impl RulesPackage {
    /// Returns the digest of everything that the judgement depends on. A package with this digest is judged once.
    #[must_use]
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
