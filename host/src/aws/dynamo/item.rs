//! The items of a table: their keys, and the conversion of values. A country's attributes are native ones under their
//! JSON Pointers, so that its team can read its own table. Values are read exactly as they were written.
//!
//! A revision is two items: the open part, which names nobody, and the personal part in the patient's partition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use citas_core::model::claim::{key_of, resource_and_minute};
use citas_core::model::{
    AgendaRevision, Event, Field, HeldClaim, Hold, Personal, PrivacyRequest, PrivacyState, READINGS_KEPT, Reading,
    Revision, Value, Wake,
};
use citas_core::ports::{DueWake, Position, Receipt};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Unreadable;

/// An item of a table: its attributes by their names.
pub type Item = HashMap<String, AttributeValue>;

/// Retention of an event in the table after its stream has delivered it, for the search for lost events.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Retention of the record that an event's notices were sent. It is longer than any queue keeps a message.
const NOTICES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Retention of a claim after its minute.
const CLAIMS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Retention of a hold's claim after it has expired. A clock that is slow still finds it.
const EXPIRED_KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Retention of a hold after it has expired, so that a booking with it is told so.
const HOLDS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Sort key of a claim that is on no minute. It is below every minute.
const NO_MINUTE: &str = "-";

/// Form of a claim's minute in its sort key.
const MINUTE: &str = "%Y-%m-%dT%H:%MZ";

/// Maximum number of digits that DynamoDB keeps of a number.
const DIGITS: usize = 38;

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Returns the text of an attribute, or an empty text without one.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

pub(super) fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

pub(super) fn key(pk: String, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".into(), text(pk)), ("sk".into(), text(sk))])
}

pub(super) fn partition(appointment: Uuid) -> String {
    format!("A#{appointment}")
}

pub(super) fn appointment_key(id: Uuid) -> Item {
    key(partition(id), "A")
}

pub(super) fn revision_sort(number: u32) -> String {
    format!("R#{number:010}")
}

pub(super) fn revision_key(id: Uuid, number: u32) -> Item {
    key(partition(id), revision_sort(number))
}

/// Returns the partition of a person.
pub(super) fn person(person: Uuid) -> String {
    format!("P#{person}")
}

/// Returns the key of the personal part of a revision, given its open part.
pub(super) fn personal_key(open: &Revision) -> Item {
    let Revision { person, appointment, .. } = open;
    key(self::person(*person), format!("{}#{:010}", appointment.id, appointment.revision))
}

/// Returns the appointment and the number of the revision in the sort key of a personal part.
pub(super) fn personal_of(item: &Item) -> Option<(Uuid, u32)> {
    let (id, number) = item.get("sk")?.as_s().ok()?.split_once('#')?;
    Some((id.parse().ok()?, number.parse().ok()?))
}

/// Returns the partition of a resource's claims.
pub(super) fn resource(resource: &str) -> String {
    format!("C#{resource}")
}

/// Returns the start of the sort keys of a claim's places.
pub(super) fn minute(minute: Option<Timestamp>) -> String {
    minute.map_or_else(|| NO_MINUTE.to_owned(), |minute| minute.strftime(MINUTE).to_string())
}

pub(super) fn claim_key(claim: &str, ordinal: u16) -> Item {
    let (of, at) = resource_and_minute(claim);
    key(resource(of), format!("{}#{ordinal:05}", minute(at)))
}

/// Returns the claim and the place in an item's key, and the appointment or hold that has it; `None` if it has expired.
pub(super) fn claim_of(item: &Item, now: Timestamp) -> Option<(String, u16, Uuid)> {
    let expires: Option<i128> = item.get("expires").and_then(|expires| expires.as_n().ok()?.parse().ok());
    if expires.is_some_and(|expires| expires <= now.as_nanosecond()) {
        return None;
    }
    let resource = item.get("pk")?.as_s().ok()?.strip_prefix("C#")?;
    let (minute, ordinal) = item.get("sk")?.as_s().ok()?.split_once('#')?;
    let claim = if minute == NO_MINUTE { key_of(resource, None) } else { format!("{resource}/{minute}") };
    Some((claim, ordinal.parse().ok()?, item.get("appointment")?.as_s().ok()?.parse().ok()?))
}

