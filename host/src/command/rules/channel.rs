//! `citas rules promote`, `rollback` and `pin`: change the version in use. Each is one conditional write.

use std::time::{Duration, Instant};

use citas_core::model::{ChangeNote, Channel, ChannelVerb, CountryCode};
use citas_core::ports::{Clock as _, Readiness, Registry, RegistryError};
use citas_core::release::layout;
use clap::Args;
use semver::Version;
use serde_json::json;

use super::verdict::{Aim, Change, Waiting};
use super::verify::{TrustFile, require_verified};
use super::{Answer, ChannelOptions, InRegistry, Misuse, Outcome, Reason};
use crate::command::terminal::time;
use crate::status;
use crate::system::SystemClock;

/// Maximum time to wait for the native code of a version that was just published.
const COMPILING: Duration = Duration::from_mins(2);
/// Maximum length of a reason, in bytes. A channel has fifty of them and is read by every host.
const MAX_WHY_BYTES: usize = 2_000;
/// Maximum length of a name, in bytes.
const MAX_BY_BYTES: usize = 200;

/// Options of a rollback. A dry run needs no reason.
#[derive(Args)]
pub struct RollbackOptions {
    /// Country code, for example `pe`
    country: CountryCode,
    /// Version to return to, for example `1.0.3` [default: the last one before that was in force]
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Show which version would come into force; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Reason for the change, shown in the history
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    why: Option<String>,
    /// Author of the change, shown in the history [default: this machine's user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    pub(super) registry: InRegistry,
}

pub(super) async fn promote(options: &ChannelOptions, version: Version, trust: &TrustFile) -> Outcome {
    let ChannelOptions { country, reason, waiting, registry } = options;
    let (country, published) = (*country, registry.open().await?);
    let before = published.channel(country).await?;
    if let Some(channel) = before.as_ref().filter(|channel| channel.current == version) {
        let words = format!("{country} {version} is in use already; nothing is changed");
        return Change { country, channel, aim: Aim::Use, words }.reported(waiting, registry).await;
    }
    refuse_pinned(country, before.as_ref())?;
    if !published.versions(country).await?.contains(&version) {
        return Err(RegistryError::Absent { country, version }.into());
    }
    require_verified(&*published, country, &version, trust).await?;
    wait_for_native_code(&*published, country, &version).await?;
    let note = note(reason)?;
    let channel = match &before {
        Some(before) => before.promote(version, note)?,
        None => Channel::first(version, note),
    };
    published.set_channel(country, before.as_ref(), &channel).await?;
    let words = from_to(country, before.as_ref(), &channel.current);
    Change { country, channel: &channel, aim: Aim::Use, words }.reported(waiting, registry).await
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

pub(super) async fn rollback(options: &RollbackOptions) -> Outcome {
    let RollbackOptions { country, to, dry_run, why, by, waiting, registry } = options;
    let (country, published) = (*country, registry.open().await?);
    let before = published.channel(country).await?;
    refuse_pinned(country, before.as_ref())?;
    let before = before.ok_or_else(|| no_version_before(country))?;
    let to = match to {
        Some(to) if *to == before.current => return Err(format!("{country} {to} is in use already").into()),
        Some(to) if !published.versions(country).await?.contains(to) => {
            return Err(RegistryError::Absent { country, version: to.clone() }.into());
        }
        Some(to) => to.clone(),
        None => version_before(country, &before, registry)?,
    };
    let words = from_to(country, Some(&before), &to);
    if *dry_run {
        let value = json!({ "country": country, "from": before.current, "to": to, "dryRun": true });
        registry.report.say(&format!("{words}; nothing is changed, as this is a dry run"), &value);
        return Ok(Answer::Done);
    }
    let note = note(&Reason { why: why.clone().unwrap_or_default(), by: by.clone() })?;
    let channel = before.rollback(to, note)?;
    wait_for_native_code(&*published, country, &channel.current).await?;
    published.set_channel(country, Some(&before), &channel).await?;
    Change { country, channel: &channel, aim: Aim::Use, words }.reported(waiting, registry).await
}

/// Returns the last version before the one in use that was in force on the host of the data folder.
fn version_before(
    country: CountryCode,
    channel: &Channel,
    registry: &InRegistry,
) -> Result<Version, Box<dyn std::error::Error>> {
    let data = &registry.folders.data;
    let were = status::were_in_force(data, country)
        .map_err(|cause| format!("what the host on {} had in force cannot be read: {cause}", data.display()))?;
    Ok(channel.version_before(&were).cloned().ok_or_else(|| no_version_before(country))?)
}

fn no_version_before(country: CountryCode) -> String {
    format!(
        "no version of {country} was in use before this one; name the one to use with `citas rules rollback {country} --to` or `citas rules promote`"
    )
}

fn from_to(country: CountryCode, before: Option<&Channel>, to: &Version) -> String {
    let change = before.map_or_else(String::new, |before| format!("; {} → {to}", before.current));
    format!("{country} {to} is to be in use{change}")
}

pub(super) async fn pin(options: &ChannelOptions, release: bool) -> Outcome {
    let ChannelOptions { country, reason, waiting, registry } = options;
    let (country, published) = (*country, registry.open().await?);
    let Some(before) = published.channel(country).await? else {
        return Err(format!("no version of {country} is in use; promote one first").into());
    };
    let done = if release { "released" } else { "pinned" };
    if before.pinned != release {
        let words = format!("{country} is {done} already; nothing is changed");
        return Change { country, channel: &before, aim: Aim::Use, words }.reported(waiting, registry).await;
    }
    let note = note(reason)?;
    let channel = if release { before.unpin(note)? } else { before.pin(note)? };
    published.set_channel(country, Some(&before), &channel).await?;
    let words = format!("{country} is {done} at {}", channel.current);
    Change { country, channel: &channel, aim: Aim::Use, words }.reported(waiting, registry).await
}

/// Refuses to change a pinned channel. The message names the author of the pin, the time and the reason.
pub(super) fn refuse_pinned(country: CountryCode, before: Option<&Channel>) -> Result<(), String> {
    let Some(channel) = before.filter(|channel| channel.pinned) else { return Ok(()) };
    let pinned = channel
        .last(|verb| verb == ChannelVerb::Pin)
        .map_or_else(String::new, |pinned| format!(" since {} by {} ({})", time(pinned.at), pinned.by, pinned.why));
    Err(format!(
        "{country} is pinned at {}{pinned}; `citas rules pin {country} --release` lets it change again",
        channel.current
    ))
}

/// Returns the note of a change of a channel: its time, author and reason.
pub(super) fn note(Reason { why, by }: &Reason) -> Result<ChangeNote, Misuse> {
    if why.trim().is_empty() {
        return Err(Misuse("--why is empty; say why, for whoever reads the history".into()));
    }
    let by = by.clone().or_else(|| whoami::username().ok()).unwrap_or_else(|| "unknown".into());
    for (what, text, limit) in [("--why", why, MAX_WHY_BYTES), ("--by", &by, MAX_BY_BYTES)] {
        if text.len() > limit {
            return Err(Misuse(format!("{what} has {} bytes; it may have {limit}", text.len())));
        }
    }
    Ok(ChangeNote { at: SystemClock.now(), by, why: why.clone() })
}
