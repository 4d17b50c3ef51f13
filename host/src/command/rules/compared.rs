//! Compares a version with the version in the registry that clients know. Lists the changes that they will notice, and
//! checks that the version number announces them.

use std::error::Error;

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

/// Compares with the version in use, or with the highest published version if none is in use. Returns `None` if there
/// is neither.
pub(super) async fn compared(
    registry: &dyn Registry,
    rules: &LoadedRules,
    cases: &str,
) -> Result<Option<Compared>, Box<dyn Error>> {
    let Some(with) = published_version(registry, rules).await? else { return Ok(None) };
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

async fn published_version(registry: &dyn Registry, rules: &LoadedRules) -> Result<Option<Version>, RegistryError> {
    if let Some(channel) = registry.channel(rules.country).await? {
        return Ok(Some(channel.current));
    }
    Ok(registry.versions(rules.country).await?.pop())
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
