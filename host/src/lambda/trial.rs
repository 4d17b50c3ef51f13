//! The Lambda function `trial`: tries candidates on the records of a table's stream.

use std::sync::Arc;

use aws_lambda_events::event::dynamodb;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};

use super::setup::{Rules, RulesSettings, Starting};
use super::{Ended, Started, answer};
use crate::aws::trial::Trier;
use crate::system::SystemClock;

/// Runs the function for as long as its instance lives.
///
/// # Errors
/// Returns an error if it cannot start, or Lambda's runtime API fails.
pub async fn run() -> Ended {
    let engine = Starting::new();
    let Started { settings, aws, metrics } = Started::<RulesSettings>::new().await?;
    let Rules { catalogue, on_demand, registry, ledger } = Rules::new(&settings, &aws, engine, true, None)?;
    let trier = &Trier { registry, catalogue, on_demand, ledger, clock: Arc::new(SystemClock) };
    let handler = service_fn(move |event: LambdaEvent<dynamodb::Event>| async move {
        trier.try_out(&event.payload).await.map_err(lambda_runtime::Error::from)
    });
    answer(Runtime::new(handler), metrics).await
}
