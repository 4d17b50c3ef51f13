//! The use cases behind the outbox: publish events and send mail. Knows nothing of queues, topics or SMTP.

mod message;
pub mod notifier;
pub mod relay;
