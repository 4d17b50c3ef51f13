//! Mail through SES, each message as it was composed: text, HTML and the invitation. Keeps nothing and does not come back
//! to what failed: the queue does.
//!
//! Bounces and complaints do not come back here. The configuration set's suppression list takes them: SES accepts a mail
//! to an address that it holds, and does not send it.
//!
//! SES puts a Message-ID of its own in place of ours, so the mail's id goes along as the message tag `mail`, which SES's own
//! events carry, and in the header `X-Citas-Mail`, which the recipient's copy does. SES knows no idempotency: where its
//! answer is lost, trying again repeats the mail. So that slowness repeats none, one attempt may take all the time there is.

use async_trait::async_trait;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::error::SdkError;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, MessageTag, RawMessage};
use citas_core::ports::mailer::{Mail, MailError, Mailer};

use crate::aws::failure::error_text;

/// The message tag with the mail's id, and the header with it.
const TAG: &str = "mail";
const HEADER: &str = "X-Citas-Mail";

/// Sends under one configuration set.
#[derive(Clone, Debug)]
pub struct SesMailer {
    client: Client,
    configuration_set: String,
}

impl SesMailer {
    /// Sends under the configuration set of this name.
    #[must_use]
    pub fn new(client: Client, configuration_set: impl Into<String>) -> Self {
        Self { client, configuration_set: configuration_set.into() }
    }

    fn patience(&self) -> TimeoutConfig {
        let whole = self.client.config().timeout_config().and_then(TimeoutConfig::operation_timeout);
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_operation_timeout(whole).set_operation_attempt_timeout(whole);
        timeouts.build()
    }
}

#[async_trait]
impl Mailer for SesMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let id = plain(&mail.id);
        let message = [format!("{HEADER}: {id}\r\n").as_bytes(), &mail.message].concat();
        let raw = RawMessage::builder().data(Blob::new(message)).build().expect("it has data");
        let tag = MessageTag::builder().name(TAG).value(id).build().expect("it has a name and a value");
        let request = self
            .client
            .send_email()
            .from_email_address(&mail.from)
            .destination(Destination::builder().to_addresses(&mail.to).build())
            .content(EmailContent::builder().raw(raw).build())
            .configuration_set_name(&self.configuration_set)
            .email_tags(tag);
        let patient = aws_sdk_sesv2::Config::builder().timeout_config(self.patience());
        let sent = request.customize().config_override(patient).send().await;
        sent.map(|_| ()).map_err(|error| verdict(&error, &mail.from))
    }
}

/// What a tag's value may hold; everything else of an id is `_`.
fn plain(id: &str) -> String {
    id.chars().map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' }).collect()
}

/// What is about this mail is for good. Everything else is about us, our account, SES or the network, and may pass.
fn verdict(error: &SdkError<SendEmailError>, from: &str) -> MailError {
    let text = error_text("SES", error);
    match error.as_service_error() {
        Some(SendEmailError::BadRequestException(_)) => MailError::Refused(text),
        Some(SendEmailError::MessageRejected(no)) if !is_about(no.message(), from) => MailError::Refused(text),
        _ => MailError::Unavailable(text),
    }
}

/// Whether a rejection is about the sender. SES refuses both a sender and, for a new account, a recipient that nobody has
/// verified with the same code, and names them: `The following identities failed the check in region …: <addresses>`.
fn is_about(message: Option<&str>, from: &str) -> bool {
    let domain = from.rsplit_once('@').map_or(from, |(_, domain)| domain);
    let failed = message.and_then(|message| message.split_once("failed the check")).map_or("", |(_, names)| names);
    let mut names = failed.split([' ', ',', ':']).filter(|name| !name.is_empty());
    names.any(|name| name.eq_ignore_ascii_case(from) || name.eq_ignore_ascii_case(domain))
}
