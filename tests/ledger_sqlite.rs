//! The ledger in SQLite: the contract, and what one machine's files promise beyond it.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use citas::local::sqlite::{FILES_PER_COUNTRY, OpenError, SqliteLedger};
use citas_core::appointment::{Field, Revision, Value};
use citas_core::event::Event;
use citas_core::ledger::{Ledger, Outbox, Query};
use futures::future::join_all;
use tempfile::TempDir;

use crate::ledger_contract::{ledger_contract, outbox_contract};
use crate::support::appointments::*;

/// Size of SQLite's pages.
const PAGE: u64 = 4096;

/// More than the log keeps.
const LARGE_LOG: u64 = 24 << 20;

/// A booking of some ten kilobytes.
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
    {
        let ledger = open(&folder);
        ledger.commit(first.clone()).await.unwrap();
        ledger.commit(change(second.clone())).await.unwrap();
        ledger.mark_notified(pe(), id(8)).await.unwrap();
    }
    let ledger = open(&folder);
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [first.revision, second]);
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
    assert_eq!(ledger.taken(pe(), &strings(&["a"])).await.unwrap().len(), 1);
    assert_eq!(ledger.pending(pe(), 10).await.unwrap(), first.events);
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
    let version: i32 =
        rusqlite::Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
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

/// Its pages are overwritten from the `from`th on, as a broken disk does.
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
    // What is in the log is moved to the file, and read from there.
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
        // A reader keeps the log from being moved, and so from being used again.
        let mut reader = rusqlite::Connection::open(folder.path().join("pe.db")).unwrap();
        let reading = reader.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM appointment", [], |row| row.get::<_, i64>(0)).unwrap();
        let mut number = 2;
        while wal.metadata().unwrap().len() < LARGE_LOG {
            let commits = (number..number + 500).map(|number| ledger.commit(change(large(number))));
            join_all(commits).await.into_iter().for_each(|done| done.unwrap());
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
    join_all(commits).await.into_iter().for_each(|done| done.unwrap().unwrap());
    let file = rusqlite::Connection::open(folder.path().join("pe.db")).unwrap();
    let text = |pragma: &str| file.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(text("integrity_check"), "ok");
}
