//! The Lambda function `precompile`: compiles published components to native code. An upload invokes it. Invoked with
//! `{}`, for example after a change of the engine, it compiles every version that is in use, was in use before, or is
//! on trial.

use citas_core::model::CountryCode;
use citas_core::ports::{Registry as _, RegistryError};
use citas_core::release::{NotCompiled, NotTrust, Trust, precompile};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use semver::Version;
use serde::Deserialize;
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

/// The event of an invocation: S3's notification of uploads, of which only the keys matter, or an empty object.
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
    let handler = service_fn(move |event: LambdaEvent<Uploads>| async move {
        let uploads = event.payload.records;
        let (versions, unread) = if uploads.is_empty() {
            in_use(registry).await?
        } else {
            (uploads.iter().filter_map(|upload| registry.version_of(&upload.key())).collect(), None)
        };
        compile_all(registry, judge, trust.as_ref(), &versions).await?;
        unread.map_or(Ok(()), |error| Err(Failed::from(error)))
    });
    answer(Runtime::new(handler), metrics).await
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

/// Returns the version in use in each country, the version that a rollback returns to, and the version on trial. A
/// country whose channel cannot be read is left out and its error returned, so that the other countries' versions are
/// compiled first.
async fn in_use(registry: &S3Registry) -> Result<(Vec<(CountryCode, Version)>, Option<RegistryError>), RegistryError> {
    let (mut versions, mut unread) = (Vec::new(), None);
    for country in registry.countries().await? {
        let channel = match registry.channel(country).await {
            Ok(Some(channel)) => channel,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(%country, %error, "the channel cannot be read, so nothing of it is compiled");
                unread = unread.or(Some(error));
                continue;
            }
        };
        let on_trial = channel.candidate.map(|candidate| candidate.version);
        let named = [Some(channel.current), channel.previous, on_trial].into_iter().flatten();
        versions.extend(named.map(|version| (country, version)));
    }
    Ok((versions, unread))
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
