//! The one thread that writes a country's file. It takes all that waits and commits it in one transaction, so that the
//! disk is waited for once; nobody is answered before that. Knows nothing of what a change consists of.

use std::sync::Arc;
use std::thread::JoinHandle;

use citas_core::appointment::CountryCode;
use citas_core::ledger::{CommitError, Unavailable};
use rusqlite::{Connection, params};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::change::{Prepared, Refusal};
use super::schema;

/// Most writes in one transaction: what one of them waits for the others is bounded.
const BATCH: usize = 1_000;

/// Most writes that wait; whoever comes later waits to be let in.
const WAITING: usize = 4 * BATCH;

/// Nanoseconds that expired receipts are kept for: a clock that is set back finds them again.
const GRACE: i64 = 60 * 60 * 1_000_000_000;

/// Something to write.
pub(super) enum Task {
    Change(Box<Prepared>),
    Published(Vec<Uuid>),
    Notified(Uuid),
    /// Writes what stands there already: whether that works is the answer.
    Probe,
}

type Outcome = Result<(), CommitError>;

struct Write {
    task: Task,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the thread. Dropping it lets the thread finish what waits, and waits for that.
pub(super) struct Writer {
    country: CountryCode,
    writes: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread, which owns `connection` from now on and wakes `changed` when the outbox has grown.
    pub(super) fn start(country: CountryCode, connection: Connection, changed: Arc<Notify>) -> std::io::Result<Self> {
        let (writes, waiting) = mpsc::channel(WAITING);
        let work = Work { country, connection, changed };
        let thread = std::thread::Builder::new().name(format!("ledger-{country}")).spawn(move || work.run(waiting))?;
        Ok(Self { country, writes: Some(writes), thread: Some(thread) })
    }

    /// Hands something over and waits until it is on disk, or will not be.
    pub(super) async fn write(&self, task: Task) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let stopped = || Unavailable { country: self.country, cause: "its writer has stopped".to_owned() };
        let writes = self.writes.as_ref().expect("only drop takes it");
        writes.send(Write { task, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
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

/// The thread's side.
struct Work {
    country: CountryCode,
    connection: Connection,
    changed: Arc<Notify>,
}

impl Work {
    fn run(self, mut waiting: mpsc::Receiver<Write>) {
        let mut writes = Vec::new();
        while waiting.blocking_recv_many(&mut writes, BATCH) > 0 {
            let (tasks, answers): (Vec<_>, Vec<_>) = writes.drain(..).map(|write| (write.task, write.answer)).unzip();
            let outcomes = self.commit(&tasks);
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever has gone away meanwhile does not need the answer.
                let _ = answer.send(outcome);
            }
        }
    }

    /// One transaction. The outcomes hold only once it is on disk.
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

    /// Does one task so that its refusal leaves the others' work as it is.
    fn apart(&self, task: &Task) -> rusqlite::Result<Outcome> {
        self.execute("SAVEPOINT task")?;
        let done = self.perform(task);
        if done.is_err() {
            self.execute("ROLLBACK TO task")?;
        }
        self.execute("RELEASE task")?;
        Ok(done.map_err(|refusal| self.explain(refusal)))
    }

    fn perform(&self, task: &Task) -> Result<(), Refusal> {
        match task {
            Task::Change(change) => change.store(&self.connection),
            Task::Published(events) => self.each("DELETE FROM outbox WHERE id = ?", events),
            Task::Notified(event) => {
                self.each("INSERT INTO notified (event) VALUES (?) ON CONFLICT DO NOTHING", &[*event])
            }
            Task::Probe => Ok(self.connection.pragma_update(None, "user_version", schema::VERSION)?),
        }
    }

    fn each(&self, sql: &str, ids: &[Uuid]) -> Result<(), Refusal> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for id in ids {
            statement.execute([id.as_bytes()])?;
        }
        Ok(())
    }

    /// Forgets up to two expired receipts for each change, so that they never become more and no commit is long.
    fn sweep(&self, tasks: &[Task]) -> rusqlite::Result<()> {
        let changes = || tasks.iter().filter_map(Task::change);
        let Some(now) = changes().map(Prepared::stored_at).max() else { return Ok(()) };
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM receipt
             WHERE key IN (SELECT key FROM receipt WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        )?;
        let limit = i64::try_from(2 * changes().count()).expect("a batch is small");
        delete.execute(params![schema::instant(now) - GRACE, limit])?;
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

    /// A transaction that `COMMIT` refused is still open, unless SQLite has already taken it back.
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
            Refusal::ClaimTaken(claim) => CommitError::ClaimTaken(claim),
            Refusal::Sqlite(error) => self.unavailable(&error),
        }
    }

    fn unavailable(&self, error: &rusqlite::Error) -> CommitError {
        Unavailable { country: self.country, cause: error.to_string() }.into()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }
}

impl Task {
    fn change(&self) -> Option<&Prepared> {
        match self {
            Self::Change(change) => Some(change),
            Self::Published(_) | Self::Notified(_) | Self::Probe => None,
        }
    }
}