pub(super) fn hold_key(id: Uuid) -> Item {
    key(format!("H#{id}"), "H")
}

pub(super) fn receipt_key(key_digest: &str) -> Item {
    key(format!("I#{key_digest}"), "I")
}

pub(super) fn notice_key(event: Uuid) -> Item {
    key(format!("N#{event}"), "N")
}

/// Returns the key of an item about the whole table.
fn about_the_table(sort: &str) -> Item {
    key("M".into(), sort)
}

pub(super) fn format_key() -> Item {
    about_the_table("format")
}

pub(super) fn sequence_key() -> Item {
    about_the_table("sequence")
}

pub(super) fn cursor_key() -> Item {
    about_the_table("wakes")
}

/// Partition of the latest revisions of all agendas.
pub(super) const AGENDAS: &str = "G";

/// Returns the partition of a doctor's agenda.
pub(super) fn agenda_partition(doctor: &str) -> String {
    format!("G#{doctor}")
}

/// Returns the key of the item that has the number of an agenda's latest revision.
pub(super) fn agenda_key(doctor: &str) -> Item {
    key(agenda_partition(doctor), "G")
}

pub(super) fn stamp_key() -> Item {
    about_the_table("agendas")
}

/// Returns the items of a revision of an agenda: the number, the immutable history item, that of the list of all agendas, and
/// the stamp of the list.
pub(super) fn agenda_items(revision: &AgendaRevision, stamp: u64) -> Result<[Item; 4], Unreadable> {
    let AgendaRevision { doctor, revision: latest, .. } = revision;
    let body = serde_json::to_string(revision).map_err(|error| Unreadable(error.to_string()))?;
    let with = |mut item: Item, kind: &str, name: &str, value: AttributeValue| {
        item.extend([("kind".into(), text(kind)), (name.to_owned(), value)]);
        item
    };
    Ok([
        with(agenda_key(doctor), "agenda", "revision", number(*latest)),
        with(key(agenda_partition(doctor), revision_sort(*latest)), "agenda", "body", text(&body)),
        with(key(AGENDAS.into(), doctor), "agenda", "body", text(&body)),
        with(stamp_key(), "stamp", "stamp", number(stamp)),
    ])
}

/// Returns the number of the revision in the item of [`agenda_key`].
pub(super) fn agenda_number(item: &Item) -> u32 {
    item.get("revision").and_then(|number| number.as_n().ok()?.parse().ok()).unwrap_or_default()
}

/// Parses the JSON in an item's body.
pub(super) fn body<T: DeserializeOwned>(item: &Item) -> Result<T, Unreadable> {
    serde_json::from_str(text_of(item, "body")).map_err(|error| Unreadable(error.to_string()))
}

pub(super) fn privacy_key(id: Uuid) -> Item {
    key(format!("D#{id}"), "D")
}

pub(super) fn privacy_of_state(state: PrivacyState) -> String {
    format!("D#S#{}", state.as_str())
}

pub(super) fn privacy_of_person(person: Uuid) -> String {
    format!("D#P#{person}")
}

pub(super) fn privacy_of_owner(owner: &str) -> String {
    format!("D#O#{owner}")
}

/// Returns the sort key of a privacy request in a list.
pub(super) fn privacy_sort(due_at: Timestamp, id: Uuid) -> String {
    format!("{}#{id}", instant(due_at))
}

/// Returns the keys of the copies of a privacy request for the lists, each a partition and a sort key.
pub(super) fn privacy_lists(request: &PrivacyRequest) -> Vec<(String, String)> {
    let sort = privacy_sort(request.due_at, request.id);
    let owner = request.owner.as_deref().map(privacy_of_owner);
    let partitions = [privacy_of_state(request.state()), privacy_of_person(request.person)].into_iter().chain(owner);
    partitions.map(|partition| (partition, sort.clone())).collect()
}

/// Returns the key of the texts of a privacy request.
pub(super) fn privacy_texts_key(request: &PrivacyRequest) -> Item {
    key(format!("P#{}", request.person), format!("D#{}", request.id))
}

