//! `citas rules status`: shows the published versions, the version to be in use, and the verdict of the host.

use std::collections::BTreeSet;

use anstyle::Style;
use citas_core::model::{Canary, Candidate, Channel, ChannelVerb, CountryCode, Limits};
use citas_core::ports::{Registry, RegistryError};
use citas_core::release::RefusedVersion;
use semver::Version;
use serde_json::{Value, json};

use super::{Answer, InRegistry, Outcome};
use crate::command::terminal::{self, BAD, GOOD, OPEN, Table, styled, time};
use crate::status::{self, CountryStatus, Verdict};
use crate::system::SystemClock;
use crate::wasm::limits::Bounds;

/// A country in the registry and on the host.
struct Shown {
    country: CountryCode,
    registry: Result<Wanted, RegistryError>,
    here: Option<CountryStatus>,
    /// True if a host runs on the data folder.
    has_host: bool,
}

/// A country's part of the registry.
struct Wanted {
    channel: Option<Channel>,
    versions: Vec<Version>,
    limits: Limits,
}

/// State of a country, from the version that its registry wants and the one that its host has.
#[derive(Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
enum State {
    /// The wanted version is in force.
    InForce,
    /// The host refuses what is wanted in force, or on trial.
    Refused,
    /// The host has not come to a verdict.
    Waiting,
    /// No host runs on the data folder.
    NoHost,
    /// Nothing was promoted.
    NotPromoted,
    /// The registry cannot be read.
    Unreadable,
}

pub(super) async fn status(country: Option<CountryCode>, registry: &InRegistry) -> Outcome {
    let published = registry.open().await?;
    let data = &registry.folders.data;
    let host = status::read(data, &SystemClock)
        .map_err(|cause| format!("what the host on {} says cannot be read: {cause}", data.display()))?;
    let known = host.iter().flatten().map(|(country, _)| *country);
    let countries = match country {
        Some(country) => BTreeSet::from([country]),
        None => published.countries().await?.into_iter().chain(known).collect(),
    };
    let mut shown = Vec::new();
    for country in countries.iter().copied() {
        let here = host.as_ref().and_then(|host| host.get(&country)).cloned();
        match Wanted::read(&*published, country).await {
            Ok(wanted) if wanted.is_nothing() && here.is_none() => {
                return Err(
                    format!("the registry has nothing of {country}; `citas rules status` lists its countries").into()
                );
            }
            // An error in one country's files must not hide the others.
            Err(error) if countries.len() == 1 => return Err(error.into()),
            registry => {
                let here = here.map(|here| current(here, registry.as_ref().ok()));
                shown.push(Shown { country, registry, here, has_host: host.is_some() });
            }
        }
    }
    let is_good = |shown: &Shown| !matches!(shown.state(), State::Refused | State::Waiting | State::Unreadable);
    let answer = if shown.iter().all(is_good) { Answer::Done } else { Answer::No };
    let mut lines: Vec<String> = if terminal::is_terminal() && !shown.is_empty() {
        let notes = shown.iter().flat_map(Shown::notes);
        [table(&shown)].into_iter().chain(notes).collect()
    } else {
        shown.iter().flat_map(Shown::lines).collect()
    };
    if lines.is_empty() {
        lines.push("nothing is in use; name a country to see what is published of it".into());
    } else if host.is_none() {
        lines.push(format!("no host runs on {}; name the data folder of one with --data", data.display()));
    }
    registry.report.say(&lines.join("\n"), &shown.iter().map(Shown::json).collect::<Vec<_>>().into());
    Ok(answer)
}

/// Leaves out a refusal of a version that is no longer wanted, which the host is about to forget.
fn current(here: CountryStatus, wanted: Option<&Wanted>) -> CountryStatus {
    let Some(channel) = wanted.and_then(|wanted| wanted.channel.as_ref()) else { return here };
    let is_wanted = |refused: &RefusedVersion| {
        if refused.on_trial {
            return here.trial_verdict(channel) != Verdict::Reached;
        }
        let is_other = refused.version.as_ref().is_some_and(|version| *version != channel.current);
        here.verdict(channel) != Verdict::Reached || !is_other
    };
    let refused = here.refused.clone().filter(is_wanted);
    CountryStatus { refused, ..here }
}

impl Wanted {
    async fn read(published: &dyn Registry, country: CountryCode) -> Result<Self, RegistryError> {
        let (channel, versions) = (published.channel(country).await?, published.versions(country).await?);
        let mut limits = Limits::default();
        if let Some(channel) = &channel {
            // The host reports a manifest that cannot be read.
            limits = published.manifest(country, &channel.current).await.map_or(limits, |manifest| manifest.limits);
        }
        Ok(Self { channel, versions, limits })
    }

    fn is_nothing(&self) -> bool {
        self.channel.is_none() && self.versions.is_empty()
    }
}

impl State {
    fn name(self) -> &'static str {
        self.into()
    }

    fn words(self) -> String {
        self.name().replace('-', " ")
    }

    fn style(self) -> Style {
        match self {
            Self::InForce => GOOD,
            Self::Refused | Self::Unreadable => BAD,
            Self::Waiting => OPEN,
            Self::NoHost | Self::NotPromoted => Style::new(),
        }
    }
}

impl Shown {
    fn channel(&self) -> Option<&Channel> {
        self.registry.as_ref().ok()?.channel.as_ref()
    }

