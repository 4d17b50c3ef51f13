//! The port to the mail.

use async_trait::async_trait;

/// One message, ready to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The same for the same notice, however often it is sent: the left part of its Message-ID.
    pub id: String,
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipient.
    pub to: String,
    /// The message (RFC 5322, MIME).
    pub message: Vec<u8>,
}

/// Why a mail did not go out.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// It never will: the address is wrong, or refuses mail.
    #[error("the mail is refused for good: {0}")]
    Refused(String),
    /// It may later.
    #[error("the mail cannot go out now: {0}")]
    Unavailable(String),
}

/// Sends mail.
///
/// An adapter MUST answer `Ok` only once the message is safe with the next hop or on disk, and tell a refusal for good
/// from a passing one.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one message.
    ///
    /// # Errors
    /// See [`MailError`].
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}
