//! Caches tokens that were verified a moment ago. A client sends the same token with each request, and verifying its
//! signature takes longer than the rest of a GET. Knows no signatures and no keys.

use std::time::Duration;

use citas_core::model::Claims;
use citas_core::ports::Clock;
use jiff::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::jwt::Good;

/// Time until a token's signature and its issuer's keys are checked again. The monotonic clock measures it, so a wall
/// clock that is set back does not prolong it.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Memory for tokens, in bytes: about 20,000 usual ones. A flood of valid tokens makes the host verify more signatures,
/// but use no more memory.
const MEMORY: u64 = 8 << 20;

/// Size of one token's entry without its texts, in bytes.
const ENTRY: usize = 192;

/// SHA-256 of a valid token. The cache holds nothing that gives access to anything.
type Digest = [u8; 32];

#[derive(Clone)]
struct Known {
    claims: Claims,
    expires_at: Timestamp,
    /// Time of the next check, by the monotonic clock.
    until: Duration,
}

impl Known {
    fn is_good(&self, clock: &dyn Clock) -> bool {
        clock.now() < self.expires_at && clock.monotonic() < self.until
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Digest, Known> for Bytes {
    fn weight(&self, _: &Digest, Known { claims, .. }: &Known) -> u64 {
        let texts = claims.groups.iter().chain(&claims.scopes).chain(claims.identities.values());
        let texts = texts.map(|text| text.len() + ENTRY / 4).sum::<usize>();
        u64::try_from(ENTRY + claims.subject.len() + texts).unwrap_or(u64::MAX)
    }
}

pub(super) struct KnownTokens(Cache<Digest, Known, Bytes>);

impl Default for KnownTokens {
    fn default() -> Self {
        Self(Cache::with_weighter(20_000, MEMORY, Bytes))
    }
}

impl KnownTokens {
    /// Returns the claims of a token, if it was verified and is still valid.
    pub(super) fn claims(&self, token: &str, clock: &dyn Clock) -> Option<Claims> {
        self.0.get(&digest(token)).filter(|known| known.is_good(clock)).map(|known| known.claims)
    }

    /// Adds a token that was verified just now.
    pub(super) fn remember(&self, token: &str, good: &Good, clock: &dyn Clock) {
        let until = clock.monotonic() + REMEMBERED;
        self.0.insert(digest(token), Known { claims: good.claims.clone(), expires_at: good.expires_at, until });
    }

    /// Clears the cache, so that every signature is verified again.
    pub(super) fn forget(&self) {
        self.0.clear();
    }
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed clock: its wall-clock and its monotonic time, in seconds.
    struct At(i64, u64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0).unwrap()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    fn ana() -> Claims {
        Claims { subject: "ana".into(), groups: [].into(), scopes: [].into(), identities: [].into() }
    }

    fn good_until(second: i64) -> Good {
        Good { claims: ana(), expires_at: Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn a_good_token_is_known_for_a_minute() {
        let tokens = KnownTokens::default();
        tokens.remember("a", &good_until(10_000), &At(1_000, 0));
        assert_eq!(tokens.claims("a", &At(1_059, 59)), Some(ana()));
        assert_eq!(tokens.claims("a", &At(1_060, 60)), None);
        assert_eq!(tokens.claims("b", &At(1_000, 0)), None);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_keeps_no_token() {
        let tokens = KnownTokens::default();
        tokens.remember("a", &good_until(10_000), &At(5_000, 0));
        assert_eq!(tokens.claims("a", &At(1_000, 60)), None);
    }

    #[test]
    fn a_token_is_never_known_beyond_its_own_time() {
        let tokens = KnownTokens::default();
        tokens.remember("a", &good_until(1_010), &At(1_000, 0));
        assert_eq!(tokens.claims("a", &At(1_009, 9)), Some(ana()));
        assert_eq!(tokens.claims("a", &At(1_010, 9)), None);
    }

    #[test]
    fn a_flood_of_tokens_however_large_takes_no_more_memory() {
        let tokens = KnownTokens::default();
        let mut good = good_until(10_000);
        good.claims.subject = "x".repeat(5_000);
        good.claims.identities = [("pe".parse().unwrap(), "y".repeat(5_000))].into();
        for number in 0..5_000 {
            tokens.remember(&number.to_string(), &good, &At(1_000, 0));
        }
        assert!(tokens.0.weight() <= MEMORY, "{}", tokens.0.weight());
        tokens.remember("later", &good_until(10_000), &At(1_060, 60));
        assert_eq!(tokens.claims("later", &At(1_061, 61)), Some(ana()));
    }
}
