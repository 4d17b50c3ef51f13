//! Agendas: the times at which a doctor sees patients. Civil arithmetic with the tz database. Knows no rules: which of the
//! times may be booked, the country decides.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::model::appointment::{CountryCode, Field, Slot};
use crate::model::context::Role;
use crate::model::json::flatten;
use crate::model::plan::{MAX_KEY_BYTES, Opening, Place};
use crate::model::time::Zone;

/// Number of days on which the hours of two zones are compared: every shift of their clocks in a year is among them.
const COMPARED_DAYS: i32 = 371;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Maximum number of weekly hours of an agenda.
const MAX_WEEKLY: usize = 100;

/// Maximum number of closed times, and of extra hours, of an agenda.
const MAX_DATED: usize = 400;

/// Minimum length of an opening, in minutes. It bounds the number of openings of a day.
const MIN_MINUTES: u16 = 5;

/// Maximum number of patients at once.
const MAX_PLACES: u16 = 1_000;

/// The openings of a doctor. A stored agenda has passed [`Agenda::overlaps`], and the checks of its JSON schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agenda {
    /// Hours that come back every week.
    pub weekly: Vec<Weekly>,
    /// Times at which the weekly hours do not apply.
    #[serde(default)]
    pub closed: Vec<Closed>,
    /// Hours of single days, besides the weekly ones. `closed` does not apply to them.
    #[serde(default)]
    pub extra: Vec<Extra>,
}

/// Hours of one day of the week.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weekly {
    /// Day of the week, by the clocks of the zone.
    pub weekday: Weekday,
    /// First day on which the hours apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Date>,
    /// Last day on which the hours apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// The hours.
    #[serde(flatten)]
    pub hours: Hours,
}

/// A day, or some time of it, at which the weekly hours do not apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// The day, by the clocks of the zone of the hours.
    pub date: Date,
    /// Beginning; the day's if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimeOfDay>,
    /// End; the day's if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TimeOfDay>,
}

/// Hours of one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// The day, by the clocks of the zone.
    pub date: Date,
    /// The hours.
    #[serde(flatten)]
    pub hours: Hours,
}

/// Hours in which openings are back to back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    /// Start of the first opening.
    pub from: TimeOfDay,
    /// No opening ends after this time. Time that is left at the end is no opening.
    pub to: TimeOfDay,
    /// Length of each opening, in minutes.
    pub minutes: u16,
    /// Number of patients at once.
    #[serde(default = "one")]
    pub places: u16,
    /// IANA zone of all these times.
    pub zone: String,
    /// Key of the hospital; any hospital if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hospital: Option<String>,
    /// Members of a booking request that the openings fix.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub request: Map<String, Json>,
}

fn one() -> u16 {
    1
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// All days, from Monday on (ISO 8601).
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// Returns the weekday of a date.
    pub fn of(date: Date) -> Self {
        let offset = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        Self::ALL[offset]
    }
}

impl JsonSchema for Agenda {
    fn schema_name() -> Cow<'static, str> {
        "Agenda".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(Agenda::schema()).expect("it is an object")
    }
}

