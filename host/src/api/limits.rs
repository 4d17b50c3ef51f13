//! Limits the time of a request, and the rate of each subject with a token bucket. The headers report the rate limit
//! (RFC 9110 `Retry-After`, draft-ietf-httpapi-ratelimit-headers `RateLimit`, `RateLimit-Policy`).

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use citas_core::ports::deadline;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::{Kind, Problem};

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Number of requests after which idle subjects are forgotten. Each request adds at most one subject, so at most this
/// many are remembered beside the active ones.
const FORGET_INTERVAL: u64 = 10_000;

/// Maximum time for a request, including the arrival of its body.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives up a request that takes longer than `limit`. Its body has nearly always not arrived; the rest of it is not
/// waited for.
pub(super) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let late = || {
        let detail =
            format!("a request may take at most {} seconds, including the transfer of its body", limit.as_secs());
        Problem::new(Kind::TooSlow, detail)
            .header(header::CONNECTION, HeaderValue::from_static("close"))
            .into_response()
    };
    deadline::within(limit, next.run(request)).await.unwrap_or_else(late)
}

/// Rate limit of each subject, or no limit.
pub struct Limits(Option<PerSubject>);

struct PerSubject {
    per_second: NonZeroU32,
    /// Keys are hashes: a subject may be as long as a header, and its bucket must not be.
    buckets: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
    clock: DefaultClock,
    requests: AtomicU64,
}

impl Limits {
    /// Limits each subject to `requests` per second, and as many at once; 0 means no limit.
    pub fn per_second(requests: u32) -> Self {
        Self(NonZeroU32::new(requests).map(|per_second| PerSubject {
            per_second,
            buckets: RateLimiter::keyed(Quota::per_second(per_second)),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
            requests: AtomicU64::new(0),
        }))
    }

    /// Admits a request of the subject, or returns a problem with the time of the next one.
    pub(super) fn admit(&self, subject: &str) -> Result<(), Problem> {
        let Some(limit) = &self.0 else { return Ok(()) };
        if limit.requests.fetch_add(1, Ordering::Relaxed) % FORGET_INTERVAL == FORGET_INTERVAL - 1 {
            limit.buckets.retain_recent();
        }
        limit.buckets.check_key(&limit.hasher.hash_one(subject)).map_err(|refused| {
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
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn one_subject_that_asks_too_much_is_told_to_wait_and_others_are_not() {
        let limits = Limits::per_second(2);
        assert!(limits.admit("ana").is_ok());
        assert!(limits.admit("ana").is_ok());
        assert!(limits.admit("ana").is_err());
        assert!(limits.admit("luis").is_ok());
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_given_up_and_its_connection_closed() {
        let never = || async { std::future::pending::<&str>().await };
        let limit = middleware::from_fn_with_state(Duration::from_millis(20), in_time);
        let router = Router::new().route("/", get(never)).layer(limit);
        let answer = router.oneshot(Request::<axum::body::Body>::default()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(answer.headers()[header::CONNECTION], "close");
    }

    #[test]
    fn subjects_that_no_longer_ask_are_forgotten() {
        let limits = Limits::per_second(1_000_000);
        for subject in 0..5 * FORGET_INTERVAL {
            assert!(limits.admit(&subject.to_string()).is_ok());
        }
        let remembered = limits.0.unwrap().buckets.len();
        assert!(remembered < usize::try_from(2 * FORGET_INTERVAL).unwrap(), "{remembered}");
    }

    #[test]
    fn no_limit_lets_everybody_in() {
        let limits = Limits::per_second(0);
        assert!((0..1_000).all(|_| limits.admit("ana").is_ok()));
    }
}
