//! `citas rules`: what a country's team and the platform team do with rules.

mod bench;
mod build;
mod channel;
mod check;
mod compared;
mod diff;
mod history;
mod impact;
mod keygen;
mod new;
mod publish;
mod replay;
mod status;
mod stored;
mod test;
mod trial;

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citas_core::model::appointment::CountryCode;
use citas_core::model::limits::{Limits, MAX_COMPONENT_BYTES};
use citas_core::model::time::Clock as _;
use citas_core::ports::registry::Registry;
#[cfg(feature = "compiler")]
use citas_core::ports::registry::digest;
#[cfg(feature = "compiler")]
use citas_core::ports::rules::Engine as _;
use citas_core::release::admission::RulesPackage;
#[cfg(not(feature = "compiler"))]
use citas_core::release::admission::admit;
use citas_core::rules::loaded::LoadedRules;
use clap::{Args, Subcommand};
use semver::Version;
use serde_json::{Value, json};

use self::bench::bench;
use self::build::build;
use self::channel::{pin, promote, rollback};
use self::check::check;
use self::diff::diff;
use self::history::history;
use self::impact::impact;
use self::keygen::keygen;
use self::new::new;
use self::publish::publish;
use self::replay::replay;
use self::status::status;
use self::test::test;
use self::trial::{CanaryOptions, try_out, withdraw};
use super::{Answer, Misuse, Outcome, chain, complain, say};
use crate::config::{Folders, RegistryPlace};
use crate::files;
use crate::system::SystemClock;
use crate::toolkit::{CountryFolder, Language, cases_in, limits_in};
#[cfg(feature = "compiler")]
use crate::wasm::judge::ChildJudge;
use crate::wasm::{Meter, WasmEngine};
use crate::wiring;

