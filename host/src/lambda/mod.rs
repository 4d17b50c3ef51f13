//! The platform as Lambda functions. Each function puts the AWS adapters behind the ports, once per instance.
//!
//! - [`api`]: the HTTP API behind API Gateway
//! - [`relay`]: numbers the revisions of a table's stream, and publishes its events to the topic
//! - [`notifier`]: sends mail for the messages of the queue
//! - [`trial`]: tries candidates on the records of a table's stream
//! - [`wake`]: does the scheduled actions that are due
//! - `precompile`: compiles published components to native code
//! - [`setup`]: the rules and the ledger that several functions start with

pub mod api;
pub mod notifier;
#[cfg(feature = "compiler")]
pub mod precompile;
pub mod relay;
mod setup;
pub mod trial;
pub mod wake;

use std::io::Write as _;
use std::process::ExitCode;

use aws_config::SdkConfig;
use clap::{Args, Parser};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{LambdaInvocation, Runtime, Service};
use metrics_cloudwatch_embedded::lambda::MetricsLayer;
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use crate::aws::clients;
use crate::aws::registry::S3Registry;
use crate::config::{RegistryPlace, refuse_unknown_settings};
use crate::json_lines::JsonLines;

/// CloudWatch namespace of all metrics.
const NAMESPACE: &str = "Citas";

/// Result of a function. After an error Lambda starts another instance.
pub type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Everything that a function has after its start.
struct Started<Settings> {
    settings: Settings,
    aws: SdkConfig,
    metrics: &'static Collector,
}

/// Settings of one function, and those that all functions share.
#[derive(Parser)]
struct Environment<Settings: Args> {
    #[command(flatten)]
    own: Settings,
    /// Log filter, for example `info` or `citas=debug`
    #[arg(long, env = "CITAS_LOG", default_value = "info")]
    log: String,
}

impl<Settings: Args> Started<Settings> {
    /// Reads the settings from the environment and starts the log.
    async fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        refuse_unknown_settings()?;
        let Environment { own: settings, log } = Environment::<Settings>::try_parse_from(["citas"])?;
        let filter = EnvFilter::try_new(log)?;
        // Lambda adds the time.
        let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
        log.fmt_fields(JsonFields::new()).event_format(JsonLines::default()).init();
        let metrics = Builder::new()
            .cloudwatch_namespace(NAMESPACE)
            .with_lambda_request_id("requestId")
            .with_lambda_xray_trace_id("traceId")
            .init()?;
        Ok(Self { settings, aws: clients::configuration().load().await, metrics })
    }
}

/// Handles invocations for as long as the instance lives. Each has its request id and trace id in every line of the
/// log, and its metrics are written in the embedded metric format when it ends.
async fn answer<S>(runtime: Runtime<S>, metrics: &'static Collector) -> Ended
where
    S: Service<LambdaInvocation, Response = (), Error = lambda_runtime::Error>,
{
    runtime.layer(TracingLayer::new()).layer(MetricsLayer::new(metrics)).run().await
}

/// Returns the registry of published rules. Functions support only a bucket.
fn registry(place: &RegistryPlace, aws: &SdkConfig) -> Result<S3Registry, &'static str> {
    let RegistryPlace::Bucket { bucket, prefix } = place else {
        return Err("`CITAS_REGISTRY` names a bucket: s3://…");
    };
    Ok(S3Registry::new(&aws_sdk_s3::Client::new(aws), bucket, prefix))
}

/// Runs a function, and prints the error that ended it.
#[tokio::main(flavor = "current_thread")]
pub async fn run_function(run: impl Future<Output = Ended>) -> ExitCode {
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the message has nowhere to go.
            let _ = writeln!(std::io::stderr(), "citas: {error}");
            ExitCode::FAILURE
        }
    }
}
