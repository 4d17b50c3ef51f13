//! Implements the ports [`Ledger`], [`Wakes`] and [`Outbox`] by handing each call to the country's writer or readers. Contains no
//! SQL.

use std::sync::Arc;

use async_trait::async_trait;
use citas_core::model::{Claim, CountryCode, Hold, Revision};
use citas_core::ports::{
    Attempts, Change, CommitError, Committed, DueWake, Ledger, NewHold, Outbox, Page, Pending, Query, Receipt, Taken,
    Unavailable, Wakes,
};
use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use super::change::Prepared;
use super::writer::{Done, Outcome, Task};
use super::{SqliteLedger, reads, unavailable};

impl SqliteLedger {
    /// Runs a query on the caller's own thread. A read that finds its page in memory takes 10 to 20 µs, less than
    /// handing it to another thread and waiting for that.
    pub(super) async fn ask<T>(
        &self,
        code: CountryCode,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    ) -> Result<T, Unavailable> {
        let country = self.opened(code).await?;
        country.opened().readers.ask(question).await.map_err(|error| unavailable(code, &error))
    }

    /// Runs a query on a thread that may block. For results with many bodies, which take long to read.
    pub(super) async fn ask_long<T: Send + 'static>(
        &self,
        code: CountryCode,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let country = self.opened(code).await?;
        let turn = country.opened().readers.long_turn().await;
        let span = tracing::Span::current();
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            span.in_scope(|| country.opened().readers.answer(question))
        });
        let answer = asked.await.map_err(|stopped| unavailable(code, &stopped))?;
        answer.map_err(|error| unavailable(code, &error))
    }

    pub(super) async fn write(&self, code: CountryCode, task: Task) -> Outcome {
        self.opened(code).await?.opened().writer.write(task).await
    }

    /// Writes a task that has no conditions.
    async fn record(&self, code: CountryCode, task: Task) -> Result<(), Unavailable> {
        self.write(code, task).await.map(drop).map_err(|error| match error {
            CommitError::Unavailable(unavailable) => unavailable,
            refusal => unavailable(code, &refusal),
        })
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let code = change.revision.country;
        let change = Prepared::new(change).map_err(|error| unavailable(code, &error))?;
        match self.write(code, Task::Change(Box::new(change))).await? {
            Done::Change(stored) => Ok(stored.committed),
            _ => unreachable!("the outcome of a change is what was stored"),
        }
    }

    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        let since = match self.latest.get(country, id) {
            Ok(revision) => return Ok(Some(revision)),
            Err(mark) => mark,
        };
        let Some((revision, bytes)) = self.ask(country, |connection| reads::appointment(connection, id)).await? else {
            return Ok(None);
        };
        let revision = Arc::new(revision);
        self.latest.remember(&revision, bytes, since);
        Ok(Some(revision))
    }

    async fn revision(&self, country: CountryCode, id: Uuid, number: u32) -> Result<Option<Revision>, Unavailable> {
        if let Ok(latest) = self.latest.get(country, id)
            && latest.appointment.revision == number
        {
            return Ok(Some(Arc::unwrap_or_clone(latest)));
        }
        self.ask(country, |connection| reads::revision(connection, id, number)).await
    }

    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable> {
        self.ask_long(country, move |connection| reads::history(connection, id, after, limit)).await
    }

    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable> {
        let query = query.clone();
        self.ask_long(country, move |connection| reads::page(connection, &query)).await
    }

    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        self.ask(country, |connection| reads::receipt(connection, key, now)).await
    }

    async fn taken(&self, country: CountryCode, claims: &[Claim], now: Timestamp) -> Result<Taken, Unavailable> {
        self.ask(country, |connection| reads::taken(connection, claims, now)).await
    }

    async fn put_hold(&self, new: NewHold) -> Result<Hold, CommitError> {
        match self.write(new.hold.slot.country, Task::Hold(Box::new(new))).await? {
            Done::Hold(hold) => Ok(*hold),
            _ => unreachable!("the outcome of a hold is what was stored"),
        }
    }

    async fn hold(&self, country: CountryCode, id: Uuid) -> Result<Option<Hold>, Unavailable> {
        self.ask(country, |connection| reads::hold(connection, id)).await
    }

    async fn drop_hold(&self, hold: &Hold) -> Result<(), Unavailable> {
        self.record(hold.slot.country, Task::Dropped(Box::new(hold.clone()))).await
    }

    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable> {
        self.ask(country, |connection| reads::notified(connection, id)).await
    }

    async fn mark_notified(&self, country: CountryCode, id: Uuid, now: Timestamp) -> Result<(), Unavailable> {
        self.record(country, Task::Notified(id, now)).await
    }

    async fn ready(&self, country: CountryCode) -> Result<(), Unavailable> {
        self.record(country, Task::Probe).await?;
        self.ask_long(country, reads::probe).await
    }
}

#[async_trait]
impl Wakes for SqliteLedger {
    async fn due(&self, country: CountryCode, now: Timestamp, limit: usize) -> Result<Vec<DueWake>, Unavailable> {
        self.ask(country, |connection| reads::due(connection, now, limit)).await
    }

    async fn postpone(&self, country: CountryCode, due: &DueWake, until: Timestamp) -> Result<(), Unavailable> {
        self.record(country, Task::Wake(due.clone(), Some(until))).await
    }

    async fn end(&self, country: CountryCode, due: &DueWake) -> Result<(), Unavailable> {
        self.record(country, Task::Wake(due.clone(), None)).await
    }
}

#[async_trait]
impl Outbox for SqliteLedger {
    async fn pending(&self, country: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable> {
        self.ask_long(country, move |connection| reads::pending(connection, limit)).await
    }

    async fn remove(&self, country: CountryCode, events: &[Uuid]) -> Result<(), Unavailable> {
        self.record(country, Task::Published(events.to_vec())).await
    }

    async fn postpone(&self, country: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable> {
        self.record(country, Task::Postponed(events.to_vec())).await
    }

    async fn changed(&self, country: CountryCode) {
        self.country(country).changed.notified().await;
    }
}
