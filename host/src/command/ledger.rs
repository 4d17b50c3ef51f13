//! `citas ledger`: the care of tables on AWS. A data folder needs none: its host migrates it at the start.

use std::sync::Arc;

use citas_core::model::{CountryCode, Pseudonyms};
use clap::Subcommand;

use super::{Answer, Misuse, Outcome, say, stop};
use crate::aws::clients;
use crate::aws::dynamo::{DynamoLedger, Migration};
use crate::system::SystemClock;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Migrate a country's table from the format of an earlier Citas; run it again after an interruption
    Migrate {
        /// Country code, for example `pe`
        country: CountryCode,
        /// Prefix of the DynamoDB table names
        #[arg(long, env = "CITAS_TABLES", value_name = "PREFIX")]
        tables: String,
        /// Secret key of the opaque names of people and accounts, as 64 hexadecimal digits: that of the deployed platform
        #[arg(long, env = "CITAS_KEY", hide_env_values = true, value_name = "KEY")]
        key: Option<String>,
    },
}

pub(super) fn run(verb: Verb) -> Outcome {
    let Verb::Migrate { country, tables, key } = verb;
    let key =
        key.ok_or_else(|| Misuse("set CITAS_KEY to the key of the deployed platform, which its secret has".into()))?;
    // An error of clap would repeat the value.
    let names: Pseudonyms = key.parse().map_err(|why| Misuse(format!("CITAS_KEY: {why}")))?;
    stop::run(async {
        let aws = clients::configuration().load().await;
        let ledger = DynamoLedger::new((&aws).into(), &tables, Arc::new(SystemClock));
        let report = |step| match step {
            Migration::Migrated(count) => say(format!("{count} appointments are migrated")),
            Migration::Numbered(count) => say(format!("{count} revisions are numbered")),
            Migration::Done => say(format!("the table {tables}{country} has the format of this Citas")),
        };
        // A closed output does not stop the migration.
        ledger.migrate(country, &names, |step| drop(report(step))).await?;
        Ok(Answer::Done)
    })?
}
