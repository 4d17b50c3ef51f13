//! Publishes events directly to the notifier. On one machine nobody else listens, and the outbox keeps events safe.
//! Stores nothing.

use std::sync::Arc;

use citas_core::model::Event;
use citas_core::notify::Notifier;
use citas_core::ports::{NotPublished, Publisher};
use futures::future::join_all;

/// Publishes events within the process.
pub struct InProcessPublisher {
    notifier: Arc<Notifier>,
}

impl InProcessPublisher {
    /// Creates a publisher to this notifier.
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
    /// Publishes all events concurrently. The relay bounds the size of a batch, and no event starts late while the
    /// relay stops.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
        join_all(events.iter().map(|event| self.tell(event))).await
    }
}
