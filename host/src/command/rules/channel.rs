//! `citas rules promote` and `rollback`: which version is in use.

use std::time::{Duration, Instant};

use citas_core::appointment::CountryCode;
use citas_core::registry::{Channel, Registry, RegistryError};
use citas_core::time::Clock as _;
use semver::Version;
use serde_json::json;

use super::{Answer, InRegistry, Outcome, Report};
use crate::system::SystemClock;

/// How long a version that was just published may take to be compiled.
const COMPILING: Duration = Duration::from_mins(2);

pub(super) async fn promote(country: CountryCode, version: Version, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let before = published.channel(country).await?;
    if let Some(channel) = before.as_ref().filter(|channel| channel.current == version) {
        registry.report.say(&format!("{country} {version} is in use already; nothing is changed"), &json!(channel));
        return Ok(Answer::Done);
    }
    if !published.versions(country).await?.contains(&version) {
        return Err(RegistryError::Absent { country, version }.into());
    }
    wait_for_native_code(&*published, country, &version).await?;
    let previous = before.as_ref().map(|before| before.current.clone());
    put_into_use(&*published, country, (version, previous), before, &registry.report).await
}

/// Hosts that compile nothing would go on with the version before, and those that start meanwhile have none.
async fn wait_for_native_code(
    published: &dyn Registry,
    country: CountryCode,
    version: &Version,
) -> Result<(), Box<dyn std::error::Error>> {
    let deadline = Instant::now() + COMPILING;
    while !published.can_be_taken(country, version).await? {
        if Instant::now() > deadline {
            let minutes = COMPILING.as_secs() / 60;
            return Err(format!(
                "{country} {version} has no native code after {minutes} minutes: the log of the function `precompile` says why. Nothing is changed"
            )
            .into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Leaves no version before the one that it goes back to: a second rollback would bring back what the first one was
/// there to remove.
pub(super) async fn rollback(country: CountryCode, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let before = published.channel(country).await?;
    let to = before.as_ref().and_then(|channel| channel.previous.clone());
    let to = to.ok_or_else(|| {
        format!("no version of {country} was in use before this one; name the one to use with `citas rules promote`")
    })?;
    put_into_use(&*published, country, (to, None), before, &registry.report).await
}

async fn put_into_use(
    published: &dyn Registry,
    country: CountryCode,
    (current, previous): (Version, Option<Version>),
    before: Option<Channel>,
    report: &Report,
) -> Outcome {
    let sequence = before.as_ref().map_or(1, |before| before.sequence + 1);
    let channel = Channel { current, previous, sequence, changed_at: SystemClock.now() };
    published.set_channel(country, before.as_ref(), &channel).await?;
    let words = format!("{country} {} is to be in use; `citas rules status` says when it is", channel.current);
    report.say(&words, &json!(channel));
    Ok(Answer::Done)
}
