//! Port to the store of privacy requests. Every adapter of the ledger is one.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::ledger::Unavailable;
use crate::model::{CountryCode, PrivacyRequest, PrivacyState};

/// Reasons for which a revision of a privacy request is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// The request has changed since it was read.
    #[error("the privacy request has changed since")]
    Stale,
    /// The ledger is not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Filters of a list. A request must match every filter that is set.
#[derive(Clone, Debug, Default)]
pub struct PrivacyQuery {
    /// State of the request; any state if it is absent.
    pub state: Option<PrivacyState>,
    /// Opaque id of the patient.
    pub person: Option<Uuid>,
    /// Subject of the token that filed the request.
    pub owner: Option<String>,
    /// Latest time of the answer, excluded.
    pub due_before: Option<Timestamp>,
    /// Position after which the page begins.
    pub after: Option<(Timestamp, Uuid)>,
    /// Maximum number of requests.
    pub limit: usize,
}

impl PrivacyQuery {
    /// Returns true if a request matches the filters and comes after the position.
    pub fn matches(&self, request: &PrivacyRequest) -> bool {
        self.state.is_none_or(|state| request.state() == state)
            && self.person.is_none_or(|person| request.person == person)
            && self.owner.as_ref().is_none_or(|owner| request.owner.as_ref() == Some(owner))
            && self.due_before.is_none_or(|before| request.due_at < before)
            && self.after.is_none_or(|after| request.position() > after)
    }
}

/// Stores privacy requests, separately for each country.
///
/// An adapter MUST
/// - store a revision only if the latest is the one before it, revision 1 only if there is none, and return `Ok` only when it
///   survives the loss of the process;
/// - show a stored revision to every read that starts after its acknowledgement;
/// - keep the texts in a row of their own under the person's opaque id, and return a request without them once that row is gone.
#[async_trait]
pub trait PrivacyRequests: Send + Sync {
    /// Stores a revision in place of the one before.
    async fn put_privacy_request(&self, request: PrivacyRequest) -> Result<(), PrivacyError>;

    /// Returns the latest revision of a request.
    async fn privacy_request(&self, country: CountryCode, id: Uuid) -> Result<Option<PrivacyRequest>, Unavailable>;

    /// Returns the first requests that match, by the time of the answer and then by id. Fewer than the limit are the last ones.
    async fn privacy_requests(
        &self,
        country: CountryCode,
        query: &PrivacyQuery,
    ) -> Result<Vec<PrivacyRequest>, Unavailable>;
}
