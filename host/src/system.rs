//! Adapters of the ports for time and ids. The core reads clocks only through them.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use citas_core::ports::{Clock, Ids};
use jiff::Timestamp;
use uuid::Uuid;

/// The machine's clock, to the millisecond, because people read the times that are stored and shown.
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

/// Generator of UUIDs of version 7 (RFC 9562). New ones sort last, so the ledger's index grows at one end. All 74 bits
/// beside the millisecond are random, so nobody can guess the next id from one. With the usual counter
/// ([`Uuid::now_v7`]), neighbours would differ by one and 32 random bits.
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

    /// With a counter, ids of one millisecond would differ little in these bits.
    #[test]
    fn an_id_does_not_tell_the_next() {
        let middle = |id: Uuid| u64::try_from(id.as_u128() >> 32 & 0x3fff_ffff).expect("30 bits");
        let ids: Vec<u64> = (0..100).map(|_| middle(UuidIds.next())).collect();
        let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 16).count();
        assert!(near < 5, "{near} of 99 ids are near the one before");
    }
}
