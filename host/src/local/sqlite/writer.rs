//! Writes a country's file on one thread. Commits all waiting writes in one transaction, so that they wait for the disk
//! once, and answers none of them before that. Notes about sent mail and published events wait a moment for the next
//! change, to share its commit. Knows nothing of the content of a change.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use citas_core::model::{CountryCode, Hold};
use citas_core::ports::{Attempts, CommitError, DueWake, NewHold, Unavailable, deadline};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::change::{Prepared, Refusal, Stored, end_hold, store_hold};
use super::privacy_requests;
use super::revision_cache::RevisionCache;
use super::{agendas, patient_links, schema};

/// Maximum number of writes in one transaction. It bounds the time that one write waits for the others.
const BATCH: usize = 1_000;

/// Maximum number of waiting writes. Further callers wait for a place.
const QUEUE_LENGTH: usize = 4 * BATCH;

/// Time after a change in which a note waits for the next change. A busy ledger commits its notes with changes, and an idle
/// one at once. A process that dies meanwhile publishes an event again, or repeats a mail.
const NOTES_WAIT: Duration = Duration::from_millis(50);

/// One hour, in nanoseconds.
const HOUR: i64 = 60 * 60 * 1_000_000_000;

/// Time for which expired receipts and claims are kept, in nanoseconds. A clock that is set back finds them again.
const GRACE: i64 = HOUR;

/// Time for which expired holds are kept, in nanoseconds, so that a booking with one is told that it has expired.
const HOLDS_KEPT: i64 = 24 * HOUR;

/// Time for which sent notices are remembered, in nanoseconds: 30 days.
const REMEMBERED: i64 = 30 * 24 * HOUR;

/// Retention of claims on time after their minute, in minutes: two days. So a clock that is a day fast frees no claim of a
/// future appointment.
const CLAIMS_KEPT: i64 = 2 * 24 * 60;

pub(super) const EXPIRED_RECEIPTS: &str = "
    DELETE FROM receipt
    WHERE key IN (SELECT key FROM receipt WHERE expires_at <= ? ORDER BY expires_at LIMIT +?)";

/// Deletes old notes of sent notices. The note of an event that is still in the outbox stays, whatever its age, because
/// the notifier gets that event again.
pub(super) const OLD_NOTES: &str = "
    DELETE FROM notified
    WHERE event IN (
        SELECT event FROM notified WHERE at <= ? AND event NOT IN (SELECT id FROM outbox) ORDER BY at LIMIT +?)";

/// Deletes past claims of one resource, which lie beside those that were just taken.
pub(super) const PAST_CLAIMS: &str = "
    DELETE FROM claim
    WHERE resource = ?1 AND (minute, ordinal) IN (
        SELECT minute, ordinal FROM claim WHERE resource = ?1 AND minute < ?2 ORDER BY minute LIMIT +?3)";

/// Deletes claims of holds that have expired.
pub(super) const EXPIRED_CLAIMS: &str = "
    DELETE FROM claim
    WHERE (resource, minute, ordinal) IN (
        SELECT resource, minute, ordinal FROM claim WHERE expires_at <= ? ORDER BY expires_at LIMIT +?)";

/// Deletes holds that have expired.
pub(super) const ENDED_HOLDS: &str = "
    DELETE FROM hold WHERE id IN (SELECT id FROM hold WHERE expires_at <= ? ORDER BY expires_at LIMIT +?)";

/// A task for the writer.
pub(super) enum Task {
    Change(Box<Prepared>),
    Agenda(agendas::Prepared),
    PatientLink(Box<patient_links::Prepared>),
    Privacy(Box<privacy_requests::Prepared>),
    Hold(Box<NewHold>),
    /// Ends a hold before its time.
    Dropped(Box<Hold>),
    Published(Vec<Uuid>),
    Postponed(Vec<(Uuid, Attempts)>),
    /// Event whose notices were sent, and the instant.
    Notified(Uuid, Timestamp),
    /// Scheduled action, and the time at which it is due again; `None` ends it.
    Wake(DueWake, Option<Timestamp>),
    /// Writes a value that is there already. The outcome shows whether writing works.
    Probe,
}

/// A task that is on disk.
#[derive(Debug)]
pub(super) enum Done {
    Change(Stored),
    Hold(Box<Hold>),
    Other,
}

/// Outcome of a task.
pub(super) type Outcome = Result<Done, CommitError>;

