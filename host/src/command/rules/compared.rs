//! Compares a version with the version in the registry that clients know. Lists the changes that they will notice, and
//! checks that the version number announces them.

use std::error::Error;

use citas_core::model::CountryCode;
use citas_core::ports::{Registry, RegistryError};
use citas_core::rules::compare::{self, Difference, TooLow};
use citas_core::rules::{LoadedRules, cases};
use semver::Version;
use serde_json::{Value, json};

use super::{complain, load};

/// Differences between a version and the one that clients know.
pub(super) struct Compared {
    with: Version,
    changes: Vec<Difference>,
    /// Reason to refuse the version number, if it is too low.
    pub too_low: Option<TooLow>,
}

/// Compares with the version that clients know; see [`known_version`]. Returns `None` if nothing is published.
pub(super) async fn compared(
    registry: &dyn Registry,
    rules: &LoadedRules,
    cases: &str,
) -> Result<Option<Compared>, Box<dyn Error>> {
    let Some(with) = known_version(registry, rules.country, &rules.id.version.parse()?).await? else { return Ok(None) };
    let artifact = registry.fetch(rules.country, &with).await?;
    let mut changes = Vec::new();
    if artifact.manifest.digest != rules.id.digest {
        let before = load(&artifact.component, &artifact.manifest.limits)
            .map_err(|cause| format!("{} {with} in the registry cannot be loaded any more: {cause}", rules.country))?;
        changes = compare::changes(&before, rules);
        let (old, new) = (cases::read(&artifact.cases)?, cases::read(cases)?);
        // Without cases, nothing is known of events.
        if !old.is_empty() && !new.is_empty() {
            changes.extend(compare::events(&cases::events(&before, &old), &cases::events(rules, &new)));
        }
    }
    changes.sort_by_key(|change| !change.breaking);
    let too_low = compare::version_says_so(&with, &rules.id.version.parse()?, &changes).err();
    Ok(Some(Compared { with, changes, too_low }))
}

/// Refuses to publish changes that break clients, or that clients notice, under a version number that does not announce
/// them.
pub(super) async fn refuse_too_low(
    registry: &dyn Registry,
    rules: &LoadedRules,
    cases: &str,
) -> Result<(), Box<dyn Error>> {
    match compared(registry, rules, cases).await {
        Ok(Some(compared)) => compared.refused().map_or(Ok(()), |why| Err(why.into())),
        Ok(None) => Ok(()),
        Err(cause) if cause.is::<RegistryError>() => Err(cause),
        // Otherwise a version that can no longer be loaded would keep any other from taking its place.
        Err(cause) => {
            complain(&format!("citas: nothing is compared, since {cause}"));
            Ok(())
        }
    }
}

/// Returns the version that clients know: the one in use, else the highest published one. For a version of an earlier
/// line than that, returns the highest one published in its own line, if any.
async fn known_version(
    registry: &dyn Registry,
    country: CountryCode,
    version: &Version,
) -> Result<Option<Version>, RegistryError> {
    let (channel, versions) = (registry.channel(country).await?, registry.versions(country).await?);
    let known = channel.map(|channel| channel.current).or_else(|| versions.last().cloned());
    let is_later_line = |known: &Version| known > version && !compare::is_same_line(known, version);
    Ok(match known {
        Some(known) if is_later_line(&known) => Some(highest_in_line(&versions, version).cloned().unwrap_or(known)),
        known => known,
    })
}

/// Returns the highest of these versions, lowest first, in the line of a version.
pub(super) fn highest_in_line<'a>(versions: &'a [Version], version: &Version) -> Option<&'a Version> {
    versions.iter().rev().find(|published| compare::is_same_line(published, version))
}

impl Compared {
    /// Returns the refusal, if any, with the changes that cause it.
    fn refused(&self) -> Option<String> {
        let low = self.too_low.as_ref()?;
        let noticed: Vec<&str> = match low {
            TooLow::Breaking { .. } => {
                self.changes.iter().filter(|change| change.breaking).map(|change| change.words.as_str()).collect()
            }
            TooLow::NotHigher { .. } => self.changes.iter().map(|change| change.words.as_str()).collect(),
        };
        Some(format!("{low}: {}", noticed.join("; ")))
    }

    /// Describes the comparison, with a line for each change.
    pub(super) fn to_text(&self) -> String {
        if self.changes.is_empty() {
            return format!("compared with {}: clients will notice nothing", self.with);
        }
        let line = |change: &Difference| {
            let kind = if change.breaking { "breaking" } else { "noticed " };
            format!("\n    {kind}  {}", change.words)
        };
        let lines: String = self.changes.iter().map(line).collect();
        format!("compared with {}, clients will notice:{lines}", self.with)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "with": self.with, "changes": self.changes })
    }
}
