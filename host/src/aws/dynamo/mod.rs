//! The ledger in DynamoDB: one table per country and one transaction per change. There is no outbox to poll, because
//! the table's stream is one.
//!
//! - [`item`]: the items of a table
//! - [`change`]: a change as a transaction, and the reason for a refusal
//! - [`pages`]: lists, by the index of the first filter
//! - [`ledger`], [`trials`]: the ports
//!
//! | `pk` | `sk` | content |
//! | --- | --- | --- |
//! | `A#<id>` | `A` | the latest state of an appointment; the indexes contain only these items |
//! | `A#<id>` | `R#<number>` | a revision of the appointment, as it was written |
//! | `A#<id>` | `E#<number>#<event>` | an event for the relay |
//! | `C#<claim>` | `C` | the holder of a claim |
//! | `I#<key>` | `I` | the receipt of an Idempotency-Key |
//! | `N#<event>` | `N` | the record that an event's notices, or one of several, were sent |
//! | `T#<trial>` | `K`, `S`, `P#<place>` | a canary's counts, a shadow's counts, and each place of a difference |
//!
//! Events are in their appointment's partition, because a stream keeps the order of one partition.

mod change;
mod item;
mod ledger;
mod pages;
mod trials;

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use citas_core::model::CountryCode;
use citas_core::ports::{Clock, Unavailable};

pub use item::{event, revision};

/// The ledgers of all countries, each in the table `<prefix><country>`.
pub struct DynamoLedger {
    client: Client,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl DynamoLedger {
    /// Creates a ledger over existing tables whose names start with `prefix`.
    pub fn new(configuration: Builder, prefix: &str, clock: Arc<dyn Clock>) -> Self {
        let client = Client::from_conf(configuration.retry_classifier(change::TryAgain).build());
        Self { client, prefix: prefix.to_owned(), clock }
    }

    fn table(&self, country: CountryCode) -> String {
        format!("{}{country}", self.prefix)
    }
}

fn unavailable(country: CountryCode, cause: impl fmt::Display) -> Unavailable {
    Unavailable { country, cause: cause.to_string() }
}

/// Error for an item that this adapter did not write.
#[derive(Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an item cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}
