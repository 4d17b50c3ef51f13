//! Scheduled actions on one machine: each is done once, even if the clock jumps or the process dies.

use std::path::Path;
use std::time::Duration;

use citas::local::sqlite::SqliteLedger;
use citas_core::model::{Revision, Role};
use citas_core::ports::{Clock as _, Ledger, Wakes as _};
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::appointments;
use crate::support::chance::Chance;
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::process::{Process, publish};
use crate::support::requests::{day, pe};

/// Maximum time in which a running host does a due action.
const DONE_WITHIN: Duration = Duration::from_secs(30);

/// Number of appointments whose reminders are due while the process dies again and again.
const REMINDERS: usize = 60;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn book(host: &Host, request: &Value) -> Uuid {
    host.staff("pe").booked("pe", request)["id"].as_str().unwrap().parse().unwrap()
}

fn latest(host: &Host, id: Uuid) -> Revision {
    let found = host.block_on(host.platform.ledger.appointment(appointments::pe(), id));
    (*found.unwrap().unwrap()).clone()
}

fn actions(revision: &Revision) -> Vec<(&str, Role)> {
    revision.appointment.steps.iter().map(|step| (step.action.as_str(), step.role)).collect()
}

const REMINDED: [(&str, Role); 2] = [("book", Role::Staff), ("remind", Role::Clock)];

/// Moves the wall clock to the time of the appointment's action, and waits until it is done.
fn reminded(host: &Host, id: Uuid) -> Revision {
    let wake = latest(host, id).appointment.wake.expect("a reminder");
    host.clock.shift_wall(wake.at.duration_since(host.clock.now()));
    eventually("a reminder", DONE_WITHIN, || Some(latest(host, id)).filter(|latest| latest.appointment.revision > 1))
}

#[test]
fn a_reminder_is_done_once_however_the_clock_jumps() {
    let host = Host::of(&["pe"]);
    let first = book(&host, &pe(1));
    let mut later = pe(2);
    later["date"] = json!(day("pe", 1));
    let later = book(&host, &later);
    assert_eq!(latest(&host, first).appointment.revision, 1, "its time has not come");

    let told = reminded(&host, first);
    assert_eq!((actions(&told), told.appointment.wake.clone()), (REMINDED.to_vec(), None));
    host.clock.shift_wall(-DAY);
    host.clock.shift_wall(DAY);
    host.clock.shift_wall(-DAY);
    // The later action is due once the clock has moved forward again. A host that repeats actions would have repeated the
    // first by then.
    assert_eq!(actions(&reminded(&host, later)), REMINDED);
    assert_eq!(latest(&host, first), told);
}

fn count(file: &Path, sql: &str) -> usize {
    let count: i64 = Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
    count.try_into().unwrap()
}

#[test]
fn killed_at_any_moment_it_does_each_reminder_once() {
    let (data, mut chance) = (tempfile::tempdir().unwrap(), Chance::seeded(5));
    let ids: Vec<Uuid> = {
        let host = Host::in_folder(&["pe"], data.path());
        (0..REMINDERS).map(|number| book(&host, &pe(number))).collect()
    };
    publish(&data.path().join("registry"), &["pe"]);
    let file = data.path().join("pe.db");
    assert_eq!(Connection::open(&file).unwrap().execute("UPDATE appointment SET wake_at = 0", []).unwrap(), REMINDERS);

    let done = || count(&file, "SELECT count(*) FROM appointment WHERE number > 1");
    let mut kills = 0;
    while done() < REMINDERS {
        let folder = data.path().to_str().unwrap();
        let mut process = Process::start(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            folder,
            "--rate-limit",
            "0",
            "--log",
            "warn",
        ]);
        let enough = (done() + 1 + chance.below(6)).min(REMINDERS);
        eventually("reminders", DONE_WITHIN, || (done() >= enough).then_some(()));
        // The lateness is never negative, even if the time of an action has not come by this clock.
        let oldest = process.client("").get("/metrics").text;
        assert!(!oldest.contains("citas_wakes_oldest_seconds{country=\"pe\"} -"), "{oldest}");
        process.kill();
        kills += 1;
    }
    assert!(kills > 1, "it dies while there is something to do");

    let ledger = SqliteLedger::open(data.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for id in ids {
            let history = ledger.history(appointments::pe(), id, 0, 10).await.unwrap();
            assert_eq!(history.len(), 2);
            assert_eq!(actions(&history[1]), REMINDED);
        }
        assert_eq!(ledger.due(appointments::pe(), Timestamp::MAX, 10).await.unwrap(), []);
    });
    let log = "SELECT count(*) FROM log";
    assert_eq!((count(&file, log), count(&file, "SELECT max(sequence) FROM log")), (2 * REMINDERS, 2 * REMINDERS));
}
