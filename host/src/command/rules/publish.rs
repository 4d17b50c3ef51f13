//! `citas rules publish`: a version into the registry.

use citas_core::cases;
use citas_core::registry::{Artifact, Manifest};
use citas_core::rules::CONTRACT;
use citas_core::time::Clock as _;
use serde_json::json;

use super::compared::refuse_too_low;
use super::{Answer, InRegistry, Outcome, Source};
use crate::rules::WasmEngine;
use crate::system::SystemClock;

/// Hosts run a version's cases before they put it into force, which is all that they can know of it.
const NO_CASES: &str = "there is no golden case, so no host could tell whether this version answers as its team means it \
                        to; write at least one into the country's cases/, or name a folder that has some with --cases";

pub(super) async fn publish(source: &Source, revision: Option<String>, registry: &InRegistry) -> Outcome {
    let cases = source.cases()?;
    if cases::read(&cases)?.is_empty() {
        return Err(NO_CASES.into());
    }
    let component = source.component()?;
    let rules = citas_core::swap::admit(&WasmEngine::new()?, &component, &cases, 1, SystemClock.now())?;
    refuse_too_low(registry, &rules, &cases).await?;
    let manifest = Manifest {
        country: rules.country,
        version: rules.id.version.parse()?,
        digest: rules.id.digest.clone(),
        contract: CONTRACT.into(),
        source: revision,
        published_at: SystemClock.now(),
    };
    let (country, version) = (manifest.country, manifest.version.clone());
    let value = json!(manifest);
    registry.open().await.publish(&Artifact { manifest, component, cases }).await?;
    let words = format!("{country} {version} is published; `citas rules promote {country} {version}` puts it into use");
    registry.report.say(&words, &value);
    Ok(Answer::Done)
}
