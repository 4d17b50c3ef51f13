//! The ledger in SQLite: the contract, and the further promises of one machine's files.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use citas::local::sqlite::{FILES_PER_COUNTRY, KEY, OpenError, ReadOnlyLedger, SqliteLedger};
use citas_core::model::{Event, Field, Pseudonyms, Revision, Role, Value};
use citas_core::ports::{Attempts, Ledger, Outbox, Pending, Query, Wakes};
use futures::future::join_all;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;
use uuid::Uuid;

use crate::ledger_contract::{Stored, ledger_contract, outbox_contract, stored_contract, wakes_contract};
use crate::support::appointments::*;

/// Size of SQLite's pages, in bytes.
const PAGE: u64 = 4096;

/// Size of a write-ahead log that is larger than the ledger keeps, in bytes.
const LARGE_LOG: u64 = 24 << 20;

/// Returns a booking of about ten kilobytes.
fn large(number: usize) -> Revision {
    let mut revision = booked(number);
    revision.appointment.attributes = vec![Field { path: "/text".into(), value: Value::Text("x".repeat(10_000)) }];
    revision
}

fn open(folder: &TempDir) -> SqliteLedger {
    SqliteLedger::open(folder.path()).unwrap()
}

#[expect(clippy::unused_async, reason = "other adapters' wait for a server")]
mod contract {
    use super::*;

    async fn ledger() -> (Arc<dyn Ledger>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(open(&folder)), folder)
    }

    async fn ports() -> ((Arc<dyn Ledger>, Arc<dyn Outbox>), TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open(&folder));
        ((Arc::clone(&ledger) as _, ledger as _), folder)
    }

    async fn wakes() -> ((Arc<dyn Ledger>, Arc<dyn Wakes>), TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open(&folder));
        ((Arc::clone(&ledger) as _, ledger as _), folder)
    }

    /// Peru's file, which is read and erased by another connection.
    struct Inside(PathBuf);

    #[async_trait]
    impl Stored for Inside {
        async fn sequence(&self) -> Vec<(u64, Uuid, u32)> {
            sequence(&self.0)
        }
        async fn open_rows(&self) -> String {
            open_rows(&self.0)
        }
        async fn erase(&self, person: Uuid) {
            let erase = |table: &str| {
                let erase = format!("UPDATE {table} SET personal = NULL WHERE person = ?");
                connect(&self.0).execute(&erase, [person.as_bytes()]).unwrap()
            };
            assert!(["log", "patient_link", "privacy_request"].map(erase).iter().sum::<usize>() > 0);
        }
    }

    async fn stored() -> ((Arc<dyn Ledger>, Arc<dyn Stored>), TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pe.db");
        ((Arc::new(open(&folder)), Arc::new(Inside(file))), folder)
    }

    ledger_contract!(ledger);
    outbox_contract!(ports);
    wakes_contract!(wakes);
    stored_contract!(stored);
}

fn connect(file: &Path) -> Connection {
    Connection::open(file).unwrap()
}

/// Returns the log of a file: the number of each revision in the sequence, its appointment, and its own number.
pub fn sequence(file: &Path) -> Vec<(u64, Uuid, u32)> {
    let connection = connect(file);
    let stored = "SELECT sequence, id, number FROM log JOIN (
            SELECT sequence, id, number FROM appointment UNION ALL SELECT sequence, id, number FROM revision
        ) USING (sequence, id, number) ORDER BY sequence";
    let mut select = connection.prepare(stored).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), Uuid::from_bytes(row.get(1)?), row.get(2)?))
    };
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Returns every value in a file except the personal parts, as text.
fn open_rows(file: &Path) -> String {
    let connection = connect(file);
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut text = String::new();
    for table in tables {
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let open: Vec<usize> =
            (0..select.column_count()).filter(|column| select.column_name(*column).unwrap() != "personal").collect();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in &open {
                let value = match row.get_ref(*column).unwrap() {
                    ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                    ValueRef::Blob(id) if id.len() == 16 => Uuid::from_slice(id).unwrap().to_string(),
                    other => format!("{other:?}"),
                };
                text.push_str(&value);
                text.push('\n');
            }
        }
    }
    text
}