impl Agenda {
    /// Returns the schema of an agenda (JSON Schema 2020-12). No derived schema refuses unknown members of flattened hours.
    pub fn schema() -> Json {
        let date = |title: &str| json!({ "title": title, "type": "string", "format": "date" });
        let time = |title: &str, pattern: &str, example: &str| json!({ "title": title, "type": "string", "pattern": pattern, "examples": [example] });
        let from = time("From", "^([01][0-9]|2[0-3]):[0-5][0-9]$", "09:00");
        let to = time("To", "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", "13:00");
        let hours = [
            ("from", from.clone()),
            ("to", to.clone()),
            (
                "minutes",
                json!({
                    "title": "Minutes", "description": "Length of each opening.", "type": "integer",
                    "minimum": MIN_MINUTES, "maximum": DAY, "examples": [30],
                }),
            ),
            (
                "places",
                json!({
                    "title": "Places", "description": "Number of patients at once; 1 if it is absent.", "type": "integer",
                    "minimum": 1, "maximum": MAX_PLACES,
                }),
            ),
            (
                "zone",
                json!({
                    "title": "Zone", "description": "IANA zone of these times: one of the country's.", "type": "string",
                    "maxLength": 64, "examples": ["America/Lima"],
                }),
            ),
            (
                "hospital",
                json!({
                    "title": "Hospital", "description": "The country's key for the hospital. Any hospital if it is absent.",
                    "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES,
                }),
            ),
            (
                "request",
                json!({
                    "title": "Request", "type": "object", "additionalProperties": true, "maxProperties": 20,
                    "description": "Members of a booking request that these openings fix: some of those that the request's \
                                    schema marks `x-place`.",
                }),
            ),
        ];
        let of_hours = |days: &[(&str, Json)], required: &[&str]| {
            let members: Map<String, Json> =
                days.iter().chain(&hours).map(|(name, member)| ((*name).to_owned(), member.clone())).collect();
            let required = [required, &["from", "to", "minutes", "zone"]].concat();
            json!({ "type": "object", "properties": members, "required": required, "additionalProperties": false })
        };
        let weekday = json!({ "title": "Weekday", "type": "string", "enum": Weekday::ALL });
        let weekly = [("weekday", weekday), ("since", date("Since")), ("until", date("Until"))];
        let closed = json!({
            "type": "object", "required": ["date"], "additionalProperties": false,
            "properties": { "date": date("Date"), "from": from, "to": to },
        });
        let list = |title: &str, description: &str, max: usize, items: Json| json!({ "title": title, "description": description, "type": "array", "maxItems": max, "items": items });
        json!({
            "type": "object", "required": ["weekly"], "additionalProperties": false,
            "properties": {
                "weekly": list(
                    "Weekly", "Hours that come back every week, with their first and last day.", MAX_WEEKLY,
                    of_hours(&weekly, &["weekday"]),
                ),
                "closed": list(
                    "Closed", "Days, or times of days, on which the weekly hours do not apply.", MAX_DATED, closed,
                ),
                "extra": list(
                    "Extra", "Hours of single days, besides the weekly ones.", MAX_DATED,
                    of_hours(&[("date", date("Date"))], &["date"]),
                ),
            },
        })
    }
}

/// A time of a day to the minute, from 00:00 to 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

/// Error for a text that is not a time of a day.
#[derive(Debug, thiserror::Error)]
#[error("a time of a day is written like 09:30, up to 24:00; this is `{0}`")]
pub struct NotATime(String);

impl TimeOfDay {
    /// Returns the number of minutes since midnight.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let digits = |part: &str| part.parse().ok().filter(|_| part.len() == 2 && !part.starts_with('+'));
        let parts = text.split_once(':').and_then(|(hour, minute)| Some((digits(hour)?, digits(minute)?)));
        let minutes = parts.filter(|(_, minute)| *minute < 60).map(|(hour, minute): (u16, u16)| hour * 60 + minute);
        minutes.filter(|minutes| *minutes <= DAY).map(Self).ok_or_else(|| NotATime(text.to_owned()))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = NotATime;
    fn try_from(text: String) -> Result<Self, NotATime> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// One revision of a doctor's agenda, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgendaRevision {
    /// Country of the doctor.
    pub country: CountryCode,
    /// Key of the doctor.
    pub doctor: String,
    /// 1 for the first revision, and one more with each change.
    pub revision: u32,
    /// Time at which the revision was stored.
    pub updated_at: Timestamp,
    /// Subject of the token that stored it.
    pub subject: String,
    /// Role of that caller.
    pub role: Role,
    /// Id of the request that stored it.
    pub request_id: String,
    /// The agenda.
    pub agenda: Agenda,
}

/// Two entries of an agenda that have some time in common, as JSON Pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The later one of the two in the document.
    pub at: String,
    /// The other one.
    pub with: String,
}

/// Days on which hours apply.
#[derive(Clone, Copy)]
enum Days<'a> {
    Weekly(&'a Weekly),
    One(Date),
}

