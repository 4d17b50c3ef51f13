//! Queries of a country's file, and the connections that run them. Writes nothing.
//!
//! Limits are written `LIMIT +?`, because SQLite plans a statement with a bare `LIMIT ?` again for each binding.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use citas_core::model::{Claim, Hold, Personal, Revision};
use citas_core::ports::{Attempts, DueWake, Order, OwnerFilter, Page, Pending, Position, Query, Receipt, Taken};
use jiff::Timestamp;
use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::change::{NOBODY, claim_row};
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
    let last = format!("{LATEST} ORDER BY starts_at DESC, id DESC LIMIT 1");
    let random = format!(
        "{LATEST} WHERE rowid >= abs(random() % (SELECT max(rowid) FROM appointment)) + 1 ORDER BY rowid LIMIT 1"
    );
    for sql in [last, random, format!("{EARLIER} ORDER BY rowid DESC LIMIT 1")] {
        connection.prepare_cached(&sql)?.query_row([], whole).optional()?;
    }
    for table in ["claim", "receipt", "notified", "agenda", "hold", "patient_link", "privacy_request"] {
        connection.prepare_cached(&format!("SELECT 1 FROM {table} LIMIT 1"))?.exists([])?;
    }
    pending(connection, 1).map(|_| ())
}

/// Selects the open and the personal part of latest revisions.
const LATEST: &str =
    "SELECT body, (SELECT personal FROM log WHERE log.sequence = appointment.sequence), number FROM appointment";

/// Selects the open and the personal part of earlier revisions.
const EARLIER: &str =
    "SELECT body, (SELECT personal FROM log WHERE log.sequence = revision.sequence), number FROM revision";

/// Returns the latest revision and the length of its JSON, in bytes.
pub(super) fn appointment(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<(Revision, usize)>> {
    let mut select = connection.prepare_cached(&format!("{LATEST} WHERE id = ?"))?;
    let length = |row: &Row<'_>, column: usize| -> rusqlite::Result<usize> {
        Ok(row.get_ref(column)?.as_str_or_null()?.map_or(0, str::len))
    };
    let found = |row: &Row<'_>| Ok((whole(row)?, length(row, 0)? + length(row, 1)?));
    select.query_row([id.as_bytes()], found).optional()
}

pub(super) fn revision(connection: &Connection, id: Uuid, number: u32) -> rusqlite::Result<Option<Revision>> {
    let this = "WHERE id = ?1 AND number = ?2";
    let mut select = connection.prepare_cached(&format!("{EARLIER} {this} UNION ALL {LATEST} {this}"))?;
    select.query_row(params![id.as_bytes(), number], whole).optional()
}

pub(super) fn history(connection: &Connection, id: Uuid, after: u32, limit: usize) -> rusqlite::Result<Vec<Revision>> {
    connection.prepare_cached(&history_sql())?.query_map(params![id.as_bytes(), after, rows(limit)], whole)?.collect()
}

fn history_sql() -> String {
    let these = "WHERE id = ?1 AND number > ?2";
    format!("{EARLIER} {these} UNION ALL {LATEST} {these} ORDER BY number LIMIT +?3")
}

const DUE: &str = "
    SELECT json_extract(body, '$.appointment.wake'), id, number, failed
    FROM appointment INDEXED BY appointment_by_wake WHERE wake_at <= ? ORDER BY wake_at, id LIMIT +?";

