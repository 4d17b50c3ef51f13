//! Mail to an SMTP server. Keeps nothing and does not try again: the outbox does.

use async_trait::async_trait;
use citas_core::mailer::{Mail, MailError, Mailer};
use lettre::address::Envelope;
use lettre::transport::smtp;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

/// Hands each mail to one SMTP server, on a connection of its own.
#[derive(Clone, Debug)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// Why a text names no SMTP server.
#[derive(Debug, thiserror::Error)]
#[error(
    "an SMTP server is given as smtp://host:25, smtps://user:password@host or \
     smtp://user:password@host?tls=required: {0}"
)]
pub struct NotAServer(smtp::Error);

impl SmtpMailer {
    /// The server that `url` names: `smtps://` speaks TLS from the start, `smtp://…?tls=required` after STARTTLS,
    /// and `smtp://` alone never, which is for a server on the same machine. Does not connect yet.
    ///
    /// # Errors
    /// When the URL is not of that form.
    pub fn new(url: &str) -> Result<Self, NotAServer> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(NotAServer)?.build();
        Ok(Self { transport })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let envelope = envelope(mail)?;
        self.transport.send_raw(&envelope, &mail.message).await.map(|_| ()).map_err(|error| verdict(&error))
    }
}

fn envelope(mail: &Mail) -> Result<Envelope, MailError> {
    let refused = |error: lettre::address::AddressError| MailError::Refused(error.to_string());
    let from = mail.from.parse().map_err(refused)?;
    let to = mail.to.parse().map_err(refused)?;
    Envelope::new(Some(from), vec![to]).map_err(|error| MailError::Refused(error.to_string()))
}

/// What went wrong, without the server's own words: they repeat the patient's address.
fn said(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the SMTP server answers {code}"),
        None if error.is_timeout() => "the SMTP server does not answer in time".into(),
        None if error.is_tls() => "no TLS connection to the SMTP server".into(),
        None => "no conversation with the SMTP server: is it up, and named rightly?".into(),
    }
}

/// A 5yz reply is for good, but for 53z (RFC 4954): that is about our password, not about this mail.
fn verdict(error: &smtp::Error) -> MailError {
    let ours = error.status().is_some_and(|code| code.category == Category::Unspecified3);
    let text = said(error);
    if error.is_permanent() && !ours { MailError::Refused(text) } else { MailError::Unavailable(text) }
}
