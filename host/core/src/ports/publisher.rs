//! The port to whoever listens to events.

use async_trait::async_trait;

use crate::model::event::Event;

/// An event was not taken; it is to be given again.
#[derive(Debug, thiserror::Error)]
#[error("the event was not taken: {0}")]
pub struct NotPublished(pub String);

/// Hands events on.
///
/// An adapter MUST answer for each event in the order given, and `Ok` only once the event is safe with the one who
/// listens. It may take the events of one call in any order: the caller never puts two of one appointment in it.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Hands them on, at least once each.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>>;
}