/// Hours of an agenda with their days.
#[derive(Clone, Copy)]
struct Entry<'a> {
    days: Days<'a>,
    hours: &'a Hours,
}

impl Agenda {
    /// Returns the openings for which `place` may look, with their starts, that start in `since` <= start < `until` by the
    /// clocks of their own zones, in order. Those whose start the clocks skip are left out, and so are hours in a zone that
    /// `zones` does not have.
    pub fn openings(
        &self,
        doctor: &str,
        place: &Place,
        zones: &[Zone],
        since: DateTime,
        until: DateTime,
    ) -> Vec<(Timestamp, Opening)> {
        let mut openings = Vec::new();
        for entry in self.entries() {
            let Hours { zone, hospital, places, .. } = entry.hours;
            let Some(zone) = zones.iter().find(|known| known.name() == zone) else { continue };
            let Some(fields) = entry.hours.fields_at(place) else { continue };
            for (starts_at, slot) in self.slots(entry, zone, since, until) {
                let (doctor, hospital) = (Some(doctor.to_owned()), hospital.clone());
                openings.push((starts_at, Opening { slot, doctor, hospital, places: *places, fields: fields.clone() }));
            }
        }
        openings.sort_by_key(|(starts_at, _)| *starts_at);
        openings
    }

    /// Returns true if some hours may have openings for which `place` may look.
    pub fn is_at(&self, place: &Place) -> bool {
        self.entries().any(|entry| entry.hours.fields_at(place).is_some())
    }

    /// Returns true if a slot that starts at this instant lies in one opening for which `place` may look.
    pub fn covers(&self, slot: &Slot, starts_at: Timestamp, place: &Place, zones: &[Zone]) -> bool {
        // By the clocks of another zone it may be the day before or after.
        let (since, until) = (slot.start.saturating_sub(3.days()), slot.start.saturating_add(3.days()));
        let openings = self.openings("", place, zones, since, until);
        let is_in = |(start, opening): &(Timestamp, Opening)| {
            *start <= starts_at && end(starts_at, slot.minutes) <= end(*start, opening.slot.minutes)
        };
        openings.iter().any(is_in)
    }

    /// Returns the entries that have some time in common with an earlier one, each once. Compares the hours of different
    /// zones for a year from `today` on.
    pub fn overlaps(&self, zones: &[Zone], today: Date) -> Vec<Overlap> {
        let weekly = (0..self.weekly.len()).map(|index| format!("/weekly/{index}"));
        let extra = (0..self.extra.len()).map(|index| format!("/extra/{index}"));
        let entries: Vec<(String, Entry<'_>)> = weekly.chain(extra).zip(self.entries()).collect();
        let mut overlaps = Vec::new();
        for (index, (at, entry)) in entries.iter().enumerate() {
            let with = entries[..index].iter().find(|(_, earlier)| self.overlap(*earlier, *entry, zones, today));
            overlaps.extend(with.map(|(with, _)| Overlap { at: at.clone(), with: with.clone() }));
        }
        overlaps
    }

    fn overlap(&self, one: Entry<'_>, other: Entry<'_>, zones: &[Zone], today: Date) -> bool {
        let zone = |entry: Entry<'_>| zones.iter().find(|zone| zone.name() == entry.hours.zone);
        let Some((zone_of_one, zone_of_other)) = zone(one).zip(zone(other)) else { return false };
        let is_dated = matches!((one.days, other.days), (Days::One(_), _) | (_, Days::One(_)));
        let of = |entry: Entry<'_>, date: Date| self.parts(entry, date, is_dated);
        if one.hours.zone == other.hours.zone {
            let first = one.first_day(today).max(other.first_day(today));
            let mut days = one.dates(first, first.saturating_add(6.days())).filter(|date| other.is_on(*date));
            return days.any(|date| any_meet(&of(one, date), &of(other, date)));
        }
        let instants = |entry: Entry<'_>, date: Date, zone: &Zone| -> Vec<Range<Timestamp>> {
            let instant = |minutes: u16| zone.instant_or_next(at(date, minutes));
            of(entry, date).into_iter().map(|part| instant(part.start)..instant(part.end)).collect()
        };
        // A day of one zone meets the day before and the day after of another.
        let first = one.first_day(today).max(other.first_day(today)).saturating_sub(1.day());
        let mut days = one.dates(first, first.saturating_add(COMPARED_DAYS.days()));
        days.any(|date| {
            let parts = instants(one, date, zone_of_one);
            let nearby = other.dates(date.saturating_sub(1.day()), date.saturating_add(1.day()));
            nearby.into_iter().any(|near| any_meet(&parts, &instants(other, near, zone_of_other)))
        })
    }

