//! Tests that every read log must pass, and further promises of the one in SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use citas::local::read_log::{READ_LOG, SqliteReadLog};
use citas::system::SystemClock;
use citas_core::model::{CountryCode, PatientRead, READINGS_KEPT, ReadOperation, ReadReason, Reading, Role};
use citas_core::ports::{Clock, ReadLog, ReadQuery};
use futures::future::join_all;
use jiff::Timestamp;
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::ledger_dynamo::Tables;
use crate::support::appointments::{cl, id, minutes, pe, person};
use crate::support::eventually::eventually;
use crate::support::host::TravellingClock;

/// Time within which something that happens soon has happened.
const SOON: Duration = Duration::from_secs(20);

/// Returns the time of reading `number`. It is on a whole millisecond and within the last hours.
fn time(number: usize) -> Timestamp {
    Timestamp::from_millisecond(SystemClock.now().as_millisecond() / 3_600_000 * 3_600_000).unwrap() - minutes(1_000)
        + minutes(number)
}

/// Returns reading `number` of these patients.
fn reading(number: usize, subject: &str, people: impl IntoIterator<Item = usize>) -> Reading {
    let patient = |number: usize| PatientRead {
        person: person(number),
        reason: ReadReason::Staff,
        appointments: vec![id(number), id(number + 1)],
    };
    Reading {
        at: time(number),
        subject: subject.into(),
        role: Role::Staff,
        operation: ReadOperation::List,
        request_id: format!("r-{number}"),
        patients: people.into_iter().map(patient).collect(),
    }
}

fn query(person: Option<Uuid>, subject: Option<&str>) -> ReadQuery {
    let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    ReadQuery { person, subject: subject.map(str::to_owned), from, to, after: None, limit: 1_000 }
}

/// Returns the request ids of all pages, and checks that no page is longer than its limit.
async fn walk(log: &dyn ReadLog, country: CountryCode, mut query: ReadQuery) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = log.readings(country, &query).await.unwrap();
        assert!(page.readings.len() <= query.limit, "{page:?}");
        found.extend(page.readings.into_iter().map(|reading| reading.request_id));
        let Some(next) = page.next else { return found };
        query.after = Some(next);
    }
}

async fn a_reading_is_found_by_its_patient_and_by_its_actor(log: Arc<dyn ReadLog>) {
    let (eva, luz) = (reading(1, "eva", [1, 2]), reading(2, "luz", [2]));
    for taken in [&eva, &luz] {
        log.record(pe(), taken.clone()).await.unwrap();
    }
    log.ready(pe()).await.unwrap();
    let of = async |person: Option<usize>, subject| {
        let found = log.readings(pe(), &query(person.map(self::person), subject)).await.unwrap();
        assert_eq!(found.next, None);
        found.readings
    };
    let of_second = Reading { patients: eva.patients[1..].to_vec(), ..eva.clone() };
    assert_eq!(of(Some(2), None).await, [luz, of_second.clone()]);
    assert_eq!(of(Some(2), Some("eva")).await, [of_second]);
    assert_eq!(of(None, Some("eva")).await, [eva]);
    assert_eq!(of(Some(1), Some("luz")).await, []);
    assert_eq!(of(None, Some("ev")).await, []);
    assert_eq!(log.readings(cl(), &query(None, Some("eva"))).await.unwrap().readings, []);
    assert_eq!(log.readings(cl(), &query(Some(person(1)), None)).await.unwrap().readings, []);
}