/// Asserts that these bytes are nowhere in the folder's files except in personal parts: once these are erased, the bytes
/// are gone.
fn assert_only_personal(folder: &Path, values: &[&str]) {
    for file in ["pe.db", "cl.db"].map(|name| folder.join(name)).iter().filter(|file| file.exists()) {
        let found = |value: &str| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(value.len()).any(|window| window == value.as_bytes())
        };
        let connection = connect(file);
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        connection.pragma_update(None, "secure_delete", true).unwrap();
        assert!(values.iter().any(|value| found(value)), "{}: the search finds what is there", file.display());
        connection.execute("UPDATE log SET personal = NULL", []).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        for value in values {
            assert!(!found(value), "{}: {value}", file.display());
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_opened_again_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = booking(booked(1), &["a"]);
    first.receipt = Some(receipt("k", &first.revision));
    first.events = vec![Event::new(id(7), "booked", &first.revision)];
    let second = after(&first.revision);
    let attempts = Attempts { failed: 3, tried_for: Duration::from_millis(7_001) };
    {
        let ledger = open(&folder);
        ledger.commit(first.clone()).await.unwrap();
        ledger.commit(change(second.clone())).await.unwrap();
        ledger.mark_notified(pe(), id(8), now()).await.unwrap();
        Outbox::postpone(&ledger, pe(), &[(id(7), attempts)]).await.unwrap();
    }
    let ledger = open(&folder);
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [first.revision, second]);
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
    assert_eq!(ledger.taken(pe(), &claims(&["a"]), now()).await.unwrap().len(), 1);
    let event = first.events[0].clone();
    assert_eq!(ledger.pending(pe(), 10).await.unwrap(), [Pending { event, attempts }]);
    assert!(ledger.notified(pe(), id(8)).await.unwrap());
}

#[tokio::test]
async fn a_folder_in_use_is_refused_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    let refused = SqliteLedger::open(folder.path()).err().unwrap();
    assert!(matches!(refused, OpenError::InUse(_)));
    assert!(refused.to_string().contains("in use by another citas"), "{refused}");
    first.commit(change(booked(1))).await.unwrap();
    drop(first);
    open(&folder);
}

#[tokio::test]
async fn a_file_of_a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pe.db");
    drop(open(&folder));
    connect(&file).pragma_update(None, "user_version", 99).unwrap();
    let ledger = open(&folder);
    let refused = ledger.ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("written by a newer Citas (schema 99"), "{refused}");
    ledger.ready(cl()).await.unwrap();
    assert_eq!(schema_version(&file), 99);
}

/// Writes a file in the format from before outbox rows counted attempts.
fn write_version_1(file: &Path, sql: &str) {
    let connection = connect(file);
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(include_str!("ledger_sqlite/version_1.sql")).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}

/// Writes a file in the former format, with personal data in its revisions.
fn write_version_2(file: &Path, sql: &str) {
    write_version_1(file, sql);
    let connection = connect(file);
    connection
        .execute_batch(
            "ALTER TABLE outbox ADD COLUMN attempts  INTEGER NOT NULL DEFAULT 0;
             ALTER TABLE outbox ADD COLUMN tried_for INTEGER NOT NULL DEFAULT 0;
             UPDATE outbox SET attempts = 3, tried_for = 7001;",
        )
        .unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
}

fn schema_version(file: &Path) -> i32 {
    connect(file).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// Peru's rows of the former format: an appointment that was moved, one that was cancelled, and their events.
const FORMER_PERU: &str = include_str!("ledger_sqlite/former_pe.sql");
/// Chile's rows of the former format: an appointment.
const FORMER_CHILE: &str = include_str!("ledger_sqlite/former_cl.sql");

/// Values of the former rows that identify a person.
const FORMER_PERSONAL: [&str; 4] = ["10117410", "ana@example.com", "12345678", "12.345.678-5"];

async fn assert_migrated(ledger: &SqliteLedger, names: &Pseudonyms) {
    let history = ledger.history(pe(), id(1), 0, 10).await.unwrap();
    let [first, second] = &history[..] else { panic!("{history:?}") };
    assert_eq!(second.person, names.patient(pe(), "dni:10117410"));
    assert_eq!(second.appointment.patient, "dni:10117410");
    assert_eq!(second.appointment.attributes[0], text("/dni", "10117410"));
    assert_eq!(first.provenance.input[0], text("/dni", "10117410-2"));
    assert_eq!(second.appointment.created_at, first.updated_at);
    let steps: Vec<_> = second.appointment.steps.iter().map(|step| (step.action.as_str(), step.role)).collect();
    assert_eq!(steps, [("book", Role::Patient), ("reschedule", Role::Staff)]);
    assert_eq!(first.appointment.steps, second.appointment.steps[..1]);
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), Some(second));

    // The claims of the appointment are held under the names that a booking gives them today.
    let about = |key: &str, personal| {
        names.claim(pe(), citas_core::model::Claim { personal, ..claims(&[key])[0].clone() }, None)
    };
    let keys = [
        about("doctor/45678/2026-12-01T15:00Z", false),
        about("patient/dni:10117410/2026-12-01T15:00Z", true),
        about("doctor/45678/2026-12-01T14:30Z", false),
    ];
    let taken = ledger.taken(pe(), &keys, now()).await.unwrap();
    assert_eq!(taken.len(), 2, "{taken:?}");
    for key in &keys[..2] {
        assert_eq!(taken[&key.key], [(0, id(1))]);
    }
    assert_eq!(second.claims.iter().map(|held| &held.key).collect::<Vec<_>>(), [&keys[0].key, &keys[1].key]);

    let of_person = Query { person: Some(second.person), limit: 10, ..Query::default() };
    assert_eq!(ledger.page(pe(), &of_person).await.unwrap().items, [(*second).clone()]);
    let pending = ledger.pending(pe(), 10).await.unwrap();
    let [pending] = &pending[..] else { panic!("{pending:?}") };
    assert_eq!((pending.event.id, pending.event.data.revision, pending.event.data.patient), (id(7), 2, second.person));
    assert!(ledger.notified(pe(), id(8)).await.unwrap());
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap().unwrap().appointment, id(1));

    let chile = ledger.appointment(cl(), id(1)).await.unwrap().unwrap();
    assert_eq!(chile.person, names.patient(cl(), "run:12345678-5"));
    assert_eq!(chile.appointment.starts_at, Some(at("2026-12-02T12:30:00Z")));
}

