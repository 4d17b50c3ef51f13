//! Composes a notice as a mail (RFC 5322, MIME), with a calendar invitation if the rules request one. Sends nothing.
//!
//! The text and the HTML come from the notice, in which [`links`](super::links) are made: the look of a mail is in the country's rules, for example
//! `countries/pe/src/notices.rs`.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

use crate::model::{CalendarTexts, Event, Notice, Revision};
use crate::notify::invitation::{Invitation, invitation};
use crate::notify::links::LinkedNotice;
use crate::ports::{Mail, MailError};

/// Addresses of the platform in every mail.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Sender of the mail, and organizer of its invitation.
    pub from: Mailbox,
    /// Recipient of replies, if it is not the sender.
    pub reply_to: Option<Mailbox>,
}

/// Composes the mail for the `index`th notice of an event.
///
/// # Errors
/// Returns an error if no mail can be composed, for example because the address is invalid.
pub(crate) fn compose(
    event: &Event,
    revision: &Revision,
    linked: &LinkedNotice,
    index: usize,
    sender: &Sender,
    texts: &CalendarTexts,
) -> Result<Mail, MailError> {
    let (Sender { from, reply_to }, LinkedNotice { notice, description }) = (sender, linked);
    let to: Mailbox = notice.to.parse().map_err(|cause| MailError::Refused(format!("not a mail address: {cause}")))?;
    let id = format!("{}.{index}", event.id);
    let recipient = to.email.to_string();
    let invitation =
        notice.invite.then(|| invitation(revision, &notice.subject, description, texts, from, &to)).flatten();
    let mut message = Message::builder()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(event.time.as_second().unsigned_abs()))
        .from(from.clone())
        .to(to)
        .subject(&notice.subject)
        .raw_header(header("Content-Language", &notice.locale))
        // No program answers it, for example with an out-of-office reply (RFC 3834, section 5).
        .raw_header(header("Auto-Submitted", "auto-generated"));
    if let Some(reply_to) = reply_to {
        message = message.reply_to(reply_to.clone());
    }
    let message = message.multipart(body(notice, invitation)).map_err(|cause| MailError::Refused(cause.to_string()))?;
    Ok(Mail { id, from: from.email.to_string(), to: recipient, message: message.formatted() })
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Returns the text, the HTML and the invitation as alternatives of one another, as calendar programs expect. Programs
/// that read no alternatives find the invitation as a file too.
fn body(notice: &Notice, invitation: Option<Invitation>) -> MultiPart {
    let mut readings = MultiPart::alternative().singlepart(SinglePart::plain(notice.text.clone()));
    if let Some(html) = &notice.html {
        readings = readings.singlepart(SinglePart::html(html.clone()));
    }
    let Some(Invitation { method, calendar }) = invitation else { return readings };
    let content = |kind: &str| ContentType::parse(kind).expect("a constant and one of two methods");
    let inline = content(&format!("text/calendar; charset=utf-8; method={method}"));
    let readings = readings.singlepart(SinglePart::builder().header(inline).body(calendar.clone()));
    let file = Attachment::new("invite.ics".into()).body(calendar, content("application/ics"));
    MultiPart::mixed().multipart(readings).singlepart(file)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::Phase;
    use crate::testing::{notice, revision};

    fn sender() -> Sender {
        Sender {
            from: "Citas <citas@example.org>".parse().unwrap(),
            reply_to: Some("Ayuda <help@example.org>".parse().unwrap()),
        }
    }

    fn composed(phase: Phase, number: u32, notice: &Notice) -> Result<String, MailError> {
        let mut revision = revision(Uuid::from_u128(9));
        revision.appointment.phase = phase;
        revision.appointment.revision = number;
        let event = Event::new(Uuid::from_u128(1), "booked", &revision);
        let linked = LinkedNotice { notice: notice.clone(), description: notice.text.clone() };
        compose(&event, &revision, &linked, 0, &sender(), &CalendarTexts::default())
            .map(|mail| String::from_utf8(mail.message).unwrap())
    }

    #[test]
    fn a_mail_has_text_html_and_the_invitation() {
        let mail = composed(Phase::Booked, 1, &notice()).unwrap();
        for part in [
            "text/plain",
            "text/html",
            "method=REQUEST",
            "invite.ics",
            "Content-Language: es-PE\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "From: Citas <citas@example.org>\r\n",
            "Reply-To: Ayuda <help@example.org>\r\n",
            "Message-ID: <00000000-0000-0000-0000-000000000001.0@example.org>",
        ] {
            assert!(mail.contains(part), "{part} in {mail}");
        }
    }

    #[test]
    fn replies_go_to_the_sender_unless_another_address_is_named() {
        let revision = revision(Uuid::from_u128(9));
        let event = Event::new(Uuid::from_u128(1), "booked", &revision);
        let linked = LinkedNotice { notice: notice(), description: String::new() };
        let sender = Sender { reply_to: None, ..sender() };
        let mail = compose(&event, &revision, &linked, 0, &sender, &CalendarTexts::default());
        assert!(!String::from_utf8(mail.unwrap().message).unwrap().contains("Reply-To"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_for_good_and_smuggles_no_header() {
        for to in ["nobody", "a@b.c\r\nBcc: x@y.z", ""] {
            let refused = composed(Phase::Booked, 1, &Notice { to: to.into(), ..notice() });
            assert!(matches!(refused, Err(MailError::Refused(_))), "{to:?}");
        }
        let mail = composed(Phase::Booked, 1, &Notice { subject: "a\r\nBcc: x@y.z".into(), ..notice() }).unwrap();
        assert!(!mail.contains("\nBcc:"), "{mail}");
    }
}
