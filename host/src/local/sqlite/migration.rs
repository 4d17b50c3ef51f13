//! Converts a file of the second version to the third: personal data in rows of its own, opaque patients, claims by
//! resource and minute, and a log of all revisions. Runs in the transaction of the migration.

use std::collections::HashMap;
use std::fmt::Display;

use citas_core::model::{CountryCode, FormerEvent, FormerRevision, Pseudonyms, Revision};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use rusqlite_migration::{HookError, HookResult};
use uuid::Uuid;

use super::change::{FIRST, Text, claim_row, log, store_latest};
use super::schema;

const DROP_FORMER: &str = "DROP TABLE former_revision; DROP TABLE former_appointment; DROP TABLE former_claim;";

/// Moves all rows from the former tables to the new ones, and drops the former tables.
pub(super) fn convert(connection: &Connection, country: CountryCode, names: &Pseudonyms) -> HookResult {
    let sequence = sequence(connection)?;
    if !sequence.is_empty() {
        tracing::info!(%country, revisions = sequence.len(), "the ledger's file is migrated");
    }
    Conversion { connection, country, names, sequence }.run()?;
    events(connection, names)?;
    schema::mark(connection, country, names)?;
    connection.execute_batch(DROP_FORMER)?;
    Ok(connection.execute_batch(schema::APART_INDEXES)?)
}

/// Number of each revision in the sequence, by its appointment and its own number.
type Sequence = HashMap<(Uuid, u32), i64>;

/// Orders all revisions by their time, and those of one appointment by their numbers, even if the clock was set back.
fn sequence(connection: &Connection) -> Result<Sequence, HookError> {
    let mut select = connection.prepare(
        "SELECT id, number, json_extract(body, '$.updatedAt') FROM former_revision
         UNION ALL SELECT id, number, json_extract(body, '$.updatedAt') FROM former_appointment ORDER BY id, number",
    )?;
    let mut rows = select.query([])?;
    let (mut order, mut before) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let (id, number) = place(row)?;
        let at: Option<String> = row.get(2)?;
        let at: Timestamp = at.unwrap_or_default().parse().map_err(|error| in_revision(id, number, &error))?;
        let at = before.filter(|(other, _)| *other == id).map_or(at, |(_, before)| at.max(before));
        before = Some((id, at));
        order.push((at, number, id));
    }
    order.sort_unstable();
    Ok((1..).zip(order).map(|(sequence, (_, number, id))| ((id, number), sequence)).collect())
}

/// Moves revisions and claims. Revisions leave `sequence` when they are moved.
struct Conversion<'a> {
    connection: &'a Connection,
    country: CountryCode,
    names: &'a Pseudonyms,
    sequence: Sequence,
}

