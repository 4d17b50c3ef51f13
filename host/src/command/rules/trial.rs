//! `citas rules shadow`, `canary` and `withdraw`: start and end the trial of a version beside the one in use. Each is
//! one conditional write.

use citas_core::model::{Canary, Candidate, Channel, CountryCode};
use citas_core::ports::{Registry, RegistryError};
use clap::Args;
use semver::Version;

use super::channel::{note, refuse_pinned, wait_for_native_code};
use super::status::terms;
use super::verdict::{Aim, Change};
use super::verify::{TrustFile, require_verified};
use super::{ChannelOptions, Outcome};

/// Options of a canary: its share of the patients, and the margin beyond which it is taken back.
#[derive(Args)]
pub struct CanaryOptions {
    /// Share of the patients in percent, always the same patients
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    share: u8,
    /// Maximum percent of its decisions that may be refusals where the version in force accepts, or that may get no
    /// answer; beyond either, the canary is taken back automatically
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    margin: u8,
}

impl From<CanaryOptions> for Canary {
    fn from(CanaryOptions { share, margin }: CanaryOptions) -> Self {
        Self { share, margin }
    }
}

/// Starts a canary if its terms are given, and a shadow otherwise.
pub(super) async fn try_out(
    options: &ChannelOptions,
    version: Version,
    canary: Option<Canary>,
    trust: &TrustFile,
) -> Outcome {
    let ChannelOptions { country, reason, waiting, registry } = options;
    let (country, published) = (*country, registry.open().await?);
    let before = in_use(&*published, country).await?;
    if canary.is_some() {
        refuse_pinned(country, Some(&before))?;
    }
    if before.current == version {
        return Err(format!("{country} {version} is the version in use; try another one beside it").into());
    }
    let is_same = |candidate: &Candidate| (&candidate.version, candidate.canary) == (&version, canary);
    if before.candidate.as_ref().is_some_and(is_same) {
        let words = format!("{country} {version} is to be on trial already; nothing is changed");
        return Change { country, channel: &before, aim: Aim::Trial, words }.reported(waiting, registry).await;
    }
    if !published.versions(country).await?.contains(&version) {
        return Err(RegistryError::Absent { country, version }.into());
    }
    require_verified(&*published, country, &version, trust).await?;
    wait_for_native_code(&*published, country, &version).await?;
    let channel = before.try_out(version, canary, note(reason)?)?;
    published.set_channel(country, Some(&before), &channel).await?;
    let candidate = channel.candidate.as_ref().expect("it was just put there");
    let words = format!("{country} {}; `citas rules diff {country}` says what is found", terms(candidate));
    Change { country, channel: &channel, aim: Aim::Trial, words }.reported(waiting, registry).await
}

pub(super) async fn withdraw(options: &ChannelOptions) -> Outcome {
    let ChannelOptions { country, reason, waiting, registry } = options;
    let (country, published) = (*country, registry.open().await?);
    let before = in_use(&*published, country).await?;
    let channel = before.withdraw(note(reason)?)?.ok_or_else(|| format!("no version of {country} is on trial"))?;
    published.set_channel(country, Some(&before), &channel).await?;
    let words = format!("{country} {} is to decide alone again", channel.current);
    Change { country, channel: &channel, aim: Aim::Trial, words }.reported(waiting, registry).await
}

async fn in_use(published: &dyn Registry, country: CountryCode) -> Result<Channel, Box<dyn std::error::Error>> {
    let channel = published.channel(country).await?;
    channel.ok_or_else(|| format!("no version of {country} is in use; promote one first").into())
}
