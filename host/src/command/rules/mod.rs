//! `citas rules`: the verbs for a country's team and the platform team.

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
mod verdict;
mod verify;
mod versions;

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "compiler")]
use citas_core::model::digest;
use citas_core::model::{CountryCode, Limits, MAX_COMPONENT_BYTES, RulesPackage};
#[cfg(feature = "compiler")]
use citas_core::ports::Engine as _;
use citas_core::ports::{Clock as _, FailedCall, Refusal, Registry};
#[cfg(not(feature = "compiler"))]
use citas_core::release::admit;
use citas_core::rules::LoadedRules;
use clap::{Args, Subcommand};
use semver::Version;
use serde_json::{Value, json};

use self::bench::bench;
use self::build::build;
use self::channel::{RollbackOptions, pin, promote, rollback};
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
use self::verdict::Waiting;
use self::verify::{TrustFile, verify};
use self::versions::versions;
use super::{Answer, Misuse, Outcome, chain, complain, say, terminal};
use crate::config::{Folders, RegistryPlace};
use crate::files;
use crate::system::SystemClock;
use crate::toolkit::{CountryFolder, Language, cases_in, limits_in};
use crate::wasm::WasmEngine;
#[cfg(feature = "compiler")]
use crate::wasm::judge::{ChildJudge, NotAccepted};
use crate::wiring;

