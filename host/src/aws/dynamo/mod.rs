//! The ledger in DynamoDB: one table a country, one transaction a change, no outbox to be asked, since the table's stream
//! is one.
//!
//! - [`item`]: what lies in a table
//! - [`change`]: a change as a transaction, and why one was refused
//! - [`pages`]: lists, by the index of the first filter that is given
//! - [`ledger`], [`trials`]: the ports
//!
//! | `pk` | `sk` | what |
//! | --- | --- | --- |
//! | `A#<id>` | `A` | an appointment as it stands; the only items that the indexes have |
//! | `A#<id>` | `R#<number>` | each of its revisions, as it was written |
//! | `A#<id>` | `E#<number>#<event>` | an event for the relay, beside its appointment: a stream keeps the order of one partition |
//! | `C#<claim>` | `C` | who holds a claim |
//! | `I#<key>` | `I` | what an Idempotency-Key brought about |
//! | `N#<event>` | `N` | that an event's notices, or one of several, have gone out |
//! | `T#<trial>` | `K`, `S`, `P#<place>` | what a canary decided, what a shadow compared, and each place where it differed |

mod change;
mod item;
mod ledger;
mod pages;
mod trials;

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use citas_core::model::appointment::CountryCode;
use citas_core::ports::clock::Clock;
use citas_core::ports::ledger::Unavailable;

pub use item::{event, revision};

/// Every country's ledger: the table `<prefix><country>`.
pub struct DynamoLedger {
    client: Client,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl DynamoLedger {
    /// Over tables whose names start with `prefix`, which are there already.
    #[must_use]
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

/// Something lies in a table that this adapter does not write.
#[derive(Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an item cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}