#[tokio::test]
async fn a_file_of_a_former_schema_is_migrated_where_it_is_opened() {
    for (version, write) in [(1, write_version_1 as fn(&Path, &str)), (2, write_version_2)] {
        let folder = tempfile::tempdir().unwrap();
        let [peru, chile] = ["pe.db", "cl.db"].map(|name| folder.path().join(name));
        write(&peru, FORMER_PERU);
        write(&chile, FORMER_CHILE);
        let beside = ReadOnlyLedger::open(folder.path(), pe()).err().unwrap().to_string();
        assert!(beside.contains("older Citas") && beside.contains("which migrates it"), "{beside}");
        assert_eq!(schema_version(&peru), version, "whoever only reads changes nothing");
        for _ in 0..2 {
            let ledger = open(&folder);
            ledger.ready(pe()).await.unwrap();
            assert_migrated(&ledger, &ledger.pseudonyms()).await;
        }
        assert_eq!([&peru, &chile].map(|file| schema_version(file)), [7, 7]);
        // Sorted by time, but a cancellation comes after its booking even if the clock was set back.
        assert_eq!(sequence(&peru), [(1, id(1), 1), (2, id(2), 1), (3, id(2), 2), (4, id(1), 2)]);
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'former%'";
        assert_eq!(connect(&peru).query_row(tables, [], |row| row.get::<_, u32>(0)).unwrap(), 0);

        let ledger = open(&folder);
        let latest = ledger.appointment(pe(), id(1)).await.unwrap().unwrap();
        let next = ledger.commit(change(after(&latest))).await.unwrap();
        let beside = ReadOnlyLedger::open(folder.path(), pe()).unwrap().unwrap();
        assert_eq!(
            beside.appointment(id(1)).unwrap().as_ref(),
            Some(&*next.revision),
            "it goes on with what was migrated"
        );
        drop((ledger, beside));
        assert_only_personal(folder.path(), &FORMER_PERSONAL);
    }
}

#[tokio::test]
async fn a_file_with_something_that_is_not_understood_is_left_as_it_was_until_it_is() {
    let odd_member = r#"UPDATE appointment SET body = replace(body, '"owner"', '"keeper"') WHERE number = 2"#;
    let missing = "DELETE FROM revision WHERE id = (SELECT id FROM appointment WHERE starts_at = 1796137200000000000)";
    for (odd, said) in [
        (odd_member, "keeper"),
        ("INSERT INTO claim VALUES ('room/1', x'00')", "1 claims and 0 revisions belong to no appointment"),
        (missing, "the one before it is missing"),
        ("UPDATE outbox SET body = '{}'", "of the outbox"),
        ("ALTER TABLE outbox ADD COLUMN tried_for INTEGER NOT NULL DEFAULT 0", "tried_for"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pe.db");
        write_version_1(&file, FORMER_PERU);
        let kept = std::fs::read(&file).unwrap();
        connect(&file).execute_batch(odd).unwrap();
        let ledger = open(&folder);
        let refused = ledger.ready(pe()).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{odd}: {refused}");
        assert_eq!(schema_version(&file), 1);
        let rows = "SELECT (SELECT count(*) FROM appointment) + (SELECT count(*) FROM outbox)";
        assert_eq!(connect(&file).query_row(rows, [], |row| row.get::<_, u32>(0)).unwrap(), 3, "{odd}");

        // Restored from a backup, it is migrated without a new start.
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("pe.db{end}")));
        }
        std::fs::write(&file, kept).unwrap();
        ledger.ready(pe()).await.unwrap();
        assert_eq!(ledger.pending(pe(), 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_file_that_was_written_with_another_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder).commit(change(booked(1))).await.unwrap();
    let key = folder.path().join(KEY);
    std::fs::write(&key, "00".repeat(32)).unwrap();
    let ledger = open(&folder);
    let refused = ledger.ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("another key"), "{refused}");
    ledger.ready(cl()).await.unwrap();
    drop(ledger);
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(SqliteLedger::open(folder.path()), Err(OpenError::NoKey { .. })));
}