/// Returns the id of the privacy request in the sort key of its texts.
pub(super) fn privacy_texts_of(item: &Item) -> Option<Uuid> {
    text_of(item, "sk").strip_prefix("D#")?.parse().ok()
}

/// Returns an item with a value as JSON.
pub(super) fn with_body(mut key: Item, kind: &str, value: &impl Serialize) -> Result<Item, Unreadable> {
    let body = serde_json::to_string(value).map_err(|error| Unreadable(error.to_string()))?;
    key.extend([("kind".into(), text(kind)), ("body".into(), text(body))]);
    Ok(key)
}

/// Returns the partition of the readings of a patient.
pub(super) fn person_readings(person: Uuid) -> String {
    format!("W#P#{person}")
}

/// Returns the partition of the readings by an actor.
pub(super) fn subject_readings(subject: &str) -> String {
    format!("W#S#{subject}")
}

/// Returns the key of an item of a list.
pub(super) fn list_key(partition: &str, sort: &str) -> Item {
    key(partition.to_owned(), sort)
}

/// Returns the items of a reading: that of its actor, and one for each patient without the others.
pub(super) fn readings(reading: Reading, id: Uuid) -> Result<Vec<Item>, Unreadable> {
    let sort = format!("{}#{id}", instant(reading.at));
    let item = |partition: &str, reading: &Reading| {
        let mut item = with_body(list_key(partition, &sort), "reading", reading)?;
        item.insert("ttl".into(), number((reading.at + READINGS_KEPT).as_second()));
        Ok(item)
    };
    let mut items = vec![item(&subject_readings(&reading.subject), &reading)?];
    let people = reading.patients.clone();
    let mut of_person = Reading { patients: Vec::new(), ..reading };
    for patient in people {
        let partition = person_readings(patient.person);
        of_person.patients = vec![patient];
        items.push(item(&partition, &of_person)?);
    }
    Ok(items)
}

pub(super) fn trial(number: u64) -> String {
    format!("T#{number}")
}

pub(super) fn canary_key(of: u64) -> Item {
    key(trial(of), "K")
}

pub(super) fn shadow_key(of: u64) -> Item {
    key(trial(of), "S")
}

pub(super) fn place_key(of: u64, name: &str) -> Item {
    key(trial(of), format!("P#{name}"))
}

/// Returns the place in a sort key.
pub(super) fn place_of(sort: &str) -> Option<&str> {
    sort.strip_prefix("P#")
}

/// Returns the sort key of an appointment in a list: its start, then its id. An appointment without a start sorts last.
pub(super) fn position(position: &Position) -> String {
    format!("{}#{}", position.starts_at.map_or_else(|| "none".to_owned(), instant), position.id)
}

/// Parses the sort key of an appointment in a list.
pub(super) fn position_of(start: &str) -> Option<Position> {
    let (starts_at, id) = start.split_once('#')?;
    Some(Position { starts_at: starts_at.parse().ok(), id: id.parse().ok()? })
}

/// Formats an instant so that texts sort like instants, from the year 0 to 9999.
pub(super) fn instant(at: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(9)).timestamp_to_string(&at)
}

/// The items of one revision.
pub(super) struct Parts {
    /// The appointment's latest state, for the indexes.
    pub latest: Item,
    /// The immutable history item.
    pub past: Item,
    /// The personal part.
    pub personal: Item,
}

/// Returns the items of a revision.
pub(super) fn parts(revision: Revision) -> Result<Parts, Unreadable> {
    let (mut open, mut personal) = revision.apart();
    let mut hidden = with_attributes(encoded(&personal)?, std::mem::take(&mut personal.attributes));
    hidden.extend(personal_key(&open));
    hidden.insert("kind".into(), text("personal"));
    let attributes = std::mem::take(&mut open.appointment.attributes);
    let whole = with_attributes(encoded(&open)?, attributes);
    let mut past = whole.clone();
    past.extend(revision_key(open.appointment.id, open.appointment.revision));
    past.insert("kind".into(), text("revision"));
    Ok(Parts { latest: latest(whole, &open), past, personal: hidden })
}

