//! Stores one change or one hold inside the writer's transaction. Does not decide when the transaction is committed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use citas_core::model::claim::resource_and_minute;
use citas_core::model::{Claim, Event, HeldClaim, Hold, Revision};
use citas_core::ports::{Change, Committed, NewHold, PlaceRequest, Receipt, Settled};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use uuid::Uuid;

use super::agendas;
use super::schema::{ALL_TIME, NO_START, instant, minute};

/// A change with its JSON already serialized, so that the writer only binds it.
pub(super) struct Prepared {
    change: Change,
    /// The revision with the places that it gets if no other appointment holds any.
    expected: Option<Placed>,
    /// True if the places do not depend on other appointments: the change gets these or is refused.
    is_plain: bool,
    events: Vec<(Uuid, String)>,
}

/// The revision of a change with its places.
struct Placed {
    settled: Settled,
    revision: Arc<Revision>,
    text: Text,
}

/// The two parts of a revision, as JSON.
pub(super) struct Text {
    pub(super) open: String,
    pub(super) personal: String,
}

/// A stored change.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) committed: Committed,
    /// Length of the revision's JSON.
    pub(super) bytes: usize,
}

/// Reason why a change was not stored.
pub(super) enum Refusal {
    KeyUsed,
    Stale,
    AgendaChanged,
    ClaimTaken(String),
    Sqlite(rusqlite::Error),
    Json(serde_json::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl Text {
    /// Returns the JSON of a revision, and the revision as a read returns it.
    pub(super) fn of(revision: Revision) -> Result<(Self, Revision), serde_json::Error> {
        let (open, personal) = revision.apart();
        let text = Self { open: serde_json::to_string(&open)?, personal: serde_json::to_string(&personal)? };
        Ok((text, open.complete(Some(personal))))
    }
}

impl Placed {
    fn new(change: &Change, settled: Settled) -> Result<Self, serde_json::Error> {
        let (text, revision) = Text::of(change.revision_with(&settled))?;
        Ok(Self { text, revision: Arc::new(revision), settled })
    }

    fn stored(&self) -> Stored {
        let committed = Committed { revision: Arc::clone(&self.revision), choice: self.settled.choice };
        Stored { committed, bytes: self.text.open.len() + self.text.personal.len() }
    }
}

impl Prepared {
    pub(super) fn new(change: Change) -> Result<Self, serde_json::Error> {
        let plain = change.places().plain();
        let is_plain = plain.is_some();
        let nothing = |_: &Claim| Ok::<_, Infallible>(BTreeSet::new());
        let alone = || change.places().settle(nothing).unwrap_or_else(|never| match never {}).ok();
        let expected = plain.or_else(alone).map(|settled| Placed::new(&change, settled)).transpose()?;
        let event = |event: &Event| Ok((event.id, serde_json::to_string(event)?));
        let events = change.events.iter().map(event).collect::<Result<_, serde_json::Error>>()?;
        Ok(Self { change, expected, is_plain, events })
    }

    /// Returns the instant at which the change is stored, for the expiry of receipts and claims.
    pub(super) fn stored_at(&self) -> Timestamp {
        self.change.revision.updated_at
    }

    /// Returns the id of the changed appointment.
    pub(super) fn appointment(&self) -> Uuid {
        self.change.revision.appointment.id
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Returns the resources whose time the change may take, once for each claim.
    pub(super) fn resources(&self) -> impl Iterator<Item = &str> {
        let on_time = self.change.places().wanted().map(|claim| resource_and_minute(&claim.key));
        on_time.filter_map(|(resource, minute)| minute.map(|_| resource))
    }

    /// Stores the change. Conditions are checked in the order that the port requires. After a refusal the caller rolls
    /// back.
    pub(super) fn store(&self, connection: &Connection) -> Result<Stored, Refusal> {
        let Change { revision, receipt, hold, .. } = &self.change;
        if let Some(receipt) = receipt {
            store_receipt(connection, receipt, self.stored_at())?;
        }
        let found;
        let placed = match &self.expected {
            Some(expected) if self.is_plain => expected,
            expected => {
                self.check_follows(connection)?;
                self.check_agenda(connection)?;
                let settled = find_places(connection, &self.change.places(), self.stored_at())?;
                match expected {
                    Some(expected) if expected.settled == settled => expected,
                    _ => {
                        found = Placed::new(&self.change, settled)?;
                        &found
                    }
                }
            }
        };
        store_revision(connection, &placed.revision, &placed.text)?;
        self.check_agenda(connection)?;
        let id = revision.appointment.id;
        give_up(connection, id, self.change.release(&placed.settled))?;
        let hold_id = hold.as_ref().map(|hold| hold.id);
        let holder = Holder { id, expires_at: None, hold: hold_id, now: self.stored_at() };
        take(connection, &holder, self.change.take(&placed.settled))?;
        if let Some(hold) = hold {
            end_hold(connection, hold.id, self.change.unused(&placed.settled))?;
        }
        self.store_events(connection)?;
        Ok(placed.stored())
    }

    /// Checks that the revision follows the latest one. This reason, and that of the agenda, come before that of a claim.
    fn check_follows(&self, connection: &Connection) -> Result<(), Refusal> {
        let appointment = &self.change.revision.appointment;
        let mut latest = connection.prepare_cached("SELECT number FROM appointment WHERE id = ?")?;
        let latest: Option<u32> = latest.query_row([appointment.id.as_bytes()], |row| row.get(0)).optional()?;
        let next = latest.unwrap_or_default().checked_add(1);
        if next == Some(appointment.revision) { Ok(()) } else { Err(Refusal::Stale) }
    }

    fn check_agenda(&self, connection: &Connection) -> Result<(), Refusal> {
        self.change.agenda.as_ref().map_or(Ok(()), |condition| agendas::check(connection, condition))
    }

    fn store_events(&self, connection: &Connection) -> Result<(), Refusal> {
        for (id, body) in &self.events {
            connection.prepare_cached("INSERT INTO outbox (id, subject, body) VALUES (?, ?, ?)")?.execute(params![
                id.as_bytes(),
                self.change.revision.appointment.id.as_bytes(),
                body
            ])?;
        }
        Ok(())
    }
}

/// Finds places among those that are free at `now`. No other writer changes them until the transaction ends.
fn find_places(connection: &Connection, request: &PlaceRequest<'_>, now: Timestamp) -> Result<Settled, Refusal> {
    let sql = "SELECT ordinal FROM claim WHERE resource = ? AND minute = ? AND (expires_at IS NULL OR expires_at > ?)";
    let mut select = connection.prepare_cached(sql)?;
    let taken = |claim: &Claim| -> rusqlite::Result<BTreeSet<u16>> {
        let (resource, minute) = claim_row(&claim.key);
        select.query_map(params![resource, minute, instant(now)], |row| row.get(0))?.collect()
    };
    request.settle(taken)?.map_err(Refusal::ClaimTaken)
}

/// Stores a hold. After a refusal the caller rolls back.
pub(super) fn store_hold(connection: &Connection, new: &NewHold) -> Result<Hold, Refusal> {
    let now = new.hold.made_at;
    if let Some(receipt) = &new.receipt {
        store_receipt(connection, receipt, now)?;
    }
    let hold = new.with(find_places(connection, &new.places(), now)?);
    let holder = Holder { id: hold.id, expires_at: Some(hold.expires_at), hold: None, now };
    take(connection, &holder, hold.claims.iter())?;
    let insert = "INSERT INTO hold (id, expires_at, body) VALUES (?, ?, ?)";
    let values = params![hold.id.as_bytes(), instant(hold.expires_at), serde_json::to_string(&hold)?];
    connection.prepare_cached(insert)?.execute(values)?;
    Ok(hold)
}

/// Deletes a hold and these of its places, unless another has taken them.
pub(super) fn end_hold<'a>(
    connection: &Connection,
    id: Uuid,
    places: impl Iterator<Item = &'a HeldClaim>,
) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM hold WHERE id = ?")?.execute([id.as_bytes()])?;
    give_up(connection, id, places)
}

/// Value of the column `owner` without an owner. No subject is empty.
pub(super) const NOBODY: &str = "";

/// Stores the first revision of an appointment.
pub(super) const FIRST: &str = "
    INSERT INTO appointment
        (id, number, sequence, starts_at, phase, owner, person, doctor, hospital, wake_at, failed, body)
    VALUES (:id, :number, :sequence, :starts_at, :phase, :owner, :person, :doctor, :hospital, :wake_at, 0, :body)
    ON CONFLICT (id) DO NOTHING";

const NEXT: &str = "
    UPDATE appointment
    SET number = :number, sequence = :sequence, starts_at = :starts_at, phase = :phase, owner = :owner,
        person = :person, doctor = :doctor, hospital = :hospital, wake_at = :wake_at, failed = 0, body = :body
    WHERE id = :id AND number = :number - 1";

fn store_revision(connection: &Connection, revision: &Revision, text: &Text) -> Result<(), Refusal> {
    let sql = if revision.appointment.revision == 1 {
        FIRST
    } else {
        keep_latest(connection, revision)?;
        NEXT
    };
    let sequence = log(connection, None, revision, &text.personal)?;
    if store_latest(connection, sql, sequence, revision, &text.open)? { Ok(()) } else { Err(Refusal::Stale) }
}

/// Adds a revision to the log, by default as the next one. Returns its number in the sequence.
pub(super) fn log(
    connection: &Connection,
    sequence: Option<i64>,
    revision: &Revision,
    personal: &str,
) -> rusqlite::Result<i64> {
    let insert = "INSERT INTO log (sequence, id, number, person, personal) VALUES (?, ?, ?, ?, ?)";
    let (id, number) = (revision.appointment.id, revision.appointment.revision);
    connection.prepare_cached(insert)?.insert(params![
        sequence,
        id.as_bytes(),
        number,
        revision.person.as_bytes(),
        personal
    ])
}

/// Stores the latest revision of an appointment. Returns false if it does not follow the one that is stored.
pub(super) fn store_latest(
    connection: &Connection,
    sql: &str,
    sequence: i64,
    revision: &Revision,
    open: &str,
) -> rusqlite::Result<bool> {
    let appointment = &revision.appointment;
    let stored = connection.prepare_cached(sql)?.execute(named_params! {
        ":id": appointment.id.as_bytes(),
        ":number": appointment.revision,
        ":sequence": sequence,
        ":starts_at": appointment.starts_at.map_or(NO_START, instant),
        ":phase": appointment.phase.as_str(),
        ":owner": revision.owner.as_deref().unwrap_or(NOBODY),
        ":person": revision.person.as_bytes(),
        ":doctor": appointment.doctor,
        ":hospital": appointment.hospital,
        ":wake_at": appointment.wake.as_ref().map(|wake| instant(wake.at)),
        ":body": open,
    })?;
    Ok(stored == 1)
}

/// Copies the latest revision to the table of earlier ones, if `next` follows it.
fn keep_latest(connection: &Connection, next: &Revision) -> Result<(), Refusal> {
    let kept = connection
        .prepare_cached(
            "INSERT INTO revision (id, number, sequence, body)
             SELECT id, number, sequence, body FROM appointment WHERE id = ? AND number = ? - 1",
        )?
        .execute(params![next.appointment.id.as_bytes(), next.appointment.revision])?;
    if kept == 1 { Ok(()) } else { Err(Refusal::Stale) }
}

/// Stores a receipt and replaces an expired one. Expiry is checked at the instant at which the change is stored.
fn store_receipt(connection: &Connection, receipt: &Receipt, now: Timestamp) -> Result<(), Refusal> {
    let stored = connection
        .prepare_cached(
            "INSERT INTO receipt (key, fingerprint, appointment, number, expires_at)
             VALUES (:key, :fingerprint, :appointment, :number, :expires_at)
             ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, appointment = excluded.appointment,
                 number = excluded.number, expires_at = excluded.expires_at
             WHERE receipt.expires_at <= :now",
        )?
        .execute(named_params! {
            ":key": receipt.key,
            ":fingerprint": receipt.fingerprint,
            ":appointment": receipt.appointment.as_bytes(),
            ":number": receipt.revision,
            ":expires_at": instant(receipt.expires_at),
            ":now": instant(now),
        })?;
    if stored == 1 { Ok(()) } else { Err(Refusal::KeyUsed) }
}

/// Returns the resource and the minute of a claim's row.
pub(super) fn claim_row(key: &str) -> (&str, i64) {
    let (resource, at) = resource_and_minute(key);
    (resource, at.map_or(ALL_TIME, minute))
}

/// Deletes those of these places that this appointment or hold has.
fn give_up<'a>(connection: &Connection, id: Uuid, claims: impl Iterator<Item = &'a HeldClaim>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM claim WHERE resource = ? AND minute = ? AND ordinal = ? AND appointment = ?";
    let mut delete = connection.prepare_cached(sql)?;
    for claim in claims {
        let (resource, minute) = claim_row(&claim.key);
        delete.execute(params![resource, minute, claim.ordinal, id.as_bytes()])?;
    }
    Ok(())
}