#[tokio::test]
async fn personal_values_are_in_no_file_except_in_personal_parts() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    for number in 0..200 {
        let mut booking = booking(booked(number), &[&format!("doctor/{number}")]);
        booking.receipt = Some(receipt(&format!("k-{number}"), &booking.revision));
        booking.events = vec![Event::new(id(1_000 + number), "booked", &booking.revision)];
        let stored = ledger.commit(booking).await.unwrap();
        ledger.commit(change(after(&stored.revision))).await.unwrap();
    }
    let events: Vec<Uuid> = (0..200).map(|number| id(1_000 + number)).collect();
    ledger.remove(pe(), &events).await.unwrap();
    drop(ledger);
    assert_only_personal(folder.path(), &["10117410", "10117410-2", "ana@example.com"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_makes_that_country_alone_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pe.db"), "not a database, whatever its name says").unwrap();
    let ledger = open(&folder);
    assert!(ledger.commit(change(booked(1))).await.is_err());
    assert!(ledger.appointment(pe(), id(1)).await.is_err());
    ledger.ready(cl()).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_moment_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pe.db");
    std::fs::create_dir(&file).unwrap();
    let ledger = open(&folder);
    assert!(ledger.ready(pe()).await.is_err());
    std::fs::remove_dir(&file).unwrap();
    ledger.ready(pe()).await.unwrap();
}

/// Overwrites the file's pages from number `from` on, as a broken disk does.
fn damage(file: &Path, from: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    let pages = file.metadata().unwrap().len() / PAGE;
    assert!(pages > from + 10, "{pages} pages");
    file.write_all_at(&vec![0xA5; usize::try_from((pages - from) * PAGE).unwrap()], from * PAGE).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_while_it_is_open_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    for number in 0..50 {
        ledger.commit(booking(booked(number), &[&format!("doctor:{number}")])).await.unwrap();
    }
    ledger.ready(pe()).await.unwrap();
    let file = folder.path().join("pe.db");
    // The checkpoint moves the log's content into the file, from which it is read.
    let other = Connection::open(&file).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    damage(&file, 1);
    let refused = ledger.ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("malformed"), "{refused}");
    ledger.ready(cl()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_damaged_before_it_is_opened_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    for number in 0..50 {
        ledger.commit(booking(booked(number), &[&format!("doctor:{number}")])).await.unwrap();
    }
    drop(ledger);
    damage(&folder.path().join("pe.db"), 1);
    assert!(open(&folder).ready(pe()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_closed_leaves_no_log_and_one_that_grew_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let wal = folder.path().join("pe.db-wal");
    let ledger = open(&folder);
    ledger.commit(change(booked(1))).await.unwrap();
    let next = {
        // A reader prevents checkpoints, and so the reuse of the log.
        let mut reader = Connection::open(folder.path().join("pe.db")).unwrap();
        let reading = reader.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM appointment", [], |row| row.get::<_, i64>(0)).unwrap();
        let mut number = 2;
        while wal.metadata().unwrap().len() < LARGE_LOG {
            let commits = (number..number + 500).map(|number| ledger.commit(change(large(number))));
            join_all(commits).await.into_iter().for_each(|done| drop(done.unwrap()));
            number += 500;
        }
        number
    };
    for number in next..next + 10 {
        ledger.commit(change(large(number))).await.unwrap();
    }
    let left = wal.metadata().unwrap().len();
    assert!(left < LARGE_LOG, "{left} bytes");
    ledger.page(pe(), &Query { limit: 10, ..Query::default() }).await.unwrap();
    drop(ledger);
    assert!(!wal.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_read_at_once_few_files_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(open(&folder));
    for number in 0..20 {
        ledger.commit(change(large(number))).await.unwrap();
    }
    let reads = (0..400).map(|number| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            ledger.page(pe(), &Query { limit: 100, ..Query::default() }).await.unwrap();
            ledger.revision(pe(), id(number % 20), 1).await.unwrap();
        })
    });
    join_all(reads).await.into_iter().for_each(|read| read.unwrap());
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let open = links.filter(|link| link.starts_with(folder.path()) && link.to_string_lossy().contains("pe.db")).count();
    assert!((2..=FILES_PER_COUNTRY).contains(&open), "{open} files");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_durable_by_the_files_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(open(&folder));
    let commits = (0..100).map(|number| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.commit(change(booked(number))).await })
    });
    join_all(commits).await.into_iter().for_each(|done| drop(done.unwrap().unwrap()));
    let file = Connection::open(folder.path().join("pe.db")).unwrap();
    let text = |pragma: &str| file.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(text("integrity_check"), "ok");
}
