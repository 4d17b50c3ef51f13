//! The endpoints of the links of accounts to patients: read, list, history, make, request and end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, IF_MATCH, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::model::{
    Caller, CountryCode, LinkedPatient, MAX_KEY_BYTES, MAX_SUBJECT_BYTES, PatientLink, PatientLinkState,
    PatientLinkTerms, Role,
};
use citas_core::people::{LinkingError, NewPatientLink, PatientLinkView};
use citas_core::ports::RequestPosition;
use citas_core::rules::MAX_PAGE;
use jiff::Timestamp;
use jiff::civil::Date;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::appointments::{DEFAULT_PAGE, PRIVATE, limit_of, paged};
use super::body::{Condition, JsonBody, accept_language, condition, has_seen, if_match, precondition};
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::{Kind, Problem};
use super::query::Parameters;

type Answer = Result<Response, Problem>;

/// A revision of the link of an account to a patient.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PatientLink")]
pub struct PatientLinkDocument {
    /// The country's key for the patient; absent if the patient's data is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<String>,
    /// Subject of the account's tokens.
    subject: String,
    state: PatientLinkState,
    /// True if the account may act for the patient today.
    valid: bool,
    /// Relation of the account to the patient.
    #[schemars(extend("enum" = PatientLinkTerms::relations()))]
    relation: &'static str,
    /// Reason for the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// First day on which the account may act, by the clocks of the country's first zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    from: Option<Date>,
    /// Last day on which the account may act.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    until: Option<Date>,
    /// The patient's date of birth, in a parent's link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    birth_date: Option<Date>,
    /// 1 for the first revision, one more with each change.
    #[schemars(range(min = 1))]
    revision: u32,
    /// Time when this revision was stored.
    #[schemars(with = "Instant")]
    updated_at: Timestamp,
    by: PatientLinkAuthor,
    /// Id of the request that made the revision.
    request_id: String,
}

/// Caller who made a revision of a link.
#[derive(Serialize, JsonSchema)]
pub struct PatientLinkAuthor {
    /// Subject of the caller's token. A patient sees only their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    role: Role,
}

/// The patients for whom the caller acts.
#[derive(Serialize, JsonSchema)]
pub struct OwnLinks {
    /// Patient whom the issuer of the token has verified the caller to be; absent if it has verified nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// Links of the caller's account that have not ended, and its open requests.
    items: Vec<PatientLinkDocument>,
}

/// The patient and the account of a path.
type Path = At<(CountryCode, String, String)>;

/// Handles `GET …/links`.
pub async fn own(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Answer {
    let links = api.booking.access_control().own_links(&caller, country).await;
    let (identity, links) = links.map_err(api.link_problem(country, &headers))?;
    let items = documents(links, &caller)?;
    Ok(([(CACHE_CONTROL, PRIVATE)], Json(OwnLinks { identity, items })).into_response())
}

/// Handles `GET …/patient-links`.
pub async fn requested(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &["state"])?;
    if query.one("state")?.is_some_and(|state| state != PatientLinkState::Requested.as_str()) {
        return Err(Problem::malformed("`state` is `requested`: other links are listed for each patient"));
    }
    let (limit, after) = (limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?, query.cursor::<RequestPosition>()?);
    let found = api.booking.access_control().requested_links(&caller, country, after.as_ref(), limit).await;
    let (links, more) = found.map_err(api.link_problem(country, &headers))?;
    let next = links.last().filter(|_| more).map(|last| query.cursor_at(&RequestPosition::of(&last.link)));
    paged(documents(links, &caller)?, next, &uri)
}

/// Handles `GET …/patients/{patient}/links`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At((country, patient)): At<(CountryCode, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &[])?;
    let (limit, after) = (limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?, query.cursor::<String>()?);
    let control = api.booking.access_control();
    let found = control.person_links(&caller, country, key_of(&patient)?, after.as_deref(), limit).await;
    let (links, more) = found.map_err(api.link_problem(country, &headers))?;
    let next = links.last().filter(|_| more).map(|last| query.cursor_at(&last.link.subject));
    paged(documents(links, &caller)?, next, &uri)
}

/// Handles `POST …/patients/{patient}/links`.
pub async fn request(
    State(api): State<Arc<Api>>,
    At((country, patient)): At<(CountryCode, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(terms): JsonBody,
) -> Answer {
    let control = api.booking.access_control();
    let requested = control.request_patient_link(&caller, country, key_of(&patient)?, terms).await;
    let view = requested.map_err(api.link_problem(country, &headers))?;
    let location = [(LOCATION, address(country, &view.link))];
    Ok((StatusCode::ACCEPTED, location, caching(&view.link), Json(document(view, &caller)?)).into_response())
}

/// Handles `GET …/patients/{patient}/links/{subject}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    At((country, patient, subject)): Path,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Answer {
    let control = api.booking.access_control();
    let found = control.patient_link(&caller, country, key_of(&patient)?, subject_of(&subject)?).await;
    let view = found.map_err(api.link_problem(country, &headers))?;
    let (tag, wanted) = (view.link.revision.to_string(), condition(&headers, &IF_MATCH)?);
    let has_seen = has_seen(&headers, &tag)?;
    if let Some(Condition::Tags(tags)) = wanted
        && !tags.contains(&(false, tag))
    {
        return Err(Problem::new(Kind::Stale, "`If-Match` does not name the link's present `ETag`"));
    }
    if has_seen {
        return Ok((StatusCode::NOT_MODIFIED, caching(&view.link)).into_response());
    }
    Ok((caching(&view.link), Json(document(view, &caller)?)).into_response())
}

