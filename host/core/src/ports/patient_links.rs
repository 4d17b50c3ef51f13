//! Port to the store of patient links. Every adapter of the ledger is one, because they are in the country's own store.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ledger::Unavailable;
use crate::model::{CountryCode, PatientLink};

/// The links of one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountLinks {
    /// Latest revisions of the links that are requested or active, in the order of the patients' opaque ids.
    pub links: Vec<PatientLink>,
    /// Number of revisions of the account's links that were ever stored.
    pub changes: u32,
}

/// A revision of a link to be stored, and what it depends on.
#[derive(Clone, Debug)]
pub struct PatientLinkChange {
    /// The revision.
    pub revision: PatientLink,
    /// Latest revision of the link; `None` if there is none.
    pub before: Option<PatientLink>,
    /// Number of changes of the account that the decision has seen, in [`AccountLinks::changes`].
    pub changes: u32,
}

/// Reasons for which a revision of a link is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PatientLinkError {
    /// A link of the account has changed since it was read.
    #[error("the account's links have changed since")]
    Stale,
    /// The ledger is not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Position in the list of requests, the oldest of which come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestPosition {
    /// Time of the request.
    pub at: Timestamp,
    /// Opaque id of the patient.
    pub person: Uuid,
    /// Subject of the account.
    pub subject: String,
}

impl RequestPosition {
    /// Returns the position of a requested link.
    pub fn of(link: &PatientLink) -> Self {
        Self { at: link.updated_at, person: link.person, subject: link.subject.clone() }
    }
}

/// Stores the links of accounts to patients, separately for each country.
///
/// An adapter MUST
/// - store a revision only if no link of the account has changed since `changes`, and the link's latest revision is the one
///   before it; and return `Ok` only when it survives the loss of the process;
/// - show a stored revision to every read that starts after its acknowledgement;
/// - keep each revision for ever, as it was written, and its personal part separately, so that erasing a person deletes the
///   personal parts of the links to that person. A link without its personal part is read with `None`.
#[async_trait]
pub trait PatientLinks: Send + Sync {
    /// Stores a revision of a link. The request's time limit MUST NOT apply, as in [`Ledger::commit`](super::Ledger::commit).
    async fn put_patient_link(&self, change: PatientLinkChange) -> Result<(), PatientLinkError>;

    /// Returns the links of an account. MUST be one read, whatever there is: patients' requests begin with it.
    async fn account_links(&self, country: CountryCode, subject: &str) -> Result<AccountLinks, Unavailable>;

    /// Returns the latest revision of an account's link to a patient.
    async fn patient_link(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
    ) -> Result<Option<PatientLink>, Unavailable>;

    /// Returns the latest revisions of at most `limit` links to a patient, in any state. They are in an order of the
    /// adapter's, in which they come after the subject `after`. Fewer than `limit` are the last ones.
    async fn person_links(
        &self,
        country: CountryCode,
        person: Uuid,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable>;

    /// Returns at most `limit` revisions of a link after the number `after`, the oldest first; empty if there are none.
    async fn patient_link_history(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable>;

    /// Returns at most `limit` links that are requested, after a position, the oldest request first, and those of one instant
    /// and patient in an order of the adapter's. One that is answered meanwhile may be among them.
    async fn requested_links(
        &self,
        country: CountryCode,
        after: Option<&RequestPosition>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable>;
}
