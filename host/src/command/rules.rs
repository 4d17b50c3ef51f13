//! `citas rules`: what a country's team and the platform team do with rules.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use citas_core::appointment::CountryCode;
use citas_core::cases::{self, Outcome as CaseOutcome};
use citas_core::loaded::LoadedRules;
use citas_core::registry::{Artifact, Channel, Manifest, Registry, RegistryError, digest};
use citas_core::rules::CONTRACT;
use citas_core::time::Clock as _;
use clap::{Args, Subcommand};
use semver::Version;
use serde_json::{Value, json};

use super::{Answer, Misuse, Outcome, chain};
use crate::config::Folders;
use crate::rules::{CountryFolder, WasmEngine, cases_in};
use crate::status::{self, CountryStatus};
use crate::system::SystemClock;
use crate::wiring;

/// How long a version that was just published may take to be compiled.
const COMPILING: Duration = Duration::from_mins(2);

#[derive(Subcommand)]
pub enum Verb {
    /// Build a country's folder into a component
    Build {
        /// The folder with the country's rules.toml
        folder: PathBuf,
        /// Where the component goes [default: <country>.wasm]
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        report: Report,
    },
    /// Say whether a host would take a component, and what it offers
    Check {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        report: Report,
    },
    /// Run golden cases in the real engine with the real limits
    Test {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        report: Report,
    },
    /// Put a version that passes its cases into the registry, and has some; it is not in use yet
    Publish {
        #[command(flatten)]
        source: Source,
        /// The revision of the sources, for the manifest
        #[arg(long = "source", value_name = "REVISION")]
        revision: Option<String>,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Put a published version into use
    Promote {
        /// Whose
        country: CountryCode,
        /// Which
        version: Version,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Put the version before into use again; after that there is none before it, so that twice is no way forward
    Rollback {
        /// Whose
        country: CountryCode,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Say which versions there are, which is to be in use, and what the host that runs on the data folder made of it
    Status {
        /// Whose [default: every country's]
        country: Option<CountryCode>,
        #[command(flatten)]
        registry: InRegistry,
    },
}

#[derive(Args)]
pub struct Source {
    /// A country's folder, or a component
    #[arg(value_name = "FOLDER|WASM")]
    path: PathBuf,
    /// Golden cases kept elsewhere [default: the folder's cases/; a component alone has none]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
}

#[derive(Args)]
pub struct Report {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct InRegistry {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    report: Report,
}

impl Report {
    fn say(&self, words: &str, value: &Value) {
        if self.json {
            println!("{value}");
        } else {
            println!("{words}");
        }
    }

    /// Whoever asked for JSON reads a no in JSON; misuse stays words, as all misuse is.
    fn explained(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Err(error) if self.json && !error.is::<Misuse>() => {
                println!("{}", json!({ "good": false, "why": chain(error.as_ref()) }));
                Ok(Answer::No)
            }
            other => other,
        }
    }
}

impl InRegistry {
    async fn open(&self) -> Arc<dyn Registry> {
        wiring::registry(self.folders.registry()).await
    }
}

#[tokio::main(flavor = "current_thread")]
pub async fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::Build { folder, output, report } => report.explained(build(&folder, output, &report)),
        Verb::Check { source, report } => report.explained(check(&source, &report)),
        Verb::Test { source, report } => report.explained(test(&source, &report)),
        Verb::Publish { source, revision, registry } => {
            registry.report.explained(publish(&source, revision, &registry).await)
        }
        Verb::Promote { country, version, registry } => {
            registry.report.explained(promote(country, version, &registry).await)
        }
        Verb::Rollback { country, registry } => registry.report.explained(rollback(country, &registry).await),
        Verb::Status { country, registry } => registry.report.explained(status(country, &registry).await),
    }
}

impl Source {
    /// The component's bytes; a folder is built.
    fn component(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        present(&self.path)?;
        if self.path.is_dir() {
            return Ok(CountryFolder::open(&self.path)?.build(&[])?);
        }
        std::fs::read(&self.path).map_err(|cause| format!("{} cannot be read: {cause}", self.path.display()).into())
    }