/// The new holder of places.
struct Holder {
    /// Id of the appointment or the hold.
    id: Uuid,
    /// Time from which the places are free; `None` for an appointment.
    expires_at: Option<Timestamp>,
    /// Hold whose places pass to the holder.
    hold: Option<Uuid>,
    now: Timestamp,
}

/// Takes places that are free, and those of the holder's hold. The primary key ensures that each has one holder.
const TAKE: &str = "
    INSERT INTO claim (resource, minute, ordinal, appointment, expires_at)
    VALUES (:resource, :minute, :ordinal, :holder, :expires_at)
    ON CONFLICT DO UPDATE SET appointment = excluded.appointment, expires_at = excluded.expires_at
    WHERE claim.expires_at <= :now OR claim.appointment = :hold";

fn take<'a>(
    connection: &Connection,
    holder: &Holder,
    places: impl Iterator<Item = &'a HeldClaim>,
) -> Result<(), Refusal> {
    let Holder { id, expires_at, hold, now } = holder;
    let mut insert = connection.prepare_cached(TAKE)?;
    for place in places {
        let (resource, minute) = claim_row(&place.key);
        let taken = insert.execute(named_params! {
            ":resource": resource,
            ":minute": minute,
            ":ordinal": place.ordinal,
            ":holder": id.as_bytes(),
            ":expires_at": expires_at.map(instant),
            ":now": instant(*now),
            ":hold": hold.as_ref().map(Uuid::as_bytes),
        })?;
        if taken == 0 {
            return Err(Refusal::ClaimTaken(place.key.clone()));
        }
    }
    Ok(())
}
