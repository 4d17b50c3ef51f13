//! Agendas of doctors: each revision is a row, and the last one of a doctor is the agenda. Implements the port
//! [`Agendas`].

use async_trait::async_trait;
use citas_core::model::{AgendaRevision, CountryCode};
use citas_core::ports::{AgendaCondition, AgendaError, Agendas, CommitError, Unavailable};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::change::Refusal;
use super::reads::{json, rows};
use super::writer::Task;
use super::{SqliteLedger, unavailable};

/// A revision of an agenda with its JSON already serialized.
pub(super) struct Prepared {
    doctor: String,
    number: u32,
    body: String,
}

const PUT: &str = "
    INSERT INTO agenda (doctor, number, body)
    SELECT ?1, ?2, ?3 WHERE ?2 = 1 + (SELECT coalesce(max(number), 0) FROM agenda WHERE doctor = ?1)";

/// Selects the number of a doctor's agenda, which is 0 if there is none.
const NUMBER: &str = "SELECT coalesce(max(number), 0) FROM agenda WHERE doctor = ?";

const LATEST: &str = "SELECT body FROM agenda WHERE doctor = ? ORDER BY number DESC LIMIT 1";

pub(super) const HISTORY: &str = "SELECT body FROM agenda WHERE doctor = ? AND number > ? ORDER BY number LIMIT +?";

/// Selects the last revision of each doctor. SQLite takes the other columns from the row with the maximum.
pub(super) const ALL: &str =
    "SELECT body, max(number) FROM agenda WHERE doctor > ? GROUP BY doctor ORDER BY doctor LIMIT +?";

const STAMP: &str = "SELECT coalesce(max(sequence), 0) FROM agenda";

impl Prepared {
    fn new(revision: &AgendaRevision) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_string(revision)?;
        Ok(Self { doctor: revision.doctor.clone(), number: revision.revision, body })
    }

    /// Stores the revision if it follows the last one.
    pub(super) fn store(&self, connection: &Connection) -> Result<(), Refusal> {
        let stored = connection.prepare_cached(PUT)?.execute(params![self.doctor, self.number, self.body])?;
        if stored == 1 { Ok(()) } else { Err(Refusal::Stale) }
    }
}

/// Checks that an agenda is at the revision of the condition.
pub(super) fn check(connection: &Connection, condition: &AgendaCondition) -> Result<(), Refusal> {
    let number: u32 = connection.prepare_cached(NUMBER)?.query_row([&condition.doctor], |row| row.get(0))?;
    if number == condition.revision { Ok(()) } else { Err(Refusal::AgendaChanged) }
}

fn revision(row: &Row<'_>) -> rusqlite::Result<AgendaRevision> {
    json(row, 0)
}

#[async_trait]
impl Agendas for SqliteLedger {
    async fn put_agenda(&self, revision: AgendaRevision) -> Result<(), AgendaError> {
        let country = revision.country;
        let prepared = Prepared::new(&revision).map_err(|error| unavailable(country, &error))?;
        match self.write(country, Task::Agenda(prepared)).await {
            Ok(_) => Ok(()),
            Err(CommitError::Stale) => Err(AgendaError::Stale),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(refusal) => Err(unavailable(country, &refusal).into()),
        }
    }

    async fn agenda(&self, country: CountryCode, doctor: &str) -> Result<Option<AgendaRevision>, Unavailable> {
        let latest =
            |connection: &Connection| connection.prepare_cached(LATEST)?.query_row([doctor], revision).optional();
        self.ask(country, latest).await
    }

    async fn agenda_history(
        &self,
        country: CountryCode,
        doctor: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        let doctor = doctor.to_owned();
        let history = move |connection: &Connection| {
            connection.prepare_cached(HISTORY)?.query_map(params![doctor, after, rows(limit)], revision)?.collect()
        };
        self.ask_long(country, history).await
    }

    async fn agendas(
        &self,
        country: CountryCode,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        // No key is empty.
        let after = after.unwrap_or_default().to_owned();
        let all = move |connection: &Connection| {
            connection.prepare_cached(ALL)?.query_map(params![after, rows(limit)], revision)?.collect()
        };
        self.ask_long(country, all).await
    }

    async fn agenda_stamp(&self, country: CountryCode) -> Result<u64, Unavailable> {
        let stamp = |connection: &Connection| {
            connection.prepare_cached(STAMP)?.query_row([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
        };
        self.ask(country, stamp).await
    }
}
