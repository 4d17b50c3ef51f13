//! Keeps the read log in a SQLite file of the data folder, apart from the ledgers: reading waits for no disk, and no booking
//! waits for readings. Readings wait in memory for a moment and are then written together, by one thread.
//!
//! A row has the readings of one country that were written together, and two more tables lead from a patient or an actor to
//! these rows. So a busy host writes few rows, and the file is searched without reading all of it. A killed process loses the
//! readings of the last [`FLUSH_INTERVAL`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use citas_core::model::{CountryCode, READINGS_KEPT, Reading};
use citas_core::ports::{Clock, ReadLog, ReadLogUnavailable, ReadPage, ReadQuery};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use rusqlite_migration::{M, Migrations};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::files::{self, Access};

/// Name of the file in the data folder.
pub const READ_LOG: &str = "reads.db";

/// Time for which a reading waits for others.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Delay before readings that could not be written are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of readings in a row. It bounds the time to search one.
const MAX_ROW: usize = 500;

/// Number of waiting readings that are written at once.
const FLUSH_LENGTH: usize = 4_000;

/// Maximum number of readings that wait while nothing can be written.
const MAX_WAITING: usize = 50_000;

/// Maximum number of rows that one page of a search reads. A page is shorter if they have less than it may hold.
const MAX_SEARCHED_ROWS: usize = 200;

/// Time that a statement waits for another program that uses the file.
const BUSY: Duration = Duration::from_secs(5);

/// Tables of the file. A released one never changes; a change is a further migration.
const TABLES: &str = "
    CREATE TABLE reading (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        country TEXT    NOT NULL,
        since   INTEGER NOT NULL,
        until   INTEGER NOT NULL,
        body    TEXT    NOT NULL
    ) STRICT;
    CREATE INDEX reading_by_time ON reading (until);

    CREATE TABLE of_person (
        person  BLOB    NOT NULL,
        reading INTEGER NOT NULL,
        PRIMARY KEY (person, reading)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE of_subject (
        country TEXT    NOT NULL,
        subject TEXT    NOT NULL,
        reading INTEGER NOT NULL,
        PRIMARY KEY (country, subject, reading)
    ) STRICT, WITHOUT ROWID;
";

/// Selects rows with readings of a patient, the latest first.
const OF_PERSON: &str = "
    SELECT id, body FROM of_person JOIN reading ON id = reading
    WHERE person = ?1 AND reading <= ?3 AND country = ?2 AND until >= ?4 AND since <= ?5 ORDER BY reading DESC";

/// Selects rows with readings by an actor, the latest first.
const OF_SUBJECT: &str = "
    SELECT id, body FROM of_subject JOIN reading ON id = of_subject.reading
    WHERE subject = ?1 AND of_subject.country = ?2 AND of_subject.reading <= ?3 AND until >= ?4 AND since <= ?5
    ORDER BY of_subject.reading DESC";

/// Selects rows whose readings have all had their time.
const EXPIRED: &str = "SELECT id, country, body FROM reading WHERE until < ? ORDER BY until LIMIT +?";

/// Reason why the read log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the read log {} cannot be used: {cause}; move it away, with its -wal and -shm, to begin another", path.display())]
pub struct OpenError {
    path: PathBuf,
    cause: String,
}

/// The readings of every country, in one file. Dropping it writes those that wait.
pub struct SqliteReadLog {
    shared: Arc<Shared>,
    reader: Arc<Mutex<Connection>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(CountryCode, Reading)>,
    /// Searches that wait until everything before them is written.
    searches: Vec<oneshot::Sender<()>>,
    /// Reason why the waiting readings could not be written.
    failure: Option<String>,
    is_closing: bool,
}

impl SqliteReadLog {
    /// Opens the file in a data folder that this process has locked. Creates it if it is absent.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = data.join(READ_LOG);
        let refused = |cause: String| OpenError { path: path.clone(), cause };
        // SQLite would create the file with the umask's mode.
        files::open_or_create(&path, Access::Private).map_err(|error| refused(error.to_string()))?;
        let writer = open_writer(&path).map_err(|error| refused(error.to_string()))?;
        let reader = connect(&path).map_err(|error| refused(error.to_string()))?;
        let shared = Arc::new(Shared::default());
        let work = Work { shared: shared.clone(), connection: writer, clock };
        let thread = std::thread::Builder::new().name("read-log".to_owned()).spawn(move || work.run());
        let thread = thread.map_err(|error| refused(error.to_string()))?;
        Ok(Self { shared, reader: Arc::new(Mutex::new(reader)), thread: Some(thread) })
    }

    /// Waits until every reading that was taken before is written.
    async fn flush(&self, country: CountryCode) -> Result<(), ReadLogUnavailable> {
        let (done, written) = oneshot::channel();
        self.shared.lock().searches.push(done);
        self.shared.changed.notify_one();
        match written.await {
            Ok(()) => Ok(()),
            Err(_) => Err(unavailable(country, self.shared.lock().failure.clone())),
        }
    }
}

