//! How long one request may take, and how much one caller may ask for: a token bucket for each subject, and the headers that say so
//! (RFC 9110 `Retry-After`, draft-ietf-httpapi-ratelimit-headers `RateLimit`, `RateLimit-Policy`).

use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::problem::{Kind, Problem};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// How many subjects are remembered before those that have not asked for a while are forgotten.
const MOST_SUBJECTS: usize = 10_000;

/// A request is answered by then, its body's way here included.
pub const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// Gives up a request that takes longer than `limit`: nearly always one whose body does not come. The rest of it is not
/// waited for.
pub(super) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let late = |_| {
        let detail = format!("a request is given up after {} seconds, its body's way here included", limit.as_secs());
        Problem::new(Kind::TooSlow, detail)
            .header(header::CONNECTION, HeaderValue::from_static("close"))
            .into_response()
    };
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(late)
}

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
    fn no_limit_lets_everybody_in() {
        let limits = Limits::per_second(0);
        assert!((0..1_000).all(|_| limits.admit("ana").is_ok()));
    }
}