struct Write {
    task: Task,
    answer: oneshot::Sender<Outcome>,
}

/// Handle of the writer's thread. Dropping it lets the thread finish the waiting writes, and waits for that.
pub(super) struct Writer {
    country: CountryCode,
    writes: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It owns `connection` from now on, wakes `changed` when the outbox has grown, and keeps
    /// changed appointments in `latest`.
    pub(super) fn start(
        country: CountryCode,
        connection: Connection,
        changed: Arc<Notify>,
        latest: Arc<RevisionCache>,
    ) -> std::io::Result<Self> {
        let (writes, waiting) = mpsc::channel(QUEUE_LENGTH);
        let timer = Builder::new_current_thread().enable_time().build()?;
        let work = Work { country, connection, changed, latest };
        let thread =
            std::thread::Builder::new().name(format!("ledger-{country}")).spawn(move || work.run(waiting, &timer))?;
        Ok(Self { country, writes: Some(writes), thread: Some(thread) })
    }

    /// Hands over a task and waits until it is on disk or has failed.
    pub(super) async fn write(&self, task: Task) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let stopped = || Unavailable { country: self.country, cause: "its writer has stopped".to_owned() };
        let writes = self.writes.as_ref().expect("only drop takes it");
        writes.reserve().await.map_err(|_| stopped())?.send(Write { task, answer });
        deadline::without(async { answered.await.map_err(|_| stopped())? }).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.writes.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(country = %self.country, "the ledger's writer had panicked");
        }
    }
}

/// State of the writer's thread.
struct Work {
    country: CountryCode,
    connection: Connection,
    changed: Arc<Notify>,
    latest: Arc<RevisionCache>,
}

