//! Queries of a country's file, and the connections that run them. Writes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use citas_core::model::Revision;
use citas_core::ports::{Attempts, Page, Pending, Position, Query, Receipt};
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, params_from_iter};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::schema::{self, NO_START, instant, timestamp};

/// Maximum number of concurrent queries on the callers' own threads.
const MAX_SHORT: usize = 2;

/// Maximum number of concurrent queries whose results take long to read.
const MAX_LONG: usize = 4;

/// Maximum number of files that one country has open: the database and the log for its writer and for each reader, and
/// their shared memory.
pub(super) const MAX_FILES: usize = 2 * (1 + MAX_SHORT + MAX_LONG) + 1;

/// Time after which an idle connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A bounded number of read-only connections to one file. Opens one when none is idle.
///
/// The bound limits the number of open files. POSIX locks end when a process closes any descriptor of a file. So SQLite
/// keeps the descriptor of a closed connection until no other connection of the process holds a lock, and in WAL mode
/// the writer holds one for as long as it lives. Only the next connection that is opened uses that descriptor again: a
/// file has as many descriptors as it ever had connections at once.
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Idle>>,
    short: Semaphore,
    long: Arc<Semaphore>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        let (short, long) = (Semaphore::new(MAX_SHORT), Arc::new(Semaphore::new(MAX_LONG)));
        Self { file, idle: Mutex::default(), short, long }
    }

    /// Runs a query on this thread when its turn has come.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let _turn = self.short.acquire().await.expect("nobody closes it");
        self.answer(question)
    }

    /// Waits for the turn of a long query, which is then [run](Self::answer) on another thread.
    pub(super) async fn long_turn(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.long).acquire_owned().await.expect("nobody closes it")
    }

    /// Runs a query on this thread.
    pub(super) fn answer<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| schema::open_reader(&self.file), |idle| Ok(idle.connection))?;
        let answer = question(&connection)?;
        self.idle().push(Idle { connection, since: Instant::now() });
        Ok(answer)
    }

    /// Closes the connections that have been idle for [`IDLE_TIMEOUT`].
    pub(super) fn close_idle(&self) {
        let unused: Vec<Idle> = self.idle().extract_if(.., |idle| idle.since.elapsed() >= IDLE_TIMEOUT).collect();
        drop(unused);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads some rows of every table, so that a damaged file is noticed: the appointment that starts last, one at random,
/// and rows that belong to appointments.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    let last = "SELECT body FROM appointment ORDER BY starts_at DESC, id DESC LIMIT 1";
    let random = "SELECT body FROM appointment
        WHERE rowid >= abs(random() % (SELECT max(rowid) FROM appointment)) + 1 ORDER BY rowid LIMIT 1";
    for sql in [last, random, "SELECT body FROM revision ORDER BY rowid DESC LIMIT 1"] {
        connection.prepare_cached(sql)?.query_row([], body::<Revision>).optional()?;
    }
    for table in ["claim", "receipt", "notified"] {
        connection.prepare_cached(&format!("SELECT 1 FROM {table} LIMIT 1"))?.exists([])?;
    }
    pending(connection, 1).map(|_| ())
}

/// Returns the latest revision and the length of its JSON, in bytes.
pub(super) fn appointment(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<(Revision, usize)>> {
    let mut select = connection.prepare_cached("SELECT body FROM appointment WHERE id = ?")?;
    select.query_row([id.as_bytes()], |row| Ok((body(row)?, row.get_ref(0)?.as_str()?.len()))).optional()
}

pub(super) fn revision(connection: &Connection, id: Uuid, number: u32) -> rusqlite::Result<Option<Revision>> {
    let mut select = connection.prepare_cached(
        "SELECT body FROM revision WHERE id = ?1 AND number = ?2
         UNION ALL SELECT body FROM appointment WHERE id = ?1 AND number = ?2",
    )?;
    select.query_row(params![id.as_bytes(), number], body).optional()
}

pub(super) fn history(connection: &Connection, id: Uuid, after: u32, limit: usize) -> rusqlite::Result<Vec<Revision>> {
    let mut select = connection.prepare_cached(
        "SELECT body, number FROM revision WHERE id = ?1 AND number > ?2
         UNION ALL SELECT body, number FROM appointment WHERE id = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    select.query_map(params![id.as_bytes(), after, rows(limit)], body)?.collect()
}

pub(super) fn receipt(connection: &Connection, key: &str, now: Timestamp) -> rusqlite::Result<Option<Receipt>> {
    let mut select = connection.prepare_cached(
        "SELECT fingerprint, appointment, number, expires_at FROM receipt WHERE key = ? AND expires_at > ?",
    )?;
    let receipt = |row: &Row<'_>| {
        Ok(Receipt {
            key: key.to_owned(),
            fingerprint: row.get(0)?,
            appointment: Uuid::from_bytes(row.get(1)?),
            revision: row.get(2)?,
            expires_at: timestamp(row.get(3)?),
        })
    };
    select.query_row(params![key, instant(now)], receipt).optional()
}

pub(super) fn taken(connection: &Connection, claims: &[String]) -> rusqlite::Result<HashMap<String, Uuid>> {
    let mut select = connection.prepare_cached("SELECT appointment FROM claim WHERE claim = ?")?;
    let mut taken = HashMap::new();
    for claim in claims {
        let holder = select.query_row([claim], |row| Ok(Uuid::from_bytes(row.get(0)?))).optional()?;
        taken.extend(holder.map(|holder| (claim.clone(), holder)));
    }
    Ok(taken)
}

pub(super) fn notified(connection: &Connection, event: Uuid) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM notified WHERE event = ?")?.exists([event.as_bytes()])
}

