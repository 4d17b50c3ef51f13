//! The endpoints of agendas: read, list, history and replace.

use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, IF_MATCH, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{AGENDA_KEYS, AgendaChange, AgendaRequest, AgendaSearch, BookingError};
use citas_core::model::{Agenda, AgendaRevision, CountryCode, MAX_KEY_BYTES, Role};
use citas_core::rules::MAX_PAGE;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Api;
use super::appointments::{DEFAULT_PAGE, PRIVATE, filter, limit_of, paged};
use super::body::{Condition, JsonBody, condition, has_seen, precondition};
use super::countries;
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::{Kind, Problem};
use super::query::Parameters;
use super::slots::members;

type Answer = Result<Response, Problem>;

/// A revision of a doctor's agenda.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AgendaRevision")]
pub struct AgendaView {
    /// The country's key for the doctor.
    doctor: String,
    /// 1 for the first revision, one more with each change.
    #[schemars(range(min = 1))]
    revision: u32,
    /// Time when this revision was stored.
    #[schemars(with = "Instant")]
    updated_at: Timestamp,
    by: AgendaAuthor,
    /// Id of the request that made the revision.
    request_id: String,
    agenda: Agenda,
}

/// Caller who made a revision of an agenda.
#[derive(Serialize, JsonSchema)]
pub struct AgendaAuthor {
    /// Subject of the caller's token.
    subject: String,
    role: Role,
}

/// A new revision of a doctor's agenda, and the appointments that it leaves outside.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AgendaChange")]
pub struct AgendaChangeView {
    #[serde(flatten)]
    revision: AgendaView,
    /// Live appointments to come that no longer lie in an opening, by start, at most 100. They stay as they are.
    outside: Vec<OutsideAppointment>,
    /// True if there may be more of them.
    more: bool,
}

/// A live appointment outside the agenda of its doctor.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutsideAppointment {
    id: Uuid,
    /// Start in UTC.
    #[schemars(with = "Instant")]
    starts_at: Option<Timestamp>,
}

/// Handles `GET …/agendas/{doctor}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    At((country, doctor)): At<(CountryCode, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Answer {
    let found = api.booking.agenda(&caller, country, of_path(&doctor)?).await;
    let revision = found.map_err(|error| of_doctor(error, &api, country, &headers))?;
    let (tag, wanted) = (revision.revision.to_string(), condition(&headers, &IF_MATCH)?);
    let has_seen = has_seen(&headers, &tag)?;
    if let Some(Condition::Tags(tags)) = wanted
        && !tags.contains(&(false, tag))
    {
        return Err(Problem::new(Kind::Stale, "`If-Match` does not name the agenda's present `ETag`"));
    }
    if has_seen {
        return Ok((StatusCode::NOT_MODIFIED, caching(&revision)).into_response());
    }
    Ok((caching(&revision), Json(AgendaView::from(revision))).into_response())
}

/// Handles `PUT …/agendas/{doctor}`.
pub async fn put(
    State(api): State<Arc<Api>>,
    At((country, doctor)): At<(CountryCode, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    JsonBody(agenda): JsonBody,
) -> Answer {
    let is_dry_run = is_dry_run(&Parameters::without_pages(&uri, &["dry-run"])?)?;
    let condition = precondition(&headers)?;
    let request = AgendaRequest { doctor: of_path(&doctor)?, agenda, condition, is_dry_run };
    let change = api.booking.put_agenda(&caller, country, request).await;
    let change = change.map_err(|error| of_doctor(error, &api, country, &headers))?;
    let (caching, is_first) = (caching(&change.revision), change.revision.revision == 1);
    let location = format!("/v1/{country}/agendas/{}", utf8_percent_encode(&change.revision.doctor, NON_ALPHANUMERIC));
    let body = Json(AgendaChangeView::from(change));
    if is_dry_run {
        return Ok(([(CACHE_CONTROL, PRIVATE)], body).into_response());
    }
    if !is_first {
        return Ok((caching, body).into_response());
    }
    let location = HeaderValue::from_str(&location).expect("letters, digits, slashes and percent signs");
    Ok((StatusCode::CREATED, [(LOCATION, location)], caching, body).into_response())
}

/// Handles `GET …/agendas/{doctor}/history`.
pub async fn history(
    State(api): State<Arc<Api>>,
    At((country, doctor)): At<(CountryCode, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &[])?;
    let (limit, after) = (limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?, query.cursor()?.unwrap_or(0));
    let history = api.booking.agenda_history(&caller, country, of_path(&doctor)?, after, limit).await;
    let (revisions, more) = history.map_err(|error| of_doctor(error, &api, country, &headers))?;
    let next = revisions.last().filter(|_| more).map(|last| query.cursor_at(&last.revision));
    paged(revisions.into_iter().map(AgendaView::from).collect(), next, &uri)
}

/// Handles `GET …/agendas`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let rules = countries::rules_of(&api, country)?;
    let own: Vec<&str> = rules.place_members().into_keys().filter(|name| !AGENDA_KEYS.contains(name)).collect();
    let query = Parameters::of(&uri, &[&["hospital"], &own[..]].concat())?;
    let search = AgendaSearch {
        hospital: filter(&query, "hospital")?,
        members: members(&query, &own)?,
        after: query.cursor()?,
        limit: limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?,
    };
    let (found, more) = api.booking.agendas(&caller, country, search).await.map_err(api.problem(country, &headers))?;
    let next = found.last().filter(|_| more).map(|last| query.cursor_at(&last.doctor));
    paged(found.into_iter().map(AgendaView::from).collect(), next, &uri)
}

/// Returns the spelling of a doctor in a path.
fn of_path(doctor: &str) -> Result<&str, Problem> {
    if (1..=MAX_KEY_BYTES).contains(&doctor.len()) { Ok(doctor) } else { Err(Problem::no_such_place()) }
}

/// Turns an error into a problem. A doctor that there cannot be is one without an agenda.
fn of_doctor(error: BookingError, api: &Api, country: CountryCode, headers: &HeaderMap) -> Problem {
    match error {
        BookingError::NoSuchKey { .. } => Problem::new(Kind::NotFound, error.to_string()),
        error => api.problem(country, headers)(error),
    }
}

fn is_dry_run(query: &Parameters) -> Result<bool, Problem> {
    match query.one("dry-run")? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::malformed("`dry-run` is `true` or `false`")),
    }
}

fn caching(revision: &AgendaRevision) -> [(axum::http::HeaderName, HeaderValue); 2] {
    let etag = HeaderValue::from_str(&format!("\"{}\"", revision.revision)).expect("digits in quotes");
    [(ETAG, etag), (CACHE_CONTROL, PRIVATE)]
}

impl From<AgendaRevision> for AgendaView {
    fn from(stored: AgendaRevision) -> Self {
        let AgendaRevision { doctor, revision, updated_at, subject, role, request_id, agenda, .. } = stored;
        Self { doctor, revision, updated_at, by: AgendaAuthor { subject, role }, request_id, agenda }
    }
}

impl From<AgendaChange> for AgendaChangeView {
    fn from(AgendaChange { revision, outside, more }: AgendaChange) -> Self {
        let outside = outside.into_iter().map(|revision| OutsideAppointment {
            id: revision.appointment.id,
            starts_at: revision.appointment.starts_at,
        });
        Self { revision: revision.into(), outside: outside.collect(), more }
    }
}
