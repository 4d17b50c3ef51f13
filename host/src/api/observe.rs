//! Gives every request an id, a line in the log and metrics, and writes the problem documents. Calls of rules are measured
//! in `citas_core::rules`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use citas_core::model::CountryCode;
use citas_core::release::Catalogue;
use citas_core::rules::LoadedRules;
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::{self, Kind, Problem};

/// De facto standard header for a request's id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a client's request id, in characters.
const MAX_REQUEST_ID_CHARS: usize = 64;

/// Label in metrics and the log for a request to no country that the host knows. CloudWatch accepts no empty label.
const NO_COUNTRY: &str = "none";

/// Label for a route that does not exist.
const UNMATCHED: &str = "unmatched";

/// Label for a method that no route accepts.
const OTHER: &str = "other";

/// Id of a request: the client's own if it is short and plain, else a new one.
#[derive(Clone, Debug, Default)]
pub struct RequestId(pub String);

impl RequestId {
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let plain = |id: &&str| {
            (1..=MAX_REQUEST_ID_CHARS).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        Self(given.filter(plain).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// Runs every request in a span with its id, so that each line of the log that it causes has the id. The log has the
/// route and never the path, which may contain an appointment's id.
pub async fn observe(State(catalogue): State<Arc<Catalogue>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let path = request.uri().path().to_owned();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(id.clone());
    let (country, rules) = country(&catalogue, request.method(), &route, &path);
    // The highest level keeps the id on every line that passes a filter.
    let span = tracing::error_span!("request", request_id = id.0, method, route, country);

    let mut response = problem::written(next.run(request).instrument(span).await, &path, &id.0);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let took = started.elapsed();
    let status = response.status().as_u16();
    tracing::info!(
        request_id = id.0,
        method,
        route,
        country,
        rules = rules.as_ref().map(|rules| rules.id.digest.as_str()),
        status,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    let labels =
        [("country", country), ("method", method.to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("citas_requests_total", &labels).increment(1);
    metrics::histogram!("citas_request_seconds", &labels[..3]).record(took);
    response
}

/// Returns the response to what could not be read as a request. Its problem has no path, which is unknown.
pub fn unread(status: StatusCode) -> Response<String> {
    let problem = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(Kind::HeaderTooLarge, "a request's line and headers may have 16 KiB and 100 lines")
        }
        _ => Problem::malformed("this is no request of HTTP/1.1: its first line or a header is not as RFC 9112 has it"),
    };
    let id = Uuid::now_v7().to_string();
    let status = problem.status();
    tracing::info!(request_id = id, country = NO_COUNTRY, status = status.as_u16(), "request");
    let labels = [("country", NO_COUNTRY), ("method", OTHER), ("route", UNMATCHED), ("status", status.as_str())]
        .map(|(name, value)| (name, value.to_owned()));
    metrics::counter!("citas_requests_total", &labels).increment(1);
    let mut response =
        Response::new(serde_json::to_string(&problem.document("", &id)).expect("members with text keys"));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, problem::MEDIA_TYPE);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Returns the method if a route accepts it, else `other`: labels that a client can make up would fill the metrics.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => OTHER,
    }
}

/// Returns the country of a route if the host knows it, and the rules in force there. A preflight is no request to a
/// country.
fn country(catalogue: &Catalogue, method: &Method, route: &str, path: &str) -> (String, Option<Arc<LoadedRules>>) {
    let is_countrys = *method != Method::OPTIONS && route.starts_with("/v1/{country}");
    let named = is_countrys.then(|| path.split('/').nth(2)).flatten();
    let code = named.and_then(|code| code.parse::<CountryCode>().ok());
    let known = code.and_then(|code| Some((code.to_string(), catalogue.entry(code)?.rules)));
    known.unwrap_or_else(|| (NO_COUNTRY.to_owned(), None))
}
