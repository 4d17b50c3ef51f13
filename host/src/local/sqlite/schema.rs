//! Defines the tables of a country's file and their migrations, opens the file, and converts instants for its columns. A
//! change of the tables is a new migration and a higher version. Stores and reads no appointment.

use std::path::Path;
use std::time::Duration;

use citas_core::model::{CountryCode, Pseudonyms};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction};
use rusqlite_migration::{M, Migrations};

use super::migration;

/// Version of the tables: the number of migrations that made them, stored in the file's `user_version`.
pub(super) const VERSION: i32 = 7;

/// First version whose content was written with the folder's key.
const KEYED: i32 = 3;

/// Returns all migrations of the tables, in order. A released one never changes, because files have it.
fn migrations(country: CountryCode, names: &Pseudonyms) -> Migrations<'static> {
    let names = names.clone();
    let convert = move |transaction: &Transaction<'_>| migration::convert(transaction, country, &names);
    let later = [AGENDAS, HOLDS, PATIENT_LINKS, PRIVACY_REQUESTS].map(M::up);
    let first = [M::up(TABLES), M::up(ATTEMPTS), M::up_with_hook(APART, convert)];
    Migrations::new(first.into_iter().chain(later).collect())
}

/// Time that a statement waits for a checkpoint or for another program that reads the file.
const BUSY: Duration = Duration::from_secs(5);

/// Number of pages in the log before a checkpoint moves them to the file (16 MB). Bookings touch the same index pages
/// again and again: with SQLite's default of 1,000 pages a quarter of the throughput goes into moving them.
const CHECKPOINT: i32 = 4_000;

/// Size to which the log is cut after a checkpoint, in bytes. Without this it keeps its largest size.
const WAL_SIZE: i32 = 16 << 20;

/// Memory for pages, in KiB (32 MB). A batch of bookings among a million appointments touches more index pages than
/// SQLite's default of 2 MB holds.
const CACHE: i32 = 32 * 1024;

/// Number of prepared statements that a connection keeps. It never prepares more, so each statement is compiled once.
const STATEMENTS: usize = 96;

/// Value of `starts_at` without a start. It sorts last.
pub(super) const NO_START: i64 = i64::MAX - 1;

/// Value of a claim's `minute` if the claim is not on time. It never expires.
pub(super) const ALL_TIME: i64 = i64::MAX;