/// Adds the keys of the indexes.
fn latest(mut item: Item, open: &Revision) -> Item {
    let appointment = &open.appointment;
    item.extend(appointment_key(appointment.id));
    item.extend([
        ("kind".into(), text("appointment")),
        ("start".into(), text(position(&Position::of(open)))),
        ("phase".into(), text(appointment.phase.as_str())),
        ("patient".into(), text(open.person.to_string())),
    ]);
    let keys = [("doctor", &appointment.doctor), ("hospital", &appointment.hospital)];
    item.extend(keys.into_iter().filter_map(|(name, key)| Some((name.to_owned(), text(key.as_ref()?)))));
    if let Some(wake) = &appointment.wake {
        item.extend(due_at(wake.at));
        item.insert("wake".into(), scheduled(wake, appointment.revision));
    }
    item
}

/// Returns the keys in the index of scheduled actions for an action that is due at this time.
pub(super) fn due_at(at: Timestamp) -> [(String, AttributeValue); 2] {
    [("wakeHour".into(), text(hour_name(hour(at)))), ("wakeAt".into(), text(instant(at)))]
}

/// Returns the hours since 1970.
pub(super) fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60 * 60)
}

/// Returns the name of an hour: its partition in the index of scheduled actions.
pub(super) fn hour_name(hour: i64) -> String {
    let start = Timestamp::from_second(hour.saturating_mul(60 * 60)).unwrap_or(Timestamp::MAX);
    start.strftime("%Y-%m-%dT%HZ").to_string()
}

fn scheduled(wake: &Wake, revision: u32) -> AttributeValue {
    AttributeValue::M(HashMap::from([
        ("at".into(), text(wake.at.to_string())),
        ("action".into(), text(&wake.action)),
        ("revision".into(), number(revision)),
    ]))
}

/// Parses the scheduled action of an appointment's latest state, or returns `None` without one.
pub(super) fn due_wake(item: &Item) -> Option<DueWake> {
    let wake = item.get("wake")?.as_m().ok()?;
    let text_at = |name: &str| wake.get(name)?.as_s().ok();
    Some(DueWake {
        appointment: item.get("pk")?.as_s().ok()?.strip_prefix("A#")?.parse().ok()?,
        revision: wake.get("revision")?.as_n().ok()?.parse().ok()?,
        wake: Wake { at: text_at("at")?.parse().ok()?, action: text_at("action")?.clone() },
        failed: item.get("wakeFailed").map_or(Some(0), |failed| failed.as_n().ok()?.parse().ok())?,
    })
}

/// Adds attributes under their paths, and their order.
fn with_attributes(mut item: Item, attributes: Vec<Field>) -> Item {
    let order = attributes.iter().map(|field| text(&field.path)).collect();
    item.insert("order".into(), AttributeValue::L(order));
    item.extend(attributes.into_iter().map(|field| (field.path, native(field.value))));
    item
}

/// Takes the attributes out of an item.
pub(super) fn attributes(item: &mut Item) -> Result<Vec<Field>, Unreadable> {
    let Some(AttributeValue::L(order)) = item.remove("order") else { return Err(Unreadable("no `order`".into())) };
    order.into_iter().map(|path| attribute(item, path)).collect()
}

/// Parses an item as the open part of a revision.
///
/// # Errors
/// Returns an error if this adapter did not write the item.
pub fn revision(mut item: Item) -> Result<Revision, Unreadable> {
    let attributes = attributes(&mut item)?;
    let mut revision: Revision = decoded(item)?;
    revision.appointment.attributes = attributes;
    Ok(revision)
}

/// Parses an item as the personal part of a revision.
pub(super) fn personal(mut item: Item) -> Result<Personal, Unreadable> {
    let attributes = attributes(&mut item)?;
    Ok(Personal { attributes, ..decoded(item)? })
}

fn attribute(item: &mut Item, path: AttributeValue) -> Result<Field, Unreadable> {
    let AttributeValue::S(path) = path else { return Err(Unreadable("a path that is no text".into())) };
    let value = item.remove(&path).and_then(value).ok_or_else(|| Unreadable(format!("no value at `{path}`")))?;
    Ok(Field { path, value })
}

