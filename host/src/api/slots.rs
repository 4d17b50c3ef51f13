//! The endpoint of free slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderMap, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::booking::{FreeSlot, MAX_DAYS, NamedSlot, SlotPage, SlotSearch, Spellings};
use citas_core::model::{CountryCode, Field, Keyring, SlotToken};
use citas_core::rules::{HOLD, SLOT};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
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
pub const PARAMETERS: [&str; 6] = ["doctor", "hospital", "appointment", "from", "days", "view"];

/// `Cache-Control` of free slots, which another booking may take at any time.
const BRIEFLY: HeaderValue = HeaderValue::from_static("private, max-age=5");

/// Free slots of some days: the slots, sorted by start, each once, or the number of those of each day.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{Item}s")]
pub struct Slots<Item> {
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
    items: Vec<Item>,
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

/// Parts of a response that both views have.
struct Head<'a> {
    query: &'a Parameters,
    headers: &'a HeaderMap,
    locale: &'a str,
}

/// Day of a calendar.
#[derive(Serialize, JsonSchema)]
pub struct SlotDay {
    /// The day, by the clocks of the place.
    #[schemars(extend("format" = "date"))]
    date: String,
    /// Number of free slots that start on this day.
    free: usize,
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
    let is_calendar = is_calendar(&query)?;
    let limit = limit_of(&query, DEFAULT_SLOTS, MAX_SLOTS)?;
    let limit = if is_calendar { usize::MAX } else { limit };
    let search = search(&query, &own, limit)?;
    let mut page = api.booking.slots(&caller, country, search).await.map_err(api.problem(country, &headers))?;
    let locale = rules.messages.negotiate(&accept_language(&headers));
    let head = Head { query: &query, headers: &headers, locale: &locale };
    if is_calendar {
        let items = days(&page);
        return head.response(page, items);
    }
    let slots = std::mem::take(&mut page.slots).into_iter();
    let items = slots.map(|free| Slot::of(free, country, &page.place, &api.link_keys)).collect();
    head.response(page, items)
}

/// True if the query asks for the days of a calendar instead of the slots.
fn is_calendar(query: &Parameters) -> Result<bool, Problem> {
    match query.one("view")? {
        None | Some("slots") => Ok(false),
        Some("days") => Ok(true),
        Some(_) => Err(Problem::malformed("`view` is `slots` or `days`")),
    }
}

fn search(query: &Parameters, own: &[&str], limit: usize) -> Result<SlotSearch, Problem> {
    let days = |text: &str| text.parse().ok().filter(|days| (1..=MAX_DAYS).contains(days) && !text.starts_with('+'));
    let refused = || Problem::malformed(format!("`days` is a number from 1 to {MAX_DAYS}"));
    let id = |text: &str| text.parse().map_err(|_| Problem::malformed("`appointment` is the id of an appointment"));
    Ok(SlotSearch {
        spelt: Spellings { patient: None, doctor: filter(query, "doctor")?, hospital: filter(query, "hospital")? },
        members: members(query, own)?,
        appointment: query.one("appointment")?.map(id).transpose()?,
        from: query.date("from")?,
        days: query.one("days")?.map_or(Some(DEFAULT_DAYS), days).ok_or_else(refused)?,
        after: query.cursor()?,
        limit,
    })
}

/// Returns the parameters that are members of a booking request.
pub(super) fn members(query: &Parameters, names: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let member = |name: &&str| Ok(filter(query, name)?.map(|text| ((*name).to_owned(), text)));
    names.iter().filter_map(|name| member(name).transpose()).collect()
}

/// Returns the number of free slots of each day of a page.
fn days(page: &SlotPage) -> Vec<SlotDay> {
    let mut free: BTreeMap<Date, usize> =
        page.from.series(1.day()).take_while(|date| *date <= page.to).map(|date| (date, 0)).collect();
    for slot in &page.slots {
        *free.entry(slot.slot.start.date()).or_default() += 1;
    }
    free.into_iter().map(|(date, free)| SlotDay { date: date.to_string(), free }).collect()
}

