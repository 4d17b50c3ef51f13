//! The Lambda function `relay`: numbers the revisions of a table's stream, and publishes its events to the topic.

use std::sync::Arc;

use aws_lambda_events::event::dynamodb;
use clap::Args;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};

use super::{Ended, Started, answer};
use crate::aws::dynamo::DynamoLedger;
use crate::aws::sns::SnsPublisher;
use crate::aws::stream;
use crate::system::SystemClock;

#[derive(Args)]
struct Settings {
    /// Prefix of the tables' names
    #[arg(long, env = "CITAS_TABLES", default_value = "citas-")]
    tables: String,
    /// ARN of the topic
    #[arg(env = "CITAS_TOPIC")]
    topic: String,
}

/// Runs the function for as long as its instance lives.
///
/// # Errors
/// Returns an error if it cannot start, or Lambda's runtime API fails.
pub async fn run() -> Ended {
    let Started { settings, aws, metrics } = Started::<Settings>::new().await?;
    let publisher = &SnsPublisher::new(aws_sdk_sns::Client::new(&aws), settings.topic);
    let ledger = &DynamoLedger::new((&aws).into(), &settings.tables, Arc::new(SystemClock));
    let handler = service_fn(move |event: LambdaEvent<dynamodb::Event>| async move {
        // Boxed, because the compiler limits how deep futures are nested.
        Ok::<_, lambda_runtime::Error>(Box::pin(stream::relay(publisher, ledger, &event.payload)).await)
    });
    answer(Runtime::new(handler), metrics).await
}
