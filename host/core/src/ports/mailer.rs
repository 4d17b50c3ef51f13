//! Port to the mail system.

use async_trait::async_trait;

/// One complete message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Left part of the Message-ID. It is the same each time the same notice is sent.
    pub id: String,
    /// Sender of the envelope.
    pub from: String,
    /// Recipient of the envelope.
    pub to: String,
    /// Message in the format of RFC 5322 and MIME.
    pub message: Vec<u8>,
}

/// Reasons for which a mail is not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail is refused permanently: the address is wrong or refuses mail.
    #[error("the mail is refused for good: {0}")]
    Refused(String),
    /// The mail cannot be sent now. A later attempt may succeed.
    #[error("the mail cannot go out now: {0}")]
    Unavailable(String),
}

/// Sends mail.
///
/// An adapter MUST return `Ok` only when the message is safe with the next hop or on disk. It MUST distinguish a
/// permanent refusal from a temporary one.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one message.
    ///
    /// # Errors
    /// Returns a [`MailError`] if the message is not sent.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}