    /// Returns the minutes of an entry on a day: all, or only those that are not closed.
    fn parts(&self, entry: Entry<'_>, date: Date, are_closed_left_out: bool) -> Vec<Range<u16>> {
        let mut parts: Vec<Range<u16>> = std::iter::once(entry.hours.from.0..entry.hours.to.0).collect();
        for closed in self.closed_for(entry, date).filter(|_| are_closed_left_out) {
            let without = |part: Range<u16>| {
                [part.start..part.end.min(closed.start), part.start.max(closed.end)..part.end].into_iter()
            };
            parts = parts.into_iter().flat_map(without).filter(|part| !part.is_empty()).collect();
        }
        parts
    }

    /// Returns the weekly hours and those of single days.
    pub fn hours(&self) -> impl Iterator<Item = &Hours> {
        self.entries().map(|entry| entry.hours)
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let weekly = self.weekly.iter().map(|weekly| Entry { days: Days::Weekly(weekly), hours: &weekly.hours });
        weekly.chain(self.extra.iter().map(|extra| Entry { days: Days::One(extra.date), hours: &extra.hours }))
    }

    /// Returns the minutes of a day at which an entry does not apply.
    fn closed_for(&self, entry: Entry<'_>, date: Date) -> impl Iterator<Item = Range<u16>> {
        let is_weekly = matches!(entry.days, Days::Weekly(_));
        let on = self.closed.iter().filter(move |closed| is_weekly && closed.date == date);
        on.map(|Closed { from, to, .. }| from.map_or(0, TimeOfDay::minutes)..to.map_or(DAY, TimeOfDay::minutes))
    }

    /// Returns the slots of an entry that start in a range, with their starts. None begins before the one before it has
    /// ended: where the clocks skip time, those that it would have shortened are left out.
    fn slots(&self, entry: Entry<'_>, zone: &Zone, since: DateTime, until: DateTime) -> Vec<(Timestamp, Slot)> {
        let Hours { from: TimeOfDay(from), to: TimeOfDay(to), minutes, .. } = *entry.hours;
        let mut slots = Vec::new();
        for date in entry.dates(since.date(), until.date()) {
            let closed: Vec<Range<u16>> = self.closed_for(entry, date).collect();
            let is_closed = |part: Range<u16>| any_meet(&closed, &[part]);
            let mut free_from = Timestamp::MIN;
            let last = to.saturating_sub(minutes);
            for start in (from..=last).step_by(minutes.max(1).into()).filter(|_| to >= minutes) {
                let civil = at(date, start);
                let Some(starts_at) = zone.instant(civil).filter(|starts_at| *starts_at >= free_from) else { continue };
                free_from = end(starts_at, minutes);
                if !is_closed(start..start + minutes) && (since..until).contains(&civil) {
                    slots.push((starts_at, Slot { start: civil, minutes, zone: zone.name().to_owned() }));
                }
            }
        }
        slots
    }
}

impl Entry<'_> {
    fn is_on(&self, date: Date) -> bool {
        match self.days {
            Days::One(day) => day == date,
            Days::Weekly(Weekly { weekday, since, until, .. }) => {
                *weekday == Weekday::of(date)
                    && since.is_none_or(|since| since <= date)
                    && until.is_none_or(|until| date <= until)
            }
        }
    }

    /// Returns the days from `first` to `last`, both included, on which the hours apply.
    fn dates(self, first: Date, last: Date) -> impl Iterator<Item = Date> {
        let days = first.series(1.day()).take_while(move |date| *date <= last);
        days.filter(move |date| self.is_on(*date))
    }

    /// Returns the first day from `today` on that may have the hours.
    fn first_day(&self, today: Date) -> Date {
        match self.days {
            Days::One(day) => day,
            Days::Weekly(Weekly { since, .. }) => since.unwrap_or(today).max(today),
        }
    }
}

