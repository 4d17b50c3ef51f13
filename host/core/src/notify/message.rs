//! Composes a notice as a mail (RFC 5322, MIME), with a calendar invitation (RFC 5545, RFC 5546) if the rules request
//! one. Sends nothing.
//!
//! The text and the HTML come from the notice unchanged: the look of a mail is in the country's rules, for example
//! `countries/pe/src/notices.rs`.

use std::time::{Duration, SystemTime};

use icalendar::{Calendar, Component};
use jiff::{SignedDuration, Timestamp};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use crate::model::{Event, Notice, Revision};
use crate::ports::{Mail, MailError};

/// Composes the mail for the `index`th notice of an event.
///
/// # Errors
/// Returns an error if no mail can be composed, for example because the address is invalid.
pub(crate) fn compose(event: &Event, notice: &Notice, index: usize, from: &Mailbox) -> Result<Mail, MailError> {
    let to: Mailbox = notice.to.parse().map_err(|cause| MailError::Refused(format!("not a mail address: {cause}")))?;
    let id = format!("{}.{index}", event.id);
    let language = HeaderValue::new(HeaderName::new_from_ascii_str("Content-Language"), notice.locale.clone());
    let (sender, recipient) = (from.email.to_string(), to.email.to_string());
    let body = body(&event.data, notice, &from.email, &to.email);
    let message = Message::builder()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(event.time.as_second().unsigned_abs()))
        .from(from.clone())
        .to(to)
        .subject(&notice.subject)
        .raw_header(language)
        .multipart(body)
        .map_err(|cause| MailError::Refused(cause.to_string()))?;
    Ok(Mail { id, from: sender, to: recipient, message: message.formatted() })
}

/// Returns the text, the HTML and the invitation as alternatives of one another, as calendar programs expect. Programs
/// that read no alternatives find the invitation as a file too.
fn body(revision: &Revision, notice: &Notice, organizer: &Address, attendee: &Address) -> MultiPart {
    let mut readings = MultiPart::alternative().singlepart(SinglePart::plain(notice.text.clone()));
    if let Some(html) = &notice.html {
        readings = readings.singlepart(SinglePart::html(html.clone()));
    }
    let invitation = notice.invite.then(|| invitation(revision, notice, organizer, attendee)).flatten();
    let Some((method, calendar)) = invitation else { return readings };
    let content = |kind: &str| ContentType::parse(kind).expect("a constant and one of two methods");
    let inline = content(&format!("text/calendar; charset=utf-8; method={method}"));
    let readings = readings.singlepart(SinglePart::builder().header(inline).body(calendar.clone()));
    let file = Attachment::new("invite.ics".into()).body(calendar, content("application/ics"));
    MultiPart::mixed().multipart(readings).singlepart(file)
}

/// Returns the method (RFC 5546) and the calendar object; none for an appointment without a date.
fn invitation(
    revision: &Revision,
    notice: &Notice,
    organizer: &Address,
    attendee: &Address,
) -> Option<(&'static str, String)> {
    let slot = revision.appointment.slot.as_ref()?;
    let starts_at = revision.starts_at?;
    let ends_at = starts_at.checked_add(SignedDuration::from_mins(slot.minutes.into())).ok()?;
    let (method, status) =
        if revision.appointment.phase.is_live() { ("REQUEST", "CONFIRMED") } else { ("CANCEL", "CANCELLED") };
    let mut entry = icalendar::Event::new();
    entry
        .uid(&revision.appointment.id.to_string())
        .sequence(revision.appointment.revision.saturating_sub(1))
        .add_property("DTSTAMP", utc(revision.updated_at))
        .add_property("DTSTART", utc(starts_at))
        .add_property("DTEND", utc(ends_at))
        .add_property("STATUS", status)
        .add_property("ORGANIZER", mailto(organizer))
        .summary(&notice.subject)
        // A line end is `\n` in a calendar's text (RFC 5545, section 3.3.11). The library escapes only LF.
        .description(&notice.text.replace("\r\n", "\n"));
    let mut attendee = icalendar::Property::new("ATTENDEE", mailto(attendee));
    attendee.add_parameter("ROLE", "REQ-PARTICIPANT").add_parameter("PARTSTAT", "NEEDS-ACTION");
    entry.append_multi_property(attendee);
    let mut calendar = Calendar::new();
    calendar.append_property(("METHOD", method)).push(entry.done());
    Some((method, calendar.to_string()))
}

