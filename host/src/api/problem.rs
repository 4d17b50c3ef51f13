//! Turns every error into a problem document (RFC 9457). Only this module gives errors their status codes and titles. The
//! details are the texts of the errors themselves, mostly of `citas_core::booking`.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{BookingError, FreeSlot, Rejection};
use citas_core::model::Forbidden;
use citas_core::ports::BadToken;
use citas_core::rules::LoadedRules;
use serde_json::{Map, Value, json};

/// Kind of a problem. Its type is `/problems/<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum Kind {
    MalformedRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    SlotTaken,
    InProgress,
    NotAllowedNow,
    Stale,
    TooLarge,
    UnsupportedMediaType,
    RulesViolated,
    KeyReused,
    SlowDown,
    Internal,
    RulesUnavailable,
    Unavailable,
}

impl Kind {
    /// Returns the status code, the name and the title.
    pub fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedRequest => (StatusCode::BAD_REQUEST, "malformed-request", "Malformed request"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid bearer token is required"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "Request timeout"),
            Self::SlotTaken => (StatusCode::CONFLICT, "slot-taken", "The slot is taken"),
            Self::InProgress => (StatusCode::CONFLICT, "in-progress", "The same request is in progress"),
            Self::NotAllowedNow => {
                (StatusCode::CONFLICT, "not-allowed-now", "Not possible in the appointment's current state")
            }
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "The appointment has changed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The request must be JSON")
            }
            Self::RulesViolated => (StatusCode::UNPROCESSABLE_ENTITY, "rules-violated", "The rules refuse the request"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The Idempotency-Key was used for another request")
            }
            Self::SlowDown => (StatusCode::TOO_MANY_REQUESTS, "slow-down", "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error"),
            Self::RulesUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "rules-unavailable", "The country's rules are unavailable")
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Service unavailable"),
        }
    }
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Time that a client waits before it retries a 503, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let problem = Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new() };
        if kind.parts().0 == StatusCode::SERVICE_UNAVAILABLE {
            return problem.header(header::RETRY_AFTER, RETRY_AFTER);
        }
        problem
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::MalformedRequest, detail)
    }

    pub fn no_such_place() -> Self {
        Self::new(Kind::NotFound, "no resource has this path")
    }

    pub fn method_not_allowed() -> Self {
        Self::new(Kind::MethodNotAllowed, "this resource does not support the method; see `Allow`")
    }

    pub fn crashed() -> Self {
        Self::new(Kind::Internal, "the host failed; the log has details under this request's id")
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.into(), value);
        self
    }

    /// Turns an error of a use case into a problem, with messages in the client's language. If the rules gave no
    /// result, the problem names `rules`, those in force.
    pub fn of(error: BookingError, rules: Option<&LoadedRules>, accept_language: &str) -> Self {
        let detail = error.to_string();
        match error {
            BookingError::UnknownCountry(_) | BookingError::UnknownAppointment | BookingError::UnknownAction(_) => {
                Self::new(Kind::NotFound, detail)
            }
            BookingError::Forbidden(forbidden) => forbidden.into(),
            BookingError::Violations(no) => {
                Self::new(Kind::RulesViolated, detail).with_violations(&no, accept_language)
            }
            BookingError::NotAllowedNow(no) => {
                Self::new(Kind::NotAllowedNow, detail).with_violations(&no, accept_language)
            }
            BookingError::SlotTaken { claim, free } => {
                let free = free.iter().map(free_slot).collect::<Vec<_>>();
                let problem = Self::new(Kind::SlotTaken, detail).member("freeSlots", free.into());
                match claim {
                    Some(claim) => problem.member("claim", claim.into()),
                    None => problem,
                }
            }
            BookingError::TooLarge { .. } => Self::new(Kind::TooLarge, detail),
            BookingError::Stale { .. } => Self::new(Kind::Stale, detail),
            BookingError::InProgress => Self::new(Kind::InProgress, detail),
            BookingError::KeyReused => Self::new(Kind::KeyReused, detail),
            BookingError::RulesUnavailable(fault) => unanswered(fault.as_ref(), rules, detail),
            BookingError::Unavailable(unavailable) => {
                tracing::error!(error = %unavailable, "the ledger does not answer");
                Self::new(Kind::Unavailable, "the ledger is unavailable; retry the request")
            }
        }
    }

    /// Adds each violation with its message, and the language of the messages in `Content-Language`.
    fn with_violations(self, Rejection { violations, rules }: &Rejection, accept_language: &str) -> Self {
        let locale = rules.messages.negotiate(accept_language);
        let violations: Vec<Value> = violations
            .iter()
            .map(|said| {
                let message = rules.messages.text(said, &locale);
                json!({ "pointer": said.path, "code": said.code, "message": message })
            })
            .collect();
        let told = self.member("violations", violations.into()).header(header::VARY, header::ACCEPT_LANGUAGE.into());
        match HeaderValue::from_str(&locale) {
            Ok(locale) => told.header(header::CONTENT_LANGUAGE, locale),
            Err(_) => told,
        }
    }

    /// Returns the document. The outermost layer passes the request's path and id, which only it knows.
    pub fn document(&self, instance: &str, request_id: &str) -> Value {
        let (status, name, title) = self.kind.parts();
        let mut document = self.members.clone();
        document.insert("type".into(), format!("/problems/{name}").into());
        document.insert("title".into(), title.into());
        document.insert("status".into(), status.as_u16().into());
        document.insert("detail".into(), self.detail.as_str().into());
        document.insert("instance".into(), instance.into());
        document.insert("requestId".into(), request_id.into());
        document.into()
    }
}

fn unanswered(fault: Option<&citas_core::ports::Fault>, rules: Option<&LoadedRules>, detail: String) -> Problem {
    let problem = Problem::new(Kind::RulesUnavailable, fault.map_or(detail, ToString::to_string));
    let Some(rules) = rules else { return problem };
    problem.member("rules", json!(rules.id)).member("country", json!(rules.country))
}

/// Returns a free slot as clients see it.
fn free_slot(free: &FreeSlot) -> Value {
    let slot = &free.slot;
    json!({
        "start": slot.start.strftime("%Y-%m-%dT%H:%M").to_string(),
        "minutes": slot.minutes,
        "zone": slot.zone,
        "startsAt": free.starts_at,
    })
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        let challenge = HeaderValue::from_static(r#"Bearer realm="citas", error="insufficient_scope""#);
        Self::new(Kind::Forbidden, forbidden.0).header(header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<BadToken> for Problem {
    fn from(bad: BadToken) -> Self {
        let challenge = HeaderValue::from_static(r#"Bearer realm="citas", error="invalid_token""#);
        Self::new(Kind::Unauthenticated, bad.0).header(header::WWW_AUTHENTICATE, challenge)
    }
}

impl IntoResponse for Problem {
    /// Attaches the problem to an empty response. [`super::observe`] knows the request's path and id, and writes the
    /// document.
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let mut response = (status, self.headers.iter().cloned().collect::<HeaderMap>()).into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}

/// Replaces the empty response that carries a problem by one with its document.
pub fn written(mut response: Response, instance: &str, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<std::sync::Arc<Problem>>() else { return response };
    let (head, _) = response.into_parts();
    let mut written = (head.status, head.headers, Json(problem.document(instance, request_id))).into_response();
    written.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    written
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Kind::VARIANTS.iter().map(|kind| kind.parts().1).collect();
        assert_eq!(names.len(), Kind::VARIANTS.len());
    }
}
