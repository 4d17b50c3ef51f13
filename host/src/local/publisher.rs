//! Events go straight to the notifier: on one machine nobody else listens, and the outbox is what keeps them safe.

use std::sync::Arc;

use citas_core::event::Event;
use citas_core::notifier::Notifier;
use citas_core::publisher::{NotPublished, Publisher};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};

/// How many events are told of at once.
const AT_ONCE: usize = 32;

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
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
        let told: Vec<BoxFuture<'_, _>> = events.iter().map(|event| self.tell(event).boxed()).collect();
        stream::iter(told).buffered(AT_ONCE).collect().await
    }
}
