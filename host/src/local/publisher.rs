//! Events go straight to the notifier: on one machine nobody else listens, and the outbox is what keeps them safe.

use std::sync::Arc;

use citas_core::model::event::Event;
use citas_core::notify::notifier::Notifier;
use citas_core::ports::publisher::{NotPublished, Publisher};
use futures::future::join_all;

/// Publishes within the process.
pub struct InProcessPublisher {
    notifier: Arc<Notifier>,
}

impl InProcessPublisher {
    /// Publishes to this notifier.
    #[must_use]
    pub fn new(notifier: Arc<Notifier>) -> Self {
        Self { notifier }
    }
}

impl InProcessPublisher {
    async fn tell(&self, event: &Event) -> Result<(), NotPublished> {
        self.notifier.notify(event).await.map_err(|error| NotPublished(error.to_string()))
    }
}

#[async_trait::async_trait]
impl Publisher for InProcessPublisher {
    /// Begins all of them at once: the relay bounds a batch, and none begins late when it is told to stop.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
        join_all(events.iter().map(|event| self.tell(event))).await
    }
}