/// First version of the tables. `appointment` holds the latest revision of each appointment and `revision` the earlier
/// ones, so that a booking writes one body once and every read finds a body in one step. Bodies are last in their rows:
/// a filter never reads past them.
///
/// The appointment of a claim or a receipt is not a foreign key: the holder of a claim may be something else one day.
const TABLES: &str = "
    CREATE TABLE appointment (
        id        BLOB    NOT NULL PRIMARY KEY,
        number    INTEGER NOT NULL,
        starts_at INTEGER NOT NULL,
        phase     TEXT    NOT NULL,
        owner     TEXT    NOT NULL,
        patient   TEXT    NOT NULL,
        doctor    TEXT,
        hospital  TEXT,
        body      TEXT    NOT NULL
    ) STRICT;
    CREATE INDEX appointment_by_start    ON appointment (starts_at, id);
    CREATE INDEX appointment_by_owner    ON appointment (owner, starts_at, id);
    CREATE INDEX appointment_by_patient  ON appointment (patient, starts_at, id);
    CREATE INDEX appointment_by_doctor   ON appointment (doctor, starts_at, id);
    CREATE INDEX appointment_by_hospital ON appointment (hospital, starts_at, id);
    CREATE INDEX appointment_by_phase    ON appointment (phase, starts_at, id);

    CREATE TABLE revision (
        id     BLOB    NOT NULL REFERENCES appointment,
        number INTEGER NOT NULL,
        body   TEXT    NOT NULL,
        PRIMARY KEY (id, number)
    ) STRICT;

    CREATE TABLE claim (
        claim       TEXT NOT NULL PRIMARY KEY,
        appointment BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE receipt (
        key         TEXT    NOT NULL PRIMARY KEY,
        fingerprint TEXT    NOT NULL,
        appointment BLOB    NOT NULL,
        number      INTEGER NOT NULL,
        expires_at  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX receipt_by_expiry ON receipt (expires_at);

    CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY,
        id       BLOB NOT NULL UNIQUE,
        subject  BLOB NOT NULL,
        body     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX outbox_by_subject ON outbox (subject, sequence);

    CREATE TABLE notified (
        event BLOB    NOT NULL PRIMARY KEY,
        at    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX notified_by_time ON notified (at);
";

/// Adds the number of failed attempts to publish an event, and the milliseconds that they took.
const ATTEMPTS: &str = "
    ALTER TABLE outbox ADD COLUMN attempts  INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN tried_for INTEGER NOT NULL DEFAULT 0;
";

/// Third version of the tables, beside receipts, the outbox and sent notices.
///
/// `log` holds every revision in the order of the commits, with its personal part, which becomes NULL when the person is
/// erased. No row is ever deleted, so the next number of the sequence is one more than the last. Everything else names
/// people by their opaque ids only. `wake_at` is the time at which the appointment's scheduled action is due.
const APART: &str = "
    DROP INDEX appointment_by_start;
    DROP INDEX appointment_by_owner;
    DROP INDEX appointment_by_patient;
    DROP INDEX appointment_by_doctor;
    DROP INDEX appointment_by_hospital;
    DROP INDEX appointment_by_phase;
    ALTER TABLE revision    RENAME TO former_revision;
    ALTER TABLE appointment RENAME TO former_appointment;
    ALTER TABLE claim       RENAME TO former_claim;

    CREATE TABLE log (
        sequence INTEGER PRIMARY KEY,
        id       BLOB    NOT NULL,
        number   INTEGER NOT NULL,
        person   BLOB    NOT NULL,
        personal TEXT
    ) STRICT;

    CREATE TABLE appointment (
        id        BLOB    NOT NULL PRIMARY KEY,
        number    INTEGER NOT NULL,
        sequence  INTEGER NOT NULL REFERENCES log,
        starts_at INTEGER NOT NULL,
        phase     TEXT    NOT NULL,
        owner     TEXT    NOT NULL,
        person    BLOB    NOT NULL,
        doctor    TEXT,
        hospital  TEXT,
        wake_at   INTEGER,
        failed    INTEGER NOT NULL,
        body      TEXT    NOT NULL
    ) STRICT;

    CREATE TABLE revision (
        id       BLOB    NOT NULL REFERENCES appointment,
        number   INTEGER NOT NULL,
        sequence INTEGER NOT NULL REFERENCES log,
        body     TEXT    NOT NULL,
        PRIMARY KEY (id, number)
    ) STRICT;

    CREATE TABLE claim (
        resource    TEXT    NOT NULL,
        minute      INTEGER NOT NULL,
        ordinal     INTEGER NOT NULL,
        appointment BLOB    NOT NULL,
        PRIMARY KEY (resource, minute, ordinal)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE key_mark (mark TEXT NOT NULL) STRICT;
";

/// Indexes of the third version. Creating them on a filled table is faster than filling an indexed table.
pub(super) const APART_INDEXES: &str = "
    CREATE INDEX log_by_person ON log (person);
    CREATE INDEX appointment_by_start    ON appointment (starts_at, id);
    CREATE INDEX appointment_by_owner    ON appointment (owner, starts_at, id);
    CREATE INDEX appointment_by_person   ON appointment (person, starts_at, id);
    CREATE INDEX appointment_by_doctor   ON appointment (doctor, starts_at, id);
    CREATE INDEX appointment_by_hospital ON appointment (hospital, starts_at, id);
    CREATE INDEX appointment_by_phase    ON appointment (phase, starts_at, id);
    CREATE INDEX appointment_by_wake     ON appointment (wake_at, id) WHERE wake_at IS NOT NULL;
";

/// Adds the agendas of doctors. Each revision is a row, and no row is ever deleted, so that the last `sequence` changes with
/// each revision.
const AGENDAS: &str = "
    CREATE TABLE agenda (
        sequence INTEGER PRIMARY KEY,
        doctor   TEXT    NOT NULL,
        number   INTEGER NOT NULL,
        body     TEXT    NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX agenda_by_doctor ON agenda (doctor, number);
";

/// Adds holds. A claim of a hold is free from `expires_at` on, and has the hold's id in the column `appointment`. A claim of
/// an appointment has no `expires_at`.
const HOLDS: &str = "
    ALTER TABLE claim ADD COLUMN expires_at INTEGER;
    CREATE INDEX claim_by_expiry ON claim (expires_at) WHERE expires_at IS NOT NULL;

    CREATE TABLE hold (
        id         BLOB    NOT NULL PRIMARY KEY,
        expires_at INTEGER NOT NULL,
        body       TEXT    NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX hold_by_expiry ON hold (expires_at);
";

/// Adds the links of accounts to patients. Each revision is a row, and no row is ever deleted, so that the number of an
/// account's rows changes with each revision. `state` is NULL once a later revision is stored, and `personal` once the
/// person is erased.
const PATIENT_LINKS: &str = "
    CREATE TABLE patient_link (
        sequence INTEGER PRIMARY KEY,
        person   BLOB    NOT NULL,
        subject  TEXT    NOT NULL,
        number   INTEGER NOT NULL,
        state    TEXT,
        at       INTEGER NOT NULL,
        body     TEXT    NOT NULL,
        personal TEXT
    ) STRICT;
    CREATE UNIQUE INDEX patient_link_by_person ON patient_link (person, subject, number);
    CREATE INDEX patient_link_by_subject ON patient_link (subject, state, person);
    CREATE INDEX patient_link_by_request ON patient_link (at, person, subject) WHERE state = 'requested';
";

/// Adds requests of patients about their personal data. `personal` has the texts, and becomes NULL when the person is erased.
const PRIVACY_REQUESTS: &str = "
    CREATE TABLE privacy_request (
        id       BLOB    NOT NULL PRIMARY KEY,
        number   INTEGER NOT NULL,
        state    TEXT    NOT NULL,
        due_at   INTEGER NOT NULL,
        person   BLOB    NOT NULL,
        owner    TEXT,
        body     TEXT    NOT NULL,
        personal TEXT
    ) STRICT;
    CREATE INDEX privacy_request_by_due    ON privacy_request (due_at, id);
    CREATE INDEX privacy_request_by_state  ON privacy_request (state, due_at, id);
    CREATE INDEX privacy_request_by_person ON privacy_request (person, due_at, id);
    CREATE INDEX privacy_request_by_owner  ON privacy_request (owner, due_at, id);
";

/// Reason why a country's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(
        "its file was written by a newer Citas (schema {found}, this one knows up to {VERSION}); run that version, or restore a copy from before the upgrade"
    )]
    Newer { found: i32 },
    #[error(
        "its file was written by an older Citas (schema {found}, this one reads {VERSION}); start this version on the folder, which migrates it"
    )]
    Older { found: i32 },
    #[error("its file was written with another key than the folder's `key`; restore the two from one backup")]
    OtherKey,
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("its file cannot be migrated: {}", migration_cause(.0))]
    Migration(#[from] rusqlite_migration::Error),
}

fn migration_cause(error: &rusqlite_migration::Error) -> String {
    match error {
        rusqlite_migration::Error::Hook(cause) => cause.clone(),
        other => other.to_string(),
    }
}

/// Opens the connection that writes. Creates the file if it is absent, and recovers what a killed process left in its
/// log.
pub(super) fn open_writer(file: &Path, country: CountryCode, names: &Pseudonyms) -> Result<Connection, FileError> {
    let mut connection = Connection::open(file)?;
    configure(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Savepoints keep the data for a rollback in memory, not in a file.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE)?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    // Deleted data is overwritten, so that no personal data stays in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    // A migration fills tables in another order than a change.
    connection.pragma_update(None, "foreign_keys", false)?;
    migrate(&mut connection, country, names)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let mark: String = connection.query_row("SELECT mark FROM key_mark", [], |row| row.get(0))?;
    if mark == mark_of(country, names) { Ok(connection) } else { Err(FileError::OtherKey) }
}

/// Returns true if the file's content was written with the folder's key.
pub(super) fn has_key(file: &Path) -> Result<bool, rusqlite::Error> {
    Ok(version(&open_reader(file)?)? >= KEYED)
}

/// Marks the file as written with this key.
pub(super) fn mark(connection: &Connection, country: CountryCode, names: &Pseudonyms) -> Result<(), rusqlite::Error> {
    let insert = "INSERT INTO key_mark (mark) VALUES (?)";
    connection.execute(insert, [mark_of(country, names)]).map(|_| ())
}

/// Returns a text that identifies the key and does not reveal it.
fn mark_of(country: CountryCode, names: &Pseudonyms) -> String {
    names.account(country, "citas")
}

/// Opens a connection that reads.
pub(super) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    configure(&connection)?;
    Ok(connection)
}