    fn state(&self) -> State {
        let channel = match &self.registry {
            Err(_) => return State::Unreadable,
            Ok(Wanted { channel: None, .. }) => return State::NotPromoted,
            Ok(Wanted { channel: Some(channel), .. }) => channel,
        };
        if !self.has_host {
            return State::NoHost;
        }
        let Some(here) = &self.here else { return State::Waiting };
        match (here.verdict(channel), here.trial_verdict(channel)) {
            (Verdict::Refused(_), _) | (_, Verdict::Refused(_)) => State::Refused,
            (Verdict::Waiting(_), _) => State::Waiting,
            // A trial that has not begun or ended yet changes nothing for patients.
            (Verdict::Reached, _) => State::InForce,
        }
    }

    fn json(&self) -> Value {
        let mut value = match &self.registry {
            Ok(Wanted { channel, versions, limits }) => json!({
                "country": self.country, "channel": channel, "versions": versions, "limits": limits,
            }),
            Err(error) => json!({ "country": self.country, "error": error.to_string() }),
        };
        value["verdict"] = self.state().name().into();
        value["host"] = json!(self.here);
        value
    }

    /// Describes the country for other programs.
    fn lines(&self) -> Vec<String> {
        let country = self.country;
        let first = match &self.registry {
            Ok(wanted) => format!("{country}: {}", wanted.line()),
            Err(error) => format!("{country}: {error}"),
        };
        let limits = self.limits().map(|limits| format!("    {limits}"));
        let here = self.here.as_ref().map(|here| format!("    {}: {}", self.state().words(), on_host(here)));
        let refused = self.refused().map(|refused| format!("    {refused}"));
        [Some(first), limits, here, refused].into_iter().flatten().collect()
    }

    /// Describes what the table has no room for.
    fn notes(&self) -> Vec<String> {
        let country = styled(Style::new().bold(), self.country);
        let last =
            self.channel().and_then(last_change).map(|(at, by, why)| format!("wanted since {at} by {by}: {why}"));
        let trial = self.channel().and_then(|channel| channel.candidate.as_ref()).map(terms);
        let error = self.registry.as_ref().err().map(ToString::to_string);
        let notes = [error, last, trial, self.limits(), self.refused()];
        notes.into_iter().flatten().map(|note| format!("{country}  {note}")).collect()
    }

    fn limits(&self) -> Option<String> {
        let limits = &self.registry.as_ref().ok().filter(|wanted| !wanted.limits.are_standard())?.limits;
        Some(format!("its limits: {}", Bounds::of(limits).map_or_else(|no| no.to_string(), |it| it.to_string())))
    }

    fn refused(&self) -> Option<String> {
        let refused = self.here.as_ref()?.refused.as_ref()?;
        let again = if refused.retried { "; it tries again" } else { "" };
        Some(format!("the host refused {} at {}: {}{again}", refused.what, time(refused.at), refused.why))
    }
}

impl Wanted {
    fn line(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(ToString::to_string).collect();
        let published = if versions.is_empty() { "none".into() } else { versions.join(", ") };
        let used = self.channel.as_ref().map_or_else(
            || "none to be in use".into(),
            |channel| {
                let before =
                    channel.previous.as_ref().map_or_else(String::new, |version| format!(", before it {version}"));
                let pinned = if channel.pinned { ", pinned" } else { "" };
                let last = last_change(channel);
                let since = last.as_ref().map_or_else(|| time(channel.changed_at), |(at, ..)| at.clone());
                let whose = last.map_or_else(String::new, |(_, by, why)| format!(", by {by}: {why}"));
                let trial =
                    channel.candidate.as_ref().map_or_else(String::new, |candidate| format!(", {}", terms(candidate)));
                format!("{} to be in use since {since}{before}{whose}{pinned}{trial}", channel.current)
            },
        );
        format!("{used}; published: {published}")
    }
}

/// Returns time, author and reason of the last change of the version in use.
fn last_change(channel: &Channel) -> Option<(String, &str, &str)> {
    let last = channel.last(ChannelVerb::puts_into_use)?;
    Some((time(last.at), &last.by, &last.why))
}

fn table(shown: &[Shown]) -> String {
    let mut table = Table::new(["COUNTRY", "VERDICT", "WANTED", "IN FORCE", "SINCE", "BEFORE", "PUBLISHED"]);
    for country in shown {
        let (state, channel) = (country.state(), country.channel());
        let pinned = if channel.is_some_and(|channel| channel.pinned) { " (pinned)" } else { "" };
        let wanted = channel.map_or_else(|| "-".into(), |channel| format!("{}{pinned}", channel.current));
        let before = channel.and_then(|channel| channel.previous.as_ref());
        let before = before.map_or_else(|| "-".into(), ToString::to_string);
        let in_force = country.here.as_ref().and_then(|here| here.in_force.as_ref());
        let version = in_force.map_or_else(|| "-".into(), |rules| rules.id.version.clone());
        let since = in_force.and_then(|rules| rules.since).map_or_else(|| "-".into(), time);
        let published = country.registry.as_ref().map_or(0, |wanted| wanted.versions.len());
        let (code, published) = (country.country.to_string(), published.to_string());
        table.styled_row(state.style(), [&code, &state.words(), &wanted, &version, &since, &before, &published]);
    }
    table.to_string()
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

/// Describes the versions on the running host.
fn on_host(here: &CountryStatus) -> String {
    let since = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| format!(" since {}", time(at)));
    let in_force = here.in_force.as_ref().map_or_else(
        || "the host has none in force".into(),
        |rules| format!("the host has {} in force{}", rules.id.version, since(rules.since)),
    );
    let trial = here.on_trial.as_ref().map_or_else(String::new, |trial| format!(", {}", terms(&trial.terms)));
    format!("{in_force}{trial}")
}
