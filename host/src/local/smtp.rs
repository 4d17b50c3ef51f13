//! Sends mail to an SMTP server. Stores nothing and does not retry: the outbox does both.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use citas_core::ports::{Mail, MailError, Mailer};
use lettre::address::Envelope;
use lettre::transport::smtp;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use url::Url;

/// Time limit for one mail. The five minutes that RFC 5321 allows for a single reply would hold up all mail behind it.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends each mail to one SMTP server, on a connection of its own.
#[derive(Clone, Debug)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    server: String,
    timeout: Duration,
}

/// Reason why a text names no SMTP server. The text itself is never printed, because it may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum NotAServer {
    /// The text is not a URL of that form.
    #[error(
        "an SMTP server is given as smtp://localhost:25, smtps://user:password@host or \
         smtp://user:password@host?tls=required: {0}"
    )]
    Malformed(String),
    /// Patients' data would cross the network unencrypted.
    #[error(
        "mail to {0} would cross the network unencrypted; add `?tls=required` to the URL, or begin it with `smtps://`"
    )]
    InTheClear(String),
}

impl SmtpMailer {
    /// Creates a mailer for the server that `url` names. `smtps://` uses TLS from the start, `smtp://…?tls=required`
    /// after STARTTLS, and `smtp://` alone never, which is for a server on the same machine. Does not connect yet.
    ///
    /// # Errors
    /// Returns an error if the URL has another form, or names a remote server without TLS.
    pub fn new(url: &str) -> Result<Self, NotAServer> {
        let malformed = |error: &dyn std::error::Error| NotAServer::Malformed(error.to_string());
        let parsed = Url::parse(url).map_err(|error| malformed(&error))?;
        let server = server(&parsed);
        if parsed.scheme() == "smtp" && !requires_tls(&parsed) && !is_here(&parsed) {
            return Err(NotAServer::InTheClear(server));
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| malformed(&error))?.build();
        Ok(Self { transport, server, timeout: SEND_TIMEOUT })
    }

    /// Returns the server's host and port, without user and password.
    pub fn server(&self) -> &str {
        &self.server
    }
}

fn server(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn requires_tls(url: &Url) -> bool {
    url.query_pairs().any(|(name, value)| name == "tls" && value == "required")
}

/// True if the host is this machine. Among names only `localhost` is certain to be (RFC 6761). The crate `url` does not
/// know the scheme, so it takes an IPv4 address for a name.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let envelope = envelope(mail)?;
        let sent = self.within(self.transport.send_raw(&envelope, &mail.message)).await?;
        let Err(error) = sent else { return Ok(()) };
        match verdict(&error) {
            // A server that refuses every client says nothing about this mail.
            MailError::Refused(text) if !self.greets().await => Err(MailError::Unavailable(text)),
            no => Err(no),
        }
    }
}

impl SmtpMailer {
    /// Applies the time limit to a conversation. The timeout of lettre covers only the start of the connection: a
    /// server that is silent after that would be waited for without end.
    async fn within<T>(&self, conversation: impl Future<Output = T>) -> Result<T, MailError> {
        let late = |_| MailError::Unavailable("the SMTP server does not answer in time".into());
        tokio::time::timeout(self.timeout, conversation).await.map_err(late)
    }

    async fn greets(&self) -> bool {
        matches!(self.within(self.transport.test_connection()).await, Ok(Ok(true)))
    }
}

fn envelope(mail: &Mail) -> Result<Envelope, MailError> {
    let refused = |error: lettre::address::AddressError| MailError::Refused(error.to_string());
    let from = mail.from.parse().map_err(refused)?;
    let to = mail.to.parse().map_err(refused)?;
    Envelope::new(Some(from), vec![to]).map_err(|error| MailError::Refused(error.to_string()))
}

/// Returns a description without the server's own words, which repeat the patient's address.
fn error_text(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the SMTP server answers {code}"),
        None if error.is_timeout() => "the SMTP server does not answer in time".into(),
        None if error.is_tls() => "no TLS connection to the SMTP server".into(),
        None => "no conversation with the SMTP server: is it up, and named rightly?".into(),
    }
}

/// Classifies an error. A 5yz reply is permanent, except 53z (RFC 4954), which is about the host's password and not
/// about this mail.
fn verdict(error: &smtp::Error) -> MailError {
    let ours = error.status().is_some_and(|code| code.category == Category::Unspecified3);
    let text = error_text(error);
    if error.is_permanent() && !ours { MailError::Refused(text) } else { MailError::Unavailable(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        let (from, to) = ("citas@example.org".into(), "ana@example.com".into());
        Mail { id: "1.0".into(), from, to, message: b"Subject: x\r\n\r\n".to_vec() }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut mailer = SmtpMailer::new(&format!("smtp://{}", silent.local_addr().unwrap())).unwrap();
        mailer.timeout = Duration::from_millis(50);
        assert!(matches!(mailer.send(&mail()).await, Err(MailError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_server_that_greets_nobody_refuses_no_mail_for_good() {
        use std::io::Write as _;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mailer = SmtpMailer::new(&format!("smtp://{}", closed.local_addr().unwrap())).unwrap();
        std::thread::spawn(move || {
            for client in closed.incoming() {
                client.unwrap().write_all(b"554 no SMTP service here\r\n").unwrap();
            }
        });
        assert!(matches!(mailer.send(&mail()).await, Err(MailError::Unavailable(_))));
    }

    #[test]
    fn only_a_server_on_this_machine_is_spoken_to_in_the_clear() {
        for url in ["smtp://mail.example.com", "smtp://10.0.0.1:25", "smtp://mail.example.com?tls=opportunistic"] {
            let refused = SmtpMailer::new(url).err().unwrap().to_string();
            assert!(refused.contains("?tls=required"), "{refused}");
        }
        for url in [
            "smtp://localhost:1025",
            "smtp://127.0.0.1:1025",
            "smtp://[::1]:1025",
            "smtp://mail.example.com?tls=required",
            "smtps://mail.example.com",
        ] {
            assert!(SmtpMailer::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn the_password_is_never_said() {
        let mailer = SmtpMailer::new("smtps://ana:geheim@mail.example.com:465").unwrap();
        assert_eq!(mailer.server(), "mail.example.com:465");
        assert!(!format!("{mailer:?}").contains("geheim"));
        for url in
            ["smtp://ana:geheim@mail.example.com", "smtps://ana:geheim@mail.example.com:99999", "imap://a:geheim@b"]
        {
            let refused = SmtpMailer::new(url).err().unwrap();
            assert!(!format!("{refused} {refused:?}").contains("geheim"), "{refused}");
        }
    }
}
