//! The endpoints of appointments: book, act, get, list and history.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, LINK, LOCATION};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use citas_core::booking::ActionRequest;
use citas_core::booking::BookingError;
use citas_core::booking::BookingRequest;
use citas_core::booking::Spellings;
use citas_core::booking::View;
use citas_core::model::{Caller, CountryCode, MAX_KEY_BYTES, NotAPhase, Phase, Role, RulesId};
use citas_core::ports::{Order, Position, Query as LedgerQuery};
use citas_core::rules::MAX_PAGE;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use url::form_urlencoded;
use uuid::Uuid;

use super::Api;
use super::body::{JsonBody, accept_language, has_seen, idempotency_key, if_match};
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::{Kind, Problem};
use super::query::Parameters;

/// Length of a page if the client requests none.
pub const DEFAULT_PAGE: usize = 20;

type Answer = Result<Response, Problem>;

/// Handles `POST …/appointments`.
pub async fn book(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody,
) -> Answer {
    let (key, slot) = (idempotency_key(&headers)?, api.take_slot(country, &mut request)?);
    let request = BookingRequest { input: request, slot };
    let view = api.booking.book(&caller, country, request, key).await;
    let view = view.map_err(api.problem(country, &headers))?;
    let location = format!("/v1/{country}/appointments/{}", view.revision.appointment.id);
    let location = HeaderValue::from_str(&location).expect("letters, digits, hyphens and slashes");
    Ok((StatusCode::CREATED, [(LOCATION, location)], appointment_response(&view)).into_response())
}

/// Handles `POST …/appointments/{id}/{action}`.
pub async fn act(
    State(api): State<Arc<Api>>,
    At((country, id, action)): At<(CountryCode, Uuid, String)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(mut input): JsonBody,
) -> Answer {
    let (if_match, key) = (if_match(&headers)?, idempotency_key(&headers)?);
    let slot = api.take_slot(country, &mut input)?;
    let request = ActionRequest { id, action: &action, input, slot, if_match, key };
    let view = api.booking.act(&caller, country, request).await.map_err(api.problem(country, &headers))?;
    Ok(appointment_response(&view))
}

/// Handles `GET …/appointments/{id}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    At((country, id)): At<(CountryCode, Uuid)>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Answer {
    let view = api.booking.get(&caller, country, id).await.map_err(api.problem(country, &headers))?;
    // Both headers are read before one is judged: a malformed one is a 400, whatever the other says.
    let (wanted, has_seen) = (if_match(&headers)?, has_seen(&headers, &view.tag())?);
    if wanted.is_some_and(|tags| !tags.contains(&view.tag())) {
        return Err(Problem::new(Kind::Stale, "`If-Match` does not name the appointment's present `ETag`"));
    }
    if has_seen {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(&view)), (CACHE_CONTROL, PRIVATE)]).into_response());
    }
    Ok(appointment_response(&view))
}

/// Handles `GET …/appointments/{id}/history`.
pub async fn history(
    State(api): State<Arc<Api>>,
    At((country, id)): At<(CountryCode, Uuid)>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &[])?;
    let (limit, after) = (limit(&query)?, query.cursor()?.unwrap_or(0));
    let history = api.booking.history(&caller, country, id, after, limit).await;
    let (views, more) = history.map_err(api.problem(country, &headers))?;
    let role = caller.role(country)?;
    let last = views.last().map(|view| view.revision.appointment.revision).filter(|_| more);
    paged(views.iter().map(|view| entry(view, &caller, role)).collect(), last.map(|last| query.cursor_at(&last)), &uri)
}

/// Parameters of a list that select and order its items.
pub const FILTERS: [&str; 8] = ["patient", "doctor", "hospital", "from", "to", "date", "phase", "order"];

/// Handles `GET …/appointments`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Parameters::of(&uri, &FILTERS)?;
    let (spelt, filters) = (spellings(&query)?, filters(&query)?);
    let listed = api.booking.list(&caller, country, spelt, filters).await;
    let (views, next) = listed.map_err(api.problem(country, &headers))?;
    paged(views.iter().map(representation).collect(), next.map(|next| query.cursor_at(&next)), &uri)
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    items: Vec<T>,
    /// `cursor` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Returns a page, with a link to the next one if there is one.
pub(super) fn paged(items: Vec<impl Serialize>, next_cursor: Option<String>, uri: &Uri) -> Answer {
    let mut headers = HeaderMap::from_iter([(CACHE_CONTROL, PRIVATE)]);
    if let Some(cursor) = &next_cursor {
        headers.insert(LINK, next_link(uri, cursor)?);
    }
    Ok((headers, Json(Page { items, next_cursor })).into_response())
}

fn filters(query: &Parameters) -> Result<LedgerQuery, Problem> {
    let phase = |text: &str| text.parse().map_err(|bad: NotAPhase| Problem::malformed(format!("`phase`: {bad}")));
    let phases: BTreeSet<Phase> = query.all("phase").map(phase).collect::<Result<_, _>>()?;
    Ok(LedgerQuery {
        from: query.instant("from")?,
        to: query.instant("to")?,
        date: query.date("date")?,
        phases: phases.into_iter().collect(),
        order: match query.one("order")? {
            None | Some("asc") => Order::Ascending,
            Some("desc") => Order::Descending,
            Some(_) => return Err(Problem::malformed("`order` is `asc` or `desc`")),
        },
        after: query.cursor::<Position>()?,
        limit: limit(query)?,
        ..LedgerQuery::default()
    })
}

fn spellings(query: &Parameters) -> Result<Spellings, Problem> {
    Ok(Spellings {
        patient: filter(query, "patient")?,
        doctor: filter(query, "doctor")?,
        hospital: filter(query, "hospital")?,
    })
}

