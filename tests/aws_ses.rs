//! Mail through SES: the requests that Citas sends and the meaning of SES's answers.

use aws_config::SdkConfig;
use aws_sdk_sesv2::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use citas::aws::ses::SesMailer;
use citas_core::ports::{Mail, MailError, Mailer as _};
use mailparse::MailHeaderMap as _;
use serde_json::{Value, json};

use crate::support::faults::{Fault, Faults};
use crate::support::host::Host;
use crate::support::mail::Letter;
use crate::support::ministack::{aws, unique};
use crate::support::requests::pe;

const SENDER: &str = "citas@example.org";

pub fn mail(to: &str) -> Mail {
    let message = format!("From: {SENDER}\r\nTo: {to}\r\nSubject: Cita\r\n\r\nLe esperamos.\r\n");
    Mail { id: "0193-ab.0".into(), from: SENDER.into(), to: to.into(), message: message.into_bytes() }
}

pub fn mailer(config: &SdkConfig) -> SesMailer {
    SesMailer::new(Client::new(config), "citas-mail")
}

/// Verifies the sender and this recipient with SES.
pub async fn verified(config: &SdkConfig, recipient: &str) {
    let client = Client::new(config);
    for identity in [SENDER, recipient] {
        // Another test may have verified the sender already.
        let _ = client.create_email_identity().email_identity(identity).send().await;
    }
}

#[test]
fn text_html_and_invitation_go_out_as_they_were_composed() {
    let host = Host::of(&["pe"]);
    host.patient("ana").booked("pe", &pe(7));
    let spooled = host.spool().wait_for(1).remove(0);
    let file = std::fs::read_dir(host.data().join("mail")).unwrap().next().unwrap().unwrap().path();
    let (id, message) = (file.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&file).unwrap());
    let mail = Mail { id: id.clone(), from: SENDER.into(), to: spooled.to.clone(), message };

    let (sender, asked) = std::sync::mpsc::channel::<Value>();
    let faults = Faults::when(move |_, request| {
        sender.send(serde_json::from_slice(request.body().bytes().unwrap()).unwrap()).unwrap();
        Some(Fault::Answer(200, r#"{ "MessageId": "1" }"#.into()))
    });
    host.block_on(async {
        let config = faults.over(&aws().load().await);
        mailer(&config).send(&mail).await.unwrap();
    });
    let mut asked = asked.recv().unwrap();
    let raw = asked["Content"]["Raw"]["Data"].take();
    let tag = id.replace('.', "_");
    let expected = json!({
        "FromEmailAddress": SENDER,
        "Destination": { "ToAddresses": ["patient7@example.com"] },
        "Content": { "Raw": { "Data": null } },
        "ConfigurationSetName": "citas-mail",
        "EmailTags": [{ "Name": "mail", "Value": tag }],
    });
    assert_eq!(asked, expected);

    let raw = STANDARD.decode(raw.as_str().unwrap()).unwrap();
    let sent = Letter::read(&raw);
    assert_eq!(format!("{sent:?}"), format!("{spooled:?}"));
    assert!(!sent.text.is_empty() && !sent.html.is_empty() && sent.method == "REQUEST", "{sent:?}");
    assert_eq!(sent.attachment, sent.calendar);
    let headers = mailparse::parse_mail(&raw).unwrap().headers.get_all_values("X-Citas-Mail");
    assert_eq!(headers, [tag]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_arrives() {
    let config = aws().load().await;
    let recipient = format!("{}@example.com", unique("ana"));
    verified(&config, &recipient).await;
    mailer(&config).send(&mail(&recipient)).await.unwrap();
    assert_eq!(received(&config, &recipient).len(), 1);
}

/// Returns the mails that SES sent to an address.
pub fn received(config: &SdkConfig, recipient: &str) -> Vec<Value> {
    let messages = format!("{}/_ministack/ses/messages", config.endpoint_url().unwrap());
    let answer: Value = ureq::get(messages).call().unwrap().body_mut().read_json().unwrap();
    let accounts = answer["messages"].as_object().unwrap();
    accounts
        .values()
        .flat_map(|messages| messages.as_array().unwrap())
        .filter(|message| message["To"][0] == recipient)
        .cloned()
        .collect()
}

/// Sends a mail that SES refuses with this status, code and message. Returns the error.
async fn refused(status: u16, code: &str, message: &str) -> MailError {
    let body = json!({ "__type": code, "message": message }).to_string();
    let faults = Faults::from(0, Fault::Answer(status, body));
    let config = faults.over(&aws().load().await);
    mailer(&config).send(&mail("ana@example.com")).await.unwrap_err()
}

#[tokio::test]
async fn what_is_about_the_mail_is_for_good_and_all_else_may_pass() {
    const UNVERIFIED: &str =
        "Email address is not verified. The following identities failed the check in region US-EAST-1: ";
    let rejected = |names: &str| format!("{UNVERIFIED}{names}");
    for (status, code, message, for_good) in [
        (400, "BadRequestException", "Local address contains control or whitespace".into(), true),
        (400, "MessageRejected", "Transaction failed: address contains an illegal character".into(), true),
        (400, "MessageRejected", rejected("ana@example.com"), true),
        (400, "MessageRejected", rejected("citas@example.org"), false),
        (400, "MessageRejected", rejected("example.org, ana@example.com"), false),
        (400, "MailFromDomainNotVerifiedException", String::new(), false),
        (400, "SendingPausedException", String::new(), false),
        (400, "AccountSuspendedException", String::new(), false),
        (400, "LimitExceededException", String::new(), false),
        (404, "NotFoundException", "Configuration set <citas-mail> does not exist.".into(), false),
        (403, "AccessDeniedException", String::new(), false),
        (403, "ExpiredTokenException", String::new(), false),
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.".into(), false),
        (500, "InternalFailure", String::new(), false),
    ] {
        let error = refused(status, code, &message).await;
        assert_eq!(matches!(error, MailError::Refused(_)), for_good, "{code} {message}: {error}");
        let text = error.to_string();
        assert!(text.contains(code) && !text.contains('@'), "{text}");
    }
}
