//! The ledger in SQLite: the contract, and the further promises of one machine's files.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use citas::local::sqlite::{FILES_PER_COUNTRY, OpenError, ReadOnlyLedger, SqliteLedger};
use citas_core::model::{Event, Field, Revision, Value};
use citas_core::ports::{Attempts, Ledger, Outbox, Pending, Query};
use futures::future::join_all;
use tempfile::TempDir;

use crate::ledger_contract::{ledger_contract, outbox_contract};
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

    ledger_contract!(ledger);
    outbox_contract!(ports);
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
        ledger.postpone(pe(), &[(id(7), attempts)]).await.unwrap();
    }
    let ledger = open(&folder);
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [first.revision, second]);
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
    assert_eq!(ledger.taken(pe(), &claims(&["a"])).await.unwrap().len(), 1);
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
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let ledger = open(&folder);
    let refused = ledger.ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("written by a newer Citas (schema 99"), "{refused}");
    ledger.ready(cl()).await.unwrap();
    assert_eq!(schema_version(&file), 99);
}

/// Writes a file in the format from before outbox rows counted attempts, with one appointment and its event.
fn write_version_1(file: &Path, booked: &Event) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(include_str!("ledger_sqlite/version_1.sql")).unwrap();
    let (id, revision) = (booked.subject.into_bytes(), serde_json::to_string(&booked.data).unwrap());
    let appointment = "INSERT INTO appointment (id, number, starts_at, phase, owner, patient, body)
                       VALUES (?, 1, 0, 'booked', 'ana', 'p', ?)";
    connection.execute(appointment, (id, revision)).unwrap();
    let event = (booked.id.into_bytes(), id, serde_json::to_string(booked).unwrap());
    connection.execute("INSERT INTO outbox (id, subject, body) VALUES (?, ?, ?)", event).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}

fn schema_version(file: &Path) -> i32 {
    rusqlite::Connection::open(file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_read_beside_and_migrated_where_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pe.db");
    let event = Event::new(id(7), "booked", &booked(1));
    write_version_1(&file, &event);
    let beside = ReadOnlyLedger::open(folder.path(), pe()).unwrap().unwrap();
    assert_eq!(beside.appointment(id(1)).unwrap(), Some(booked(1)));
    assert_eq!(schema_version(&file), 1, "whoever only reads changes nothing");

    for round in 1..=2 {
        let ledger = open(&folder);
        assert_eq!(*ledger.appointment(pe(), id(1)).await.unwrap().unwrap(), booked(1));
        let pending = ledger.pending(pe(), 10).await.unwrap();
        let attempts = Attempts { failed: round - 1, tried_for: Duration::from_secs(u64::from(round) - 1) };
        assert_eq!(pending, [Pending { event: event.clone(), attempts }], "opened for the {round}th time");
        let attempts = Attempts { failed: round, tried_for: Duration::from_secs(round.into()) };
        ledger.postpone(pe(), &[(id(7), attempts)]).await.unwrap();
    }
    assert_eq!(schema_version(&file), 2);
    open(&folder).commit(change(after(&booked(1)))).await.unwrap();
    assert_eq!(beside.appointment(id(1)).unwrap(), Some(after(&booked(1))), "it goes on reading what was migrated");
}

#[tokio::test]
async fn a_migration_that_does_not_succeed_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pe.db");
    write_version_1(&file, &Event::new(id(7), "booked", &booked(1)));
    // The migration adds two columns. The second one exists already.
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("ALTER TABLE outbox ADD COLUMN tried_for INTEGER NOT NULL DEFAULT 0").unwrap();
    let ledger = open(&folder);
    let refused = ledger.ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("tried_for"), "{refused}");
    assert_eq!(schema_version(&file), 1);
    let columns = "SELECT count(*) FROM pragma_table_info('outbox') WHERE name = 'attempts'";
    assert_eq!(connection.query_row(columns, [], |row| row.get::<_, u32>(0)).unwrap(), 0, "neither is the first");

    connection.execute_batch("ALTER TABLE outbox DROP COLUMN tried_for").unwrap();
    ledger.ready(pe()).await.unwrap();
    assert_eq!(ledger.pending(pe(), 10).await.unwrap().len(), 1);
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
    let other = rusqlite::Connection::open(&file).unwrap();
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
        let mut reader = rusqlite::Connection::open(folder.path().join("pe.db")).unwrap();
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
    let file = rusqlite::Connection::open(folder.path().join("pe.db")).unwrap();
    let text = |pragma: &str| file.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(text("integrity_check"), "ok");
}