/// Returns an address as a URI (RFC 6068, section 2). No character in it ends or splits a line of the calendar.
fn mailto(address: &Address) -> String {
    use std::fmt::Write as _;
    let mut uri = String::from("mailto:");
    for byte in AsRef::<str>::as_ref(address).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$'*+@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes every write");
        }
    }
    uri
}

/// Formats a UTC date-time (RFC 5545, section 3.3.5).
fn utc(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::Phase;
    use crate::testing::revision;

    fn notice() -> Notice {
        Notice {
            to: "ana@example.com".into(),
            locale: "es-PE".into(),
            subject: "Cita reservada, mañana".into(),
            text: "Le esperamos.\nTraiga su DNI.".into(),
            html: Some("<p>Le esperamos.</p>".into()),
            invite: true,
        }
    }

    fn composed(phase: Phase, number: u32, notice: &Notice) -> Result<String, MailError> {
        let mut revision = revision(Uuid::from_u128(9));
        revision.appointment.phase = phase;
        revision.appointment.revision = number;
        let event = Event::new(Uuid::from_u128(1), "booked", &revision);
        let from = "Citas <citas@example.org>".parse().unwrap();
        compose(&event, notice, 0, &from).map(|mail| String::from_utf8(mail.message).unwrap())
    }

    fn calendar(phase: Phase, number: u32) -> String {
        let mut revision = revision(Uuid::from_u128(9));
        revision.appointment.phase = phase;
        revision.appointment.revision = number;
        invitation_of(&revision, &notice())
    }

    fn invitation_of(revision: &Revision, notice: &Notice) -> String {
        let [organizer, attendee] = ["citas@example.org", &notice.to].map(|address| address.parse().unwrap());
        invitation(revision, notice, &organizer, &attendee).unwrap().1
    }

    #[test]
    fn an_invitation_keeps_its_uid_and_counts_its_changes() {
        let (first, second) = (calendar(Phase::Booked, 1), calendar(Phase::Cancelled, 2));
        let uid = format!("UID:{}\r\n", Uuid::from_u128(9));
        for line in [
            "METHOD:REQUEST\r\n",
            "SEQUENCE:0\r\n",
            "STATUS:CONFIRMED\r\n",
            "DTSTART:20261201T143000Z\r\n",
            "DTEND:20261201T150000Z\r\n",
            &uid,
        ] {
            assert!(first.contains(line), "{line} in {first}");
        }
        for line in ["METHOD:CANCEL\r\n", "SEQUENCE:1\r\n", "STATUS:CANCELLED\r\n", &uid] {
            assert!(second.contains(line), "{line} in {second}");
        }
    }

    #[test]
    fn text_stays_in_its_property_whatever_its_line_ends_and_signs() {
        let text = "one\r\ntwo\nEND:VEVENT;x,y\\z".to_owned();
        let calendar = invitation_of(&revision(Uuid::from_u128(9)), &Notice { text, ..notice() });
        let lines: Vec<&str> = calendar.split("\r\n").collect();
        assert!(lines.contains(&r"DESCRIPTION:one\ntwo\nEND:VEVENT\;x\,y\\z"), "{calendar}");
        assert!(!calendar.replace("\r\n", "").contains(['\r', '\n']), "{calendar:?}");
    }

    #[test]
    fn an_odd_address_is_still_one_uri() {
        let odd = Notice { to: "\"a;b c:d\"@example.com".into(), ..notice() };
        let calendar = invitation_of(&revision(Uuid::from_u128(9)), &odd).replace("\r\n ", "");
        assert!(calendar.contains(":mailto:%22a%3Bb%20c%3Ad%22@example.com\r\n"), "{calendar}");
    }

    #[test]
    fn a_mail_has_text_html_and_the_invitation() {
        let mail = composed(Phase::Booked, 1, &notice()).unwrap();
        for part in [
            "text/plain",
            "text/html",
            "method=REQUEST",
            "invite.ics",
            "Content-Language: es-PE",
            "Message-ID: <00000000-0000-0000-0000-000000000001.0@example.org>",
        ] {
            assert!(mail.contains(part), "{part} in {mail}");
        }
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
