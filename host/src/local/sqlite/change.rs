//! Stores one change inside the writer's transaction. Does not decide when the transaction is committed.

use citas_core::model::{Event, Revision};
use citas_core::ports::{Change, Receipt};
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};
use uuid::Uuid;

use super::schema::{NO_START, instant};

/// A change with its JSON already serialized, so that the writer only binds it.
pub(super) struct Prepared {
    change: Change,
    body: String,
    events: Vec<(Uuid, String)>,
}

/// Reason why a change was not stored.
pub(super) enum Refusal {
    KeyUsed,
    Stale,
    ClaimTaken(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Prepared {
    pub(super) fn new(change: Change) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_string(&change.revision)?;
        let event = |event: &Event| Ok((event.id, serde_json::to_string(event)?));
        let events = change.events.iter().map(event).collect::<Result<_, serde_json::Error>>()?;
        Ok(Self { change, body, events })
    }

    /// Returns the instant at which the change is stored, for the expiry of receipts.
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

    /// Stores the change. Conditions are checked in the order that the port requires. After a refusal the caller rolls
    /// back.
    pub(super) fn store(&self, connection: &Connection) -> Result<(), Refusal> {
        let Change { revision, take, release, receipt, .. } = &self.change;
        if let Some(receipt) = receipt {
            store_receipt(connection, receipt, revision)?;
        }
        self.store_revision(connection)?;
        give_up(connection, revision.appointment.id, release)?;
        claim(connection, revision.appointment.id, take)?;
        self.store_events(connection)
    }

    fn store_revision(&self, connection: &Connection) -> Result<(), Refusal> {
        let revision = &self.change.revision;
        let sql = if revision.appointment.revision == 1 {
            FIRST
        } else {
            keep_latest(connection, revision)?;
            NEXT
        };
        let stored = connection.prepare_cached(sql)?.execute(named_params! {
            ":id": revision.appointment.id.as_bytes(),
            ":number": revision.appointment.revision,
            ":starts_at": revision.starts_at.map_or(NO_START, instant),
            ":phase": revision.appointment.phase.as_str(),
            ":owner": revision.owner,
            ":patient": revision.patient,
            ":doctor": revision.doctor,
            ":hospital": revision.hospital,
            ":body": self.body,
        })?;
        if stored == 1 { Ok(()) } else { Err(Refusal::Stale) }
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

const FIRST: &str = "
    INSERT INTO appointment (id, number, starts_at, phase, owner, patient, doctor, hospital, body)
    VALUES (:id, :number, :starts_at, :phase, :owner, :patient, :doctor, :hospital, :body)
    ON CONFLICT (id) DO NOTHING";

const NEXT: &str = "
    UPDATE appointment
    SET number = :number, starts_at = :starts_at, phase = :phase, owner = :owner, patient = :patient,
        doctor = :doctor, hospital = :hospital, body = :body
    WHERE id = :id AND number = :number - 1";

/// Copies the latest revision to the table of earlier ones, if `next` follows it.
fn keep_latest(connection: &Connection, next: &Revision) -> Result<(), Refusal> {
    let kept = connection
        .prepare_cached(
            "INSERT INTO revision (id, number, body)
             SELECT id, number, body FROM appointment WHERE id = ? AND number = ? - 1",
        )?
        .execute(params![next.appointment.id.as_bytes(), next.appointment.revision])?;
    if kept == 1 { Ok(()) } else { Err(Refusal::Stale) }
}

/// Stores a receipt and replaces an expired one. Expiry is checked at the instant at which the change is stored.
fn store_receipt(connection: &Connection, receipt: &Receipt, revision: &Revision) -> Result<(), Refusal> {
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
            ":now": instant(revision.updated_at),
        })?;
    if stored == 1 { Ok(()) } else { Err(Refusal::KeyUsed) }
}

fn give_up(connection: &Connection, id: Uuid, claims: &[String]) -> Result<(), Refusal> {
    let mut delete = connection.prepare_cached("DELETE FROM claim WHERE claim = ? AND appointment = ?")?;
    for claim in claims {
        delete.execute(params![claim, id.as_bytes()])?;
    }
    Ok(())
}

/// Takes the claims. The primary key ensures that each has one holder.
fn claim(connection: &Connection, id: Uuid, claims: &[String]) -> Result<(), Refusal> {
    let mut insert =
        connection.prepare_cached("INSERT INTO claim (claim, appointment) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
    for claim in claims {
        if insert.execute(params![claim, id.as_bytes()])? == 0 {
            return Err(Refusal::ClaimTaken(claim.clone()));
        }
    }
    Ok(())
}
