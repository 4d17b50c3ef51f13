//! Migrates a table that Citas 0.1 wrote, with interruptions at many points, and then uses it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

use citas::aws::dynamo::{DynamoLedger, Migration};
use citas_core::model::{Claim, Phase, Revision, Role};
use citas_core::ports::{CommitError, Ledger as _, Query};
use serde_json::json;

use crate::ledger_dynamo::Tables;
use crate::support::appointments::{KEY, at, booked, booking, change, id, names, pe, quarter};
use crate::support::chance::Chance;
use crate::support::faults::{Fault, Faults};
use crate::support::former::{Item, dni, former_items, is_cancelled, item, minute, value};
use crate::support::kill_switch::KillSwitch;

/// Number of appointments in the table.
const APPOINTMENTS: usize = 24;

/// Maximum number of pieces of requests and answers after which the migration is killed, of some hundreds in all.
const MAX_PIECES: usize = 60;

/// Values that identify a patient.
const PERSONAL: [&str; 4] = ["1011741", "@example.com", "Mengánez", "dni:"];

/// Returns tables with appointments that Citas 0.1 wrote.
async fn filled() -> Tables {
    let tables = Tables::unmarked().await;
    for item in (0..APPOINTMENTS).flat_map(former_items) {
        put(&tables, item).await;
    }
    let receipt = json!({
        "pk": "I#k", "sk": "I", "kind": "receipt", "key": "k", "fingerprint": "f", "appointment": id(1), "revision": 1,
        "expiresAt": "2026-12-24T15:00:00Z", "expires": 1_798_124_400_000_000_000_i64, "ttl": 1_798_124_401,
    });
    put(&tables, item(&receipt)).await;
    tables
}

async fn put(tables: &Tables, item: Item) {
    tables.client().put_item().table_name(tables.table("pe")).set_item(Some(item)).send().await.unwrap();
}

fn ledger(tables: &Tables, faults: &Faults) -> DynamoLedger {
    tables.ledger_over_all(faults, Some(names()))
}

/// Returns the command `citas ledger migrate pe`.
fn migrate(tables: &Tables) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
    command.args(["ledger", "migrate", "pe"]).env("CITAS_KEY", KEY);
    tables.on(&mut command);
    command
}

fn command(tables: &Tables) -> Output {
    migrate(tables).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_the_format_before_is_migrated_whatever_interrupts_it_and_then_serves() {
    let tables = filled().await;
    let none = Faults::none();
    let refused = ledger(&tables, &none).ready(pe()).await.unwrap_err().to_string();
    assert!(refused.contains("run `citas ledger migrate pe --tables "), "{refused}");
    assert!(ledger(&tables, &none).commit(change(booked(100))).await.is_err(), "nothing is written to it");
    assert_eq!(tables.items("personal").await.len(), 0);

    let mut interrupted = 0;
    for (step, fault) in (4..200).step_by(9).zip([Fault::Cut, Fault::Lost].iter().cycle()) {
        let died = ledger(&tables, &Faults::from(step, fault.clone())).migrate(pe(), &names(), |_| {}).await;
        if died.is_ok() {
            break;
        }
        interrupted += 1;
        assert!(ledger(&tables, &none).ready(pe()).await.is_err(), "half a migration serves nobody");
    }
    assert!(interrupted >= 5, "it was interrupted {interrupted} times");
    let done = command(&tables);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("has the format of this Citas"), "{done:?}");
    assert!(!String::from_utf8_lossy(&command(&tables).stdout).contains("migrated"), "again, there is nothing to do");

    assert_migrated(&tables).await;
    assert_serves(&ledger(&tables, &none)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_any_two_steps_the_migration_resumes_and_loses_nothing() {
    let (tables, mut chance, mut kills) = (filled().await, Chance::seeded(13), 0);
    loop {
        let switch = KillSwitch::after(1 + chance.below(MAX_PIECES), tables.endpoint());
        let mut command = migrate(&tables);
        let mut process = command.env("AWS_ENDPOINT_URL", &switch.address).stdout(Stdio::null()).spawn().unwrap();
        switch.kills(process.id());
        let status = process.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9), "{status}");
        kills += 1;
        if ledger(&tables, &Faults::none()).ready(pe()).await.is_ok() {
            // The process was killed after the last write and before its response.
            break;
        }
    }
    assert!(kills >= 10, "it was killed {kills} times");
    assert_migrated(&tables).await;
    assert_serves(&ledger(&tables, &Faults::none())).await;
}

