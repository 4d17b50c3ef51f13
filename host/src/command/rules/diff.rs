//! `citas rules diff`: shows the results of a version on trial, compared with the one in use.

use std::sync::Arc;

use citas_core::model::CountryCode;
use citas_core::ports::{Tally, TrialReport, Trials};
use clap::Args;
use serde_json::{Value, json};

use super::stored::Tables;
use super::{Answer, InRegistry, Outcome};
use crate::local::trials::FileTrials;
use crate::status;
use crate::system::SystemClock;

#[derive(Args)]
pub struct Options {
    /// Country code, for example `pe`
    country: CountryCode,
    /// Number of the trial, as shown by `citas rules history --json` [default: the latest]
    #[arg(long, value_name = "NUMBER")]
    trial: Option<u64>,
    #[command(flatten)]
    tables: Tables,
    #[command(flatten)]
    pub(super) registry: InRegistry,
}

pub(super) async fn diff(options: &Options) -> Outcome {
    let Options { country, registry, .. } = options;
    let channel = registry.open().await?.channel(*country).await?;
    let latest = channel.as_ref().and_then(|channel| channel.latest_trial());
    let (trial, version) = match (options.trial, latest) {
        (Some(number), latest) => (number, latest.filter(|(latest, _)| *latest == number).map(|(_, version)| version)),
        (None, Some((number, version))) => (number, Some(version)),
        (None, None) => return Err(format!("no version of {country} was ever on trial").into()),
    };
    let (trials, refused) = trials(options).await;
    let found = trials.found(*country, trial).await?;
    let candidate = channel.as_ref().and_then(|channel| channel.candidate.as_ref());
    let over = candidate.is_none_or(|now| now.trial != trial);
    let refused = refused.filter(|_| !over);
    let value = json!({
        "country": country, "trial": trial, "version": version, "over": over, "refused": refused, "found": found,
    });
    let mut lines = report_lines(options, trial, version.map(ToString::to_string), over, &found);
    lines.extend(refused.as_ref().map(|why| format!("the host refused it, so nothing is compared: {why}")));
    registry.report.say(&lines.join("\n"), &value);
    let same = found.compared + found.canary.decided > 0
        && found.differed == 0
        && found.canary == Tally { decided: found.canary.decided, ..Tally::default() };
    Ok(if same && refused.is_none() { Answer::Done } else { Answer::No })
}

/// Returns the store of trial results. For a data folder also returns the reason if its host refused the version on
/// trial.
#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "clients of AWS look for credentials"))]
async fn trials(options: &Options) -> (Arc<dyn Trials>, Option<String>) {
    #[cfg(feature = "aws")]
    if let Some(ledger) = options.tables.ledger().await {
        return (Arc::new(ledger), None);
    }
    (Arc::new(FileTrials::new(&options.registry.folders.data)), refused(options))
}

fn refused(options: &Options) -> Option<String> {
    let mut host = status::read(&options.registry.folders.data, &SystemClock).ok()??;
    host.remove(&options.country)?.refused.filter(|refused| refused.on_trial).map(|refused| refused.why)
}

fn report_lines(
    options: &Options,
    trial: u64,
    version: Option<String>,
    over: bool,
    found: &TrialReport,
) -> Vec<String> {
    let TrialReport { compared, differed, canary, places } = found;
    let version = version.map_or_else(String::new, |version| format!(" {version}"));
    let mut lines = vec![format!(
        "{}{version}, trial {trial}{}: {compared} calls compared, {differed} differ",
        options.country,
        if over { ", which is over" } else { "" }
    )];
    if canary.decided > 0 {
        let Tally { decided, refused, unanswered } = canary;
        lines.push(format!(
            "as a canary it decided {decided} times: {refused} refused that the version in use would accept, {unanswered} without an answer"
        ));
    }
    let mut places: Vec<_> = places.iter().collect();
    places.sort_by_key(|(_, place)| std::cmp::Reverse(place.count));
    for (name, place) in places {
        lines.push(format!("{:>8}  {name}", place.count));
        lines.extend(sample(&place.sample));
    }
    lines
}

/// Formats one of the calls, with a line for each member.
fn sample(sample: &Value) -> Vec<String> {
    let members = sample.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("            {name}: {value}")).collect()
}
