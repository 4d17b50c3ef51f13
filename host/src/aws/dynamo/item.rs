//! The items of a table: their keys, and the conversion of values. A country's attributes are native ones under their
//! JSON Pointers, so that its team can read its own table. Values are read exactly as they were written.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use citas_core::model::{Event, Field, Revision, Value};
use citas_core::ports::{Position, Receipt};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Unreadable;

pub type Item = HashMap<String, AttributeValue>;

/// Retention of an event in the table after its stream has delivered it, for the search for lost events.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Retention of the record that an event's notices were sent. It is longer than any queue keeps a message.
const NOTICES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Maximum number of digits that DynamoDB keeps of a number.
const DIGITS: usize = 38;

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn key(pk: String, sk: impl Into<String>) -> Item {
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

pub(super) fn claim_key(claim: &str) -> Item {
    key(format!("C#{claim}"), "C")
}

/// Returns the claim in an item's key, and the appointment that holds it.
pub(super) fn claim_of(item: &Item) -> Option<(&str, Uuid)> {
    let claim = item.get("pk")?.as_s().ok()?.strip_prefix("C#")?;
    Some((claim, item.get("appointment")?.as_s().ok()?.parse().ok()?))
}

pub(super) fn receipt_key(key_digest: &str) -> Item {
    key(format!("I#{key_digest}"), "I")
}

pub(super) fn notice_key(event: Uuid) -> Item {
    key(format!("N#{event}"), "N")
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

/// Returns the item of the appointment's latest state, for the indexes.
pub(super) fn latest(revision: &Revision) -> Result<Item, Unreadable> {
    let mut item = whole(revision)?;
    item.extend(appointment_key(revision.appointment.id));
    item.extend([
        ("kind".into(), text("appointment")),
        ("start".into(), text(position(&Position::of(revision)))),
        ("phase".into(), text(revision.appointment.phase.as_str())),
    ]);
    Ok(item)
}

/// Returns the immutable history item of this revision.
pub(super) fn past(revision: &Revision) -> Result<Item, Unreadable> {
    let mut item = whole(revision)?;
    item.extend(revision_key(revision.appointment.id, revision.appointment.revision));
    item.insert("kind".into(), text("revision"));
    Ok(item)
}

fn whole(revision: &Revision) -> Result<Item, Unreadable> {
    let mut bare = revision.clone();
    let attributes = std::mem::take(&mut bare.appointment.attributes);
    let mut item = encoded(&bare)?;
    let order = attributes.iter().map(|field| text(&field.path)).collect();
    item.insert("order".into(), AttributeValue::L(order));
    item.extend(attributes.into_iter().map(|field| (field.path, native(field.value))));
    Ok(item)
}

/// Parses an item as a revision.
///
/// # Errors
/// Returns an error if this adapter did not write the item.
pub fn revision(mut item: Item) -> Result<Revision, Unreadable> {
    let Some(AttributeValue::L(order)) = item.remove("order") else { return Err(Unreadable("no `order`".into())) };
    let attributes = order.into_iter().map(|path| attribute(&mut item, path)).collect::<Result<_, _>>()?;
    let mut revision: Revision = decoded(item)?;
    revision.appointment.attributes = attributes;
    Ok(revision)
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

pub(super) fn claim(claim: &str, holder: Uuid) -> Item {
    let mut item = claim_key(claim);
    item.extend([("kind".into(), text("claim")), ("appointment".into(), text(holder.to_string()))]);
    item
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

/// Returns the item of an event for the stream, with the whole event in one attribute.
pub(super) fn outbox(event: &Event) -> Result<Item, Unreadable> {
    let body = serde_json::to_string(event).map_err(|error| Unreadable(error.to_string()))?;
    let sort = format!("E#{:010}#{}", event.data.appointment.revision, event.id);
    let mut item = key(partition(event.subject), sort);
    item.extend([
        ("kind".into(), text("event")),
        ("event".into(), text(body)),
        ("ttl".into(), number((event.time + EVENTS_KEPT).as_second())),
    ]);
    Ok(item)
}

/// Parses the event in an item's attribute `event`.
///
/// # Errors
/// Returns an error if this adapter did not write the item.
pub fn event(body: &str) -> serde_json::Result<Event> {
    serde_json::from_str(body)
}

pub(super) fn notice(event: Uuid, now: Timestamp) -> Item {
    let mut item = notice_key(event);
    item.extend([("kind".into(), text("notice")), ("ttl".into(), number((now + NOTICES_KEPT).as_second()))]);
    item
}

/// Encodes a value without its null members: an index accepts no NULL as a key.
fn encoded(value: &impl Serialize) -> Result<Item, Unreadable> {
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
    fn instants_sort_as_texts() {
        let texts: Vec<_> = ["0001-01-01T00:00:00Z", "2026-12-01T14:30:00Z", "2026-12-01T14:30:00.000000001Z"]
            .map(|text| instant(text.parse().unwrap()))
            .into();
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(texts.last().unwrap().as_str() < "none");
    }
}