/// Handles `PUT …/patients/{patient}/links/{subject}`.
pub async fn put(
    State(api): State<Arc<Api>>,
    At((country, patient, subject)): Path,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(terms): JsonBody,
) -> Answer {
    let (patient, subject) = (key_of(&patient)?, subject_of(&subject)?);
    let new = NewPatientLink { patient, subject, terms, condition: precondition(&headers)? };
    let stored = api.booking.access_control().put_patient_link(&caller, country, new).await;
    let view = stored.map_err(api.link_problem(country, &headers))?;
    let caching = caching(&view.link);
    if view.link.revision > 1 {
        return Ok((caching, Json(document(view, &caller)?)).into_response());
    }
    let location = [(LOCATION, address(country, &view.link))];
    Ok((StatusCode::CREATED, location, caching, Json(document(view, &caller)?)).into_response())
}

/// Handles `DELETE …/patients/{patient}/links/{subject}`.
pub async fn end(
    State(api): State<Arc<Api>>,
    At((country, patient, subject)): Path,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (patient, subject, tags) = (key_of(&patient)?, subject_of(&subject)?, if_match(&headers)?);
    let ended = api.booking.access_control().end_patient_link(&caller, country, patient, subject, tags.as_deref());
    ended.await.map_err(api.link_problem(country, &headers))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Handles `GET …/patients/{patient}/links/{subject}/history`.
pub async fn history(
    State(api): State<Arc<Api>>,
    At((country, patient, subject)): Path,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &[])?;
    let (limit, after) = (limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?, query.cursor()?.unwrap_or(0));
    let of = (key_of(&patient)?, subject_of(&subject)?);
    let found = api.booking.access_control().patient_link_history(&caller, country, of, after, limit).await;
    let (links, more) = found.map_err(api.link_problem(country, &headers))?;
    let next = links.last().filter(|_| more).map(|last| query.cursor_at(&last.link.revision));
    paged(documents(links, &caller)?, next, &uri)
}

/// Returns the spelling of a patient in a path.
fn key_of(patient: &str) -> Result<&str, Problem> {
    within(patient, MAX_KEY_BYTES)
}

/// Returns the subject in a path.
fn subject_of(subject: &str) -> Result<&str, Problem> {
    within(subject, MAX_SUBJECT_BYTES)
}

fn within(text: &str, max: usize) -> Result<&str, Problem> {
    if (1..=max).contains(&text.len()) { Ok(text) } else { Err(Problem::no_such_place()) }
}

fn caching(link: &PatientLink) -> [(HeaderName, HeaderValue); 2] {
    let etag = HeaderValue::from_str(&format!("\"{}\"", link.revision)).expect("digits in quotes");
    [(ETAG, etag), (CACHE_CONTROL, PRIVATE)]
}

fn address(country: CountryCode, link: &PatientLink) -> HeaderValue {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let patient = link.personal.as_ref().map_or_else(String::new, |personal| encoded(&personal.patient));
    let path = format!("/v1/{country}/patients/{patient}/links/{}", encoded(&link.subject));
    HeaderValue::from_str(&path).expect("letters, digits, slashes and percent signs")
}

/// Returns a link as this caller sees it.
fn document(
    PatientLinkView { link, is_valid }: PatientLinkView,
    reader: &Caller,
) -> Result<PatientLinkDocument, Problem> {
    let role = reader.role(link.country)?;
    let relation = link.relation_name();
    let (patient, reason, birth_date) = match link.personal {
        Some(LinkedPatient { patient, reason, birth_date }) => (Some(patient), Some(reason), birth_date),
        None => (None, None, None),
    };
    Ok(PatientLinkDocument {
        patient,
        subject: link.subject,
        state: link.state,
        valid: is_valid,
        relation,
        reason,
        from: link.from,
        until: link.until,
        birth_date,
        revision: link.revision,
        updated_at: link.updated_at,
        by: PatientLinkAuthor { subject: Some(link.by).filter(|by| reader.knows(role, by)), role: link.role },
        request_id: link.request_id,
    })
}

fn documents(links: Vec<PatientLinkView>, reader: &Caller) -> Result<Vec<PatientLinkDocument>, Problem> {
    links.into_iter().map(|link| document(link, reader)).collect()
}

impl Api {
    /// Returns a function that turns an error of a patient link into a problem in the client's language.
    fn link_problem(&self, country: CountryCode, headers: &HeaderMap) -> impl FnOnce(LinkingError) -> Problem {
        let rules = self.catalogue.rules(country);
        let language = accept_language(headers);
        move |error| Problem::of_link(error, rules.as_deref(), &language)
    }
}
