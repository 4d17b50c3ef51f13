//! The ledger in DynamoDB: one table per country and one transaction per change. There is no outbox to poll, because
//! the table's stream is one.
//!
//! - [`item`]: the items of a table
//! - [`change`]: a change or a hold as a transaction, and the reason for a refusal
//! - [`commit`]: storing them, with places for their claims
//! - [`pages`]: lists, by the index of the first filter
//! - [`claims`]: holders of claims, and the places of a change
//! - [`format`](mod@format): the format of a table
//! - [`ledger`], [`agendas`], [`patient_links`], [`privacy_requests`], [`wakes`], [`readings`], [`trials`]: the ports
//! - [`sequence`]: the numbers of a country's revisions
//! - [`migrate`]: tables of the former format
//!
//! | `pk` | `sk` | content |
//! | --- | --- | --- |
//! | `A#<id>` | `A` | the latest state of an appointment, without its personal part; the indexes contain only these items |
//! | `A#<id>` | `R#<number>` | a revision of the appointment, as it was written, without its personal part; the stream's consumer adds its `sequence` |
//! | `A#<id>` | `E#<number>#<event>` | an event for the relay |
//! | `P#<person>` | `<id>#<number>` | the personal part of a revision |
//! | `C#<resource>` | `<minute>#<ordinal>` | the holder of a claim's place, with `expires` if it is a hold; the minute is `-` for a claim that is not on time |
//! | `H#<id>` | `H` | a hold |
//! | `I#<key>` | `I` | the receipt of an Idempotency-Key |
//! | `N#<event>` | `N` | the record that an event's notices, or one of several, were sent |
//! | `G#<doctor>` | `G`, `R#<number>` | the number of the latest revision of a doctor's agenda; each revision |
//! | `G` | `<doctor>` | the latest revision of each agenda |
//! | `D#<id>` | `D` | a privacy request, without its texts, which are in `P#<person>`, `D#<id>` |
//! | `D#S#<state>`, `D#P#<person>`, `D#O#<owner>` | `<due>#<id>` | copies of it for the lists |
//! | `W#P#<person>`, `W#S#<subject>` | `<time>#<id>` | a reading of a patient; a reading by an actor |
//! | `L#<subject>` | `L`, `<person>` | the number of changes of an account's links to patients; each that has not ended |
//! | `P#<person>` | `L#<subject>`, `R#<subject>#<number>` | the latest revision of each link to a person; each revision |
//! | `Q` | `<time>#<person>#<subject>` | the name of each link that is requested |
//! | `T#<trial>` | `K`, `S`, `P#<place>` | a canary's counts, a shadow's counts, and each place of a difference |
//! | `M` | `format`, `sequence`, `wakes`, `agendas` | the format, the last number of a revision, the first hour with scheduled actions, a number that changes with each agenda |
//!
//! Events are in their appointment's partition, because a stream keeps the order of one partition. A person's partition
//! has all personal data of that person, except for copies of that of links in the accounts' partitions.

mod agendas;
mod change;
mod claims;
mod commit;
mod format;
mod item;
mod ledger;
mod migrate;
mod pages;
mod patient_links;
mod privacy_requests;
mod readings;
mod sequence;
mod trials;
mod wakes;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use citas_core::model::{CountryCode, Pseudonyms};
use citas_core::ports::{Clock, Unavailable};
use tokio::sync::OnceCell;

pub use item::{Item, revision};
pub use migrate::{Migration, NotMigrated};
pub use sequence::{event, numbered};

/// The ledgers of all countries, each in the table `<prefix><country>`.
pub struct DynamoLedger {
    client: Client,
    prefix: String,
    clock: Arc<dyn Clock>,
    /// Opaque names with the key that every table must be written with; `None` if this process has no key.
    names: Option<Pseudonyms>,
    /// Countries whose tables are known to have this format.
    formats: Mutex<HashMap<CountryCode, Arc<OnceCell<()>>>>,
}

impl DynamoLedger {
    /// Creates a ledger over existing tables whose names start with `prefix`.
    pub fn new(configuration: Builder, prefix: &str, clock: Arc<dyn Clock>) -> Self {
        let client = Client::from_conf(configuration.retry_classifier(change::TryAgain).build());
        Self { client, prefix: prefix.to_owned(), clock, names: None, formats: Mutex::default() }
    }

    /// Refuses tables that were written with another key than these names.
    #[must_use]
    pub fn written_with(self, names: Pseudonyms) -> Self {
        Self { names: Some(names), ..self }
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
