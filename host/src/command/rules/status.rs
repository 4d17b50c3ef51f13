//! `citas rules status`: shows the published versions, the version to be in use, and its state on the host.

use std::collections::BTreeSet;

use citas_core::model::{Canary, Candidate, Channel, ChannelVerb, CountryCode, Limits};
use citas_core::ports::{Registry, RegistryError};
use semver::Version;
use serde_json::{Value, json};

use super::{Answer, InRegistry, Outcome};
use crate::status::{self, CountryStatus};
use crate::system::SystemClock;
use crate::wasm::limits::Bounds;

pub(super) async fn status(country: Option<CountryCode>, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let data = &registry.folders.data;
    let host = status::read(data, &SystemClock)
        .map_err(|cause| format!("what the host on {} says cannot be read: {cause}", data.display()))?;
    let known = host.iter().flatten().map(|(country, _)| *country);
    let countries = match country {
        Some(country) => BTreeSet::from([country]),
        None => published.countries().await?.into_iter().chain(known).collect(),
    };
    let (mut lines, mut values, mut answer) = (Vec::new(), Vec::new(), Answer::Done);
    for country in countries.iter().copied() {
        let here = host.as_ref().and_then(|host| host.get(&country));
        let value = match wanted(&*published, country, &mut lines).await {
            Ok(value) => value,
            // An error in one country's files must not hide the others.
            Err(error) if countries.len() > 1 => {
                lines.push(format!("{country}: {error}"));
                answer = Answer::No;
                json!({ "country": country, "error": error.to_string() })
            }
            Err(error) => return Err(error.into()),
        };
        lines.extend(here.map(said_by_host));
        values.push(with_host(value, here));
    }
    if lines.is_empty() {
        lines.push("nothing is in use; name a country to see what is published of it".into());
    } else if host.is_none() {
        lines.push(format!("no host runs on {}; name the data folder of one with --data", data.display()));
    }
    registry.report.say(&lines.join("\n"), &values.into());
    Ok(answer)
}

/// Describes a country's part of the registry, in lines and in JSON.
async fn wanted(
    published: &dyn Registry,
    country: CountryCode,
    lines: &mut Vec<String>,
) -> Result<Value, RegistryError> {
    let (channel, versions) = (published.channel(country).await?, published.versions(country).await?);
    lines.push(line(country, channel.as_ref(), &versions));
    let mut limits = Limits::default();
    if let Some(channel) = &channel {
        // The host reports a manifest that cannot be read.
        limits = published.manifest(country, &channel.current).await.map_or(limits, |manifest| manifest.limits);
    }
    if !limits.are_standard() {
        let bounds = Bounds::of(&limits).map_or_else(|no| no.to_string(), |it| it.to_string());
        lines.push(format!("    its limits: {bounds}"));
    }
    Ok(json!({ "country": country, "channel": channel, "versions": versions, "limits": limits }))
}

fn with_host(mut value: Value, here: Option<&CountryStatus>) -> Value {
    value["host"] = json!(here);
    value
}

fn line(country: CountryCode, channel: Option<&Channel>, versions: &[Version]) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let published = if versions.is_empty() { "none".into() } else { versions.join(", ") };
    let used = channel.map_or_else(
        || "none to be in use".into(),
        |channel| {
            let before = channel.previous.as_ref().map_or_else(String::new, |version| format!(", before it {version}"));
            let pinned = if channel.pinned { ", pinned" } else { "" };
            let last = channel.last(|verb| matches!(verb, ChannelVerb::Promote | ChannelVerb::Rollback));
            let since = last.map_or(channel.changed_at, |last| last.at);
            let whose = last.map_or_else(String::new, |last| format!(", by {}: {}", last.by, last.why));
            let trial =
                channel.candidate.as_ref().map_or_else(String::new, |candidate| format!(", {}", terms(candidate)));
            format!("{} to be in use since {since}{before}{whose}{pinned}{trial}", channel.current)
        },
    );
    format!("{country}: {used}; published: {published}")
}

/// Describes the terms of a trial.
pub(super) fn terms(candidate: &Candidate) -> String {
    let version = &candidate.version;
    match &candidate.canary {
        Some(Canary { share, margin }) => {
            format!("{version} on trial as a canary for {share} % of the patients, within a margin of {margin} %")
        }
        None => format!("{version} on trial as a shadow"),
    }
}

/// Describes the state on the running host.
fn said_by_host(here: &CountryStatus) -> String {
    let since = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| format!(" since {at}"));
    let in_force = here.in_force.as_ref().map_or_else(
        || "the host has none in force".into(),
        |rules| format!("the host has {} in force{}", rules.id.version, since(rules.since)),
    );
    let trial = here.on_trial.as_ref().map_or_else(String::new, |trial| format!(", {}", terms(&trial.terms)));
    let refused = here.refused.as_ref().map_or_else(String::new, |refused| {
        format!("\n    it refused {} at {}: {}", refused.what, refused.at, refused.why)
    });
    format!("    {in_force}{trial}{refused}")
}
