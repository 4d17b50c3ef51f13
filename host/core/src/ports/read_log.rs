//! Port to the log of readings: who was shown data of which patients.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{CountryCode, Reading};

/// Error for a read log that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the read log of {country} cannot be used: {cause}")]
pub struct ReadLogUnavailable {
    /// Country of the readings.
    pub country: CountryCode,
    /// Cause, for the log.
    pub cause: String,
}

/// Filters of a search for readings. A reading must match every filter that is set, and at least one of `person` and `subject`
/// is.
#[derive(Clone, Debug)]
pub struct ReadQuery {
    /// Opaque id of a patient. Readings are returned without other patients.
    pub person: Option<Uuid>,
    /// Subject of the token that read.
    pub subject: Option<String>,
    /// Earliest time, included.
    pub from: Timestamp,
    /// Latest time, excluded.
    pub to: Timestamp,
    /// Position after which the page begins: the `next` of the page before.
    pub after: Option<String>,
    /// Maximum number of readings.
    pub limit: usize,
}

/// A page of readings, the latest first. It may be shorter than the query's limit although there are more.
#[derive(Clone, Debug, Default)]
pub struct ReadPage {
    /// The readings.
    pub readings: Vec<Reading>,
    /// Position of the next page, opaque to others than the adapter; `None` on the last page.
    pub next: Option<String>,
}

/// Keeps readings for a [year](crate::model::READINGS_KEPT), separately for each country.
///
/// An adapter MUST
/// - return `Ok` from [`ReadLog::record`] only if the reading is written, or will be unless the process or its machine fails
///   first; it may return before the reading is on disk;
/// - fail [`ReadLog::ready`] while readings that it has taken cannot be written, and write them when it can again;
/// - show a reading that it has taken to every search that starts afterwards;
/// - delete a reading after its time, and never change one.
#[async_trait]
pub trait ReadLog: Send + Sync {
    /// Takes a reading.
    async fn record(&self, country: CountryCode, reading: Reading) -> Result<(), ReadLogUnavailable>;

    /// Checks that the readings taken so far could be written.
    async fn ready(&self, country: CountryCode) -> Result<(), ReadLogUnavailable>;

    /// Returns a page of the readings that match the query. A position that is not one of this adapter is at the end.
    async fn readings(&self, country: CountryCode, query: &ReadQuery) -> Result<ReadPage, ReadLogUnavailable>;
}
