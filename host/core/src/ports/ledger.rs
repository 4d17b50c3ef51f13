//! Port to the store of appointments.
//!
//! One contract suite checks every adapter. A claim is a key with one holder, and a change is one transaction.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{CountryCode, Event, Phase, Revision};

/// Outcome of the request that used an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Digest of the caller, the country, the target and the key.
    pub key: String,
    /// Digest of the request that carried the key.
    pub fingerprint: String,
    /// Appointment that the request created or changed.
    pub appointment: Uuid,
    /// Revision that the request created.
    pub revision: u32,
    /// Time from which the key counts as unused.
    pub expires_at: Timestamp,
}

/// A change of one appointment. It is stored completely or not at all.
#[derive(Clone, Debug)]
pub struct Change {
    /// New revision. It is stored only if the appointment's latest revision is the one before it; revision 1 only if
    /// the appointment does not exist.
    pub revision: Revision,
    /// Claims to acquire, each named once. The appointment does not hold them yet.
    pub take: Vec<String>,
    /// Claims to release. The appointment holds them.
    pub release: Vec<String>,
    /// Receipt to store. The change is stored only if every receipt with this key has expired by the revision's
    /// `updated_at`.
    pub receipt: Option<Receipt>,
    /// Events for the outbox.
    pub events: Vec<Event>,
}

/// Reasons for which a change is not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another live appointment holds this claim.
    #[error("the claim `{0}` is taken")]
    ClaimTaken(String),
    /// The appointment has changed since it was read.
    #[error("the appointment has changed since")]
    Stale,
    /// An unexpired receipt with the same key exists.
    #[error("the idempotency key is used")]
    KeyUsed,
    /// The ledger is not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Error for a ledger that does not respond. As far as the adapter could find out, the change was not stored.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of {country} does not answer: {cause}")]
pub struct Unavailable {
    /// Country of the ledger.
    pub country: CountryCode,
    /// Cause, for the log.
    pub cause: String,
}

/// Position in a list: the key of the last item of a page. Positions sort by the start, and those without one last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Start of the item. An item without a start sorts last.
    pub starts_at: Option<Timestamp>,
    /// Id of the item.
    pub id: Uuid,
}

/// Order of a list by the position of its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The earliest start first.
    #[default]
    Ascending,
    /// The latest start first, after the appointments without a start.
    Descending,
}

/// Filters and order of a list. An appointment must match every filter that is set.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Subject of the token that booked the appointment.
    pub owner: Option<String>,
    /// The country's key for the patient.
    pub patient: Option<String>,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// Earliest start, included. Appointments without a start do not match.
    pub from: Option<Timestamp>,
    /// Latest start, excluded. Appointments without a start do not match.
    pub to: Option<Timestamp>,
    /// Day of the start, by the clocks of the appointment's own zone. Appointments without a start do not match. The
    /// caller narrows `from` and `to` to the day, so that an adapter reads little more than its appointments.
    pub date: Option<Date>,
    /// Phases of which the appointment has one; any phase if there are none.
    pub phases: Vec<Phase>,
    /// Order of the items.
    pub order: Order,
    /// Position after which the page begins. Its item need not exist any more.
    pub after: Option<Position>,
    /// Maximum number of items.
    pub limit: usize,
}

impl Position {
    /// Returns the position of an appointment in a list.
    pub fn of(revision: &Revision) -> Self {
        Self { starts_at: revision.starts_at, id: revision.appointment.id }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |position: &Self| (position.starts_at.is_none(), position.starts_at, position.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Query {
    /// Returns the filters by one key that are set, each with its name, the most selective first.
    pub fn given(&self) -> Vec<(&'static str, &str)> {
        let filters = [
            ("owner", self.owner.as_deref()),
            ("patient", self.patient.as_deref()),
            ("doctor", self.doctor.as_deref()),
            ("hospital", self.hospital.as_deref()),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A page of appointments, in the order of the query.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Latest revision of each appointment.
    pub items: Vec<Revision>,
    /// Position after which the next page begins; `None` on the last page.
    pub next: Option<Position>,
}

/// Stores the appointments of every country, separately for each country.
///
/// An adapter MUST
/// - store a [`Change`] completely or not at all, check every condition in the same transaction, and return `Ok` only
///   when the change survives the loss of the process;
/// - report the first of [`CommitError::KeyUsed`], [`CommitError::Stale`] and [`CommitError::ClaimTaken`] if several
///   conditions fail;
/// - show a stored change to every read that starts after its acknowledgement; only a page may be some seconds behind,
///   if it comes from an index that is;
/// - keep each revision for ever, as it was written.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores a change. The request's [time limit](crate::ports::deadline) MUST NOT apply from the moment when the
    /// change may be stored.
    async fn commit(&self, change: Change) -> Result<(), CommitError>;

    /// Returns the latest revision of an appointment.
    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable>;

    /// Returns one revision of an appointment, as it was written.
    async fn revision(&self, country: CountryCode, id: Uuid, revision: u32) -> Result<Option<Revision>, Unavailable>;

    /// Returns at most `limit` revisions after the number `after`, the oldest first; empty if there are none.
    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable>;

    /// Returns a page of the appointments that match the query.
    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable>;

    /// Returns the receipt of a key, unless it has expired by `now`.
    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable>;

    /// Returns the claims that live appointments hold, out of at most 100 claims, each with the appointment that holds it.
    async fn taken(&self, country: CountryCode, claims: &[String]) -> Result<HashMap<String, Uuid>, Unavailable>;

    /// Returns true if the notices of the event with this id, or the one notice with this id, were sent.
    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable>;

    /// Records at `now` that the notices of an event, or one notice, were sent. A second record is not an error.
    async fn mark_notified(&self, country: CountryCode, id: Uuid, now: Timestamp) -> Result<(), Unavailable>;

    /// Checks that the ledger can store something now, and can read something that it has stored.
    async fn ready(&self, country: CountryCode) -> Result<(), Unavailable>;
}

/// Failed attempts to publish an event, counted across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Number of failed attempts.
    pub failed: u32,
    /// Time spent on attempts: from the moment when a process first saw the event to its last attempt, added up over
    /// all processes. Adapters keep milliseconds.
    pub tried_for: Duration,
}

/// An event that waits in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Event to publish.
    pub event: Event,
    /// Attempts to publish the event so far.
    pub attempts: Attempts,
}

/// Reads and removes the events of an outbox that must be polled. A ledger with a stream of its own changes needs no
/// such adapter.
///
/// An adapter MUST return an event again and again until it is removed. It MUST return the events of one appointment
/// one at a time, in the order of its revisions: a later event appears only when the earlier ones are removed. The
/// attempts that [`Outbox::postpone`] records MUST survive a restart.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Returns the first event of each appointment that has any, the oldest first, at most `limit`.
    async fn pending(&self, country: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable>;

    /// Removes events that were published or given up.
    async fn remove(&self, country: CountryCode, events: &[Uuid]) -> Result<(), Unavailable>;

    /// Records the attempts made so far on events that stay. An event that does not exist is not an error.
    async fn postpone(&self, country: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable>;

    /// Waits until the country's outbox has received an event since the last wait.
    async fn changed(&self, country: CountryCode);
}
