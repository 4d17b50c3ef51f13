//! The use cases behind the outbox: publish events and send mail. Knows nothing of queues, topics or SMTP.

mod invitation;
mod links;
mod message;
mod notifier;
mod relay;

pub use self::links::Links;
pub use self::message::Sender;
pub use self::notifier::{Notifier, NotifyError};
pub use self::relay::{Relay, Stop};
