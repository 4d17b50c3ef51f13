//! Appointments to store. Each test changes the members that matter to it.

use citas_core::model::claim::key_of;
use citas_core::model::{
    Appointment, Claim, Context, CountryCode, Field, HeldClaim, Phase, Provenance, Pseudonyms, Revision, Role, RulesId,
    Shift, Slot, Step, Value, ZoneClock,
};
use citas_core::ports::{Change, Receipt};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Secret key of the tests, for opaque names.
pub const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub fn pe() -> CountryCode {
    "pe".parse().unwrap()
}

pub fn cl() -> CountryCode {
    "cl".parse().unwrap()
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the time at which everything here is stored, unless a test sets another.
pub fn now() -> Timestamp {
    at("2026-11-24T15:00:00.123456789Z")
}

pub fn minutes(count: usize) -> SignedDuration {
    SignedDuration::from_mins(i64::try_from(count).unwrap())
}

pub fn id(number: usize) -> Uuid {
    Uuid::from_u128(0x0193_5f00_0000_7000_8000_0000_0000_0000 + u128::try_from(number).unwrap())
}

/// Returns opaque names with a key of the tests.
pub fn names() -> Pseudonyms {
    KEY.parse().unwrap()
}

/// Returns the opaque id of person `number`.
pub fn person(number: usize) -> Uuid {
    Uuid::from_u128(0x8000_0000_0000_0000 + u128::try_from(number).unwrap())
}

/// Returns Peru's appointment `number`, just booked.
pub fn booked(number: usize) -> Revision {
    Revision {
        country: pe(),
        person: person(1),
        appointment: Appointment {
            id: id(number),
            phase: Phase::Booked,
            slot: Some(Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() }),
            starts_at: Some(at("2026-12-01T14:30:00Z")),
            created_at: now(),
            patient: "dni:10117410".into(),
            doctor: Some("45678".into()),
            hospital: Some("00006219".into()),
            unverified: false,
            wake: None,
            revision: 1,
            steps: vec![Step { action: "book".into(), role: Role::Patient, at: now() }],
            attributes: vec![text("/districtName", "Miraflores"), text("/dni", "10117410")],
        },
        claims: Vec::new(),
        owner: Some("ana".into()),
        personal_places: [].into(),
        updated_at: now(),
        provenance: provenance(),
        personal: ["/dni".to_owned()].into(),
    }
}

/// Returns the next revision after `before`, a minute later.
pub fn after(before: &Revision) -> Revision {
    let mut next = before.clone();
    next.appointment.revision += 1;
    next.updated_at += minutes(1);
    next.provenance.action = "reschedule".into();
    next
}

/// Returns a booking with these claims.
pub fn booking(mut revision: Revision, claims: &[&str]) -> Change {
    revision.claims = held(claims);
    change(revision)
}

/// Returns a change to this revision that keeps its claims, or takes them if it is the first.
pub fn change(revision: Revision) -> Change {
    let is_first = revision.appointment.revision == 1;
    Change {
        claims: revision.claims.iter().map(|held| Claim::new(&held.key)).collect(),
        choices: Vec::new(),
        held: if is_first { Vec::new() } else { revision.claims.clone() },
        hold: None,
        receipt: None,
        agenda: None,
        events: Vec::new(),
        revision,
    }
}

/// Returns a booked appointment with this time and these attributes, as rules get it.
pub fn booked_at(slot: Option<Slot>, attributes: Vec<Field>) -> Appointment {
    let starts_at = slot.as_ref().and_then(|slot| slot.start.in_tz(&slot.zone).ok()).map(|start| start.timestamp());
    Appointment { slot, starts_at, attributes, ..booked(7).appointment }
}

/// Returns claims with one place each.
pub fn claims(keys: &[&str]) -> Vec<Claim> {
    keys.iter().map(|key| Claim::new(*key)).collect()
}

/// Returns the claim on a quarter of an hour of a resource, from the first of December on.
pub fn quarter(resource: &str, number: usize) -> String {
    key_of(resource, Some(at("2026-12-01T00:00:00Z") + minutes(15 * number)))
}

/// Returns the first place of each of these claims.
pub fn held(keys: &[&str]) -> Vec<HeldClaim> {
    keys.iter().map(|key| HeldClaim { key: (*key).into(), ordinal: 0 }).collect()
}

/// Returns the receipt of `key` for this revision. It lasts a day.
pub fn receipt(key: &str, revision: &Revision) -> Receipt {
    Receipt {
        key: key.into(),
        fingerprint: format!("fingerprint of {key}"),
        appointment: revision.appointment.id,
        revision: revision.appointment.revision,
        expires_at: revision.updated_at + SignedDuration::from_hours(24),
    }
}

pub fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub fn text(path: &str, value: &str) -> Field {
    Field { path: path.into(), value: Value::Text(value.into()) }
}

fn provenance() -> Provenance {
    Provenance {
        action: "book".into(),
        input: vec![text("/dni", "10117410-2"), text("/email", "ana@example.com")],
        context: Context {
            now: now().as_second(),
            clocks: vec![ZoneClock {
                zone: "America/Lima".into(),
                now: "2026-11-24T10:00".parse().unwrap(),
                shifts: vec![Shift { at: i64::MIN, offset_minutes: -300 }],
            }],
            caller: Role::Patient.into(),
            facts: Vec::new(),
        },
        facts: Vec::new(),
        rules: RulesId { version: "1.0.0".into(), digest: format!("sha256:{}", "ab".repeat(32)) },
        contract: "2.0.0".into(),
        host: "0.1.0".into(),
        subject: "ana".into(),
        request_id: "01935f00-request".into(),
    }
}
