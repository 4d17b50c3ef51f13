//! The machine's clock and ids. The only place that asks what time it is.

use citas_core::time::{Clock, Ids};
use jiff::Timestamp;
use uuid::Uuid;

/// The machine's clock, to the millisecond: what is stored and shown is to be read by people.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

/// UUIDs of version 7 (RFC 9562): new ones sort last, which keeps the ledger's index growing at one end, and 74 bits
/// are random, so that they cannot be guessed.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidIds;

impl Ids for UuidIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}
