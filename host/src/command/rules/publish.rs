//! `citas rules publish`: writes a version to the registry.

use citas_core::model::{Artifact, CountryCode, Manifest, RulesPackage, digest};
use citas_core::ports::{Clock as _, Registry, RegistryError};
use citas_core::rules::cases;
use semver::Version;
use serde_json::json;

use super::compared::{highest_in_line, refuse_too_low};
use super::keygen::sign;
use super::{Answer, InRegistry, Outcome, PublishOptions, Source, judge};
use crate::system::SystemClock;

/// Error for a version without golden cases. Hosts run them before they put a version into force, and know nothing else
/// of it.
pub(super) const NO_CASES: &str = "there is no golden case, so no host could tell whether this version answers as its team means it \
                        to; write at least one into the country's cases/, or name a folder that has some with --cases";

/// State of a version's number in a registry.
pub(super) enum Published {
    /// The number is free.
    No,
    /// The version is published, with the same content.
    Same,
    /// The version is published with other content, in these words.
    Differing(String),
}

impl Published {
    /// Compares a package with the published version of the same number. A package without golden cases differs in none.
    pub(super) async fn of(
        published: &dyn Registry,
        country: CountryCode,
        version: &Version,
        package: &RulesPackage,
    ) -> Result<Self, RegistryError> {
        if !published.versions(country).await?.contains(version) {
            return Ok(Self::No);
        }
        let manifest = published.manifest(country, version).await?;
        let differing = [
            ("component", manifest.digest != digest(&package.component)),
            ("golden cases", package.cases != "[]" && manifest.cases_digest != digest(package.cases.as_bytes())),
            ("limits", manifest.limits != package.limits),
        ];
        let differing: Vec<&str> = differing.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
        if differing.is_empty() {
            return Ok(Self::Same);
        }
        Ok(Self::Differing(format!(
            "version {version} of {country} is published already with another content ({}), and a published version never changes; raise the version",
            differing.join(", ")
        )))
    }
}

pub(super) async fn publish(source: &Source, options: PublishOptions, registry: &InRegistry) -> Outcome {
    let cases = source.cases()?;
    if cases::read(&cases)?.is_empty() {
        return Err(NO_CASES.into());
    }
    let package = RulesPackage { component: source.component()?, limits: source.limits()?, cases };
    let (rules, _) = judge(&package).await?;
    if let Some(page) = cases::full_page(&rules, &cases::read(&package.cases)?)?.filter(|page| !page.is_whole()) {
        return Err(page.to_string().into());
    }
    let RulesPackage { component, limits, cases } = package;
    let manifest = Manifest {
        country: rules.country,
        version: rules.id.version.parse()?,
        digest: rules.id.digest.clone(),
        cases_digest: digest(cases.as_bytes()),
        contract: rules.contract().into(),
        source: options.revision,
        published_at: SystemClock.now(),
        limits,
    };
    let (country, version) = (manifest.country, manifest.version.clone());
    let published = registry.open_or_create().await;
    refuse_lower(&*published, country, &version).await?;
    refuse_too_low(&*published, &rules, &cases).await?;
    let value = json!(manifest);
    let signature = options.key.map(|key| sign(&manifest, &key)).transpose()?;
    if signature.is_none() {
        refuse_unsigned_after_signed(&*published, country).await?;
    }
    registry
        .make_data_folder()
        .map_err(|cause| format!("the data folder {} cannot be made: {cause}", registry.folders.data.display()))?;
    let signed = if signature.is_some() { "signed and published" } else { "published, unsigned" };
    published.publish(&Artifact { manifest, component, cases, signature }).await?;
    let words =
        format!("{country} {version} is {signed}; `citas rules promote {country} {version} --why …` puts it into use");
    registry.report.say(&words, &value);
    Ok(Answer::Done)
}

/// Refuses an unsigned version after a signed one. Hosts that require signatures would refuse it, and a version cannot
/// be published again.
async fn refuse_unsigned_after_signed(
    published: &dyn Registry,
    country: CountryCode,
) -> Result<(), Box<dyn std::error::Error>> {
    let Some(highest) = signed_highest(published, country).await? else { return Ok(()) };
    Err(format!("{highest} of {country} is signed, and this is not; sign it with `--key` (or CITAS_SIGNING_KEY)")
        .into())
}

/// Returns the highest published version if it is signed.
pub(super) async fn signed_highest(
    published: &dyn Registry,
    country: CountryCode,
) -> Result<Option<Version>, RegistryError> {
    let Some(highest) = published.versions(country).await?.pop() else { return Ok(None) };
    let is_signed = published.fetch(country, &highest).await?.signature.is_some();
    Ok(is_signed.then_some(highest))
}

/// Refuses a version below the highest published one with the same major number, so that a version published later is one
/// to be used later. The registry refuses a version that exists.
pub(super) async fn refuse_lower(
    published: &dyn Registry,
    country: CountryCode,
    version: &Version,
) -> Result<(), Box<dyn std::error::Error>> {
    let versions = published.versions(country).await?;
    match highest_in_line(&versions, version).filter(|highest| *highest > version) {
        Some(highest) => Err(format!(
            "version {version} of {country} is not above {highest}, which is published; publish it under a higher version"
        )
        .into()),
        None => Ok(()),
    }
}
