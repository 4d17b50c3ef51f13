//! The port to where appointments are kept.
//!
//! One contract suite checks every adapter. What a hold or an agenda will need has its place here without a change:
//! a claim is a key with one holder, and a change is one transaction.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::appointment::{CountryCode, Phase, Revision};
use crate::model::event::Event;

/// What an Idempotency-Key has already brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Digest of who used the key, on what, and the key itself.
    pub key: String,
    /// Digest of the request that the key came with.
    pub fingerprint: String,
    /// The appointment that came of it.
    pub appointment: Uuid,
    /// The revision that came of it.
    pub revision: u32,
    /// From then on the key is as if never used.
    pub expires_at: Timestamp,
}

/// A change of one appointment: all of it is stored, or nothing.
#[derive(Clone, Debug)]
pub struct Change {
    /// The new state. It is stored only if the appointment's latest revision is the one before it;
    /// revision 1 only if there is none.
    pub revision: Revision,
    /// Claims that the appointment does not hold yet and must get, each named once.
    pub take: Vec<String>,
    /// Claims that it holds and gives up.
    pub release: Vec<String>,
    /// Stored only if no receipt has the same key that has not expired by the revision's `updated_at`.
    pub receipt: Option<Receipt>,
    /// For the outbox.
    pub events: Vec<Event>,
}

/// Why a change was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another live appointment holds this claim.
    #[error("the claim `{0}` is taken")]
    ClaimTaken(String),
    /// The appointment has changed since it was read.
    #[error("the appointment has changed since")]
    Stale,
    /// Somebody used the same key a moment ago.
    #[error("the idempotency key is used")]
    KeyUsed,
    /// The ledger does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The ledger does not answer. The change was, as far as the adapter could find out, not stored.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of {country} does not answer: {cause}")]
pub struct Unavailable {
    /// Whose ledger.
    pub country: CountryCode,
    /// What went wrong, for the log.
    pub cause: String,
}

/// Where a page ends: the key of its last item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Start of the last item; none sorts last.
    pub starts_at: Option<Timestamp>,
    /// Its id.
    pub id: Uuid,
}

/// Which appointments to list: those that meet every filter that is given.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Subject that booked.
    pub owner: Option<String>,
    /// The country's key for the patient.
    pub patient: Option<String>,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// Starting then or later; leaves out those without a start.
    pub from: Option<Timestamp>,
    /// Starting before then; leaves out those without a start.
    pub to: Option<Timestamp>,
    /// In this phase.
    pub phase: Option<Phase>,
    /// After this item, whether or not it is still there.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

impl Position {
    /// Where a list has an appointment.
    #[must_use]
    pub fn of(revision: &Revision) -> Self {
        Self { starts_at: revision.starts_at, id: revision.appointment.id }
    }
}

impl Query {
    /// The filters that are given, each by its name: the one that leaves fewest appointments first.
    #[must_use]
    pub fn given(&self) -> Vec<(&'static str, &str)> {
        let filters = [
            ("owner", self.owner.as_deref()),
            ("patient", self.patient.as_deref()),
            ("doctor", self.doctor.as_deref()),
            ("hospital", self.hospital.as_deref()),
            ("phase", self.phase.map(Phase::as_str)),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Some appointments in the order of their start, then of their id.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The latest revision of each.
    pub items: Vec<Revision>,
    /// Where the next page starts; none when this is the last.
    pub next: Option<Position>,
}

/// Keeps every country's appointments, each country apart from every other.
///
/// An adapter MUST
/// - store a [`Change`] whole or not at all, with every condition checked in the same transaction, and answer `Ok`
///   only when it will survive the loss of the process;
/// - when several conditions fail, report the first of: [`CommitError::KeyUsed`], [`CommitError::Stale`],
///   [`CommitError::ClaimTaken`];
/// - show a stored change to every read that starts after it was acknowledged; a page alone may be some seconds behind,
///   where it comes from an index that is;
/// - keep each revision as it was written, for ever.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores a change. From when it may be stored, the request's [time limit](crate::ports::deadline) MUST NOT apply.
    async fn commit(&self, change: Change) -> Result<(), CommitError>;

    /// The latest revision.
    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable>;

    /// One revision as it was.
    async fn revision(&self, country: CountryCode, id: Uuid, revision: u32) -> Result<Option<Revision>, Unavailable>;

    /// Revisions after the `after`th, the first one first, at most `limit`; empty when there are none.
    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable>;

    /// Some appointments.
    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable>;

    /// The receipt of a key, unless it has expired by `now`.
    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable>;

    /// Which of at most 100 claims a live appointment holds.
    async fn taken(&self, country: CountryCode, claims: &[String]) -> Result<HashSet<String>, Unavailable>;

    /// Returns whether an event's notices, or the one notice with this id, have gone out.
    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable>;

    /// Records at `now` that they have. Doing so twice is no error.
    async fn mark_notified(&self, country: CountryCode, id: Uuid, now: Timestamp) -> Result<(), Unavailable>;

    /// Whether the ledger can store something now, and read something that it has stored.
    async fn ready(&self, country: CountryCode) -> Result<(), Unavailable>;
}

/// Failed attempts to publish an event. They are counted over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Number of attempts that failed.
    pub failed: u32,
    /// Time spent trying: while a process ran, from when it first saw the event to its last attempt. Adapters keep
    /// milliseconds.
    pub tried_for: Duration,
}

/// An event that waits in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The event.
    pub event: Event,
    /// The attempts to publish it so far.
    pub attempts: Attempts,
}

/// The outbox, where it has to be asked; a ledger with a stream of its own changes needs none.
///
/// An adapter MUST give an event again and again until it is removed, and the events of one appointment one at a time,
/// in the order of its revisions: a later one shows only when those before it are removed. What [`Outbox::postpone`]
/// recorded MUST survive a restart.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// The first event of each appointment that has any, the oldest first, at most `limit`.
    async fn pending(&self, country: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable>;

    /// Forgets events that have been published.
    async fn remove(&self, country: CountryCode, events: &[Uuid]) -> Result<(), Unavailable>;

    /// Records the attempts made so far on events that stay. An event that is not there is no error.
    async fn postpone(&self, country: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable>;

    /// Waits until the country's outbox has been given something since the last wait.
    async fn changed(&self, country: CountryCode);
}