#[async_trait]
impl ReadLog for SqliteReadLog {
    async fn record(&self, country: CountryCode, reading: Reading) -> Result<(), ReadLogUnavailable> {
        let mut state = self.shared.lock();
        if state.waiting.len() >= MAX_WAITING {
            return Err(unavailable(country, state.failure.clone()));
        }
        state.waiting.push((country, reading));
        // The thread sleeps until there is a first one, and then until there are many.
        if matches!(state.waiting.len(), 1 | FLUSH_LENGTH) {
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    async fn ready(&self, country: CountryCode) -> Result<(), ReadLogUnavailable> {
        let state = self.shared.lock();
        let is_ready = state.failure.is_none() && state.waiting.len() < MAX_WAITING;
        if is_ready { Ok(()) } else { Err(unavailable(country, state.failure.clone())) }
    }

    async fn readings(&self, country: CountryCode, query: &ReadQuery) -> Result<ReadPage, ReadLogUnavailable> {
        self.flush(country).await?;
        let (reader, query) = (self.reader.clone(), query.clone());
        let search = tokio::task::spawn_blocking(move || {
            let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            search(&connection, country, &query)
        });
        let found = search.await.map_err(|stopped| unavailable(country, Some(stopped.to_string())))?;
        found.map_err(|error| unavailable(country, Some(error.to_string())))
    }
}

impl Drop for SqliteReadLog {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the read log's writer had panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of the writer's thread.
struct Work {
    shared: Arc<Shared>,
    connection: Connection,
    clock: Arc<dyn Clock>,
}

impl Work {
    fn run(mut self) {
        loop {
            let (waiting, searches, is_closing) = self.next();
            let written = self.write(&waiting);
            let mut state = self.shared.lock();
            match written {
                Ok(()) => {
                    if state.failure.take().is_some() {
                        tracing::info!("the read log is written again");
                    }
                    drop(state);
                    for search in searches {
                        // A search whose caller has gone away needs no answer.
                        let _ = search.send(());
                    }
                }
                Err(error) => {
                    let readings = waiting.len();
                    tracing::error!(%error, readings, is_closing, "the read log cannot be written");
                    state.failure = Some(error.to_string());
                    state.waiting.splice(0..0, waiting);
                }
            }
            if is_closing {
                return;
            }
        }
    }

    /// Waits for readings, and then for more of them. Returns those to write, and the searches that wait for that.
    fn next(&self) -> (Vec<(CountryCode, Reading)>, Vec<oneshot::Sender<()>>, bool) {
        let changed = &self.shared.changed;
        let is_urgent = |state: &State| state.is_closing || !state.searches.is_empty();
        let mut state = self.shared.lock();
        let pause = if state.failure.is_some() { RETRY_INTERVAL } else { FLUSH_INTERVAL };
        let is_idle = |state: &mut State| state.waiting.is_empty() && !is_urgent(state);
        state = changed.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner);
        let is_early =
            |state: &mut State| !is_urgent(state) && (state.waiting.len() < FLUSH_LENGTH || state.failure.is_some());
        let waited = changed.wait_timeout_while(state, pause, is_early);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.searches), state.is_closing)
    }

    /// Writes readings in one transaction, and deletes some that have had their time.
    fn write(&mut self, readings: &[(CountryCode, Reading)]) -> rusqlite::Result<()> {
        if readings.is_empty() {
            return Ok(());
        }
        let mut countries: BTreeMap<CountryCode, Vec<&Reading>> = BTreeMap::new();
        for (country, reading) in readings {
            countries.entry(*country).or_default().push(reading);
        }
        let expired = instant(self.clock.now() - READINGS_KEPT);
        let transaction = self.connection.transaction()?;
        let mut rows = 0;
        for (country, readings) in countries {
            for row in readings.chunks(MAX_ROW) {
                insert(&transaction, country, row)?;
                rows += 2;
            }
        }
        delete(&transaction, expired, rows)?;
        transaction.commit()
    }
}