impl Hours {
    /// Returns the leaves that the hours fix, unless `place` is at another hospital or has another value for one of them.
    fn fields_at(&self, place: &Place) -> Option<Vec<Field>> {
        let differs = |own: &Option<String>, other: &Option<String>| own.is_some() && other.is_some() && own != other;
        if differs(&self.hospital, &place.hospital) {
            return None;
        }
        let fields = flatten(&Json::Object(self.request.clone())).unwrap_or_default();
        let known = |field: &Field| place.fields.iter().find(|known| known.path == field.path);
        let fits = fields.iter().all(|field| known(field).is_none_or(|known| known.value == field.value));
        fits.then_some(fields)
    }
}

/// Returns a time of a day. Midnight at its end is that of the next day.
fn at(date: Date, minutes: u16) -> DateTime {
    let midnight = DateTime::from_parts(date, Time::midnight());
    midnight.saturating_add(i64::from(minutes).minutes())
}

fn end(starts_at: Timestamp, minutes: u16) -> Timestamp {
    starts_at.saturating_add(SignedDuration::from_mins(minutes.into())).unwrap_or(Timestamp::MAX)
}

/// True if a range of one list has something in common with one of the other.
fn any_meet<T: PartialOrd>(some: &[Range<T>], others: &[Range<T>]) -> bool {
    some.iter().any(|one| others.iter().any(|other| one.start < other.end && other.start < one.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    const SANTIAGO: &str = "America/Santiago";
    const EASTER: &str = "Pacific/Easter";

    fn zones() -> Vec<Zone> {
        [SANTIAGO, EASTER].iter().map(|name| Zone::named(name).unwrap()).collect()
    }

    fn agenda(json: Json) -> Agenda {
        serde_json::from_value(json).unwrap()
    }

    fn hours(from: &str, to: &str, minutes: u16) -> Json {
        json!({ "weekday": "tuesday", "from": from, "to": to, "minutes": minutes, "zone": SANTIAGO })
    }

    fn with(mut one: Json, more: &Json) -> Json {
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    }

    /// Returns the starts of the openings on these days, by their own clocks.
    fn starts(agenda: &Agenda, place: &Place, since: &str, until: &str) -> Vec<String> {
        let midnight = |date: &str| format!("{date}T00:00").parse().unwrap();
        let openings = agenda.openings("45678", place, &zones(), midnight(since), midnight(until));
        openings.iter().map(|(_, opening)| opening.slot.start.strftime("%dT%H:%M").to_string()).collect()
    }

    fn in_december(agenda: &Agenda) -> Vec<String> {
        starts(agenda, &Place::default(), "2026-12-01", "2026-12-16")
    }

    #[test]
    fn openings_are_back_to_back_on_their_weekday_and_none_ends_after_the_hours() {
        let weekly = agenda(json!({ "weekly": [hours("09:00", "10:10", 30)] }));
        assert_eq!(in_december(&weekly), ["01T09:00", "01T09:30", "08T09:00", "08T09:30", "15T09:00", "15T09:30"]);
        let midnight = agenda(json!({ "weekly": [hours("23:00", "24:00", 60)] }));
        assert_eq!(in_december(&midnight), ["01T23:00", "08T23:00", "15T23:00"]);
        assert_eq!(in_december(&agenda(json!({ "weekly": [hours("09:00", "09:20", 30)] }))), [""; 0]);
    }

    #[test]
    fn hours_apply_from_their_first_day_to_their_last() {
        let valid = json!({ "since": "2026-12-02", "until": "2026-12-08" });
        assert_eq!(
            in_december(&agenda(json!({ "weekly": [with(hours("09:00", "09:30", 30), &valid)] }))),
            ["08T09:00"]
        );
    }

    #[test]
    fn what_is_closed_has_no_weekly_opening_and_extra_hours_stay() {
        let extra = json!({ "date": "2026-12-08", "from": "11:00", "to": "11:30", "minutes": 30, "zone": SANTIAGO });
        let closed = json!([{ "date": "2026-12-01" }, { "date": "2026-12-15", "from": "09:45", "to": "10:30" }, { "date": "2026-12-08" }]);
        let agenda = agenda(json!({ "weekly": [hours("09:00", "11:00", 30)], "closed": closed, "extra": [extra] }));
        assert_eq!(in_december(&agenda), ["08T11:00", "15T09:00", "15T10:30"]);
    }

    #[test]
    fn a_time_that_the_clocks_skip_has_no_opening_and_one_that_occurs_twice_has_one() {
        // At midnight on the sixth of September the clocks show one o'clock.
        let sunday = |from: &str, to: &str, minutes| with(hours(from, to, minutes), &json!({ "weekday": "sunday" }));
        let spring = |minutes| {
            starts(
                &agenda(json!({ "weekly": [sunday("00:00", "02:00", minutes)] })),
                &Place::default(),
                "2026-09-06",
                "2026-09-07",
            )
        };
        assert_eq!(spring(30), ["06T01:00", "06T01:30"]);
        assert_eq!(spring(40), ["06T01:20"]);
        // At the end of the fourth of April the clocks show eleven o'clock again.
        let saturday = with(hours("22:00", "24:00", 30), &json!({ "weekday": "saturday" }));
        let autumn = agenda(json!({ "weekly": [saturday] }));
        assert_eq!(
            starts(&autumn, &Place::default(), "2026-04-04", "2026-04-05"),
            ["04T22:00", "04T22:30", "04T23:00", "04T23:30"]
        );
    }

    #[test]
    fn openings_are_for_a_place_that_says_nothing_else() {
        let fixed = json!({ "hospital": "101100", "request": { "modality": "remota" } });
        let agenda = agenda(json!({ "weekly": [with(hours("09:00", "09:30", 30), &fixed)] }));
        let modality = |text: &str| Field { path: "/modality".into(), value: Value::Text(text.into()) };
        let place = |hospital: Option<&str>, fields: &[Field]| Place {
            hospital: hospital.map(str::to_owned),
            fields: fields.to_vec(),
            ..Place::default()
        };
        let found = |place: Place| starts(&agenda, &place, "2026-12-01", "2026-12-02").len();
        assert_eq!(found(place(Some("101100"), &[modality("remota")])), 1);
        assert_eq!(found(place(None, &[])), 1);
        assert_eq!(found(place(Some("101101"), &[])), 0);
        assert_eq!(found(place(None, &[modality("presencial")])), 0);
    }

    #[test]
    fn hours_in_a_zone_that_the_rules_no_longer_have_are_left_out() {
        let elsewhere =
            agenda(json!({ "weekly": [with(hours("09:00", "10:00", 30), &json!({ "zone": "America/Lima" }))] }));
        assert_eq!(in_december(&elsewhere), [""; 0]);
    }

    #[test]
    fn a_slot_lies_in_an_opening_that_has_all_of_its_time() {
        let agenda = agenda(json!({ "weekly": [hours("09:00", "10:00", 30)] }));
        let covers = |start: &str, minutes, zone: &str| {
            let slot = Slot { start: start.parse().unwrap(), minutes, zone: zone.into() };
            let starts_at = Zone::named(zone).unwrap().instant(slot.start).unwrap();
            agenda.covers(&slot, starts_at, &Place::default(), &zones())
        };
        assert!(covers("2026-12-01T09:00", 30, SANTIAGO) && covers("2026-12-01T09:30", 30, SANTIAGO));
        assert!(covers("2026-12-01T09:10", 20, SANTIAGO), "a part of it");
        assert!(covers("2026-12-01T07:00", 30, EASTER), "by other clocks");
        for (start, minutes) in
            [("2026-12-01T09:15", 30), ("2026-12-01T10:00", 30), ("2026-12-01T09:00", 45), ("2026-12-02T09:00", 30)]
        {
            assert!(!covers(start, minutes, SANTIAGO), "{start}, {minutes} minutes");
        }
    }

    #[test]
    fn hours_overlap_that_have_some_time_in_common() {
        let today = Date::constant(2026, 11, 24);
        let overlaps = |json: Json| -> Vec<(String, String)> {
            agenda(json).overlaps(&zones(), today).into_iter().map(|overlap| (overlap.at, overlap.with)).collect()
        };
        let of = |weekly: &[Json]| overlaps(json!({ "weekly": weekly })).len();
        let first = hours("09:00", "12:00", 30);
        assert_eq!(of(&[first.clone(), hours("12:00", "14:00", 30)]), 0);
        assert_eq!(of(&[first.clone(), hours("11:59", "14:00", 30)]), 1);
        assert_eq!(of(&[first.clone(), with(first.clone(), &json!({ "weekday": "monday" }))]), 0);
        let until = with(first.clone(), &json!({ "until": "2026-12-31" }));
        let since = |day: &str| with(first.clone(), &json!({ "since": day }));
        assert_eq!(of(&[until.clone(), since("2027-01-01")]), 0);
        assert_eq!(of(&[until, since("2026-12-29")]), 1);
        assert_eq!(of(&[since("2030-01-01"), since("2040-01-01")]), 1, "years ahead");
        // Between Santiago and Easter Island are always two hours.
        let island = |from: &str, to: &str| with(hours(from, to, 30), &json!({ "zone": EASTER }));
        assert_eq!(of(&[first.clone(), island("10:00", "12:00")]), 0);
        assert_eq!(of(&[first.clone(), island("09:30", "12:00")]), 1);
        assert_eq!(
            of(&[with(hours("00:00", "02:00", 30), &json!({ "weekday": "wednesday" })), island("22:30", "23:30")]),
            1
        );

        let extra =
            |from: &str| json!({ "date": "2026-12-01", "from": from, "to": "12:30", "minutes": 30, "zone": SANTIAGO });
        let one = ("/extra/0".to_owned(), "/weekly/0".to_owned());
        assert_eq!(overlaps(json!({ "weekly": [first.clone()], "extra": [extra("11:30")] })), [one]);
        assert_eq!(overlaps(json!({ "weekly": [first.clone()], "extra": [extra("12:00")] })), []);
        let closed = json!([{ "date": "2026-12-01", "from": "11:00" }]);
        assert_eq!(overlaps(json!({ "weekly": [first], "closed": closed, "extra": [extra("11:30")] })), []);
        let two = json!({ "weekly": [], "extra": [extra("11:30"), extra("12:00")] });
        assert_eq!(overlaps(two), [("/extra/1".to_owned(), "/extra/0".to_owned())]);
    }

    #[test]
    fn a_time_of_a_day_has_four_digits_and_the_last_is_its_end() {
        for text in ["00:00", "09:05", "23:59", "24:00"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for text in ["", "9:00", "24:01", "12:60", "+9:00", "12:00:00", "12.00", "ab:cd"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_agenda_comes_back_from_its_json_and_its_schema_has_every_member() {
        let request = json!({ "modality": "remota" });
        let all = json!({ "since": "2026-12-01", "until": "2026-12-31", "places": 3, "hospital": "101100", "request": request });
        let mut extra = with(
            hours("09:00", "10:00", 30),
            &json!({ "date": "2026-12-02", "places": 2, "hospital": "101100", "request": request }),
        );
        extra.as_object_mut().unwrap().remove("weekday");
        let closed = json!([{ "date": "2026-12-01", "from": "09:00", "to": "24:00" }]);
        let json = json!({ "weekly": [with(hours("09:00", "10:00", 30), &all)], "closed": closed, "extra": [extra] });
        assert_eq!(json!(agenda(json.clone())), json);
        let schema = Agenda::schema();
        for list in ["weekly", "closed", "extra"] {
            let described = schema["properties"][list]["items"]["properties"].as_object().unwrap();
            let written = json[list][0].as_object().unwrap();
            assert_eq!(described.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>(), "{list}");
        }
    }
}