fn limit(query: &Parameters) -> Result<usize, Problem> {
    limit_of(query, DEFAULT_PAGE, MAX_PAGE)
}

/// Returns the maximum number of items in a page: `default` if the client requests none.
pub(super) fn limit_of(query: &Parameters, default: usize, max: usize) -> Result<usize, Problem> {
    let number = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+'));
    let limit = query.one("limit")?.map_or(Some(default), number);
    let refused = || Problem::malformed(format!("`limit` is a number from 1 to {max}"));
    limit.filter(|limit| (1..=max).contains(limit)).ok_or_else(refused)
}

/// Returns the value of a parameter, which is not empty and not longer than a key.
pub(super) fn filter(query: &Parameters, name: &str) -> Result<Option<String>, Problem> {
    let value = query.one(name)?;
    let fits = value.is_none_or(|text| (1..=MAX_KEY_BYTES).contains(&text.len()));
    let refused = || Problem::malformed(format!("`{name}` has 1 to {MAX_KEY_BYTES} bytes"));
    if fits { Ok(value.map(str::to_owned)) } else { Err(refused()) }
}

/// Returns the link to the next page (RFC 8288): the same query with another cursor.
fn next_link(uri: &Uri, cursor: &str) -> Result<HeaderValue, Problem> {
    let query = uri.query().unwrap_or_default();
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let query =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair("cursor", cursor).finish();
    let link = format!("<{}?{query}>; rel=\"next\"", uri.path());
    HeaderValue::from_str(&link).map_err(|_| Problem::malformed("the query has characters that no URL has"))
}

/// `Cache-Control` of responses about people: only the client's own cache may keep them, and it must revalidate them.
pub(super) const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

fn etag(view: &View) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", view.tag())).expect("digits and hexadecimal digits in quotes")
}

fn appointment_response(view: &View) -> Response {
    ([(ETAG, etag(view)), (CACHE_CONTROL, PRIVATE)], Json(representation(view))).into_response()
}

/// An appointment as JSON: the country's fields, and the members that the host adds (`HOST_MEMBERS`, `ADDED_MEMBERS`).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Representation<'a> {
    id: Uuid,
    country: CountryCode,
    phase: Phase,
    /// 1 after the booking, one more with each change.
    #[schemars(range(min = 1))]
    revision: u32,
    /// Start in UTC; absent while the appointment has no date.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    starts_at: Option<Timestamp>,
    /// Start by the clocks of the place, with its offset from UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    starts_at_local: Option<String>,
    /// IANA time zone of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    /// Length in minutes; absent while the appointment has no date.
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<u16>,
    /// True if nobody has confirmed that the account that booked acts for the patient. Only this account and staff see the
    /// appointment. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<bool>,
    #[serde(flatten)]
    #[schemars(skip)]
    fields: &'a Map<String, Value>,
    /// Rules that made this revision.
    rules: &'a RulesId,
    /// Time when the appointment was booked.
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    /// Time when this revision was stored.
    #[schemars(with = "Instant")]
    updated_at: Timestamp,
}

fn representation(view: &View) -> Representation<'_> {
    let View { revision, fields, .. } = view;
    let appointment = &revision.appointment;
    let is_added = |name: &str| !fields.contains_key(name);
    let slot = appointment.slot.as_ref();
    let added = |name: &str| slot.filter(|_| is_added(name));
    Representation {
        id: appointment.id,
        country: revision.country,
        phase: appointment.phase,
        revision: appointment.revision,
        starts_at: appointment.starts_at,
        starts_at_local: added("startsAtLocal")
            .zip(appointment.starts_at)
            .map(|(slot, starts_at)| slot.start_with_offset(starts_at)),
        zone: added("zone").map(|slot| slot.zone.as_str()),
        minutes: slot.map(|slot| slot.minutes),
        unverified: revision.owner.as_ref().filter(|_| is_added("unverified")).map(|_| true),
        fields,
        rules: &revision.provenance.rules,
        created_at: appointment.created_at,
        updated_at: revision.updated_at,
    }
}

/// An entry of a history: a revision of an appointment, and how it came about.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a, A> {
    #[schemars(range(min = 1))]
    revision: u32,
    /// Action that made the revision; `book` for the first one.
    action: &'a str,
    #[schemars(with = "Instant")]
    at: Timestamp,
    by: Author<'a>,
    rules: &'a RulesId,
    /// Version of the contract between host and rules.
    contract: &'a str,
    /// Version of the host.
    host: &'a str,
    /// Id of the request that made the revision.
    request_id: &'a str,
    appointment: A,
}

/// Caller who made a revision.
#[derive(Serialize, JsonSchema)]
pub struct Author<'a> {
    /// Subject of the caller's token. A patient sees only their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    role: Role,
}

fn entry<'a>(view: &'a View, reader: &Caller, role: Role) -> Entry<'a, Representation<'a>> {
    let provenance = &view.revision.provenance;
    let subject = Some(provenance.subject.as_str()).filter(|subject| reader.knows(role, subject));
    Entry {
        revision: view.revision.appointment.revision,
        action: &provenance.action,
        at: view.revision.updated_at,
        by: Author { subject, role: provenance.context.caller.role },
        rules: &provenance.rules,
        contract: &provenance.contract,
        host: &provenance.host,
        request_id: &provenance.request_id,
        appointment: representation(view),
    }
}

impl Api {
    /// Returns a function that turns an error of a use case into a problem in the client's language.
    pub(super) fn problem(&self, country: CountryCode, headers: &HeaderMap) -> impl FnOnce(BookingError) -> Problem {
        let rules = self.catalogue.rules(country);
        let language = accept_language(headers);
        move |error| Problem::of(error, rules.as_deref(), &language)
    }
}
