//! The Lambda function `precompile`: compiles published components to native code. An upload invokes it. After a
//! deployment, `deploy/aws` does:
//!
//! - `{"verb":"deployed"}`: all functions run this engine, and no other
//! - `{"verb":"list"}`: returns the state of every version that is in use, was in use before, or is on trial
//! - `{"verb":"compile","country":"pe","version":"1.0.0"}`: compiles one version, unless it is compiled already
//! - `{}`: compiles all that `list` returns

use citas_core::model::CountryCode;
use citas_core::ports::{Readiness, Registry as _, RegistryError};
use citas_core::release::{Judge as _, NotCompiled, NotTrust, Trust, precompile};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::process::ExitCode;
use url::form_urlencoded;

use super::{Ended, Started, answer, registry, run_function};
use crate::aws::registry::S3Registry;
use crate::config::RegistryPlace;
use crate::system::SystemClock;
use crate::wasm::judge::{ChildJudge, VERB, judge_main};

#[derive(Args)]
struct Settings {
    /// Bucket with the registry of published rules: `s3://bucket` or `s3://bucket/prefix`
    #[arg(env = "CITAS_REGISTRY", value_parser = PathBufValueParser::new().try_map(RegistryPlace::try_from))]
    registry: RegistryPlace,
    /// Keys that may sign each country's rules: the lines of a trust file, separated by `;`. Empty: rules need no
    /// signature
    #[arg(env = "CITAS_TRUSTED_KEYS", default_value = "")]
    trusted_keys: String,
}

/// An invocation by hand or by `deploy/aws`.
#[derive(Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
enum Verb {
    Deployed,
    List,
    Compile { country: CountryCode, version: Version },
}

/// S3's notification of uploads, of which only the keys matter.
#[derive(Deserialize)]
struct Uploads {
    #[serde(default, rename = "Records")]
    records: Vec<Upload>,
}

#[derive(Deserialize)]
struct Upload {
    s3: Place,
}