fn native(value: Value) -> AttributeValue {
    match value {
        Value::Text(value) => text(value),
        Value::Integer(value) => number(value),
        Value::Flag(value) => AttributeValue::Bool(value),
        Value::Texts(values) => AttributeValue::L(values.into_iter().map(text).collect()),
        Value::Decimal(value) if comes_back(&value) => AttributeValue::N(value),
        Value::Decimal(value) => AttributeValue::M(HashMap::from([("decimal".into(), text(value))])),
    }
}

fn value(native: AttributeValue) -> Option<Value> {
    let text = |value| if let AttributeValue::S(text) = value { Some(text) } else { None };
    match native {
        AttributeValue::S(value) => Some(Value::Text(value)),
        AttributeValue::N(digits) => Some(digits.parse().map_or(Value::Decimal(digits), Value::Integer)),
        AttributeValue::Bool(value) => Some(Value::Flag(value)),
        AttributeValue::L(values) => values.into_iter().map(text).collect::<Option<_>>().map(Value::Texts),
        AttributeValue::M(mut map) => map.remove("decimal").and_then(text).map(Value::Decimal),
        _ => None,
    }
}

/// True if DynamoDB returns these digits unchanged: a plain decimal without redundant zeros that is not an integer.
fn comes_back(digits: &str) -> bool {
    let Some((whole, fraction)) = digits.strip_prefix('-').unwrap_or(digits).split_once('.') else { return false };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = (whole == "0" || !whole.starts_with('0')) && !fraction.ends_with('0');
    plain(whole) && plain(fraction) && shortest && whole.len() + fraction.len() <= DIGITS
}

/// Returns the item of a place. That of a hold is free from `expires_at` on.
pub(super) fn claim(claim: &HeldClaim, holder: Uuid, expires_at: Option<Timestamp>) -> Item {
    let mut item = claim_key(&claim.key, claim.ordinal);
    item.extend([("kind".into(), text("claim")), ("appointment".into(), text(holder.to_string()))]);
    if let Some(expires_at) = expires_at {
        item.extend([
            ("expires".into(), number(expires_at.as_nanosecond())),
            ("ttl".into(), number((expires_at + EXPIRED_KEPT).as_second())),
        ]);
    } else if let (_, Some(minute)) = resource_and_minute(&claim.key) {
        item.insert("ttl".into(), number((minute + CLAIMS_KEPT).as_second()));
    }
    item
}

pub(super) fn hold(hold: &Hold) -> Result<Item, Unreadable> {
    let body = serde_json::to_string(hold).map_err(|error| Unreadable(error.to_string()))?;
    let mut item = hold_key(hold.id);
    item.extend([
        ("kind".into(), text("hold")),
        ("hold".into(), text(body)),
        ("ttl".into(), number((hold.expires_at + HOLDS_KEPT).as_second())),
    ]);
    Ok(item)
}

/// Parses an item as a hold.
pub(super) fn hold_of(item: &Item) -> Result<Hold, Unreadable> {
    serde_json::from_str(text_of(item, "hold")).map_err(|error| Unreadable(error.to_string()))
}

pub(super) fn receipt(receipt: &Receipt) -> Result<Item, Unreadable> {
    let mut item = encoded(receipt)?;
    item.extend(receipt_key(&receipt.key));
    item.extend([
        ("kind".into(), text("receipt")),
        ("expires".into(), number(receipt.expires_at.as_nanosecond())),
        ("ttl".into(), number(receipt.expires_at.as_second() + 1)),
    ]);
    Ok(item)
}

/// Returns the item of an event for the stream, with the event as JSON in one attribute.
pub(super) fn outbox(event: &Event) -> Result<Item, Unreadable> {
    let body = serde_json::to_string(event).map_err(|error| Unreadable(error.to_string()))?;
    let sort = format!("E#{:010}#{}", event.data.revision, event.id);
    let mut item = key(partition(event.subject), sort);
    item.extend([
        ("kind".into(), text("event")),
        ("event".into(), text(body)),
        ("ttl".into(), number((event.time + EVENTS_KEPT).as_second())),
    ]);
    Ok(item)
}