async fn readings_come_in_pages_the_latest_first(log: Arc<dyn ReadLog>) {
    for number in 0..25 {
        let subject = if number % 5 == 0 { "luz" } else { "eva" };
        log.record(pe(), reading(number, subject, [1])).await.unwrap();
    }
    let named =
        |numbers: &mut dyn Iterator<Item = usize>| numbers.map(|number| format!("r-{number}")).collect::<Vec<_>>();
    for limit in [1, 4, 25, 100] {
        let of = |person: Option<Uuid>, subject| ReadQuery { limit, ..query(person, subject) };
        assert_eq!(walk(&*log, pe(), of(Some(person(1)), None)).await, named(&mut (0..25).rev()));
        let luz = named(&mut (0..25).rev().filter(|number| number % 5 == 0));
        assert_eq!(walk(&*log, pe(), of(None, Some("luz"))).await, luz);
        assert_eq!(walk(&*log, pe(), of(Some(person(1)), Some("luz"))).await, luz);
    }
    let first = log.readings(pe(), &ReadQuery { limit: 4, ..query(Some(person(1)), None) }).await.unwrap();
    log.record(pe(), reading(30, "eva", [1])).await.unwrap();
    let second = ReadQuery { limit: 4, after: first.next, ..query(Some(person(1)), None) };
    let second = log.readings(pe(), &second).await.unwrap();
    assert_eq!(second.readings[0].request_id, "r-20", "a later reading moves no page");
    let forged = ReadQuery { after: Some("forged".into()), ..query(Some(person(1)), None) };
    assert_eq!(log.readings(pe(), &forged).await.unwrap().readings, []);
}

async fn readings_from_an_instant_are_found_and_those_at_the_end_are_not(log: Arc<dyn ReadLog>) {
    for number in 0..6 {
        log.record(pe(), reading(number, "eva", [1])).await.unwrap();
    }
    for by in [query(Some(person(1)), None), query(None, Some("eva"))] {
        let within = ReadQuery { from: time(1), to: time(4), ..by };
        assert_eq!(walk(&*log, pe(), within).await, ["r-3", "r-2", "r-1"]);
    }
}

async fn a_page_of_a_hundred_patients_is_one_reading_of_its_actor(log: Arc<dyn ReadLog>) {
    let taken = reading(1, "eva", 0..100);
    log.record(pe(), taken.clone()).await.unwrap();
    assert_eq!(log.readings(pe(), &query(None, Some("eva"))).await.unwrap().readings, [taken]);
    for number in [0, 57, 99] {
        let found = log.readings(pe(), &query(Some(person(number)), None)).await.unwrap().readings;
        assert_eq!(found, [reading(1, "eva", [number])]);
    }
}

async fn a_search_without_a_patient_is_found_by_its_actor(log: Arc<dyn ReadLog>) {
    let taken = Reading { operation: ReadOperation::ReadLog, ..reading(1, "eva", []) };
    log.record(pe(), taken.clone()).await.unwrap();
    assert_eq!(log.readings(pe(), &query(None, Some("eva"))).await.unwrap().readings, [taken]);
}

async fn readings_that_are_taken_at_once_are_all_found(log: Arc<dyn ReadLog>) {
    let taking = (0..40).map(|number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            log.record(if number % 2 == 0 { pe() } else { cl() }, reading(number, "eva", [number % 4])).await.unwrap();
            number
        })
    });
    let taken = join_all(taking).await.into_iter().map(Result::unwrap);
    let mut expected: Vec<_> = taken.filter(|number| number % 2 == 0).map(|number| format!("r-{number}")).collect();
    let mut found = walk(&*log, pe(), query(None, Some("eva"))).await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(walk(&*log, cl(), query(Some(person(3)), None)).await.len(), 10);
}

macro_rules! read_log_contract {
    ($open:path) => {
        read_log_contract!($open:
            a_reading_is_found_by_its_patient_and_by_its_actor
            readings_come_in_pages_the_latest_first
            readings_from_an_instant_are_found_and_those_at_the_end_are_not
            a_page_of_a_hundred_patients_is_one_reading_of_its_actor
            a_search_without_a_patient_is_found_by_its_actor
            readings_that_are_taken_at_once_are_all_found
        );
    };
    ($open:path: $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let (log, _kept) = $open().await;
            super::$promise(log).await;
        }
    )*};
}

fn open(data: &Path) -> SqliteReadLog {
    SqliteReadLog::open(data, Arc::new(SystemClock)).unwrap()
}

mod in_sqlite {
    use super::*;

    #[expect(clippy::unused_async, reason = "the other adapter's waits for a server")]
    async fn open() -> (Arc<dyn ReadLog>, TempDir) {
        let data = tempfile::tempdir().unwrap();
        (Arc::new(super::open(data.path())), data)
    }

