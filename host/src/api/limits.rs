//! How much one caller may ask for: a token bucket for each subject, and the headers that say so
//! (RFC 9110 `Retry-After`, draft-ietf-httpapi-ratelimit-headers `RateLimit`, `RateLimit-Policy`).

use std::num::NonZeroU32;

use axum::http::{HeaderName, HeaderValue, header};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::{Kind, Problem};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// How many subjects are remembered before those that have not asked for a while are forgotten.
const MOST_SUBJECTS: usize = 10_000;

/// A limit for each subject, or none at all.
pub struct Limits(Option<PerSubject>);

struct PerSubject {
    per_second: NonZeroU32,
    buckets: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl Limits {
    /// So many requests a second, and as many at once; 0 is no limit.
    #[must_use]
    pub fn per_second(requests: u32) -> Self {
        Self(NonZeroU32::new(requests).map(|per_second| PerSubject {
            per_second,
            buckets: RateLimiter::keyed(Quota::per_second(per_second)),
            clock: DefaultClock::default(),
        }))
    }

    /// Lets a subject's request in, or says when the next may come.
    pub(super) fn admit(&self, subject: &str) -> Result<(), Problem> {
        let Some(limit) = &self.0 else { return Ok(()) };
        if limit.buckets.len() > MOST_SUBJECTS {
            limit.buckets.retain_recent();
        }
        limit.buckets.check_key(&subject.to_owned()).map_err(|refused| {
            let wait = refused.wait_time_from(limit.clock.now()).as_secs() + 1;
            let value = |text: String| HeaderValue::from_str(&text).expect("digits and ASCII letters");
            Problem::new(Kind::SlowDown, format!("at most {} requests a second", limit.per_second))
                .header(header::RETRY_AFTER, value(wait.to_string()))
                .header(POLICY, value(format!(r#""subject";q={};w=1"#, limit.per_second)))
                .header(STATE, value(format!(r#""subject";r=0;t={wait}"#)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subject_that_asks_too_much_is_told_to_wait_and_others_are_not() {
        let limits = Limits::per_second(2);
        assert!(limits.admit("ana").is_ok());
        assert!(limits.admit("ana").is_ok());
        assert!(limits.admit("ana").is_err());
        assert!(limits.admit("luis").is_ok());
    }

    #[test]
    fn no_limit_lets_everybody_in() {
        let limits = Limits::per_second(0);
        assert!((0..1_000).all(|_| limits.admit("ana").is_ok()));
    }
}
