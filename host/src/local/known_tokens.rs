//! Tokens that were found good a moment ago: a client sends the same one with each request, and checking its signature
//! takes longer than all the rest of a GET. Knows no signatures and no keys.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use citas_core::access::Claims;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::jwt::Good;

/// How long a token is taken without another look at its signature and at the issuer's keys.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(60);

/// How many are remembered. A flood of good tokens makes us check more signatures, and use no more memory.
const MOST: usize = 10_000;

/// A good token's digest: what is kept gives no access to anything.
type Digest = [u8; 32];

struct Known {
    claims: Claims,
    until: Timestamp,
}

#[derive(Default)]
pub(super) struct KnownTokens(Mutex<HashMap<Digest, Known>>);

impl KnownTokens {
    /// What a token says, if it was found good and still is.
    pub(super) fn claims(&self, token: &str, now: Timestamp) -> Option<Claims> {
        self.known().get(&digest(token)).filter(|known| now < known.until).map(|known| known.claims.clone())
    }

    /// Remembers a token that was found good just now.
    pub(super) fn remember(&self, token: &str, good: &Good, now: Timestamp) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < MOST {
            let until = good.expires_at.min(now + REMEMBERED);
            known.insert(digest(token), Known { claims: good.claims.clone(), until });
        }
    }

    /// Looks at every token's signature again.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ana() -> Claims {
        Claims { subject: "ana".into(), groups: [].into(), scopes: [].into() }
    }

    fn good_until(second: i64) -> Good {
        Good { claims: ana(), expires_at: at(second) }
    }

    #[test]
    fn a_good_token_is_known_for_a_minute() {
        let tokens = KnownTokens::default();
        tokens.remember("a", &good_until(10_000), at(1_000));
        assert_eq!(tokens.claims("a", at(1_059)), Some(ana()));
        assert_eq!(tokens.claims("a", at(1_060)), None);
        assert_eq!(tokens.claims("b", at(1_000)), None);
    }

    #[test]
    fn a_token_is_never_known_beyond_its_own_time() {
        let tokens = KnownTokens::default();
        tokens.remember("a", &good_until(1_010), at(1_000));
        assert_eq!(tokens.claims("a", at(1_009)), Some(ana()));
        assert_eq!(tokens.claims("a", at(1_010)), None);
    }

    #[test]
    fn a_flood_of_tokens_takes_no_more_memory_and_ends_with_their_minute() {
        let tokens = KnownTokens::default();
        for number in 0..=MOST {
            tokens.remember(&number.to_string(), &good_until(10_000), at(1_000));
        }
        assert_eq!(tokens.known().len(), MOST);
        tokens.remember("later", &good_until(10_000), at(1_060));
        assert_eq!(tokens.claims("later", at(1_061)), Some(ana()));
        assert_eq!(tokens.known().len(), 1);
    }
}
