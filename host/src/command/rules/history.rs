//! `citas rules history`: shows who changed the version in use, when and why.

use citas_core::model::{ChannelChange, CountryCode};
use serde_json::json;

use super::{Answer, InRegistry, Outcome, terminal};
use crate::command::terminal::{Table, time};

pub(super) async fn history(country: CountryCode, limit: Option<usize>, registry: &InRegistry) -> Outcome {
    let Some(channel) = registry.open().await?.channel(country).await? else {
        return Err(format!("no version of {country} was ever put into use").into());
    };
    let changes: Vec<&ChannelChange> = channel.history.iter().rev().take(limit.unwrap_or(usize::MAX)).collect();
    let words = if changes.is_empty() {
        "no change is remembered".to_owned()
    } else if terminal::is_terminal() {
        table(&changes)
    } else {
        changes.iter().map(|change| line(change)).collect::<Vec<_>>().join("\n")
    };
    registry.report.say(&words, &json!(changes));
    Ok(Answer::Done)
}

fn table(changes: &[&ChannelChange]) -> String {
    let mut table = Table::new(["CHANGE", "TIME", "VERB", "VERSION", "BY", "WHY"]);
    for ChannelChange { sequence, verb, version, at, by, why, .. } in changes {
        let (sequence, at, version) = (sequence.to_string(), time(*at), version.to_string());
        table.row([&sequence, &at, verb.as_str(), &version, by, why]);
    }
    table.to_string()
}

fn line(ChannelChange { sequence, verb, version, at, by, why, .. }: &ChannelChange) -> String {
    format!("{sequence:>4}  {}  {:8}  {version}  by {by}: {why}", time(*at), verb.as_str())
}