    read_log_contract!(open);
}

mod in_dynamo {
    use super::*;

    async fn open() -> (Arc<dyn ReadLog>, ()) {
        (Arc::new(Tables::new().await.ledger()), ())
    }

    read_log_contract!(open);
}

#[tokio::test]
async fn a_log_that_is_opened_again_has_what_was_taken_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    log.record(pe(), reading(1, "eva", [1])).await.unwrap();
    drop(log);
    let found = open(data.path()).readings(pe(), &query(Some(person(1)), None)).await.unwrap();
    assert_eq!(found.readings, [reading(1, "eva", [1])]);
    let mode = std::fs::metadata(data.path().join(READ_LOG)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_is_no_read_log_is_named() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(READ_LOG), "not a database, but long enough to be one".repeat(100)).unwrap();
    let Err(refused) = SqliteReadLog::open(data.path(), Arc::new(SystemClock)) else { panic!("it is opened") };
    let words = refused.to_string();
    assert!(words.contains("reads.db cannot be used") && words.contains("move it away"), "{words}");
}

#[tokio::test]
async fn a_reading_is_deleted_after_a_year_with_all_that_leads_to_it() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(TravellingClock::default());
    let log = SqliteReadLog::open(data.path(), clock.clone()).unwrap();
    let at = |number: usize, subject: &str| Reading { at: clock.now(), ..reading(number, subject, [number]) };
    for number in 1..=3 {
        log.record(pe(), at(number, "of-last-year")).await.unwrap();
        walk(&log, pe(), query(Some(person(1)), None)).await;
    }
    clock.advance((READINGS_KEPT - minutes(1)).unsigned_abs());
    log.record(pe(), at(4, "eva")).await.unwrap();
    assert_eq!(walk(&log, pe(), query(None, Some("of-last-year"))).await.len(), 3, "it is not over");
    clock.advance(Duration::from_mins(2));
    for number in 5..=6 {
        log.record(pe(), at(number, "eva")).await.unwrap();
        walk(&log, pe(), query(Some(person(1)), None)).await;
    }
    assert_eq!(walk(&log, pe(), query(None, Some("eva"))).await, ["r-6", "r-5", "r-4"]);
    drop(log);
    let connection = Connection::open(data.path().join(READ_LOG)).unwrap();
    for table in ["reading", "of_person", "of_subject"] {
        let rows: u32 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3, "{table}");
    }
    let bytes = std::fs::read(data.path().join(READ_LOG)).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"of-last-year"), "deleted bytes are overwritten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_can_be_written_the_log_is_not_ready_and_then_all_of_it_is_written() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    let beside = Connection::open(data.path().join(READ_LOG)).unwrap();
    beside
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON reading BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    log.record(pe(), reading(1, "eva", [1])).await.unwrap();
    let is_ready = || futures::executor::block_on(log.ready(pe()));
    let refused = eventually("the log is not ready", SOON, || is_ready().err()).to_string();
    assert!(refused.contains("the read log of pe cannot be used") && refused.contains("full"), "{refused}");
    log.record(pe(), reading(2, "eva", [1])).await.unwrap();
    assert!(log.readings(pe(), &query(Some(person(1)), None)).await.is_err());

    beside.execute_batch("DROP TRIGGER full").unwrap();
    eventually("the log is ready", SOON, || is_ready().ok());
    assert_eq!(walk(&log, pe(), query(Some(person(1)), None)).await, ["r-2", "r-1"]);
}

#[tokio::test]
async fn thousands_of_readings_at_once_are_searched_in_pages() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    for number in 0..2_000 {
        log.record(pe(), reading(0, if number % 1_000 == 0 { "eva" } else { "luz" }, [number % 7])).await.unwrap();
    }
    assert_eq!(walk(&log, pe(), ReadQuery { limit: 90, ..query(None, Some("luz")) }).await.len(), 1_998);
    assert_eq!(walk(&log, pe(), query(None, Some("eva"))).await.len(), 2);
    assert_eq!(walk(&log, pe(), ReadQuery { limit: 10, ..query(Some(person(6)), None) }).await.len(), 285);
}
