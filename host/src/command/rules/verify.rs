//! `citas rules verify`: verifies published versions as a host would, before one of them is to be in use. Changes nothing.

use std::error::Error;
use std::path::PathBuf;

use citas_core::model::{CountryCode, RulesPackage};
use citas_core::ports::Registry;
use citas_core::release::{Trust, check_digests, check_identity, check_origin};
use citas_core::rules::cases;
use clap::Args;
use semver::Version;
use serde_json::{Value, json};

use super::{Answer, InRegistry, Outcome, chain, judge};
use crate::command::terminal::{BAD, GOOD, styled};
use crate::wiring;

/// Names the keys that may sign.
#[derive(Args)]
pub struct TrustFile {
    /// File with the keys that may sign each country's rules, as the host has it: a version without a trusted signature
    /// is refused [default: signatures are not checked]
    #[arg(long, env = "CITAS_TRUST", value_name = "FILE")]
    trust: Option<PathBuf>,
}

impl TrustFile {
    fn read(&self) -> Result<Option<Trust>, String> {
        self.trust.as_deref().map(wiring::trusted).transpose()
    }
}

/// Findings about a version that is what was published.
struct Verified {
    signature: &'static str,
    cases: usize,
}

pub(super) async fn verify(
    country: CountryCode,
    version: Option<Version>,
    trust: &TrustFile,
    registry: &InRegistry,
) -> Outcome {
    let (published, trust) = (registry.open().await?, trust.read()?);
    let versions = match version {
        Some(version) => vec![version],
        None => published.versions(country).await?,
    };
    if versions.is_empty() {
        return Err(format!("no version of {country} is published in this registry").into());
    }
    let (mut lines, mut values, mut answer) = (Vec::new(), Vec::new(), Answer::Done);
    for version in versions {
        let (line, value) = match verified(&*published, country, &version, trust.as_ref()).await {
            Ok(found) => found.report(country, &version),
            Err(cause) => {
                answer = Answer::No;
                let why = chain(cause.as_ref());
                let line = format!("{country} {version}  {}: {why}", styled(BAD, "no"));
                (line, json!({ "country": country, "version": version, "good": false, "why": why }))
            }
        };
        lines.push(line);
        values.push(value);
    }
    registry.report.say(&lines.join("\n"), &values.into());
    Ok(answer)
}

/// Verifies a version that is to be in use or on trial, if there is a trust file.
pub(super) async fn require_verified(
    published: &dyn Registry,
    country: CountryCode,
    version: &Version,
    trust: &TrustFile,
) -> Result<(), Box<dyn Error>> {
    let Some(trust) = trust.read()? else { return Ok(()) };
    match verified(published, country, version, Some(&trust)).await {
        Ok(_) => Ok(()),
        Err(cause) => {
            Err(format!("{country} {version} is refused: {}. Nothing is changed", chain(cause.as_ref())).into())
        }
    }
}

/// Checks the files against the manifest, the signature, the golden cases, and that the rules describe themselves as this
/// version of this country.
async fn verified(
    published: &dyn Registry,
    country: CountryCode,
    version: &Version,
    trust: Option<&Trust>,
) -> Result<Verified, Box<dyn Error>> {
    let artifact = published.fetch(country, version).await?;
    check_digests(&artifact)?;
    check_origin(&artifact, country, version, trust)?;
    let signature = match (&artifact.signature, trust) {
        (_, Some(_)) => "trusted",
        (Some(_), None) => "unchecked",
        (None, None) => "none",
    };
    let package = RulesPackage::from(artifact);
    let (rules, _) = judge(&package).await?;
    check_identity(&rules, country, Some(version))?;
    Ok(Verified { signature, cases: cases::read(&package.cases)?.len() })
}

impl Verified {
    fn report(&self, country: CountryCode, version: &Version) -> (String, Value) {
        let Self { signature, cases } = self;
        let signed = match *signature {
            "trusted" => "signed with a trusted key",
            "unchecked" => "signed, which is checked with --trust",
            _ => "not signed",
        };
        let good = styled(GOOD, "good");
        let line = format!("{country} {version}  {good}: its files are whole, {signed}, {cases} golden cases pass");
        let value = json!({
            "country": country, "version": version, "good": true, "signature": signature, "cases": cases,
        });
        (line, value)
    }
}
