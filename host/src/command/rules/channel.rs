//! `citas rules promote`, `rollback` and `pin`: change the version in use. Each is one conditional write.

use std::time::{Duration, Instant};

use citas_core::model::{ChangeNote, Channel, ChannelVerb, CountryCode};
use citas_core::ports::{Clock as _, Readiness, Registry, RegistryError};
use citas_core::release::layout;
use semver::Version;
use serde_json::json;

use super::{Answer, InRegistry, Misuse, Outcome, Reason, Report};
use crate::system::SystemClock;

/// Maximum time to wait for the native code of a version that was just published.
const COMPILING: Duration = Duration::from_mins(2);
/// Maximum length of a reason, in bytes. A channel has fifty of them and is read by every host.
const MAX_WHY_BYTES: usize = 2_000;
/// Maximum length of a name, in bytes.
const MAX_BY_BYTES: usize = 200;

pub(super) async fn promote(country: CountryCode, version: Version, reason: Reason, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let before = published.channel(country).await?;
    if let Some(channel) = before.as_ref().filter(|channel| channel.current == version) {
        registry.report.say(&format!("{country} {version} is in use already; nothing is changed"), &json!(channel));
        return Ok(Answer::Done);
    }
    refuse_pinned(country, before.as_ref())?;
    if !published.versions(country).await?.contains(&version) {
        return Err(RegistryError::Absent { country, version }.into());
    }
    wait_for_native_code(&*published, country, &version).await?;
    let note = note(reason)?;
    let channel = match &before {
        Some(before) => before.promote(version, note)?,
        None => Channel::first(version, note),
    };
    put_into_use(&*published, country, before, &channel, &registry.report).await
}

/// Waits until hosts that do not compile can load a version. Otherwise they would stay on the previous version, and
/// those that start meanwhile would have none.
pub(super) async fn wait_for_native_code(
    published: &dyn Registry,
    country: CountryCode,
    version: &Version,
) -> Result<(), Box<dyn std::error::Error>> {
    let deadline = Instant::now() + COMPILING;
    loop {
        match published.readiness(country, version).await? {
            Readiness::Ready => return Ok(()),
            Readiness::NotCompiled if Instant::now() < deadline => tokio::time::sleep(Duration::from_secs(1)).await,
            Readiness::EngineUnknown => {
                return Err(format!(
                    "the registry has no `{}`, so no native code is known to suit the hosts: `just deploy` has it written. For hosts that compile by themselves, write `{{\"engines\":[]}}` there. Nothing is changed",
                    layout::engines()
                )
                .into());
            }
            Readiness::NotCompiled => {
                let minutes = COMPILING.as_secs() / 60;
                return Err(format!(
                    "{country} {version} has no native code after {minutes} minutes: the log of the function `precompile` says why. Nothing is changed"
                )
                .into());
            }
            Readiness::Refused(why) => {
                return Err(format!(
                    "{country} {version} was refused when it was to be compiled: {why}. Nothing is changed"
                )
                .into());
            }
        }
    }
}

pub(super) async fn rollback(country: CountryCode, reason: Reason, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let before = published.channel(country).await?;
    refuse_pinned(country, before.as_ref())?;
    let note = note(reason)?;
    let back = before.as_ref().map(|before| before.rollback(note)).transpose()?.flatten();
    let channel = back.ok_or_else(|| {
        format!("no version of {country} was in use before this one; name the one to use with `citas rules promote`")
    })?;
    wait_for_native_code(&*published, country, &channel.current).await?;
    put_into_use(&*published, country, before, &channel, &registry.report).await
}

pub(super) async fn pin(country: CountryCode, release: bool, reason: Reason, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let Some(before) = published.channel(country).await? else {
        return Err(format!("no version of {country} is in use; promote one first").into());
    };
    let done = if release { "released" } else { "pinned" };
    if before.pinned != release {
        registry.report.say(&format!("{country} is {done} already; nothing is changed"), &json!(before));
        return Ok(Answer::Done);
    }
    let note = note(reason)?;
    let channel = if release { before.unpin(note)? } else { before.pin(note)? };
    published.set_channel(country, Some(&before), &channel).await?;
    registry.report.say(&format!("{country} is {done} at {}", channel.current), &json!(channel));
    Ok(Answer::Done)
}

/// Refuses to change a pinned channel. The message names the author of the pin, the time and the reason.
pub(super) fn refuse_pinned(country: CountryCode, before: Option<&Channel>) -> Result<(), String> {
    let Some(channel) = before.filter(|channel| channel.pinned) else { return Ok(()) };
    let pinned = channel
        .last(|verb| verb == ChannelVerb::Pin)
        .map_or_else(String::new, |pinned| format!(" since {} by {} ({})", pinned.at, pinned.by, pinned.why));
    Err(format!(
        "{country} is pinned at {}{pinned}; `citas rules pin {country} --release` lets it change again",
        channel.current
    ))
}

/// Returns the note of a change of a channel: its time, author and reason.
pub(super) fn note(Reason { why, by }: Reason) -> Result<ChangeNote, Misuse> {
    if why.trim().is_empty() {
        return Err(Misuse("--why is empty; say why, for whoever reads the history".into()));
    }
    let by = by.or_else(|| whoami::username().ok()).unwrap_or_else(|| "unknown".into());
    for (what, text, limit) in [("--why", &why, MAX_WHY_BYTES), ("--by", &by, MAX_BY_BYTES)] {
        if text.len() > limit {
            return Err(Misuse(format!("{what} has {} bytes; it may have {limit}", text.len())));
        }
    }
    Ok(ChangeNote { at: SystemClock.now(), by, why })
}

async fn put_into_use(
    published: &dyn Registry,
    country: CountryCode,
    before: Option<Channel>,
    channel: &Channel,
    report: &Report,
) -> Outcome {
    published.set_channel(country, before.as_ref(), channel).await?;
    let words = format!("{country} {} is to be in use; `citas rules status` says when it is", channel.current);
    report.say(&words, &json!(channel));
    Ok(Answer::Done)
}
