//! `citas rules history`: shows who changed the version in use, when and why.

use citas_core::model::{ChannelChange, CountryCode};
use serde_json::json;

use super::{Answer, InRegistry, Outcome};

pub(super) async fn history(country: CountryCode, registry: &InRegistry) -> Outcome {
    let Some(channel) = registry.open().await.channel(country).await? else {
        return Err(format!("no version of {country} was ever put into use").into());
    };
    let lines: Vec<String> = channel.history.iter().rev().map(line).collect();
    let words = if lines.is_empty() { "no change is remembered".to_owned() } else { lines.join("\n") };
    registry.report.say(&words, &json!(channel.history.iter().rev().collect::<Vec<_>>()));
    Ok(Answer::Done)
}

fn line(ChannelChange { sequence, verb, version, at, by, why, .. }: &ChannelChange) -> String {
    format!("{sequence:>4}  {at}  {:8}  {version}  by {by}: {why}", verb.as_str())
}