impl Conversion<'_> {
    fn run(mut self) -> HookResult {
        let mut latest = self.connection.prepare("SELECT id, number, body FROM former_appointment")?;
        let mut rows = latest.query([])?;
        let mut claims = 0_i64;
        while let Some(row) = rows.next()? {
            claims += self.appointment(row)?;
        }
        let former = "SELECT count(*) FROM former_claim";
        let former: i64 = self.connection.query_row(former, [], |row| row.get(0))?;
        if claims == former && self.sequence.is_empty() {
            return Ok(());
        }
        let (claims, revisions) = (former - claims, self.sequence.len());
        Err(HookError::Hook(format!("{claims} claims and {revisions} revisions belong to no appointment")))
    }

    /// Moves an appointment with the latest revision in this row. Returns the number of claims that it holds.
    fn appointment(&mut self, row: &Row<'_>) -> Result<i64, HookError> {
        let (id, before) = (place(row)?.0, self.earlier(place(row)?.0)?);
        let former = self.former(row, before.as_ref())?;
        let keys = former.claims().to_vec();
        let latest = former.into_revision(self.names, before.as_ref());
        let (sequence, open) = self.log(&latest)?;
        store_latest(self.connection, FIRST, sequence, &latest, &open)?;
        let connection = self.connection;
        let mut is_held =
            connection.prepare_cached("SELECT 1 FROM former_claim WHERE claim = ? AND appointment = ?")?;
        let mut held = Vec::new();
        for (key, claim) in keys.iter().zip(&latest.claims) {
            if is_held.exists(params![key, id.as_bytes()])? {
                held.push(claim);
            }
        }
        // The table has no further columns yet.
        let sql =
            "INSERT INTO claim (resource, minute, ordinal, appointment) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let mut insert = connection.prepare_cached(sql)?;
        for claim in &held {
            let (resource, minute) = claim_row(&claim.key);
            if insert.execute(params![resource, minute, claim.ordinal, id.as_bytes()])? == 0 {
                return Err(in_revision(id, latest.appointment.revision, &"two of its claims are one"));
            }
        }
        Ok(i64::try_from(held.len()).expect("an appointment has few claims"))
    }

    /// Moves the earlier revisions of an appointment. Returns the last of them.
    fn earlier(&mut self, id: Uuid) -> Result<Option<Revision>, HookError> {
        let connection = self.connection;
        let sql = "SELECT id, number, body FROM former_revision WHERE id = ? ORDER BY number";
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([id.as_bytes()])?;
        let mut before = None;
        while let Some(row) = rows.next()? {
            let revision = self.former(row, before.as_ref())?.into_revision(self.names, before.as_ref());
            let (sequence, open) = self.log(&revision)?;
            let insert = "INSERT INTO revision (id, number, sequence, body) VALUES (?, ?, ?, ?)";
            let number = revision.appointment.revision;
            connection.prepare_cached(insert)?.execute(params![id.as_bytes(), number, sequence, open])?;
            before = Some(revision);
        }
        Ok(before)
    }

    /// Reads a former revision that follows `before`.
    fn former(&self, row: &Row<'_>, before: Option<&Revision>) -> Result<FormerRevision, HookError> {
        let (id, number) = place(row)?;
        let body = row.get_ref(2)?.as_str().map_err(|error| in_revision(id, number, &error))?;
        let former: FormerRevision = serde_json::from_str(body).map_err(|error| in_revision(id, number, &error))?;
        let follows = before.map_or(0, |before| before.appointment.revision).checked_add(1) == Some(number);
        if follows && former.place() == (id, number) && former.country() == self.country {
            return Ok(former);
        }
        Err(in_revision(id, number, &"it is of another appointment, or the one before it is missing"))
    }

    /// Adds a revision to the log. Returns its number in the sequence, and its open part.
    fn log(&mut self, revision: &Revision) -> Result<(i64, String), HookError> {
        let (id, number) = (revision.appointment.id, revision.appointment.revision);
        let sequence = self.sequence.remove(&(id, number)).expect("all revisions are in order");
        let (Text { open, personal }, _) =
            Text::of(revision.clone()).map_err(|error| in_revision(id, number, &error))?;
        log(self.connection, Some(sequence), revision, &personal)?;
        Ok((sequence, open))
    }
}

/// Converts the events of the outbox to the new format.
fn events(connection: &Connection, names: &Pseudonyms) -> HookResult {
    let mut select = connection.prepare("SELECT sequence, body FROM outbox")?;
    let events: Vec<(i64, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (sequence, body) in events {
        let odd = |error: serde_json::Error| HookError::Hook(format!("event {sequence} of the outbox: {error}"));
        let event = serde_json::from_str::<FormerEvent>(&body).map_err(odd)?.into_event(names);
        let body = serde_json::to_string(&event).map_err(odd)?;
        connection.execute("UPDATE outbox SET body = ? WHERE sequence = ?", params![body, sequence])?;
    }
    Ok(())
}

fn place(row: &Row<'_>) -> rusqlite::Result<(Uuid, u32)> {
    Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?))
}

/// Returns the error for a revision that cannot be read.
fn in_revision(id: Uuid, number: u32, cause: &dyn Display) -> HookError {
    HookError::Hook(format!("revision {number} of appointment {id}: {cause}"))
}
