//! `citas rules`: what a country's team and the platform team do with rules.

mod build;
mod channel;
mod check;
mod impact;
mod publish;
mod replay;
mod status;
mod test;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citas_core::appointment::CountryCode;
use citas_core::loaded::LoadedRules;
use citas_core::registry::Registry;
use clap::{Args, Subcommand};
use semver::Version;
use serde_json::{Value, json};

use self::build::build;
use self::channel::{promote, rollback};
use self::check::check;
use self::impact::impact;
use self::publish::publish;
use self::replay::replay;
use self::status::status;
use self::test::test;
use super::{Answer, Misuse, Outcome, chain};
use crate::config::Folders;
use crate::rules::{CountryFolder, WasmEngine, cases_in};
use crate::wiring;

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
    /// List the appointments to come that rules would refuse, had they been in force when each was decided
    Impact(impact::Options),
    /// Judge a stored decision again with the rules that made it, and say whether it comes out the same
    Replay(replay::Options),
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
        Verb::Impact(options) => options.report.explained(impact(&options)),
        Verb::Replay(options) => options.registry.report.explained(replay(&options).await),
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
