//! The endpoint of free slots.

use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, ETAG, HeaderMap, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{FreeSlot, MAX_DAYS, SlotPage, SlotSearch, Spellings};
use citas_core::model::{CountryCode, Keyring, SlotToken};
use citas_core::rules::SLOT;
use jiff::Timestamp;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Api;
use super::appointments::{filter, limit_of};
use super::body::{accept_language, has_seen};
use super::caching::tag_of;
use super::countries;
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::{Problem, ViolationMessage};
use super::query::Parameters;

/// Maximum number of slots in a page: those of a month of one doctor, every 20 minutes.
pub const MAX_SLOTS: usize = 1_000;

/// Number of slots in a page if the client requests none.
pub const DEFAULT_SLOTS: usize = 200;

/// Number of days if the client requests none.
pub const DEFAULT_DAYS: u8 = 7;

/// Parameters of a search besides the country's own.
pub const PARAMETERS: [&str; 4] = ["doctor", "hospital", "from", "days"];

/// `Cache-Control` of free slots, which another booking may take at any time.
const BRIEFLY: HeaderValue = HeaderValue::from_static("private, max-age=5");

/// Free slots of some days, sorted by start, each once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Slots")]
pub struct Slots {
    /// IANA time zone of the place.
    time_zone: String,
    /// First day of the search, by the clocks of the place.
    #[schemars(extend("format" = "date"))]
    from: String,
    /// Last day of the search.
    #[schemars(extend("format" = "date"))]
    to: String,
    /// Time at which the slots were free.
    #[schemars(with = "Instant")]
    as_of: Timestamp,
    items: Vec<Slot>,
    /// `cursor` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Start of the first free slot after these days, if they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    next_available: Option<String>,
    /// Reason why these days have no free slot: `no-agenda`, `full`, or a code of the country's.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ViolationMessage>,
}

/// A slot that can be booked, unless somebody else is faster.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Start by the clocks of the place, with its offset from UTC.
    #[schemars(with = "Instant")]
    start: String,
    /// Start in UTC.
    #[schemars(with = "Instant")]
    starts_at: Timestamp,
    /// Length in minutes.
    #[schemars(range(min = 1))]
    minutes: u16,
    /// IANA time zone of `start`.
    zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hospital: Option<String>,
    /// Number of free places, if several patients are seen at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    places: Option<u16>,
    /// Token of the slot, for a booking. It is opaque, and no reservation.
    slot: String,
}

/// Handles `GET …/slots`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let rules = countries::rules_of(&api, country)?;
    let members = rules.place_members();
    let own: Vec<&str> = members.into_keys().filter(|name| !PARAMETERS.contains(name)).collect();
    let query = Parameters::of(&uri, &[&PARAMETERS[..], &own].concat())?;
    let search = search(&query, &own)?;
    let page = api.booking.slots(&caller, country, search).await.map_err(api.problem(country, &headers))?;
    let locale = rules.messages.negotiate(&accept_language(&headers));
    let (as_of, has_reason) = (page.as_of, page.reason.is_some());
    let item = |free| Slot::of(free, country, &api.link_keys);
    let mut slots = slots(page, item, &query, &locale);
    // The tag is that of the slots: they may be the same at another time.
    let tag = tag_of(&serde_json::to_vec(&slots).expect("members with text keys"));
    slots.as_of = as_of;
    let etag = HeaderValue::from_str(&format!("W/\"{tag}\"")).expect("hexadecimal digits in quotes");
    let caching =
        [(ETAG, etag), (CACHE_CONTROL, BRIEFLY), (VARY, HeaderValue::from_static("accept-language, authorization"))];
    if has_seen(&headers, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let mut response = (caching, Json(slots)).into_response();
    if let Some(locale) = HeaderValue::from_str(&locale).ok().filter(|_| has_reason) {
        response.headers_mut().insert(CONTENT_LANGUAGE, locale);
    }
    Ok(response)
}

fn search(query: &Parameters, own: &[&str]) -> Result<SlotSearch, Problem> {
    let days = |text: &str| text.parse().ok().filter(|days| (1..=MAX_DAYS).contains(days) && !text.starts_with('+'));
    let refused = || Problem::malformed(format!("`days` is a number from 1 to {MAX_DAYS}"));
    let member = |name: &&str| Ok(filter(query, name)?.map(|text| ((*name).to_owned(), text)));
    let members = own.iter().map(member).collect::<Result<Vec<_>, Problem>>()?;
    Ok(SlotSearch {
        spelt: Spellings { patient: None, doctor: filter(query, "doctor")?, hospital: filter(query, "hospital")? },
        members: members.into_iter().flatten().collect(),
        from: query.date("from")?,
        days: query.one("days")?.map_or(Some(DEFAULT_DAYS), days).ok_or_else(refused)?,
        after: query.cursor()?,
        limit: limit_of(query, DEFAULT_SLOTS, MAX_SLOTS)?,
    })
}

/// Returns the representation of a page, as of no time.
fn slots(page: SlotPage, item: impl Fn(FreeSlot) -> Slot, query: &Parameters, locale: &str) -> Slots {
    let SlotPage { zone, from, to, slots, next, next_available, reason, .. } = page;
    let day = |date: Date| date.to_string();
    let reason = reason.and_then(|no| Some(ViolationMessage::new(no.violations.first()?, &no.rules, locale)));
    Slots {
        time_zone: zone,
        from: day(from),
        to: day(to),
        as_of: Timestamp::UNIX_EPOCH,
        items: slots.into_iter().map(item).collect(),
        next_cursor: next.map(|next| query.cursor_at(&next)),
        next_available: next_available.map(|next| next.slot.start_with_offset(next.starts_at)),
        reason,
    }
}

impl Slot {
    fn of(free: FreeSlot, country: CountryCode, keys: &Keyring) -> Self {
        let FreeSlot { slot, starts_at, doctor, hospital, places, request } = free;
        let offered = SlotToken { country, slot, doctor, hospital, request };
        let token = offered.token(keys);
        let SlotToken { slot, doctor, hospital, .. } = offered;
        let start = slot.start_with_offset(starts_at);
        Self { start, starts_at, minutes: slot.minutes, zone: slot.zone, doctor, hospital, places, slot: token }
    }
}

impl Api {
    /// Takes the token of a slot out of a request, and returns its content. A country without free slots has no tokens.
    pub(super) fn take_slot(&self, country: CountryCode, request: &mut Value) -> Result<Option<SlotToken>, Problem> {
        let has_slots = self.catalogue.rules(country).is_some_and(|rules| rules.has_openings());
        let token = request.as_object_mut().filter(|_| has_slots).and_then(|members| members.remove(SLOT));
        let Some(token) = token else { return Ok(None) };
        let read = token.as_str().and_then(|token| SlotToken::read(&self.link_keys, country, token));
        let refused = || Problem::malformed("`slot` is not a token that this API gave for this country");
        read.map(Some).ok_or_else(refused)
    }
}