/// Asserts that the table has all appointments, and personal data in the personal parts only.
async fn assert_migrated(tables: &Tables) {
    for item in tables.all("pe").await {
        let written = format!("{item:?}");
        let is_personal = item["kind"].as_s().unwrap() == "personal";
        assert!(is_personal || !PERSONAL.iter().any(|value| written.contains(value)), "{written}");
    }
    tables.assert_whole(APPOINTMENTS, 2 * APPOINTMENTS, "migrated").await;
    let mut sequence: Vec<_> = tables
        .items("revision")
        .await
        .iter()
        .map(|item| {
            let number: usize = item["sequence"].as_n().unwrap().parse().unwrap();
            (number, item["updatedAt"].as_s().unwrap().parse::<jiff::Timestamp>().unwrap())
        })
        .collect();
    sequence.sort_unstable();
    assert!(sequence.iter().map(|(number, _)| *number).eq(1..=2 * APPOINTMENTS), "{sequence:?}");
    assert!(sequence.iter().map(|(_, at)| at).is_sorted(), "{sequence:?}");
    let mut events: Vec<_> = tables.events().await.into_iter().map(|event| (event.id, event.data.revision)).collect();
    events.sort_unstable();
    assert_eq!(events[0], (id(1001), 1));
}

async fn assert_serves(ledger: &DynamoLedger) {
    for number in 0..APPOINTMENTS {
        let Revision { appointment, person, .. } = &*ledger.appointment(pe(), id(number)).await.unwrap().unwrap();
        let patient = format!("dni:{}", dni(number));
        assert_eq!((&appointment.patient, *person), (&patient, names().patient(pe(), &patient)));
        assert_eq!(appointment.phase == Phase::Cancelled, is_cancelled(number));
        let steps: Vec<_> = appointment.steps.iter().map(|step| (step.action.as_str(), step.role)).collect();
        assert_eq!(steps, [("book", Role::Patient), ("cancel", Role::Staff)]);
        assert_eq!(appointment.attributes.len(), 2);
    }
    let person = Some(names().patient(pe(), &format!("dni:{}", dni(1))));
    let page = ledger.page(pe(), &Query { person, limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!(page.items.iter().map(|found| found.appointment.id).collect::<Vec<_>>(), [id(1)]);
    let receipt = ledger.receipt(pe(), "k", at("2026-11-25T00:00:00Z")).await.unwrap().unwrap();
    assert_eq!((receipt.appointment, receipt.revision), (id(1), 1));

    let key = format!("patient/dni:{}/{}", dni(1), minute(1));
    let personal = names().claim(pe(), Claim { personal: true, ..Claim::new(key) }, None);
    let taken = ledger.taken(pe(), std::slice::from_ref(&personal), at("2026-11-24T15:00:00Z")).await.unwrap();
    assert_eq!(taken[&personal.key], [(0, id(1))]);
    let doctor = quarter("doctor/45678", 1);
    let refused = ledger.commit(booking(booked(100), &[&doctor])).await;
    assert!(matches!(refused, Err(CommitError::ClaimTaken(claim)) if claim == doctor));
    ledger.commit(booking(booked(100), &[&quarter("doctor/45678", 0)])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_item_stops_the_migration_and_stays() {
    let tables = filled().await;
    let mut odd = former_items(APPOINTMENTS).remove(1);
    odd.insert("more".into(), value(&json!(1)));
    let (pk, sk) = (odd["pk"].as_s().unwrap().clone(), odd["sk"].as_s().unwrap().clone());
    put(&tables, odd.clone()).await;
    let refused = ledger(&tables, &Faults::none()).migrate(pe(), &names(), |_| {}).await.unwrap_err().to_string();
    assert!(refused.contains(&pk) && refused.contains(&sk), "{refused}");
    assert!(tables.all("pe").await.contains(&odd));
    assert!(ledger(&tables, &Faults::none()).ready(pe()).await.is_err());
}

#[test]
fn a_key_that_is_none_is_misuse_and_is_not_repeated() {
    for (key, said) in [(None, "set CITAS_KEY"), (Some("s3cret"), "CITAS_KEY: a key is 64 hexadecimal digits")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
        command.args(["ledger", "migrate", "pe", "--tables", "citas-"]).env_remove("CITAS_KEY");
        let done = command.envs(key.map(|key| ("CITAS_KEY", key))).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{error}");
        assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_table_needs_no_migration() {
    let tables = Tables::unmarked().await;
    let done = std::sync::Mutex::new(Vec::new());
    let ledger = ledger(&tables, &Faults::none());
    ledger.migrate(pe(), &names(), |step| done.lock().unwrap().push(step)).await.unwrap();
    assert_eq!(done.into_inner().unwrap().last(), Some(&Migration::Done));
    ledger.commit(change(booked(1))).await.unwrap();
}