impl Work {
    fn run(self, mut waiting: mpsc::Receiver<Write>, timer: &Runtime) {
        let (mut writes, mut last_change) = (Vec::new(), None);
        while timer.block_on(receive(&mut waiting, &mut writes, last_change)) > 0 {
            if writes.iter().any(|write| !write.task.is_note()) {
                last_change = Some(Instant::now());
            }
            let (tasks, answers): (Vec<_>, Vec<_>) = writes.drain(..).map(|write| (write.task, write.answer)).unzip();
            let outcomes = self.commit(&tasks);
            let stored = |outcome: &Outcome| match outcome {
                Ok(Done::Change(Stored { committed, bytes })) => Some((Arc::clone(&committed.revision), *bytes)),
                _ => None,
            };
            let changes = tasks.iter().zip(&outcomes);
            let changes = changes.filter_map(|(task, outcome)| Some((task.change()?.appointment(), stored(outcome))));
            self.latest.update(self.country, changes);
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that has gone away does not need the outcome.
                let _ = answer.send(outcome);
            }
        }
    }

    /// Commits tasks in one transaction. Their outcomes are valid only once it is on disk.
    fn commit(&self, tasks: &[Task]) -> Vec<Outcome> {
        match self.transaction(tasks) {
            Ok(outcomes) => {
                self.tell(tasks);
                outcomes
            }
            Err(error) => {
                tracing::error!(country = %self.country, %error, writes = tasks.len(), "the ledger could not commit");
                self.abandon();
                tasks.iter().map(|_| Err(self.unavailable(&error))).collect()
            }
        }
    }

    fn transaction(&self, tasks: &[Task]) -> rusqlite::Result<Vec<Outcome>> {
        self.execute("BEGIN IMMEDIATE")?;
        let outcomes = tasks.iter().map(|task| self.apart(task)).collect::<Result<_, _>>()?;
        self.sweep(tasks)?;
        self.execute("COMMIT")?;
        Ok(outcomes)
    }

    /// Performs one task, so that its refusal does not undo the others.
    fn apart(&self, task: &Task) -> rusqlite::Result<Outcome> {
        self.execute("SAVEPOINT task")?;
        let done = self.perform(task);
        if done.is_err() {
            self.execute("ROLLBACK TO task")?;
        }
        self.execute("RELEASE task")?;
        Ok(done.map_err(|refusal| self.explain(refusal)))
    }

    fn perform(&self, task: &Task) -> Result<Done, Refusal> {
        match task {
            Task::Change(change) => return change.store(&self.connection).map(Done::Change),
            Task::Agenda(revision) => revision.store(&self.connection)?,
            Task::PatientLink(revision) => revision.store(&self.connection)?,
            Task::Privacy(request) => request.store(&self.connection)?,
            Task::Hold(new) => return store_hold(&self.connection, new).map(|hold| Done::Hold(Box::new(hold))),
            Task::Dropped(hold) => end_hold(&self.connection, hold.id, hold.claims.iter())?,
            Task::Published(events) => self.each("DELETE FROM outbox WHERE id = ?", events)?,
            Task::Postponed(events) => self.postpone(events)?,
            Task::Notified(event, at) => self.note(*event, *at)?,
            Task::Wake(due, until) => self.set_wake(due, *until)?,
            Task::Probe => self.connection.pragma_update(None, "user_version", schema::VERSION)?,
        }
        Ok(Done::Other)
    }

    /// Sets the time at which an action is due again, unless it has ended, or a later revision is stored.
    fn set_wake(&self, due: &DueWake, until: Option<Timestamp>) -> rusqlite::Result<()> {
        let sql = "UPDATE appointment SET wake_at = ?, failed = ? WHERE id = ? AND number = ? AND wake_at IS NOT NULL";
        let (id, until) = (due.appointment.as_bytes(), until.map(schema::instant));
        self.connection.prepare_cached(sql)?.execute(params![until, due.failed, id, due.revision]).map(drop)
    }

    fn note(&self, event: Uuid, at: Timestamp) -> rusqlite::Result<()> {
        let sql = "INSERT INTO notified (event, at) VALUES (?, ?) ON CONFLICT DO NOTHING";
        self.connection.prepare_cached(sql)?.execute(params![event.as_bytes(), schema::instant(at)])?;
        Ok(())
    }

    fn postpone(&self, events: &[(Uuid, Attempts)]) -> rusqlite::Result<()> {
        let sql = "UPDATE outbox SET attempts = ?, tried_for = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(sql)?;
        for (id, Attempts { failed, tried_for }) in events {
            let millis = i64::try_from(tried_for.as_millis()).unwrap_or(i64::MAX);
            update.execute(params![failed, millis, id.as_bytes()])?;
        }
        Ok(())
    }

    fn each(&self, sql: &str, ids: &[Uuid]) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for id in ids {
            statement.execute([id.as_bytes()])?;
        }
        Ok(())
    }

    /// Deletes up to two expired receipts, two old notes, two ended holds and two past or expired claims for each change,
    /// hold or claim, so that their number does not grow and no commit is long.
    fn sweep(&self, tasks: &[Task]) -> rusqlite::Result<()> {
        let Some(now) = tasks.iter().filter_map(Task::stored_at).max() else { return Ok(()) };
        let changes = tasks.iter().filter_map(Task::change);
        self.sweep_claims(changes, schema::minute(now) - CLAIMS_KEPT)?;
        let (now, limit) = (schema::instant(now), 2 * tasks.iter().filter_map(Task::stored_at).count());
        self.delete(EXPIRED_RECEIPTS, now - GRACE, limit)?;
        self.delete(OLD_NOTES, now - REMEMBERED, limit)?;
        self.delete(ENDED_HOLDS, now - HOLDS_KEPT, limit)?;
        let claims: usize = tasks.iter().map(Task::expiring_claims).sum();
        self.delete(EXPIRED_CLAIMS, now - GRACE, limit + 2 * claims)
    }

    /// Deletes rows up to an instant, at most `limit`.
    fn delete(&self, sql: &str, until: i64, limit: usize) -> rusqlite::Result<()> {
        let limit = i64::try_from(limit).expect("a batch is small");
        self.connection.prepare_cached(sql)?.execute(params![until, limit]).map(drop)
    }

    fn sweep_claims<'a>(&self, changes: impl Iterator<Item = &'a Prepared>, before: i64) -> rusqlite::Result<()> {
        let mut limits: HashMap<&str, i64> = HashMap::new();
        for resource in changes.flat_map(Prepared::resources) {
            *limits.entry(resource).or_default() += 2;
        }
        let mut delete = self.connection.prepare_cached(PAST_CLAIMS)?;
        for (resource, limit) in limits {
            delete.execute(params![resource, before, limit])?;
        }
        Ok(())
    }

    fn tell(&self, tasks: &[Task]) {
        let changes = || tasks.iter().filter_map(Task::change);
        if changes().any(Prepared::has_events) {
            self.changed.notify_one();
        }
        let size = u32::try_from(changes().count()).expect("a batch is small");
        if size > 0 {
            metrics::histogram!("citas_ledger_batch_size", "country" => self.country.to_string()).record(size);
        }
    }

    /// Rolls back a transaction that `COMMIT` refused, unless SQLite has done so already.
    fn abandon(&self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.execute("ROLLBACK") {
            tracing::error!(country = %self.country, %error, "the ledger could not take back a transaction");
        }
    }

    fn explain(&self, refusal: Refusal) -> CommitError {
        match refusal {
            Refusal::KeyUsed => CommitError::KeyUsed,
            Refusal::Stale => CommitError::Stale,
            Refusal::AgendaChanged => CommitError::AgendaChanged,
            Refusal::ClaimTaken(claim) => CommitError::ClaimTaken(claim),
            Refusal::Sqlite(error) => self.unavailable(&error),
            Refusal::Json(error) => self.unavailable(&error),
        }
    }

    fn unavailable(&self, error: &dyn std::error::Error) -> CommitError {
        Unavailable { country: self.country, cause: error.to_string() }.into()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

/// Receives the writes of a transaction, and returns their number: none if no more will come. Notes alone wait for another
/// write until [`NOTES_WAIT`] after the last change.
async fn receive(waiting: &mut mpsc::Receiver<Write>, writes: &mut Vec<Write>, last_change: Option<Instant>) -> usize {
    let mut count = waiting.recv_many(writes, BATCH).await;
    while (1..BATCH).contains(&count) && writes.iter().all(|write| write.task.is_note()) {
        let left = last_change.map_or(Duration::ZERO, |change| NOTES_WAIT.saturating_sub(change.elapsed()));
        match timeout(left, waiting.recv_many(writes, BATCH - count)).await {
            Ok(more @ 1..) => count += more,
            Ok(0) | Err(_) => break,
        }
    }
    count
}

impl Task {
    /// Returns true for a note about work that is done: it changes nothing that a client sees.
    fn is_note(&self) -> bool {
        matches!(self, Self::Published(_) | Self::Postponed(_) | Self::Notified(..))
    }

    fn change(&self) -> Option<&Prepared> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Returns the instant of a change or a hold, for the expiry of rows.
    fn stored_at(&self) -> Option<Timestamp> {
        match self {
            Self::Change(change) => Some(change.stored_at()),
            Self::Hold(new) => Some(new.hold.made_at),
            _ => None,
        }
    }

    /// Returns the number of claims that a hold takes at most.
    fn expiring_claims(&self) -> usize {
        let Self::Hold(new) = self else { return 0 };
        let of_choice = new.choices.iter().map(|choice| choice.claims.len()).max();
        new.claims.len() + of_choice.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use citas_core::model::{Claim, Event, Pseudonyms, Revision};
    use citas_core::ports::Change;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// Time at which the bookings are stored.
    const BOOKED: &str = "2026-11-24T15:00:00Z";

    fn work(folder: &TempDir) -> Work {
        let (country, names) = ("pe".parse().unwrap(), Pseudonyms::new(b"key"));
        let connection = schema::open_writer(&folder.path().join("pe.db"), country, &names).unwrap();
        Work { country, connection, changed: Arc::default(), latest: Arc::default() }
    }

    /// Books the appointment with this number, which takes `claim`.
    fn booking(number: u128, claim: &str) -> Task {
        telling(number, claim, None)
    }

    /// Books an appointment, perhaps with an event for the outbox.
    fn telling(number: u128, claim: &str, event: Option<Uuid>) -> Task {
        let revision: Revision = serde_json::from_value(json!({
            "country": "pe", "person": Uuid::nil(), "owner": "ana", "updatedAt": BOOKED, "claims": [],
            "appointment": {
                "id": Uuid::from_u128(number), "phase": "booked", "revision": 1, "createdAt": BOOKED, "patient": "p",
                "steps": [], "attributes": [],
            },
            "provenance": {
                "action": "book", "input": [], "context": { "now": 0, "clocks": [], "caller": { "role": "patient" } },
                "rules": { "version": "1.0.0", "digest": "" }, "contract": "2.0.0", "host": "0.2.0",
                "subject": "ana", "requestId": "r",
            },
        }))
        .unwrap();
        let (claims, choices, held) = (vec![Claim::new(claim)], Vec::new(), Vec::new());
        let events = event.map(|id| Event::new(id, "booked", &revision)).into_iter().collect();
        let change = Change { revision, claims, choices, held, hold: None, receipt: None, agenda: None, events };
        Task::Change(Box::new(Prepared::new(change).unwrap()))
    }

    /// Holds three claims for five minutes.
    fn hold(number: u128, made_at: Timestamp) -> Task {
        let slot = json!({ "start": "2026-12-01T09:30", "minutes": 30, "zone": "America/Lima" });
        let hold: Hold = serde_json::from_value(json!({
            "id": Uuid::from_u128(number), "owner": "ana", "madeAt": made_at, "claims": [],
            "expiresAt": made_at + jiff::SignedDuration::from_mins(5),
            "slot": { "country": "pe", "slot": slot, "doctor": null, "hospital": null, "request": [], "place": [] },
            "startsAt": "2026-12-01T14:30:00Z",
        }))
        .unwrap();
        let claims = (0..3).map(|claim| Claim::new(format!("{number}/{claim}"))).collect();
        Task::Hold(Box::new(NewHold { hold, claims, choices: Vec::new(), receipt: None }))
    }

    fn count(work: &Work, table: &str) -> u32 {
        work.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn timer() -> Runtime {
        Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Returns the number of writes that are received together: a note and, half the wait later, a change.
    fn received_with_a_note(last_change: Option<Instant>) -> usize {
        let (writes, mut waiting) = mpsc::channel(QUEUE_LENGTH);
        let write = |task| Write { task, answer: oneshot::channel().0 };
        let mut received = Vec::new();
        timer().block_on(async {
            assert!(writes.try_send(write(Task::Notified(Uuid::nil(), Timestamp::UNIX_EPOCH))).is_ok());
            let change = async {
                tokio::time::sleep(NOTES_WAIT / 5).await;
                // The receiver may have ended.
                let _ = writes.try_send(write(booking(1, "a")));
            };
            tokio::join!(receive(&mut waiting, &mut received, last_change), change).0
        })
    }

    #[test]
    fn a_note_waits_for_the_next_change_while_the_ledger_is_busy() {
        assert_eq!(received_with_a_note(Some(Instant::now())), 2);
        assert_eq!(received_with_a_note(None), 1);
        assert_eq!(received_with_a_note(Instant::now().checked_sub(2 * NOTES_WAIT)), 1);
    }

    #[test]
    fn all_that_waits_is_one_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let (writes, waiting) = mpsc::channel(QUEUE_LENGTH);
        let answers: Vec<_> = (0..50)
            .map(|number| {
                let (answer, answered) = oneshot::channel();
                let task = booking(number, &format!("claim {number}"));
                assert!(writes.try_send(Write { task, answer }).is_ok());
                answered
            })
            .collect();
        drop(writes);

        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || work(&folder).run(waiting, &timer()));
        assert!(answers.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
        let metrics = recorder.handle().render();
        assert!(metrics.contains("citas_ledger_batch_size_count{country=\"pe\"} 1\n"), "{metrics}");
        assert!(metrics.contains("citas_ledger_batch_size_sum{country=\"pe\"} 50\n"), "{metrics}");
    }

    #[test]
    fn a_refused_change_leaves_the_others_of_its_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let outcomes = work.commit(&[booking(1, "a"), booking(2, "a"), booking(3, "b")]);
        assert!(matches!(&outcomes[..], [Ok(_), Err(CommitError::ClaimTaken(_)), Ok(_)]), "{outcomes:?}");
        assert_eq!((count(&work, "appointment"), count(&work, "claim")), (2, 2));
    }

    #[test]
    fn when_the_commit_does_not_succeed_nobody_is_told_that_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        // The note of the notified event breaks a constraint that is checked at the commit.
        work.connection
            .execute_batch(
                "CREATE TABLE broken (other INTEGER
                     REFERENCES outbox DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER breaks AFTER INSERT ON notified BEGIN INSERT INTO broken (other) VALUES (99); END;",
            )
            .unwrap();
        let outcomes = work.commit(&[booking(1, "a"), Task::Notified(Uuid::nil(), Timestamp::UNIX_EPOCH)]);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CommitError::Unavailable(_)))), "{outcomes:?}");
        assert_eq!((count(&work, "appointment"), count(&work, "claim")), (0, 0));
        assert!(work.commit(&[booking(1, "a")])[0].is_ok(), "the next one begins anew");
    }

    #[test]
    fn when_the_disk_is_full_nothing_is_half_stored() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let pages: u32 = work.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        work.connection.pragma_update(None, "max_page_count", pages).unwrap();
        let claim = |number: u128| format!("{number}{}", "x".repeat(2_000));
        let outcomes = work.commit(&(0..9).map(|number| booking(number, &claim(number))).collect::<Vec<_>>());
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(
            stored < 9 && outcomes.iter().all(|o| matches!(o, Ok(_) | Err(CommitError::Unavailable(_)))),
            "{outcomes:?}"
        );
        let stored = u32::try_from(stored).unwrap();
        assert_eq!((count(&work, "appointment"), count(&work, "claim")), (stored, stored));
        work.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        assert!(work.commit(&[booking(100, "a")])[0].is_ok());
    }

    #[test]
    fn expired_receipts_are_swept_with_later_changes() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let insert = "INSERT INTO receipt VALUES (?, '', x'', 1, ?)";
        let now = schema::instant(BOOKED.parse().unwrap());
        for (key, expires_at) in
            [("long ago", 0), ("a day ago", now - 24 * GRACE), ("just now", now - 1), ("later", now + 1)]
        {
            work.connection.execute(insert, params![key, expires_at]).unwrap();
        }
        assert!(work.commit(&[booking(1, "a")])[0].is_ok());
        assert_eq!(count(&work, "receipt"), 2);
        assert!(work.commit(&[booking(2, "b")])[0].is_ok());
        assert_eq!(count(&work, "receipt"), 2, "those that may yet be asked for stay");
    }

    #[test]
    fn past_claims_of_a_resource_are_swept_with_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let over = schema::minute(BOOKED.parse().unwrap()) - CLAIMS_KEPT;
        let past = (1..=6).map(|minutes| ("doctor/1", over - minutes));
        let kept = [("doctor/1", over), ("doctor/1", schema::ALL_TIME), ("doctor/2", over - 1)];
        for (resource, minute) in past.chain(kept) {
            let insert = "INSERT INTO claim VALUES (?, ?, 0, x'00', NULL)";
            work.connection.execute(insert, params![resource, minute]).unwrap();
        }
        for (number, left) in [(20, 4), (21, 2), (22, 0), (23, 0)] {
            let later = format!("doctor/1/2026-12-{number}T00:00Z");
            assert!(work.commit(&[booking(number, &later)])[0].is_ok());
            let booked = u32::try_from(number - 19).unwrap();
            assert_eq!(count(&work, "claim"), left + 3 + booked, "two with each claim, and none that is not over");
        }
    }

    #[test]
    fn expired_holds_are_swept_with_later_ones_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let booked: Timestamp = BOOKED.parse().unwrap();
        let ago = |minutes: i64| booked - jiff::SignedDuration::from_mins(minutes);
        let first = [hold(1, ago(66)), hold(2, ago(65)), hold(3, ago(30))];
        assert!(work.commit(&first).iter().all(Result::is_ok));
        assert_eq!((count(&work, "hold"), count(&work, "claim")), (3, 9), "none has expired");
        assert!(work.commit(&[booking(1, "a")])[0].is_ok());
        assert_eq!((count(&work, "hold"), count(&work, "claim")), (3, 9 - 2 + 1), "claims are kept for an hour");
        assert!(work.commit(&[hold(4, booked)])[0].is_ok());
        assert_eq!((count(&work, "hold"), count(&work, "claim")), (4, 3 + 1 + 3), "two with each claim of a hold");
        assert!(work.commit(&[hold(5, ago(-24 * 60))])[0].is_ok());
        assert_eq!(count(&work, "hold"), 4 + 1 - 2, "holds are kept for a day");
    }

    #[test]
    fn what_was_notified_long_ago_is_forgotten_unless_it_may_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let work = work(&folder);
        let booked: Timestamp = BOOKED.parse().unwrap();
        let ago = |days: i64| booked - jiff::SignedDuration::from_hours(24 * days);
        let (forgotten, waiting, recent) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let notes = [(forgotten, ago(31)), (waiting, ago(32)), (recent, ago(29))];
        let notes = notes.map(|(event, at)| Task::Notified(event, at));
        assert!(work.commit(&notes).iter().all(Result::is_ok));
        assert!(work.commit(&[telling(1, "a", Some(waiting))])[0].is_ok());
        let remembered = |event| super::super::reads::notified(&work.connection, event).unwrap();
        assert_eq!([forgotten, waiting, recent].map(remembered), [false, true, true]);
    }
}