#[derive(Subcommand)]
pub enum Verb {
    /// Begin a country: a folder that builds, passes its cases and books, to be made its team's own
    New {
        /// Its ISO 3166-1 alpha-2 code, in lower case
        country: CountryCode,
        /// The language of its sources
        #[arg(long, value_enum, default_value = "rust")]
        lang: Language,
        /// The zone that most of its people live in, by its IANA name
        #[arg(long, default_value = "Etc/UTC")]
        zone: String,
        /// The folder of the countries' sources
        #[arg(long, default_value = "countries", value_name = "DIR")]
        countries: PathBuf,
        #[command(flatten)]
        report: Report,
    },
    /// Build a country's folder into a component
    Build {
        /// The folder with the country's rules.toml
        folder: PathBuf,
        /// File for the component, by default `<country>.wasm`
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        report: Report,
    },
    /// Say whether a host would take a component, what it offers, and what clients of the published version will notice
    Check {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Run golden cases in the real engine with the real limits
    Test {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        report: Report,
    },
    /// Measure the time, fuel and memory of a call, over the golden cases
    Bench {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        report: Report,
    },
    /// List the appointments to come that rules would refuse, had they been in force when each was decided
    Impact(impact::Options),
    /// Judge a stored decision again with the rules that made it, and say whether it comes out the same
    Replay(replay::Options),
    /// Put a version that passes its cases into the registry, and has some; it is not in use yet
    Publish {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        options: PublishOptions,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Make a key pair to sign a country's versions with
    Keygen {
        /// Whose
        country: CountryCode,
        /// File for the secret key, by default `<country>.key`; the public key goes beside it
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        report: Report,
    },
    /// Put a published version into use
    Promote {
        #[command(flatten)]
        change: ChannelOptions,
        /// Which
        version: Version,
    },
    /// Put the version before into use again; after that there is none before it, so that twice is no way forward
    Rollback(ChannelOptions),
    /// Keep the version in use as it is: nobody promotes or rolls back before it is released
    Pin {
        #[command(flatten)]
        change: ChannelOptions,
        /// Let it change again
        #[arg(long)]
        release: bool,
    },
    /// Try a published version beside the one in use, on what that is asked: it decides nothing
    Shadow {
        #[command(flatten)]
        change: ChannelOptions,
        /// Which
        version: Version,
    },
    /// Have a published version decide for some patients; it is taken back by itself where it does much worse
    Canary {
        #[command(flatten)]
        change: ChannelOptions,
        /// Which
        version: Version,
        #[command(flatten)]
        canary: CanaryOptions,
    },
    /// End a trial: the version in use decides alone again
    Withdraw(ChannelOptions),
    /// Say where the answers of a version on trial differ from those of the one in use, and what its canary came to
    Diff(diff::Options),
    /// Say who changed which version is in use, when and why, the last change first
    History {
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
    /// The rules.toml with the limits of a component alone [default: the folder's own; a component alone has the standard]
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
}

#[derive(Args)]
pub struct PublishOptions {
    /// The revision of the sources, for the manifest
    #[arg(long = "source", value_name = "REVISION")]
    revision: Option<String>,
    /// Sign it with this secret key, as `citas rules keygen` made it
    #[arg(long, env = "CITAS_SIGNING_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
}

/// A change of which version of a country is in use, or on trial.
#[derive(Args)]
pub struct ChannelOptions {
    /// Whose
    country: CountryCode,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    registry: InRegistry,
}

#[derive(Args)]
pub struct Reason {
    /// Why, for whoever reads the history
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who does it [default: this machine's user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
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
        let line: &dyn Display = if self.json { value } else { &words };
        if let Err(error) = say(line) {
            complain(&format!("citas: standard output: {error}"));
        }
    }

    /// Whoever asked for JSON reads a no in JSON; misuse stays words, as all misuse is.
    fn explained(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Err(error) if self.json && !error.is::<Misuse>() => {
                self.say("", &json!({ "good": false, "why": chain(error.as_ref()) }));
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

    /// Makes the data folder private if the registry is to be made in it. A registry elsewhere has the umask's modes.
    fn make_data_folder(&self) -> std::io::Result<()> {
        match self.folders.registry() {
            RegistryPlace::Folder(folder) => {
                let [data, folder] = [&self.folders.data, &folder].map(std::path::absolute);
                let data = data?;
                if folder?.starts_with(&data) { files::make_data_folder(&data) } else { Ok(()) }
            }
            #[cfg(feature = "aws")]
            RegistryPlace::Bucket { .. } => Ok(()),
        }
    }

    /// Whether somebody said which one: the one in the data folder need not be there.
    fn is_named(&self) -> bool {
        self.folders.registry.is_some()
    }

    /// One that was named is there to be read. A bucket says so itself.
    fn is_there_if_named(&self) -> Result<(), Misuse> {
        match &self.folders.registry {
            Some(RegistryPlace::Folder(folder)) => present(folder),
            _ => Ok(()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub async fn run(verb: Verb) -> Outcome {
    match verb {
        Verb::New { country, lang, zone, countries, report } => {
            report.explained(new(country, lang, &zone, &countries, &report))
        }
        Verb::Build { folder, output, report } => report.explained(build(&folder, output, &report)),
        Verb::Check { source, registry } => registry.report.explained(check(&source, &registry).await),
        Verb::Test { source, report } => report.explained(test(&source, &report)),
        Verb::Impact(options) => options.report.explained(impact(&options).await),
        Verb::Replay(options) => options.registry.report.explained(replay(&options).await),
        Verb::Bench { source, report } => report.explained(bench(&source, &report)),
        Verb::Publish { source, options, registry } => {
            registry.report.explained(publish(&source, options, &registry).await)
        }
        Verb::Keygen { country, output, report } => report.explained(keygen(country, output, &report)),
        Verb::Promote { change: ChannelOptions { country, reason, registry }, version } => {
            registry.report.explained(promote(country, version, reason, &registry).await)
        }
        Verb::Rollback(ChannelOptions { country, reason, registry }) => {
            registry.report.explained(rollback(country, reason, &registry).await)
        }
        Verb::Pin { change: ChannelOptions { country, reason, registry }, release } => {
            registry.report.explained(pin(country, release, reason, &registry).await)
        }
        Verb::Shadow { change: ChannelOptions { country, reason, registry }, version } => {
            registry.report.explained(try_out(country, version, None, reason, &registry).await)
        }
        Verb::Canary { change: ChannelOptions { country, reason, registry }, version, canary } => {
            registry.report.explained(try_out(country, version, Some(canary.into()), reason, &registry).await)
        }
        Verb::Withdraw(ChannelOptions { country, reason, registry }) => {
            registry.report.explained(withdraw(country, reason, &registry).await)
        }
        Verb::Diff(options) => options.registry.report.explained(diff(&options).await),
        Verb::History { country, registry } => registry.report.explained(history(country, &registry).await),
        Verb::Status { country, registry } => registry.report.explained(status(country, &registry).await),
    }
}

impl Source {
    /// All that a host judges together.
    fn package(&self) -> Result<RulesPackage, Box<dyn Error>> {
        Ok(RulesPackage { component: self.component()?, limits: self.limits()?, cases: self.cases()? })
    }

    /// The component's bytes; a folder is built.
    fn component(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        present(&self.path)?;
        if self.path.is_dir() {
            return Ok(CountryFolder::open(&self.path)?.build(&[])?);
        }
        let component = files::read(&self.path, MAX_COMPONENT_BYTES);
        component.map_err(|cause| format!("{} cannot be read: {cause}", self.path.display()).into())
    }

    /// The golden cases, as `cases.json` has them.
    fn cases(&self) -> Result<String, Box<dyn Error>> {
        if let Some(folder) = &self.cases {
            present(folder)?;
            return Ok(cases_in(folder)?);
        }
        if self.path.is_dir() { Ok(CountryFolder::open(&self.path)?.cases()?) } else { Ok("[]".into()) }
    }

    /// The limits that it declares.
    fn limits(&self) -> Result<Limits, Box<dyn Error>> {
        if let Some(file) = &self.limits {
            present(file)?;
            return Ok(limits_in(file)?);
        }
        if self.path.is_dir() { Ok(CountryFolder::open(&self.path)?.limits()) } else { Ok(Limits::default()) }
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
fn load(component: &[u8], limits: &Limits) -> Result<LoadedRules, Box<dyn Error>> {
    Ok(LoadedRules::load(&WasmEngine::new()?, component, limits)?)
}

/// Has rules judged as a host does, in a process of their own, and loads them. Gives what judging took in words and JSON.
#[cfg(feature = "compiler")]
async fn judge(package: &RulesPackage) -> Result<(LoadedRules, (String, Value)), Box<dyn Error>> {
    let judged = ChildJudge::this_program()?.judge_package(package, None, SystemClock.now()).await?;
    let (engine, digest) = (WasmEngine::new()?, digest(&package.component));
    let rules = LoadedRules::of(engine.load_native(&judged.code, &package.limits)?, digest)?;
    Ok((rules, (judged.usage.to_string(), json!(judged.usage))))
}

#[cfg(not(feature = "compiler"))]
async fn judge(package: &RulesPackage) -> Result<(LoadedRules, (String, Value)), Box<dyn Error>> {
    let rules = admit(&WasmEngine::new()?, package, SystemClock.now())?;
    Ok((rules, (String::new(), Value::Null)))
}

/// Loads them with a note of what each call takes.
fn metered(component: &[u8], limits: &Limits, meter: &Arc<Meter>) -> Result<LoadedRules, Box<dyn Error>> {
    Ok(LoadedRules::load(&WasmEngine::metered(meter.clone())?, component, limits)?)
}

/// How much of the fuel of a call was left.
fn headroom(used: u64, limit: u64) -> String {
    let tenths = limit.saturating_sub(used) * 1000 / limit.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
