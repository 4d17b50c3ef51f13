//! Appointments as Citas 0.1 stored them, for migrations. Each has two revisions, and each third one is cancelled.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value as Json, json};

use super::appointments::{at, id, minutes, quarter};

pub type Item = HashMap<String, AttributeValue>;

pub fn dni(number: usize) -> String {
    format!("1011741{number}")
}

pub fn is_cancelled(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// Returns revision `revision` of appointment `number` as Citas 0.1 wrote it, without its attributes.
pub fn former(number: usize, revision: usize) -> Json {
    let cancelled = revision == 2 && is_cancelled(number);
    let claims = [quarter("doctor/45678", number), format!("patient/dni:{}/{}", dni(number), minute(number))];
    json!({
        "country": "pe",
        "appointment": {
            "id": id(number), "phase": if cancelled { "cancelled" } else { "booked" }, "revision": revision,
            "slot": { "start": "2026-12-01T09:30:00", "minutes": 30, "zone": "America/Lima" }, "attributes": [],
        },
        "startsAt": "2026-12-01T14:30:00Z",
        "claims": if cancelled { json!([]) } else { json!(claims) },
        "owner": "ana", "patient": format!("dni:{}", dni(number)), "doctor": "45678", "hospital": null,
        "createdAt": at("2026-11-24T15:00:00Z") + minutes(number),
        "updatedAt": at("2026-11-24T15:00:00Z") + minutes(number + 60 * (revision - 1)),
        "provenance": {
            "action": if revision == 1 { "book" } else { "cancel" },
            "input": [{ "path": "/email", "value": { "text": format!("patient{number}@example.com") } }],
            "context": {
                "now": 1_795_532_400, "role": if revision == 1 { "patient" } else { "staff" },
                "clocks": [{
                    "zone": "America/Lima", "now": "2026-11-24T10:00:00",
                    "shifts": [{ "at": -9_223_372_036_854_775_808_i64, "offsetMinutes": -300 }],
                }],
            },
            "rules": { "version": "1.0.0", "digest": "sha256:ab" },
            "contract": "1.0.0", "host": "0.1.0", "subject": "ana", "requestId": "r",
        },
    })
}

pub fn minute(number: usize) -> String {
    quarter("", number)[1..].to_owned()
}

/// Returns the items of an appointment as Citas 0.1 wrote them.
pub fn former_items(number: usize) -> Vec<Item> {
    let partition = format!("A#{}", id(number));
    let whole = |revision: usize| {
        let mut item = item(&former(number, revision));
        item.insert("order".into(), value(&json!(["/dni", "/name"])));
        item.insert("/dni".into(), value(&json!(dni(number))));
        item.insert("/name".into(), value(&json!("Zutano Mengánez")));
        item
    };
    let keyed = |mut item: Item, pk: &str, sk: &str, kind: &str| {
        let texts = [("pk", pk), ("sk", sk), ("kind", kind)];
        item.extend(texts.map(|(name, text)| (name.to_owned(), value(&json!(text)))));
        item
    };
    let mut latest = keyed(whole(2), &partition, "A", "appointment");
    let start = format!("2026-12-01T14:30:00.000000000Z#{}", id(number));
    let phase = former(number, 2)["appointment"]["phase"].clone();
    latest.extend([("start".to_owned(), value(&json!(start))), ("phase".to_owned(), value(&phase))]);
    let mut items = vec![latest];
    for revision in 1..=2 {
        items.push(keyed(whole(revision), &partition, &format!("R#{revision:010}"), "revision"));
        let event = id(1000 + 2 * number + revision);
        let body = json!({
            "specversion": "1.0", "id": event, "source": "/v1/pe/appointments", "type": "citas.appointment.booked",
            "subject": id(number), "time": "2026-11-24T15:00:00Z", "datacontenttype": "application/json",
            "country": "pe", "data": former(number, revision),
        });
        let event_item = item(&json!({ "event": body.to_string(), "ttl": 1_796_137_200 }));
        items.push(keyed(event_item, &partition, &format!("E#{revision:010}#{event}"), "event"));
    }
    for claim in former(number, 2)["claims"].as_array().unwrap() {
        let holder = item(&json!({ "appointment": id(number) }));
        items.push(keyed(holder, &format!("C#{}", claim.as_str().unwrap()), "C", "claim"));
    }
    items
}

/// Returns an object as an item, without its null members.
pub fn item(json: &Json) -> Item {
    let members = json.as_object().unwrap().iter().filter(|(_, member)| !member.is_null());
    members.map(|(name, member)| (name.clone(), value(member))).collect()
}

pub fn value(json: &Json) -> AttributeValue {
    match json {
        Json::Null => AttributeValue::Null(true),
        Json::Bool(flag) => AttributeValue::Bool(*flag),
        Json::Number(number) => AttributeValue::N(number.to_string()),
        Json::String(text) => AttributeValue::S(text.clone()),
        Json::Array(items) => AttributeValue::L(items.iter().map(value).collect()),
        Json::Object(members) => {
            AttributeValue::M(members.iter().map(|(name, member)| (name.clone(), value(member))).collect())
        }
    }
}
