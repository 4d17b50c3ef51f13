//! The use cases behind the outbox: events are published and people are mailed. Knows nothing of queues, topics or SMTP.

mod message;
pub mod notifier;
pub mod relay;
