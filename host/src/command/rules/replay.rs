//! `citas rules replay`: a stored decision once more, under the very rules that made it. Prints no input: whoever may read that
//! reads it in the appointment's history.

use std::error::Error;

use citas_core::appointment::{CountryCode, RulesId};
use citas_core::loaded::LoadedRules;
use citas_core::registry::RegistryError;
use citas_core::replay::{again, differences};
use serde_json::json;
use uuid::Uuid;

use super::{Answer, InRegistry, Misuse, Outcome, load};
use crate::local::sqlite::Archive;

pub(super) async fn replay(country: CountryCode, id: Uuid, number: Option<u32>, registry: &InRegistry) -> Outcome {
    let archive = Archive::open(&registry.folders.data, country).map_err(|cause| Misuse(cause.to_string()))?;
    let revision =
        archive.revision(id, number)?.ok_or_else(|| format!("there is no such revision of {id} in {country}"))?;
    let rules = made_by(country, &revision.provenance.rules, registry).await?;
    let (same, said) = match again(&rules, archive.before(&revision)?.as_ref(), &revision) {
        Ok(Ok(plan)) => match differences(&plan, &revision).as_slice() {
            [] => (true, "the same decision".to_owned()),
            members => (false, format!("another decision, in {}", members.join(", "))),
        },
        Ok(Err(violations)) => {
            let codes: Vec<&str> = violations.iter().map(|violation| violation.code.as_str()).collect();
            (false, format!("another decision: refused, {}", codes.join(", ")))
        }
        Err(fault) => (false, format!("no answer: {fault}")),
    };
    let provenance = &revision.provenance;
    let words = format!(
        "{id} revision {}: {} by {} at {}, under {} {} ({})\n{said}",
        revision.appointment.revision,
        provenance.action,
        provenance.context.role.as_str(),
        revision.updated_at,
        country,
        rules.id.version,
        rules.id.digest,
    );
    let value = json!({
        "id": id, "revision": revision.appointment.revision, "action": provenance.action, "role": provenance.context.role,
        "at": revision.updated_at, "rules": rules.id, "same": same, "said": said,
    });
    registry.report.say(&words, &value);
    Ok(if same { Answer::Done } else { Answer::No })
}

/// The rules of that digest, as they were published.
async fn made_by(
    country: CountryCode,
    made_by: &RulesId,
    registry: &InRegistry,
) -> Result<LoadedRules, Box<dyn Error>> {
    let RulesId { version, digest } = made_by;
    let fetched = registry.open().await.fetch(country, &version.parse()?).await;
    match fetched {
        Ok(artifact) if artifact.manifest.digest == *digest => {
            let rules = load(&artifact.component)?;
            if rules.id == *made_by { Ok(rules) } else { Err(format!("the published {version} is damaged: {}", rules.id.digest).into()) }
        }
        Ok(_) | Err(RegistryError::Absent { .. }) => Err(format!(
            "it was decided by {country} {version} {digest}, which was never published here: `citas dev` built it, or the registry is another one"
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}
