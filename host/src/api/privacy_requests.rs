//! The endpoints of privacy requests: file, get, list, and the steps of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{PrivacyAction, PrivacySearch};
use citas_core::model::{
    Caller, CountryCode, Demand, PrivacyOutcome, PrivacyRequest, PrivacyState, PrivacyStep, PrivacyTexts, Role,
};
use citas_core::rules::MAX_PAGE;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Api;
use super::appointments::{DEFAULT_PAGE, PRIVATE, filter, limit_of, paged};
use super::body::{JsonBody, has_seen, if_match};
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::Problem;
use super::query::Parameters;

type Answer = Result<Response, Problem>;

/// A request of a patient about personal data.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PrivacyRequest")]
pub struct PrivacyRequestView {
    id: Uuid,
    demand: Demand,
    state: PrivacyState,
    /// The country's key for the patient; absent once it is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<String>,
    /// The demand in the patient's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    /// True if staff filed the request, or an account with a verified tie to the patient.
    verified: bool,
    /// 1 when it is filed, one more with each step.
    #[schemars(range(min = 1))]
    revision: u32,
    /// Time at which the demand was received.
    #[schemars(with = "Instant")]
    received_at: Timestamp,
    /// Time by which it must be answered.
    #[schemars(with = "Instant")]
    due_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<ExtensionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerView>,
    /// Steps so far, the filing first.
    steps: Vec<StepView>,
}

/// The extension of the time for the answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PrivacyExtension")]
pub struct ExtensionView {
    /// Time by which the request had to be answered before.
    #[schemars(with = "Instant")]
    from: Timestamp,
    /// Reason that the patient sees; absent once it is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The outcome of a request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PrivacyAnswer")]
pub struct AnswerView {
    outcome: PrivacyOutcome,
    /// The answer that the patient got; absent once it is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Reference to the proof that the answer was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// A step in the handling of a request.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PrivacyStep")]
pub struct StepView {
    /// `file`, `extend`, `close` or `withdraw`.
    action: String,
    #[schemars(with = "Instant")]
    at: Timestamp,
    by: StepAuthor,
    /// Id of the request that made the step.
    request_id: String,
}

/// Caller who made a step.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PrivacyStepAuthor")]
pub struct StepAuthor {
    /// Subject of the caller's token. A patient sees only their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    role: Role,
}

/// Handles `POST …/privacy-requests`.
pub async fn file(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(input): JsonBody,
) -> Answer {
    let filed = api.booking.file_privacy_request(&caller, country, input).await;
    let (request, is_new) = filed.map_err(api.problem(country, &headers))?;
    let location = format!("/v1/{country}/privacy-requests/{}", request.id);
    let location = HeaderValue::from_str(&location).expect("letters, digits, hyphens and slashes");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], answer(request, &caller, country)?).into_response())
}

/// Handles `GET …/privacy-requests/{id}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    At((country, id)): At<(CountryCode, Uuid)>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Answer {
    let request = api.booking.privacy_request(&caller, country, id).await.map_err(api.problem(country, &headers))?;
    if has_seen(&headers, &request.revision().to_string())? {
        return Ok((StatusCode::NOT_MODIFIED, caching(&request)).into_response());
    }
    answer(request, &caller, country)
}

/// Handles `POST …/privacy-requests/{id}/{action}`.
pub async fn step(
    State(api): State<Arc<Api>>,
    At((country, id, action)): At<(CountryCode, Uuid, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(input): JsonBody,
) -> Answer {
    let action = action.parse().ok().filter(|action| *action != PrivacyAction::File);
    let action = action.ok_or_else(Problem::no_such_place)?;
    let seen = if_match(&headers)?;
    let stepped = api.booking.step_privacy_request(&caller, country, id, action, input, seen.as_deref()).await;
    answer(stepped.map_err(api.problem(country, &headers))?, &caller, country)
}

/// Handles `GET …/privacy-requests`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &["state", "patient", "due-before"])?;
    let limit = limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?;
    let search = PrivacySearch {
        state: match query.one("state")? {
            None => None,
            Some("open") => Some(PrivacyState::Open),
            Some("closed") => Some(PrivacyState::Closed),
            Some(_) => return Err(Problem::malformed("`state` is `open` or `closed`")),
        },
        patient: filter(&query, "patient")?,
        due_before: query.instant("due-before")?,
        after: query.cursor()?,
        limit,
    };
    let found = api.booking.privacy_requests(&caller, country, search).await;
    let (requests, more) = found.map_err(api.problem(country, &headers))?;
    let next = requests.last().filter(|_| more).map(|last| query.cursor_at(&last.position()));
    let role = caller.role(country)?;
    paged(requests.into_iter().map(|request| view(request, &caller, role)).collect(), next, &uri)
}

fn answer(request: PrivacyRequest, caller: &Caller, country: CountryCode) -> Answer {
    let role = caller.role(country)?;
    Ok((caching(&request), Json(view(request, caller, role))).into_response())
}

fn caching(request: &PrivacyRequest) -> [(axum::http::HeaderName, HeaderValue); 2] {
    let etag = HeaderValue::from_str(&format!("\"{}\"", request.revision())).expect("digits in quotes");
    [(ETAG, etag), (CACHE_CONTROL, PRIVATE)]
}

fn view(request: PrivacyRequest, caller: &Caller, role: Role) -> PrivacyRequestView {
    let (state, revision) = (request.state(), request.revision());
    let PrivacyRequest {
        id, demand, verified, received_at, due_at, extended_from, outcome, proof, steps, texts, ..
    } = request;
    let PrivacyTexts { patient, details, extension, answer } = texts.unwrap_or_default();
    let step = |PrivacyStep { action, at, subject, role: by, request_id }| {
        let subject = Some(subject).filter(|subject| caller.knows(role, subject));
        StepView { action, at, by: StepAuthor { subject, role: by }, request_id }
    };
    PrivacyRequestView {
        id,
        demand,
        state,
        patient: Some(patient).filter(|patient| !patient.is_empty()),
        details,
        verified,
        revision,
        received_at,
        due_at,
        extension: extended_from.map(|from| ExtensionView { from, reason: extension }),
        answer: outcome.map(|outcome| AnswerView { outcome, text: answer, proof }),
        steps: steps.into_iter().map(step).collect(),
    }
}
