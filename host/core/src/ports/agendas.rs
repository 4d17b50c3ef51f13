//! Port to the store of agendas. Every adapter of the ledger is one, because a booking depends on an agenda in its
//! transaction.

use async_trait::async_trait;

use super::ledger::Unavailable;
use crate::model::{AgendaRevision, CountryCode};

/// Requires that the agenda of a doctor is at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaCondition {
    /// Key of the doctor.
    pub doctor: String,
    /// Number of the revision; 0 if the doctor has no agenda.
    pub revision: u32,
}

/// Reasons for which a revision of an agenda is not stored.
#[derive(Debug, thiserror::Error)]
pub enum AgendaError {
    /// The agenda has changed since it was read.
    #[error("the agenda has changed since")]
    Stale,
    /// The ledger is not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Stores the agendas of doctors, separately for each country.
///
/// An adapter MUST
/// - store a revision only if the doctor's latest is the one before it, and return `Ok` only when it survives the loss of the
///   process;
/// - show a stored revision to every read that starts after its acknowledgement;
/// - keep each revision for ever, as it was written.
#[async_trait]
pub trait Agendas: Send + Sync {
    /// Stores a revision. Revision 1 is stored only if the doctor has no agenda.
    async fn put_agenda(&self, revision: AgendaRevision) -> Result<(), AgendaError>;

    /// Returns the latest revision of a doctor's agenda.
    async fn agenda(&self, country: CountryCode, doctor: &str) -> Result<Option<AgendaRevision>, Unavailable>;

    /// Returns at most `limit` revisions after the number `after`, the oldest first; empty if there are none.
    async fn agenda_history(
        &self,
        country: CountryCode,
        doctor: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable>;

    /// Returns the latest revisions of at most `limit` doctors whose keys come after `after`, in the order of the keys'
    /// bytes. Fewer than `limit` are the last ones.
    async fn agendas(
        &self,
        country: CountryCode,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable>;

    /// Returns a number that changes with each revision of an agenda of the country.
    async fn agenda_stamp(&self, country: CountryCode) -> Result<u64, Unavailable>;
}