#[derive(Subcommand)]
pub enum Verb {
    /// Create a folder for a new country, which builds, passes its golden cases and books
    New {
        /// ISO 3166-1 alpha-2 code of the country, in lower case, for example `pe`
        country: CountryCode,
        /// Language of the sources
        #[arg(long, value_enum, default_value = "rust")]
        lang: Language,
        /// IANA name of the time zone in which most people of the country live, for example `America/Lima`
        #[arg(long, default_value = "Etc/UTC")]
        zone: String,
        /// Folder with the countries' sources
        #[arg(long, default_value = "countries", value_name = "DIR")]
        countries: PathBuf,
        #[command(flatten)]
        report: Report,
    },
    /// Build a country's folder into a component
    Build {
        /// Folder with the country's rules.toml
        folder: PathBuf,
        /// Output file, by default `<country>.wasm`
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        report: Report,
    },
    /// Check whether a host would accept a component; show what it offers and what clients will notice
    Check {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Run the golden cases in the real engine with the real limits
    Test {
        #[command(flatten)]
        source: Source,
        /// Run only the cases whose name contains this text
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        #[command(flatten)]
        report: Report,
    },
    /// Measure time, fuel and memory of the calls in the golden cases
    Bench {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        report: Report,
    },
    /// List the upcoming appointments that rules would have refused, had they been in force
    Impact(impact::Options),
    /// Replay a stored decision with the rules that made it, and compare the results
    Replay(replay::Options),
    /// Publish a version whose golden cases pass; at least one is required. It is not in force yet
    Publish {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        options: PublishOptions,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Generate a key pair for signing a country's versions
    Keygen {
        /// Country code, for example `pe`
        country: CountryCode,
        /// File for the secret key, by default `<country>.key`; the public key is written beside it
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        report: Report,
    },
    /// Verify published versions as a host would: their files, signatures and golden cases
    Verify {
        /// Country code, for example `pe`
        country: CountryCode,
        /// Version to verify, for example `1.2.0` [default: every published version]
        version: Option<Version>,
        #[command(flatten)]
        trust: TrustFile,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Put a published version into force, and report whether the host takes it
    Promote {
        #[command(flatten)]
        change: ChannelOptions,
        /// Version to put into force, for example `1.2.0`
        version: Version,
        #[command(flatten)]
        trust: TrustFile,
    },
    /// Put the last version that was in force before into force again; a second rollback in a row is refused
    Rollback(RollbackOptions),
    /// Pin the version in force; promote, rollback and canary are refused until it is released
    Pin {
        #[command(flatten)]
        change: ChannelOptions,
        /// Release the pin
        #[arg(long)]
        release: bool,
    },
    /// Run a published version beside the one in force on the same calls; it decides nothing
    Shadow {
        #[command(flatten)]
        change: ChannelOptions,
        /// Version to try, for example `1.2.0`
        version: Version,
        #[command(flatten)]
        trust: TrustFile,
    },
    /// Let a published version decide for some patients; it is taken back automatically if it does much worse
    Canary {
        #[command(flatten)]
        change: ChannelOptions,
        /// Version to try, for example `1.2.0`
        version: Version,
        #[command(flatten)]
        canary: CanaryOptions,
        #[command(flatten)]
        trust: TrustFile,
    },
    /// End a trial; the version in force decides alone again
    Withdraw(ChannelOptions),
    /// Show the differences between a version on trial and the one in force, and the canary's counts
    Diff(diff::Options),
    /// Show who changed the version in force, when and why, latest change first
    History {
        /// Country code, for example `pe`
        country: CountryCode,
        /// Maximum number of changes to show [default: all that the registry remembers, at most 50]
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// List the published versions of a country, highest first
    Versions {
        /// Country code, for example `pe`
        country: CountryCode,
        #[command(flatten)]
        registry: InRegistry,
    },
    /// Show the version that should be in force in each country, and the verdict of the host on the data folder
    Status {
        /// Country code, for example `pe` [default: all countries]
        country: Option<CountryCode>,
        #[command(flatten)]
        registry: InRegistry,
    },
}

#[derive(Args)]
pub struct Source {
    /// Country's folder, or component file
    #[arg(value_name = "FOLDER|WASM")]
    path: PathBuf,
    /// Folder with the golden cases [default: the country's cases/; none for a component file]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// `rules.toml` with the limits of a component file [default: the standard limits; a folder has its own]
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
}

#[derive(Args)]
pub struct PublishOptions {
    /// Revision of the sources, recorded in the manifest
    #[arg(long = "source", value_name = "REVISION")]
    revision: Option<String>,
    /// Secret key that signs the version, as made by `citas rules keygen`
    #[arg(long, env = "CITAS_SIGNING_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Options of a verb that changes a country's channel.
#[derive(Args)]
pub struct ChannelOptions {
    /// Country code, for example `pe`
    country: CountryCode,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    registry: InRegistry,
}

#[derive(Args)]
pub struct Reason {
    /// Reason for the change, shown in the history
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Author of the change, shown in the history [default: this machine's user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Args)]
pub struct Report {
    /// Print the result as JSON
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

    /// Reports an error as JSON if JSON was requested. Misuse is always reported as text.
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
    /// Opens a registry that exists.
    async fn open(&self) -> Result<Arc<dyn Registry>, Misuse> {
        self.folders.require().map_err(|absent| Misuse(absent.to_string()))?;
        Ok(self.open_or_create().await)
    }

    /// Opens a registry for publishing, which creates it.
    async fn open_or_create(&self) -> Arc<dyn Registry> {
        wiring::registry(self.folders.registry()).await
    }

    /// Makes the data folder private if the registry will be created in it. A registry elsewhere has the umask's modes.
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

    /// True if the registry was named explicitly. The one in the data folder need not exist.
    fn is_named(&self) -> bool {
        self.folders.registry.is_some()
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
        Verb::Test { source, only, report } => report.explained(test(&source, only.as_deref(), &report)),
        Verb::Impact(options) => options.report.explained(impact(&options).await),
        Verb::Replay(options) => options.registry.report.explained(replay(&options).await),
        Verb::Bench { source, report } => report.explained(bench(&source, &report)),
        Verb::Publish { source, options, registry } => {
            registry.report.explained(publish(&source, options, &registry).await)
        }
        Verb::Keygen { country, output, report } => report.explained(keygen(country, output, &report)),
        Verb::Verify { country, version, trust, registry } => {
            registry.report.explained(verify(country, version, &trust, &registry).await)
        }
        Verb::Promote { change, version, trust } => {
            change.registry.report.explained(promote(&change, version, &trust).await)
        }
        Verb::Rollback(options) => options.registry.report.explained(rollback(&options).await),
        Verb::Pin { change, release } => change.registry.report.explained(pin(&change, release).await),
        Verb::Shadow { change, version, trust } => {
            change.registry.report.explained(try_out(&change, version, None, &trust).await)
        }
        Verb::Canary { change, version, canary, trust } => {
            change.registry.report.explained(try_out(&change, version, Some(canary.into()), &trust).await)
        }
        Verb::Withdraw(change) => change.registry.report.explained(withdraw(&change).await),
        Verb::Diff(options) => options.registry.report.explained(diff(&options).await),
        Verb::History { country, limit, registry } => {
            registry.report.explained(history(country, limit, &registry).await)
        }
        Verb::Versions { country, registry } => registry.report.explained(versions(country, &registry).await),
        Verb::Status { country, registry } => registry.report.explained(status(country, &registry).await),
    }
}

impl Source {
    /// Returns everything that a host judges together.
    fn package(&self) -> Result<RulesPackage, Box<dyn Error>> {
        Ok(RulesPackage { component: self.component()?, limits: self.limits()?, cases: self.cases()? })
    }

    /// Returns the component's bytes. Builds a folder first.
    fn component(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        present(&self.path)?;
        if self.path.is_dir() {
            let folder = CountryFolder::open(&self.path)?;
            let _progress = terminal::progress(format!("building {}", self.path.display()));
            return Ok(folder.build(&[])?);
        }
        let component = files::read(&self.path, MAX_COMPONENT_BYTES);
        component.map_err(|cause| format!("{} cannot be read: {cause}", self.path.display()).into())
    }

    /// True if golden cases belong to the source, rather than being unknown.
    fn names_cases(&self) -> bool {
        self.cases.is_some() || self.path.is_dir()
    }

    /// Returns what is wrong with failed calls, in words; nothing for a component file.
    fn repeated(&self, calls: &[FailedCall]) -> Vec<String> {
        CountryFolder::open(&self.path).map(|folder| folder.repeated(calls)).unwrap_or_default()
    }

    /// Returns the golden cases in the format of `cases.json`.
    fn cases(&self) -> Result<String, Box<dyn Error>> {
        present(&self.path)?;
        if let Some(folder) = &self.cases {
            present(folder)?;
            return Ok(cases_in(folder)?);
        }
        if self.path.is_dir() { Ok(CountryFolder::open(&self.path)?.cases()?) } else { Ok("[]".into()) }
    }

    /// Returns the declared limits.
    fn limits(&self) -> Result<Limits, Box<dyn Error>> {
        if let Some(file) = &self.limits {
            present(file)?;
            return Ok(limits_in(file)?);
        }
        if self.path.is_dir() { Ok(CountryFolder::open(&self.path)?.limits()) } else { Ok(Limits::default()) }
    }
}

/// Checks that a path from the command line exists.
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

/// Judges rules in a child process, as a host does, and loads them. Also returns the cost of judging in text and in
/// JSON.
#[cfg(feature = "compiler")]
async fn judge(package: &RulesPackage) -> Result<(LoadedRules, (String, Value)), Box<dyn Error>> {
    let _progress = terminal::progress("judging the rules");
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

/// Returns the failed calls that a refusal reports.
fn failed_calls<'a>(error: &'a (dyn Error + 'static)) -> &'a [FailedCall] {
    #[cfg(feature = "compiler")]
    if let Some(NotAccepted::Refused(Refusal::Reported { failed, .. })) = error.downcast_ref() {
        return failed;
    }
    match error.downcast_ref() {
        Some(Refusal::Reported { failed, .. }) => failed,
        _ => &[],
    }
}

/// Returns the share of a call's fuel that was left, in percent.
fn headroom(used: u64, limit: u64) -> String {
    let tenths = limit.saturating_sub(used) * 1000 / limit.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