/// Returns actions that are due, the oldest first.
pub(super) fn due(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<DueWake>> {
    let mut select = connection.prepare_cached(DUE)?;
    let due = |row: &Row<'_>| {
        let appointment = Uuid::from_bytes(row.get(1)?);
        Ok(DueWake { appointment, revision: row.get(2)?, wake: json(row, 0)?, failed: row.get(3)? })
    };
    select.query_map(params![instant(now), rows(limit)], due)?.collect()
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

pub(super) fn taken(connection: &Connection, claims: &[Claim], now: Timestamp) -> rusqlite::Result<Taken> {
    let mut resources: HashMap<&str, BTreeMap<i64, &str>> = HashMap::new();
    for claim in claims {
        let (resource, minute) = claim_row(&claim.key);
        resources.entry(resource).or_default().insert(minute, &claim.key);
    }
    let mut select = connection.prepare_cached(TAKEN)?;
    let mut taken = Taken::new();
    for (resource, keys) in resources {
        let Some(((first, _), (last, _))) = keys.first_key_value().zip(keys.last_key_value()) else { continue };
        let mut rows = select.query(params![resource, first, last, instant(now)])?;
        while let Some(row) = rows.next()? {
            if let Some(key) = keys.get(&row.get::<_, i64>(0)?) {
                let place = (row.get(1)?, Uuid::from_bytes(row.get(2)?));
                taken.entry((*key).to_owned()).or_default().push(place);
            }
        }
    }
    Ok(taken)
}

/// Selects the places of one resource's claims in a range of time, without those that have expired.
const TAKEN: &str = "
    SELECT minute, ordinal, appointment FROM claim
    WHERE resource = ? AND minute BETWEEN ? AND ? AND (expires_at IS NULL OR expires_at > ?)";

pub(super) fn hold(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Hold>> {
    let mut select = connection.prepare_cached("SELECT body FROM hold WHERE id = ?")?;
    select.query_row([id.as_bytes()], |row| json(row, 0)).optional()
}

pub(super) fn notified(connection: &Connection, event: Uuid) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM notified WHERE event = ?")?.exists([event.as_bytes()])
}

/// Selects the first event of each appointment.
const PENDING: &str = "
    SELECT body, attempts, tried_for FROM outbox AS event
    WHERE NOT EXISTS (
        SELECT 1 FROM outbox AS earlier WHERE earlier.subject = event.subject AND earlier.sequence < event.sequence
    )
    ORDER BY sequence LIMIT +?";

pub(super) fn pending(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Pending>> {
    let mut select = connection.prepare_cached(PENDING)?;
    let pending = |row: &Row<'_>| {
        let attempts =
            Attempts { failed: row.get(1)?, tried_for: Duration::from_millis(row.get::<_, i64>(2)?.unsigned_abs()) };
        Ok(Pending { event: json(row, 0)?, attempts })
    };
    select.query_map([rows(limit)], pending)?.collect()
}

/// Reads a page from one index, or from that of the phase once for each phase if there is no other filter.
pub(super) fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    let given: Vec<(&str, Value)> = query.given().into_iter().map(|(name, key)| (name, key.into())).collect();
    let given = given.into_iter().map(|(name, key)| match query.person {
        Some(person) if name == "person" => (name, person.into_bytes().to_vec().into()),
        _ => (name, key),
    });
    let mut given: Vec<(&str, Value)> = given.collect();
    if query.owner == OwnerFilter::Nobody {
        given.push(("owner", NOBODY.to_owned().into()));
    }
    let mut items = Vec::new();
    if given.is_empty() && !query.phases.is_empty() {
        for phase in &query.phases {
            items.extend(stretch(connection, query, &[("phase", phase.as_str().to_owned().into())])?);
        }
        items.sort_by_key(Position::of);
        if query.order == Order::Descending {
            items.reverse();
        }
    } else {
        items = stretch(connection, query, &given)?;
    }
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let next = items.last().filter(|_| more).map(Position::of);
    Ok(Page { items, next })
}

/// Reads the first items of a query in one index, one more than its limit.
fn stretch(connection: &Connection, query: &Query, pinned: &[(&str, Value)]) -> rusqlite::Result<Vec<Revision>> {
    let columns: Vec<&str> = pinned.iter().map(|(column, _)| *column).collect();
    let mut select = connection.prepare_cached(&page_sql(&columns, query.order))?;
    let ((low, low_id), (high, high_id)) = ends(query);
    let phases: Vec<&str> = query.phases.iter().map(|phase| phase.as_str()).collect();
    let phases = (!phases.is_empty()).then(|| format!(",{},", phases.join(",")));
    let (date, limit) = (query.date.map(|date| date.to_string()), rows(query.limit).saturating_add(1));
    let names: Vec<String> = columns.iter().map(|column| format!(":{column}")).collect();
    let pinned = names.iter().zip(pinned).map(|(name, (_, value))| (name.as_str(), value as &dyn ToSql));
    let others: [(&str, &dyn ToSql); 7] = [
        (":low", &low),
        (":low_id", &low_id),
        (":high", &high),
        (":high_id", &high_id),
        (":phases", &phases),
        (":date", &date),
        (":limit", &limit),
    ];
    let values: Vec<(&str, &dyn ToSql)> = pinned.chain(others).collect();
    select.query_map(&*values, whole)?.collect()
}

/// Returns the SQL of a page. Names the index, because without statistics SQLite would choose by the number of columns.
/// The conditions that a query may lack are always there, so that there are few statements.
fn page_sql(pinned: &[&str], order: Order) -> String {
    let index = pinned.first().unwrap_or(&"start");
    let pinned: Vec<_> = pinned.iter().map(|column| format!("{column} = :{column} AND ")).collect();
    let pinned = pinned.concat();
    let direction = if order == Order::Descending { "DESC" } else { "ASC" };
    format!(
        "{LATEST} INDEXED BY appointment_by_{index}
         WHERE {pinned}(starts_at, id) > (:low, :low_id) AND (starts_at, id) < (:high, :high_id)
         AND (:phases IS NULL OR instr(:phases, ',' || phase || ','))
         AND (:date IS NULL OR substr(json_extract(body, '$.appointment.slot.start'), 1, 10) = :date)
         ORDER BY starts_at {direction}, id {direction} LIMIT +:limit"
    )
}

/// Start and id of an end of a page.
type End = (i64, Vec<u8>);

/// Returns the ends of a page, neither of which is part of it: those of `from` and `to`, or the last item of the page
/// before. No id is empty, so an end without one lies before all items of its start. Appointments without a start are
/// included only if neither `from` nor `to` is given.
fn ends(query: &Query) -> (End, End) {
    let without_start = if query.from.is_some() { NO_START } else { i64::MAX };
    let low = (query.from.map_or(i64::MIN, instant), Vec::new());
    let high = (query.to.map_or(without_start, instant), Vec::new());
    let Some(after) = &query.after else { return (low, high) };
    let after = (after.starts_at.map_or(NO_START, instant), after.id.as_bytes().to_vec());
    match query.order {
        Order::Ascending => (low.max(after), high),
        Order::Descending => (low, high.min(after)),
    }
}

pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads the revision whose open and personal part are a row's first columns.
fn whole(row: &Row<'_>) -> rusqlite::Result<Revision> {
    let open: Revision = json(row, 0)?;
    let personal = if row.get_ref(1)? == ValueRef::Null { None } else { Some(json::<Personal>(row, 1)?) };
    Ok(open.complete(personal))
}

/// Parses the JSON in a column of a row.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let json = row.get_ref(column)?.as_str()?;
    serde_json::from_str(json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

#[cfg(test)]
mod tests {
    use citas_core::model::Pseudonyms;
    use rusqlite::StatementStatus;

    use super::super::writer::{ENDED_HOLDS, EXPIRED_CLAIMS, EXPIRED_RECEIPTS, OLD_NOTES, PAST_CLAIMS};
    use super::super::{agendas, patient_links, privacy_requests};
    use super::*;

    /// Returns every combination of filters by a key, with a phase if there is none.
    fn combinations() -> impl Iterator<Item = Vec<&'static str>> {
        let (owned, unowned) = (["owner", "person", "doctor", "hospital"], ["person", "doctor", "hospital", "owner"]);
        let given = |keys: [&'static str; 4]| {
            (0..16).map(move |bits: usize| {
                let given = keys.into_iter().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0);
                given.map(|(_, column)| column).collect()
            })
        };
        given(owned).chain(given(unowned)).chain([vec!["phase"]])
    }

    #[test]
    fn no_statement_is_planned_anew_for_other_values() {
        let folder = tempfile::tempdir().unwrap();
        let names = Pseudonyms::new(b"key");
        let connection = schema::open_writer(&folder.path().join("pe.db"), "pe".parse().unwrap(), &names).unwrap();
        let pages = combinations().map(|pinned| page_sql(&pinned, Order::Ascending));
        let swept = [EXPIRED_RECEIPTS, OLD_NOTES, PAST_CLAIMS, EXPIRED_CLAIMS, ENDED_HOLDS];
        let read = [DUE, PENDING, TAKEN, agendas::HISTORY, agendas::ALL];
        let links = [patient_links::OF_PERSON, patient_links::HISTORY, patient_links::REQUESTED];
        let others = swept.into_iter().chain(read).chain(links).map(str::to_owned);
        let privacy = [None, Some("state"), Some("person"), Some("owner")].map(privacy_requests::list_sql);
        for sql in others.chain(pages).chain(privacy).chain([history_sql()]) {
            let mut statement = connection.prepare(&sql).unwrap();
            for value in [1, 2] {
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, value).unwrap();
                }
                assert!(statement.raw_query().next().unwrap().is_none());
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }

    #[test]
    fn every_page_is_one_stretch_of_an_index_and_nothing_is_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let names = Pseudonyms::new(b"key");
        let connection = schema::open_writer(&folder.path().join("pe.db"), "pe".parse().unwrap(), &names).unwrap();
        for (pinned, order) in
            combinations().flat_map(|pinned| [(pinned.clone(), Order::Ascending), (pinned, Order::Descending)])
        {
            let sql = format!("EXPLAIN QUERY PLAN {}", page_sql(&pinned, order));
            let mut explain = connection.prepare(&sql).unwrap();
            let plan: Vec<String> =
                explain.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>().unwrap();
            let column = pinned.first().map(|column| format!("{column}=? AND ")).unwrap_or_default();
            // The personal part is one row of the log, found by its number.
            let personal = ["CORRELATED SCALAR SUBQUERY 1", "SEARCH log USING INTEGER PRIMARY KEY (rowid=?)"];
            assert_eq!(plan[1..], personal, "{plan:?}");
            assert!(plan[0].starts_with("SEARCH appointment USING INDEX appointment_by_"), "{plan:?}");
            assert!(plan[0].contains(&format!("({column}(starts_at,id)>(?,?) AND (starts_at,id)<(?,?))")), "{plan:?}");
        }
    }

    #[test]
    fn every_list_of_privacy_requests_is_one_stretch_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let names = Pseudonyms::new(b"key");
        let connection = schema::open_writer(&folder.path().join("pe.db"), "pe".parse().unwrap(), &names).unwrap();
        for (filter, index) in
            [(None, "due"), (Some("state"), "state"), (Some("person"), "person"), (Some("owner"), "owner")]
        {
            let sql = format!("EXPLAIN QUERY PLAN {}", privacy_requests::list_sql(filter));
            let mut explain = connection.prepare(&sql).unwrap();
            let plan: Vec<String> =
                explain.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>().unwrap();
            let stretch = format!("SEARCH privacy_request USING INDEX privacy_request_by_{index}");
            assert!(plan.len() == 1 && plan[0].starts_with(&stretch), "{plan:?}");
        }
    }
}