pub(super) fn notice(event: Uuid, now: Timestamp) -> Item {
    let mut item = notice_key(event);
    item.extend([("kind".into(), text("notice")), ("ttl".into(), number((now + NOTICES_KEPT).as_second()))]);
    item
}

/// Encodes a value without its null members: an index accepts no NULL as a key.
pub(super) fn encoded(value: &impl Serialize) -> Result<Item, Unreadable> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(|error| Unreadable(error.to_string()))?;
    item.retain(|_, value| !value.is_null());
    Ok(item)
}

pub(super) fn decoded<T: DeserializeOwned>(item: Item) -> Result<T, Unreadable> {
    serde_dynamo::from_item(item).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_a_number_where_its_digits_come_back() {
        for digits in ["0.5", "-12.25", "123456789.000000001"] {
            assert!(comes_back(digits), "{digits}");
        }
        for digits in ["1", "1.0", "00.5", "1e5", "1e-7", ".5", "5.", &format!("0.{}", "3".repeat(DIGITS))] {
            assert!(!comes_back(digits), "{digits}");
            let decimal = Value::Decimal(digits.to_owned());
            assert_eq!(value(native(decimal.clone())), Some(decimal));
        }
    }

    #[test]
    fn a_position_comes_back() {
        for starts_at in [None, Some("2026-12-01T14:30:00.5Z".parse().unwrap())] {
            let at = Position { starts_at, id: Uuid::from_u128(7) };
            assert_eq!(position_of(&position(&at)), Some(at));
        }
    }

    #[test]
    fn a_claim_comes_back_from_its_key() {
        for (claim, partition, sort) in [
            ("doctor/45678/2026-12-01T14:15Z", "C#doctor/45678", "2026-12-01T14:15Z#00007"),
            ("live/account/01935f00", "C#live/account/01935f00", "-#00007"),
        ] {
            let held = HeldClaim { key: claim.to_owned(), ordinal: 7 };
            let item = super::claim(&held, Uuid::from_u128(1), None);
            assert_eq!((&item["pk"], &item["sk"]), (&text(partition), &text(sort)));
            assert_eq!(claim_of(&item, Timestamp::MAX), Some((claim.to_owned(), 7, Uuid::from_u128(1))));
        }
    }

    #[test]
    fn a_claim_on_time_is_kept_a_day_longer_and_any_other_for_ever() {
        let ttl = |key: &str| super::claim(&HeldClaim { key: key.into(), ordinal: 0 }, Uuid::nil(), None).remove("ttl");
        let end: Timestamp = "2026-12-02T14:15:00Z".parse().unwrap();
        assert_eq!(ttl("doctor/45678/2026-12-01T14:15Z"), Some(number(end.as_second())));
        assert_eq!(ttl("live/account/01935f00"), None);
    }

    #[test]
    fn a_claim_of_a_hold_is_free_from_its_end_on_and_is_kept_for_an_hour() {
        let held = HeldClaim { key: "doctor/45678/2026-12-01T14:15Z".into(), ordinal: 0 };
        let end: Timestamp = "2026-11-24T15:05:00.000000001Z".parse().unwrap();
        let item = super::claim(&held, Uuid::nil(), Some(end));
        assert!(claim_of(&item, end - SignedDuration::from_nanos(1)).is_some());
        assert_eq!(claim_of(&item, end), None);
        assert_eq!(item["ttl"], number(end.as_second() + 60 * 60));
    }

    #[test]
    fn an_hour_has_a_name_that_sorts() {
        let at = |text: &str| hour_name(hour(text.parse().unwrap()));
        assert_eq!(at("2026-12-01T14:59:59.9Z"), "2026-12-01T14Z");
        assert_eq!(at("2026-12-01T15:00:00Z"), "2026-12-01T15Z");
        assert_eq!(hour("1969-12-31T23:59:59Z".parse().unwrap()), -1);
    }

    #[test]
    fn instants_sort_as_texts() {
        let texts: Vec<_> = ["0001-01-01T00:00:00Z", "2026-12-01T14:30:00Z", "2026-12-01T14:30:00.000000001Z"]
            .map(|text| instant(text.parse().unwrap()))
            .into();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.last().unwrap().as_str() < "none");
    }
}
