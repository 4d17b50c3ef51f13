//! Turns every error into a problem document (RFC 9457). Only this module gives errors their status codes and titles. The
//! details are the texts of the errors themselves, mostly of `citas_core::booking`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{BookingError, FreeSlot};
use citas_core::model::{CountryCode, Forbidden, RulesId, Violation};
use citas_core::people::LinkingError;
use citas_core::ports::{BadToken, Fault};
use citas_core::rules::{LoadedRules, Rejection};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use strum::VariantArray;

use super::instant::Instant;

/// Kind of a problem. Its type is `/problems/<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Kind {
    MalformedRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    SlotTaken,
    HoldExpired,
    HoldLimit,
    LinkLimit,
    InProgress,
    NotAllowedNow,
    Stale,
    TooLarge,
    HeaderTooLarge,
    UnsupportedMediaType,
    RulesViolated,
    KeyReused,
    PreconditionRequired,
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
            Self::HoldExpired => (StatusCode::CONFLICT, "hold-expired", "The hold has ended, and the slot is taken"),
            Self::HoldLimit => (StatusCode::CONFLICT, "hold-limit", "The account holds too many slots"),
            Self::LinkLimit => (StatusCode::CONFLICT, "link-limit", "The account has too many links to patients"),
            Self::InProgress => (StatusCode::CONFLICT, "in-progress", "The same request is in progress"),
            Self::NotAllowedNow => (StatusCode::CONFLICT, "not-allowed-now", "Not possible in the current state"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "The resource has changed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::HeaderTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header-too-large",
                "The header of the request is too large",
            ),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The request must be JSON")
            }
            Self::RulesViolated => (StatusCode::UNPROCESSABLE_ENTITY, "rules-violated", "The rules refuse the request"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The Idempotency-Key was used for another request")
            }
            Self::PreconditionRequired => {
                (StatusCode::PRECONDITION_REQUIRED, "precondition-required", "The request must be conditional")
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

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("/problems/{}", self.parts().1))
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "ProblemType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Kind of a problem: a relative reference to a page that says what to do.",
            "type": "string",
            "enum": Self::VARIANTS,
        })
    }
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Box<Members>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A problem document (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Problem")]
pub struct ProblemDocument<'a> {
    r#type: Kind,
    /// Name of the kind, in English.
    title: &'static str,
    /// Status code of the response.
    status: u16,
    /// Reason in English, for developers.
    detail: &'a str,
    /// Path of the request.
    instance: &'a str,
    /// Id of the request in the log, as in `X-Request-Id`.
    request_id: &'a str,
    #[serde(flatten)]
    members: &'a Members,
}

/// Members of a problem document that only some kinds have.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// Every reason against the request (`rules-violated`, `not-allowed-now`).
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<Vec<ViolationMessage>>,
    /// Text that another appointment or hold has (`slot-taken`, `hold-expired`), if the caller may know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    /// Free slots near the taken one, the nearest first (`slot-taken`, `hold-expired`).
    #[serde(skip_serializing_if = "Option::is_none")]
    free_slots: Option<Vec<FreeSlotView>>,
    /// Country whose rules give no result (`rules-unavailable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<CountryCode>,
    /// Rules that give no result (`rules-unavailable`).
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<RulesId>,
}

/// One reason against a request.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Violation")]
pub struct ViolationMessage {
    /// JSON Pointer (RFC 6901) to the offending part of the request; empty for the whole.
    pointer: String,
    /// Stable code, for programs.
    code: String,
    /// Values in the message, by name.
    params: BTreeMap<String, String>,
    /// Text for people, in the language of `Content-Language`.
    message: String,
}

impl ViolationMessage {
    /// Returns what a violation says in this language of the rules.
    pub fn new(said: &Violation, rules: &LoadedRules, locale: &str) -> Self {
        Self {
            pointer: said.path.clone(),
            code: said.code.clone(),
            params: said.params.iter().cloned().collect(),
            message: rules.messages.text(said, locale),
        }
    }
}

