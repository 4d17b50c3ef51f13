//! Sends mail through SES, each message as it was composed: text, HTML and the invitation. Stores nothing and does not
//! retry failures later: the queue does.
//!
//! Bounces and complaints are not reported to this adapter. The configuration set's suppression list collects their
//! addresses: SES accepts a mail to such an address and does not send it.
//!
//! SES replaces our Message-ID with one of its own. So the mail's id is also sent as the message tag `mail`, which
//! SES's own events carry, and in the header `X-Citas-Mail`, which the recipient's copy carries. SES has no
//! idempotency: if its response is lost, a retry repeats the mail. To avoid repeats due to slowness, one attempt may
//! take the time of the whole operation.

use async_trait::async_trait;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::error::SdkError;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, MessageTag, RawMessage};
use citas_core::ports::{Mail, MailError, Mailer};

use crate::aws::failure::error_text;

/// Name of the message tag with the mail's id.
const TAG: &str = "mail";
/// Name of the header with the mail's id.
const HEADER: &str = "X-Citas-Mail";

/// A mailer that uses one configuration set.
#[derive(Clone, Debug)]
pub struct SesMailer {
    client: Client,
    configuration_set: String,
}

impl SesMailer {
    /// Creates a mailer that uses the configuration set of this name.
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

/// Replaces every character of an id that a tag's value may not contain with `_`.
fn plain(id: &str) -> String {
    id.chars().map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' }).collect()
}

/// Classifies an error. A refusal of this mail is permanent. All other errors concern the sender, the account, SES or
/// the network, and may pass.
fn verdict(error: &SdkError<SendEmailError>, from: &str) -> MailError {
    let text = error_text("SES", error);
    match error.as_service_error() {
        Some(SendEmailError::BadRequestException(_)) => MailError::Refused(text),
        Some(SendEmailError::MessageRejected(no)) if !is_about(no.message(), from) => MailError::Refused(text),
        _ => MailError::Unavailable(text),
    }
}

/// True if a rejection is about the sender. SES uses one code for an unverified sender and, for a new account, an
/// unverified recipient, and names them: `The following identities failed the check in region …: <addresses>`.
fn is_about(message: Option<&str>, from: &str) -> bool {
    let domain = from.rsplit_once('@').map_or(from, |(_, domain)| domain);
    let failed = message.and_then(|message| message.split_once("failed the check")).map_or("", |(_, names)| names);
    let mut names = failed.split([' ', ',', ':']).filter(|name| !name.is_empty());
    names.any(|name| name.eq_ignore_ascii_case(from) || name.eq_ignore_ascii_case(domain))
}