/// Opens a connection that reads a file of another process, which may be another version of Citas.
pub(super) fn open_beside(file: &Path) -> Result<Connection, FileError> {
    let connection = open_reader(file)?;
    match version(&connection)? {
        VERSION => Ok(connection),
        found if found < VERSION => Err(FileError::Older { found }),
        found => Err(FileError::Newer { found }),
    }
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Migrates the tables to the current version in one transaction: an older file gets all of it or nothing.
fn migrate(connection: &mut Connection, country: CountryCode, names: &Pseudonyms) -> Result<(), FileError> {
    match version(connection)? {
        VERSION => return Ok(()),
        0..VERSION => migrations(country, names).to_latest(connection)?,
        found => return Err(FileError::Newer { found }),
    }
    // The log still has former pages, with personal data that the migration has moved.
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn version(connection: &Connection) -> Result<i32, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Converts an instant to its value in a column: nanoseconds since 1970, exact from 1677 to 2262 and the nearest of
/// these beyond. The two largest values are reserved for [`NO_START`] and for a bound above it.
pub(super) fn instant(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond())
        .unwrap_or(if at < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX })
        .min(NO_START - 1)
}

/// Converts an instant to the value of a claim's minute: minutes since 1970.
pub(super) fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Converts a column's value to an instant.
pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).expect("a Timestamp spans more than an i64 of nanoseconds")
}