#[derive(Deserialize)]
struct Place {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// A version that a channel names, or a channel that cannot be read.
#[derive(Serialize)]
struct Listed {
    country: CountryCode,
    version: Option<Version>,
    /// True if the version decides for patients now.
    in_use: bool,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Compiled,
    Missing,
    Refused,
    Unreadable,
}

impl Upload {
    /// Returns the object's key. S3 encodes it like a form.
    fn key(&self) -> String {
        form_urlencoded::parse(self.s3.object.key.as_bytes()).map(|(key, _)| key).collect()
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs the function.
pub fn main() -> ExitCode {
    // The process that judges is this program too.
    if std::env::args().nth(1).as_deref() == Some(VERB) {
        return judge_main();
    }
    run_function(run())
}

async fn run() -> Ended {
    let Started { settings, aws, metrics } = Started::<Settings>::new().await?;
    let registry = &registry(&settings.registry, &aws)?;
    let judge = &ChildJudge::this_program()?.portable();
    let trust = &trust(&settings.trusted_keys)?;
    let handler = service_fn(move |event: LambdaEvent<Value>| handle(registry, judge, trust.as_ref(), event.payload));
    answer(Runtime::new(handler), metrics).await
}

/// Handles one invocation.
async fn handle(
    registry: &S3Registry,
    judge: &ChildJudge,
    trust: Option<&Trust>,
    event: Value,
) -> Result<Value, Failed> {
    if event.get("verb").is_some() {
        match serde_json::from_value(event)? {
            Verb::Deployed => registry.replace_engines(judge.engine_name()).await?,
            Verb::List => return Ok(serde_json::to_value(list(registry, judge.engine_name()).await?)?),
            Verb::Compile { country, version } => {
                compile_missing(registry, judge, trust, &[(country, version)]).await?;
            }
        }
        return Ok(Value::Null);
    }
    let Uploads { records } = serde_json::from_value(event)?;
    if records.is_empty() {
        let named = channels(registry).await?;
        let versions: Vec<_> =
            named.iter().filter_map(|(country, named)| Some((*country, named.as_ref().ok()?.0.clone()))).collect();
        compile_missing(registry, judge, trust, &versions).await?;
        named.into_iter().try_for_each(|(_, named)| named.map(drop))?;
    } else {
        let uploaded: Vec<_> = records.iter().filter_map(|upload| registry.version_of(&upload.key())).collect();
        compile_all(registry, judge, trust, &uploaded).await?;
    }
    Ok(Value::Null)
}

fn trust(keys: &str) -> Result<Option<Trust>, NotTrust> {
    if keys.is_empty() {
        tracing::warn!(
            "no keys are trusted, so nothing need be signed: whoever can write the registry makes the rules"
        );
        return Ok(None);
    }
    keys.replace(';', "\n").parse().map(Some)
}

/// Returns the version in use in each country, the version that a rollback returns to, and the version on trial, each
/// with whether it is in use. A country whose channel cannot be read has its error instead, so that the other countries'
/// versions are compiled.
async fn channels(
    registry: &S3Registry,
) -> Result<Vec<(CountryCode, Result<(Version, bool), RegistryError>)>, RegistryError> {
    let mut named = Vec::new();
    for country in registry.countries().await? {
        match registry.channel(country).await {
            Ok(Some(channel)) => {
                let on_trial = channel.candidate.map(|candidate| candidate.version);
                named.push((country, Ok((channel.current, true))));
                let others = channel.previous.into_iter().chain(on_trial);
                named.extend(others.map(|version| (country, Ok((version, false)))));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%country, %error, "the channel cannot be read, so nothing of it is compiled");
                named.push((country, Err(error)));
            }
        }
    }
    Ok(named)
}

/// Returns the state of the versions that channels name, for one engine.
async fn list(registry: &S3Registry, engine: &str) -> Result<Vec<Listed>, RegistryError> {
    let mut listed = Vec::new();
    for (country, named) in channels(registry).await? {
        let (version, in_use, state) = match named {
            Ok((version, in_use)) => {
                let state =
                    async { registry.readiness_for(engine, &registry.manifest(country, &version).await?).await };
                let state = state.await;
                (Some(version), in_use, state)
            }
            Err(error) => (None, true, Err(error)),
        };
        let (state, why) = match state {
            Ok(Readiness::Ready) => (State::Compiled, None),
            Ok(Readiness::Refused(why)) => (State::Refused, Some(why)),
            Ok(Readiness::NotCompiled | Readiness::EngineUnknown) => (State::Missing, None),
            Err(error) => (State::Unreadable, Some(error.to_string())),
        };
        listed.push(Listed { country, version, in_use, state, why });
    }
    Ok(listed)
}

/// Compiles those of the versions that have no native code for this engine.
async fn compile_missing(
    registry: &S3Registry,
    judge: &ChildJudge,
    trust: Option<&Trust>,
    versions: &[(CountryCode, Version)],
) -> Result<(), NotCompiled> {
    let mut missing = Vec::new();
    for (country, version) in versions {
        // What cannot be read is reported when it is compiled.
        let manifest = registry.manifest(*country, version).await.ok();
        let is_compiled = match manifest {
            Some(manifest) => registry.readiness_for(judge.engine_name(), &manifest).await? == Readiness::Ready,
            None => false,
        };
        if !is_compiled {
            missing.push((*country, version.clone()));
        }
    }
    compile_all(registry, judge, trust, &missing).await
}

/// Compiles versions. A refusal is for the country's team to read, and is not tried again. Other errors may pass: the
/// first is returned after every version had its turn, so that the invocation is tried again.
///
/// # Errors
/// Returns the first of these other errors.
pub async fn compile_all(
    registry: &S3Registry,
    judge: &ChildJudge,
    trust: Option<&Trust>,
    versions: &[(CountryCode, Version)],
) -> Result<(), NotCompiled> {
    let mut first = Ok(());
    for (country, version) in versions {
        match precompile(registry, registry, judge, &SystemClock, trust, (*country, version)).await {
            Ok(()) => {}
            Err(NotCompiled::Refused(refusal)) => {
                metrics::counter!("citas_rules_swaps_total", "country" => country.to_string(), "outcome" => "refused")
                    .increment(1);
                tracing::warn!(%country, %version, why = %refusal, "refused: it cannot come into force");
            }
            Err(passing) => {
                tracing::error!(%country, %version, error = %passing, "not compiled; it is tried again");
                first = first.and(Err(passing));
            }
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_s3_writes_it() {
        let event =
            r#"{ "Records": [{ "s3": { "object": { "key": "pe/versions/1.0.0%2Bbuild.5/manifest.json" } } }] }"#;
        let uploads: Uploads = serde_json::from_str(event).unwrap();
        assert_eq!(uploads.records[0].key(), "pe/versions/1.0.0+build.5/manifest.json");
        assert!(serde_json::from_str::<Uploads>("{}").unwrap().records.is_empty());
    }
}
