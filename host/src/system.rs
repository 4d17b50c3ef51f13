//! The machine's clock and ids. The only place that asks what time it is.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use citas_core::ports::clock::{Clock, Ids};
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

    fn monotonic(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

/// UUIDs of version 7 (RFC 9562): new ones sort last, which keeps the ledger's index growing at one end. The 74 bits
/// beside the millisecond are all random, so that nobody who knows one guesses the next; the usual counter
/// ([`Uuid::now_v7`]) would tell it from its neighbour by one and 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidIds;

impl Ids for UuidIds {
    fn next(&self) -> Uuid {
        Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a counter, ids of one millisecond differ by little in the bits after it.
    #[test]
    fn an_id_does_not_tell_the_next() {
        let middle = |id: Uuid| u64::try_from(id.as_u128() >> 32 & 0x3fff_ffff).expect("30 bits");
        let ids: Vec<u64> = (0..100).map(|_| middle(UuidIds.next())).collect();
        let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 16).count();
        assert!(near < 5, "{near} of 99 ids are near the one before");
    }
}