pub(super) fn pending(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Pending>> {
    let mut select = connection.prepare_cached(
        "SELECT body, attempts, tried_for FROM outbox AS event
         WHERE NOT EXISTS (
             SELECT 1 FROM outbox AS earlier WHERE earlier.subject = event.subject AND earlier.sequence < event.sequence
         )
         ORDER BY sequence LIMIT ?",
    )?;
    let pending = |row: &Row<'_>| {
        let attempts =
            Attempts { failed: row.get(1)?, tried_for: Duration::from_millis(row.get::<_, i64>(2)?.unsigned_abs()) };
        Ok(Pending { event: body(row)?, attempts })
    };
    select.query_map([rows(limit)], pending)?.collect()
}

pub(super) fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let pinned = query.given();
    let mut select = connection.prepare_cached(&page_sql(&pinned))?;
    let ((start, id), end) = (lower_end(query), upper_end(query));
    let one_more = rows(query.limit).saturating_add(1);
    let range: [&dyn ToSql; 4] = [&start, &id, &end, &one_more];
    let values = pinned.iter().map(|(_, value)| value as &dyn ToSql).chain(range);
    let mut found = select.query(params_from_iter(values))?;

    let mut items = Vec::with_capacity(query.limit.min(100));
    while let Some(row) = found.next()? {
        if items.len() == query.limit {
            let next = items.last().map(Position::of);
            return Ok(Page { items, next });
        }
        items.push(body(row)?);
    }
    Ok(Page { items, next: None })
}

/// Returns the SQL of a page. Names the index, because without statistics SQLite would choose by the number of columns.
fn page_sql(pinned: &[(&str, &str)]) -> String {
    let index = pinned.first().map_or("start", |(column, _)| column);
    let conditions: String = pinned.iter().flat_map(|(column, _)| [*column, " = ? AND "]).collect();
    format!(
        "SELECT body FROM appointment INDEXED BY appointment_by_{index}
         WHERE {conditions}(starts_at, id) > (?, ?) AND starts_at < ? ORDER BY starts_at, id LIMIT ?"
    )
}

/// Returns the lower end of a page, which is not part of it: the item before, or the position before the first item of
/// `from`.
fn lower_end(query: &Query) -> (i64, Vec<u8>) {
    let from = (query.from.map_or(i64::MIN, instant), Vec::new());
    let after =
        query.after.as_ref().map(|item| (item.starts_at.map_or(NO_START, instant), item.id.as_bytes().to_vec()));
    after.map_or(from.clone(), |after| after.max(from))
}

/// Returns the upper end of a page's starts, which is not part of it. Appointments without a start are below it only if
/// neither end is given.
fn upper_end(query: &Query) -> i64 {
    let without_start = if query.from.is_some() { NO_START } else { i64::MAX };
    query.to.map_or(without_start, instant)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Parses the JSON in a row's first column.
fn body<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    let json = row.get_ref(0)?.as_str()?;
    serde_json::from_str(json).map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

#[cfg(test)]
mod tests {
    use citas_core::model::Phase;

    use super::*;

    /// Returns every combination of filters.
    fn queries() -> impl Iterator<Item = Query> {
        (0..32_u8).map(|bits| {
            let given = |bit: u8| (bits & (1 << bit) != 0).then(|| "x".to_owned());
            Query {
                patient: given(0),
                doctor: given(1),
                owner: given(2),
                hospital: given(3),
                phase: given(4).map(|_| Phase::Booked),
                limit: 100,
                ..Query::default()
            }
        })
    }

    #[test]
    fn every_page_is_one_stretch_of_an_index_and_nothing_is_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(&folder.path().join("pe.db")).unwrap();
        for query in queries() {
            let sql = format!("EXPLAIN QUERY PLAN {}", page_sql(&query.given()));
            let mut explain = connection.prepare(&sql).unwrap();
            let plan: Vec<String> =
                explain.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>().unwrap();
            let column = query.given().first().map(|(column, _)| format!("{column}=? AND ")).unwrap_or_default();
            assert_eq!(plan.len(), 1, "{plan:?}");
            assert!(plan[0].starts_with("SEARCH appointment USING INDEX appointment_by_"), "{plan:?}");
            assert!(plan[0].contains(&format!("({column}(starts_at,id)>(?,?) AND starts_at<?)")), "{plan:?}");
        }
    }
}