impl Head<'_> {
    fn response<Item: Serialize>(&self, page: SlotPage, items: Vec<Item>) -> Result<Response, Problem> {
        let SlotPage { zone, from, to, next, next_available, reason, as_of, .. } = page;
        let reason = reason.and_then(|no| Some(ViolationMessage::new(no.violations.first()?, &no.rules, self.locale)));
        let locale = HeaderValue::from_str(self.locale).ok().filter(|_| reason.is_some());
        let slots = Slots {
            time_zone: zone,
            from: from.to_string(),
            to: to.to_string(),
            as_of: Timestamp::UNIX_EPOCH,
            items,
            next_cursor: next.map(|next| self.query.cursor_at(&next)),
            next_available: next_available.map(|next| next.slot.start_with_offset(next.starts_at)),
            reason,
        };
        let undated = serde_json::to_string(&slots).expect("members with text keys");
        // The tag is that of the slots: they may be the same at another time.
        let tag = tag_of(undated.as_bytes());
        let etag = HeaderValue::from_str(&format!("W/\"{tag}\"")).expect("hexadecimal digits in quotes");
        let vary = HeaderValue::from_static("accept-language, authorization");
        let caching = [(ETAG, etag), (CACHE_CONTROL, BRIEFLY), (VARY, vary)];
        if has_seen(self.headers, &tag)? {
            return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
        }
        let dated = undated.replacen(&as_of_member(Timestamp::UNIX_EPOCH), &as_of_member(as_of), 1);
        let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (caching, content_type, dated).into_response();
        if let Some(locale) = locale {
            response.headers_mut().insert(CONTENT_LANGUAGE, locale);
        }
        Ok(response)
    }
}

/// Returns the member `asOf` as a response has it. It is set in the text, because a month of slots takes long to serialize
/// twice.
fn as_of_member(at: Timestamp) -> String {
    format!(r#""asOf":"{at}""#)
}

impl Slot {
    fn of(free: FreeSlot, country: CountryCode, place: &[Field], keys: &Keyring) -> Self {
        let FreeSlot { slot, starts_at, doctor, hospital, places, request } = free;
        let offered = SlotToken { country, slot, doctor, hospital, request, place: place.to_vec() };
        Self::of_token(offered, starts_at, places, keys)
    }

    /// Returns the slot of a token's content.
    pub(super) fn of_token(offered: SlotToken, starts_at: Timestamp, places: Option<u16>, keys: &Keyring) -> Self {
        let token = offered.token(keys);
        let SlotToken { slot, doctor, hospital, .. } = offered;
        let start = slot.start_with_offset(starts_at);
        Self { start, starts_at, minutes: slot.minutes, zone: slot.zone, doctor, hospital, places, slot: token }
    }
}

impl Api {
    /// Takes the slot that a request names out of it: the token of a free one, or the id of a hold. A country without free
    /// slots has neither.
    pub(super) fn take_slot(&self, country: CountryCode, request: &mut Value) -> Result<Option<NamedSlot>, Problem> {
        let has_slots = self.catalogue.rules(country).is_some_and(|rules| rules.has_openings());
        let Some(members) = request.as_object_mut().filter(|_| has_slots) else { return Ok(None) };
        match (members.remove(SLOT), members.remove(HOLD)) {
            (None, None) => Ok(None),
            (Some(token), None) => {
                self.read_slot(country, token.as_str().unwrap_or_default()).map(NamedSlot::Free).map(Some)
            }
            (None, Some(id)) => {
                let id = id.as_str().and_then(|id| id.parse().ok());
                let refused = || Problem::malformed("`hold` is the id of a hold");
                id.map(NamedSlot::Held).map(Some).ok_or_else(refused)
            }
            (Some(_), Some(_)) => {
                Err(Problem::malformed("a request names a `slot` or a `hold`; leave one of the two out"))
            }
        }
    }

    /// Returns the content of a slot's token.
    pub(super) fn read_slot(&self, country: CountryCode, token: &str) -> Result<SlotToken, Problem> {
        let refused = || Problem::malformed("`slot` is not a token that this API gave for this country");
        SlotToken::read(&self.link_keys, country, token).ok_or_else(refused)
    }
}