/// Opens the connection that writes. A commit does not wait for the disk: a machine that loses power loses the last readings.
fn open_writer(path: &Path) -> Result<Connection, rusqlite_migration::Error> {
    let mut connection = connect(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "secure_delete", true)?;
    Migrations::new(vec![M::up(TABLES)]).to_latest(&mut connection)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn insert(connection: &Connection, country: CountryCode, readings: &[&Reading]) -> rusqlite::Result<()> {
    let body = serde_json::to_string(readings).expect("members with text keys");
    let times = || readings.iter().map(|reading| instant(reading.at));
    let (since, until) = (times().min(), times().max());
    let (country, insert) = (country.as_str(), "INSERT INTO reading (country, since, until, body) VALUES (?, ?, ?, ?)");
    connection.prepare_cached(insert)?.execute(params![country, since, until, body])?;
    let row = connection.last_insert_rowid();
    let mut of_person = connection.prepare_cached("INSERT INTO of_person VALUES (?, ?)")?;
    for person in people(readings.iter().copied()) {
        of_person.execute(params![person.as_bytes(), row])?;
    }
    let mut of_subject = connection.prepare_cached("INSERT INTO of_subject VALUES (?, ?, ?)")?;
    for subject in subjects(readings.iter().copied()) {
        of_subject.execute(params![country, subject, row])?;
    }
    Ok(())
}

/// Deletes at most `limit` rows whose readings are all from before an instant.
fn delete(connection: &Connection, before: i64, limit: usize) -> rusqlite::Result<()> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, parsed(row.get_ref(2)?.as_str()?)?));
    let expired: rusqlite::Result<Vec<(i64, String, Vec<Reading>)>> =
        connection.prepare_cached(EXPIRED)?.query_map(params![before, limit], row)?.collect();
    for (id, country, readings) in expired? {
        let mut of_person = connection.prepare_cached("DELETE FROM of_person WHERE person = ? AND reading = ?")?;
        for person in people(&readings) {
            of_person.execute(params![person.as_bytes(), id])?;
        }
        let of_subject = "DELETE FROM of_subject WHERE country = ? AND subject = ? AND reading = ?";
        let mut of_subject = connection.prepare_cached(of_subject)?;
        for subject in subjects(&readings) {
            of_subject.execute(params![country, subject, id])?;
        }
        connection.prepare_cached("DELETE FROM reading WHERE id = ?")?.execute([id])?;
    }
    Ok(())
}

fn people<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> BTreeSet<Uuid> {
    readings.into_iter().flat_map(|reading| &reading.patients).map(|patient| patient.person).collect()
}

fn subjects<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> BTreeSet<&'a str> {
    readings.into_iter().map(|reading| reading.subject.as_str()).collect()
}

/// Searches rows from the latest on. A position is a row, and the number of its last readings that earlier pages have.
fn search(connection: &Connection, country: CountryCode, query: &ReadQuery) -> rusqlite::Result<ReadPage> {
    let (first, mut seen) = match &query.after {
        None => (i64::MAX, 0),
        Some(after) => position(after).unwrap_or((0, 0)),
    };
    let country = country.as_str();
    let (from, to) = (instant(query.from), instant(query.to));
    let mut select;
    let mut rows = match (&query.person, &query.subject) {
        (Some(person), _) => {
            select = connection.prepare_cached(OF_PERSON)?;
            select.query(params![person.as_bytes(), country, first, from, to])?
        }
        (None, subject) => {
            select = connection.prepare_cached(OF_SUBJECT)?;
            select.query(params![subject, country, first, from, to])?
        }
    };
    let (mut page, mut searched) = (ReadPage::default(), 0);
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if searched == MAX_SEARCHED_ROWS {
            page.next = Some(format!("{id}.0"));
            return Ok(page);
        }
        searched += 1;
        let readings = parsed(row.get_ref(1)?.as_str()?)?;
        let skipped = if id == first { std::mem::take(&mut seen) } else { 0 };
        for (number, reading) in readings.into_iter().rev().enumerate().skip(skipped) {
            let Some(reading) = matching(reading, query) else { continue };
            if page.readings.len() == query.limit {
                page.next = Some(format!("{id}.{number}"));
                return Ok(page);
            }
            page.readings.push(reading);
        }
    }
    Ok(page)
}

/// Returns the reading in the form of the query, or `None` if it does not match.
fn matching(reading: Reading, query: &ReadQuery) -> Option<Reading> {
    let is_in_time = (query.from..query.to).contains(&reading.at);
    let is_by = query.subject.as_ref().is_none_or(|subject| *subject == reading.subject);
    if !is_in_time || !is_by {
        return None;
    }
    match query.person {
        Some(person) => reading.of_person(person),
        None => Some(reading),
    }
}

fn position(text: &str) -> Option<(i64, usize)> {
    let (row, seen) = text.split_once('.')?;
    Some((row.parse().ok()?, seen.parse().ok()?))
}

fn parsed(body: &str) -> rusqlite::Result<Vec<Reading>> {
    let not_json = |error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error));
    serde_json::from_str(body).map_err(not_json)
}

/// Converts an instant to the value of a column: milliseconds since 1970.
fn instant(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn unavailable(country: CountryCode, failure: Option<String>) -> ReadLogUnavailable {
    ReadLogUnavailable { country, cause: failure.unwrap_or_else(|| "too many readings wait to be written".to_owned()) }
}
