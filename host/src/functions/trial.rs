//! The function `trial`: from a table's stream to what is found of versions on trial.

use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::event::dynamodb;
use citas_core::catalogue::Catalogue;
use clap::Args;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};

use super::rules::{RulesSettings, rules};
use super::{Ended, Started, answer, to_its_end};
use crate::aws::dynamo::DynamoLedger;
use crate::aws::trial::Trier;

#[derive(Args)]
struct Settings {
    /// What the tables' names start with
    #[arg(long, env = "CITAS_TABLES", default_value = "citas-")]
    tables: String,
    #[command(flatten)]
    rules: RulesSettings,
}

/// Runs it.
#[must_use]
pub fn main() -> ExitCode {
    to_its_end(run())
}

async fn run() -> Ended {
    let Started { settings, aws, metrics } = Started::<Settings>::new().await?;
    let catalogue = Arc::new(Catalogue::default());
    let (registry, on_demand) = rules(&settings.rules, &aws, &catalogue, true)?;
    let ledger = DynamoLedger::new((&aws).into(), &settings.tables);
    let trier = &Trier { registry, catalogue, on_demand, ledger };
    let handler = service_fn(move |event: LambdaEvent<dynamodb::Event>| async move {
        trier.try_out(&event.payload).await.map_err(lambda_runtime::Error::from)
    });
    answer(Runtime::new(handler), metrics).await
}