/// A slot that was free at the time of the response. It is not reserved.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FreeSlot")]
struct FreeSlotView {
    /// Start in local time, without its offset.
    #[schemars(extend("pattern" = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$"))]
    start: String,
    /// Length in minutes.
    minutes: u16,
    /// IANA time zone of `start`.
    zone: String,
    /// Start as an instant.
    #[schemars(with = "Instant")]
    starts_at: Timestamp,
    /// Start in local time, with its offset from UTC.
    #[schemars(with = "Instant")]
    starts_at_local: String,
}

/// Media type of problem documents.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Time that a client waits before it retries a 503, in seconds.
pub const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let problem = Self { kind, detail: detail.into(), members: Box::default(), headers: Vec::new() };
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

    pub fn status(&self) -> StatusCode {
        self.kind.parts().0
    }

    pub fn crashed() -> Self {
        Self::new(Kind::Internal, "the host failed; the log has details under this request's id")
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Turns an error of a use case into a problem, with messages in the client's language. If the rules gave no
    /// result, the problem names `rules`, those in force.
    pub fn of(error: BookingError, rules: Option<&LoadedRules>, accept_language: &str) -> Self {
        let detail = error.to_string();
        match error {
            BookingError::UnknownCountry(_)
            | BookingError::UnknownAppointment
            | BookingError::UnknownAction(_)
            | BookingError::UnknownHold
            | BookingError::NoSlots
            | BookingError::NoAgenda
            | BookingError::UnknownPrivacyRequest => Self::new(Kind::NotFound, detail),
            BookingError::NoSuchKey { .. }
            | BookingError::NoSuchTime(_)
            | BookingError::NoSuchPlace { .. }
            | BookingError::TooManyOpenings { .. }
            | BookingError::OtherSlot(_)
            | BookingError::ReadingsOfAll => Self::malformed(detail),
            BookingError::Forbidden(forbidden) => forbidden.into(),
            BookingError::Violations(no) | BookingError::BadAgenda(no) | BookingError::BadPrivacyRequest(no) => {
                Self::new(Kind::RulesViolated, detail).with_violations(&no, accept_language)
            }
            BookingError::PrivacyNotNow(_) | BookingError::TooManyPrivacyRequests => {
                Self::new(Kind::NotAllowedNow, detail)
            }
            BookingError::NotAllowedNow(no) => {
                Self::new(Kind::NotAllowedNow, detail).with_violations(&no, accept_language)
            }
            BookingError::SlotTaken { claim, free, rejection } => {
                Self::taken(Kind::SlotTaken, detail, claim, free, rejection.as_ref(), accept_language)
            }
            BookingError::PatientTaken => Self::taken(Kind::SlotTaken, detail, None, Vec::new(), None, accept_language),
            BookingError::HoldExpired { claim, free, rejection } => {
                Self::taken(Kind::HoldExpired, detail, claim, free, rejection.as_ref(), accept_language)
            }
            BookingError::HoldLimit => Self::new(Kind::HoldLimit, detail),
            BookingError::TooLarge { .. } => Self::new(Kind::TooLarge, detail),
            BookingError::Stale { .. } | BookingError::AgendaStale | BookingError::PrivacyStale => {
                Self::new(Kind::Stale, detail)
            }
            BookingError::AgendaUnconditional => Self::new(Kind::PreconditionRequired, detail),
            BookingError::AgendaChanged => Self::new(Kind::Unavailable, detail),
            BookingError::InProgress => Self::new(Kind::InProgress, detail),
            BookingError::KeyReused => Self::new(Kind::KeyReused, detail),
            BookingError::RulesUnavailable(fault) => unanswered(fault.as_ref(), rules, detail),
            BookingError::Unavailable(unavailable) => {
                tracing::error!(error = %unavailable, "the ledger does not answer");
                Self::new(Kind::Unavailable, "the ledger is unavailable; retry the request")
            }
            BookingError::ReadLog(unavailable) => {
                tracing::error!(error = %unavailable, "the read log cannot be used");
                Self::new(
                    Kind::Unavailable,
                    "the read log is unavailable, and this is not shown without it; retry the request",
                )
            }
        }
    }

    /// Turns an error of a use case of patient links into a problem, as [`Problem::of`].
    pub fn of_link(error: LinkingError, rules: Option<&LoadedRules>, accept_language: &str) -> Self {
        let detail = error.to_string();
        match error {
            LinkingError::Access(error) => Self::of(error.into(), rules, accept_language),
            LinkingError::ReadLog(error) => Self::of(error.into(), rules, accept_language),
            LinkingError::UnknownLink => Self::new(Kind::NotFound, detail),
            LinkingError::BadLink(no) => Self::new(Kind::RulesViolated, detail).with_violations(&no, accept_language),
            LinkingError::Stale => Self::new(Kind::Stale, detail),
            LinkingError::Unconditional => Self::new(Kind::PreconditionRequired, detail),
            LinkingError::LinkLimit | LinkingError::RequestLimit => Self::new(Kind::LinkLimit, detail),
        }
    }

    /// Returns the problem of a taken slot, with the country's words for it.
    fn taken(
        kind: Kind,
        detail: String,
        claim: Option<String>,
        free: Vec<FreeSlot>,
        rejection: Option<&Rejection>,
        accept_language: &str,
    ) -> Self {
        let free = free.into_iter().map(FreeSlotView::from).collect();
        let members = Members { claim, free_slots: Some(free), ..Members::default() };
        let taken = Self { members: Box::new(members), ..Self::new(kind, detail) };
        match rejection {
            Some(rejection) => taken.with_violations(rejection, accept_language),
            None => taken,
        }
    }

    /// Adds each violation with its params and its message, and the language of the messages in `Content-Language`.
    fn with_violations(mut self, Rejection { violations, rules }: &Rejection, accept_language: &str) -> Self {
        let locale = rules.messages.negotiate(accept_language);
        let message = |said: &Violation| ViolationMessage::new(said, rules, &locale);
        self.members.violations = Some(violations.iter().map(message).collect());
        let told = self.header(header::VARY, header::ACCEPT_LANGUAGE.into());
        match HeaderValue::from_str(&locale) {
            Ok(locale) => told.header(header::CONTENT_LANGUAGE, locale),
            Err(_) => told,
        }
    }

    /// Returns the document. The outermost layer passes the request's path and id, which only it knows.
    pub fn document<'a>(&'a self, instance: &'a str, request_id: &'a str) -> ProblemDocument<'a> {
        let (status, _, title) = self.kind.parts();
        let Self { kind, detail, members, .. } = self;
        ProblemDocument { r#type: *kind, title, status: status.as_u16(), detail, instance, request_id, members }
    }
}

fn unanswered(fault: Option<&Fault>, rules: Option<&LoadedRules>, detail: String) -> Problem {
    // The error text of the rules is for their team. It may name the patient.
    let told = fault.filter(|fault| !matches!(fault, Fault::Failed(_))).map_or(detail, ToString::to_string);
    let problem = Problem::new(Kind::RulesUnavailable, told);
    let Some(rules) = rules else { return problem };
    let members = Members { country: Some(rules.country), rules: Some(rules.id.clone()), ..Members::default() };
    Problem { members: Box::new(members), ..problem }
}

impl From<FreeSlot> for FreeSlotView {
    fn from(FreeSlot { slot, starts_at, .. }: FreeSlot) -> Self {
        let start = slot.start.strftime("%Y-%m-%dT%H:%M").to_string();
        let starts_at_local = slot.start_with_offset(starts_at);
        Self { start, minutes: slot.minutes, zone: slot.zone, starts_at, starts_at_local }
    }
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
    written.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Kind::VARIANTS.iter().map(|kind| kind.parts().1).collect();
        assert_eq!(names.len(), Kind::VARIANTS.len());
    }
}
