//! The ledger in SQLite: the contract, and what one machine's files promise beyond it.

use std::sync::Arc;

use citas::local::sqlite::{OpenError, SqliteLedger};
use citas_core::event::Event;
use citas_core::ledger::{Ledger, Outbox};
use futures::future::join_all;
use tempfile::TempDir;

use crate::ledger_contract::{ledger_contract, outbox_contract};
use crate::support::appointments::*;

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
