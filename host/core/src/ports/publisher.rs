//! Port to the subscribers of events.

use async_trait::async_trait;

use crate::model::Event;

/// Error for an event that was not published. The caller must publish it again.
#[derive(Debug, thiserror::Error)]
#[error("the event was not taken: {0}")]
pub struct NotPublished(pub String);

/// Publishes events.
///
/// An adapter MUST return one result for each event, in the order given, and `Ok` only when the event is safe with the
/// subscriber. It may publish the events of one call in any order: the caller never puts two events of one appointment
/// into one call.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes each event at least once.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>>;
}