    /// The golden cases, as `cases.json` has them.
    fn cases(&self) -> Result<String, Box<dyn Error>> {
        if let Some(folder) = &self.cases {
            present(folder)?;
            return Ok(cases_in(folder)?);
        }
        if self.path.is_dir() { Ok(CountryFolder::open(&self.path)?.cases()?) } else { Ok("[]".into()) }
    }
}

/// What the command line names is there.
fn present(path: &Path) -> Result<(), Misuse> {
    if path.exists() {
        Ok(())
    } else {
        Err(Misuse(format!("there is no {}; name a file or folder that is", path.display())))
    }
}

/// Loads rules as a host would.
fn load(component: &[u8]) -> Result<LoadedRules, Box<dyn Error>> {
    Ok(LoadedRules::load(&WasmEngine::new()?, component, 1)?)
}

fn build(folder: &Path, output: Option<PathBuf>, report: &Report) -> Outcome {
    present(folder)?;
    let folder = CountryFolder::open(folder)?;
    let component = folder.build(&[])?;
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.wasm", folder.country())));
    std::fs::write(&output, &component).map_err(|cause| format!("{} cannot be written: {cause}", output.display()))?;
    let (bytes, digest) = (component.len(), digest(&component));
    let words = format!("{}  {bytes} bytes  {digest}", output.display());
    report.say(&words, &json!({ "file": output, "bytes": bytes, "digest": digest }));
    Ok(Answer::Done)
}

fn check(source: &Source, report: &Report) -> Outcome {
    let component = source.component()?;
    let rules = match load(&component) {
        Ok(rules) => rules,
        Err(refusal) => {
            let why = chain(refusal.as_ref());
            report.say(&format!("no: {why}"), &json!({ "good": false, "why": why }));
            return Ok(Answer::No);
        }
    };
    let actions: Vec<&String> = rules.actions.keys().collect();
    let descriptor = &rules.descriptor;
    let words = format!(
        "good: {} {}, {} bytes, {}\nzones    {}\nlocales  {}\nactions  {}\ncontract {CONTRACT}",
        rules.country,
        rules.id.version,
        component.len(),
        rules.id.digest,
        descriptor.zones.join(", "),
        descriptor.locales.join(", "),
        actions.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
    );
    let value = json!({
        "good": true, "country": rules.country, "rules": rules.id, "bytes": component.len(), "contract": CONTRACT,
        "zones": descriptor.zones, "locales": descriptor.locales, "actions": actions,
    });
    report.say(&words, &value);
    Ok(Answer::Done)
}

fn test(source: &Source, report: &Report) -> Outcome {
    let cases = cases::read(&source.cases()?)?;
    let rules = load(&source.component()?)?;
    let outcomes = cases::run(&rules, &cases);
    let failed: Vec<&CaseOutcome> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let lines = outcomes.iter().map(|CaseOutcome { name, failure }| match failure {
        None => format!("ok      {name}"),
        Some(failure) => format!("FAILED  {name}\n        {failure}"),
    });
    let passed = outcomes.len() - failed.len();
    let sum = format!("{} {}: {passed} cases passed, {} failed", rules.country, rules.id.version, failed.len());
    let words = lines.chain([sum]).collect::<Vec<_>>().join("\n");
    let failures: Vec<Value> = failed.iter().map(|case| json!({ "name": case.name, "why": case.failure })).collect();
    report.say(&words, &json!({ "rules": rules.id, "passed": passed, "failed": failures }));
    Ok(if failed.is_empty() { Answer::Done } else { Answer::No })
}

/// Hosts run a version's cases before they put it into force, which is all that they can know of it.
const NO_CASES: &str = "there is no golden case, so no host could tell whether this version answers as its team means it \
                        to; write at least one into the country's cases/, or name a folder that has some with --cases";

async fn publish(source: &Source, revision: Option<String>, registry: &InRegistry) -> Outcome {
    let cases = source.cases()?;
    if cases::read(&cases)?.is_empty() {
        return Err(NO_CASES.into());
    }
    let component = source.component()?;
    let rules = citas_core::swap::admit(&WasmEngine::new()?, &component, &cases, 1, SystemClock.now())?;
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

async fn promote(country: CountryCode, version: Version, registry: &InRegistry) -> Outcome {
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
async fn rollback(country: CountryCode, registry: &InRegistry) -> Outcome {
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

async fn status(country: Option<CountryCode>, registry: &InRegistry) -> Outcome {
    let published = registry.open().await;
    let data = &registry.folders.data;
    let host = status::read(data, &SystemClock)
        .map_err(|cause| format!("what the host on {} says cannot be read: {cause}", data.display()))?;
    let known = host.iter().flatten().map(|(country, _)| *country);
    let countries = match country {
        Some(country) => BTreeSet::from([country]),
        None => published.countries().await?.into_iter().chain(known).collect(),
    };
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    for country in countries {
        let (channel, versions) = (published.channel(country).await?, published.versions(country).await?);
        let here = host.as_ref().and_then(|host| host.get(&country));
        lines.push(line(country, channel.as_ref(), &versions));
        lines.extend(here.map(said_by_host));
        values.push(json!({ "country": country, "channel": channel, "versions": versions, "host": here }));
    }
    if lines.is_empty() {
        lines.push("nothing is published".into());
    } else if host.is_none() {
        lines.push(format!("no host runs on {}; name the data folder of one with --data", data.display()));
    }
    registry.report.say(&lines.join("\n"), &values.into());
    Ok(Answer::Done)
}

fn line(country: CountryCode, channel: Option<&Channel>, versions: &[Version]) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let published = if versions.is_empty() { "none".into() } else { versions.join(", ") };
    let used = channel.map_or_else(
        || "none to be in use".into(),
        |channel| {
            let before = channel.previous.as_ref().map_or_else(String::new, |version| format!(", before it {version}"));
            format!("{} to be in use since {}{before}", channel.current, channel.changed_at)
        },
    );
    format!("{country}: {used}; published: {published}")
}

/// What the running host made of it.
fn said_by_host(here: &CountryStatus) -> String {
    let since = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| format!(" since {at}"));
    let in_force = here.in_force.as_ref().map_or_else(
        || "the host has none in force".into(),
        |rules| format!("the host has {} in force{}", rules.version, since(rules.since)),
    );
    let refused = here.refused.as_ref().map_or_else(String::new, |refused| {
        format!("\n    it refused {} at {}: {}", refused.what, refused.at, refused.why)
    });
    format!("    {in_force}{refused}")
}
