//! Makes a notice's calendar invitation (RFC 5545, RFC 5546). Knows nothing of mail but the two addresses.

use chrono::TimeDelta;
use icalendar::{Alarm, Calendar, Class, Component as _, Event, Property};
use jiff::{SignedDuration, Timestamp};
use lettre::Address;
use lettre::message::Mailbox;

use crate::model::{CalendarTexts, Phase, Revision};

/// Maximum length of a line in octets, without its line end (RFC 5545, section 3.1).
const MAX_LINE: usize = 75;

/// Hours before the start at which the calendar reminds: when there is time to cancel, and when it is time to go.
const REMINDERS: [i64; 2] = [24, 2];

/// A calendar object and its method.
pub(super) struct Invitation {
    pub method: &'static str,
    pub calendar: String,
}

/// Returns the invitation of a notice with this subject and description; none for an appointment without a date, or one that took place or was missed.
pub(super) fn invitation(
    revision: &Revision,
    subject: &str,
    description: &str,
    texts: &CalendarTexts,
    organizer: &Mailbox,
    attendee: &Mailbox,
) -> Option<Invitation> {
    let (method, status) = method(revision.appointment.phase)?;
    let starts_at = revision.appointment.starts_at?;
    let minutes = revision.appointment.slot.as_ref()?.minutes;
    let ends_at = starts_at.checked_add(SignedDuration::from_mins(minutes.into())).ok()?;
    let summary = text(texts.summary.as_deref().unwrap_or(subject));
    let mut entry = Event::new();
    entry
        .uid(&revision.appointment.id.to_string())
        .sequence(revision.appointment.revision.saturating_sub(1))
        .add_property("DTSTAMP", utc(revision.updated_at))
        .add_property("DTSTART", utc(starts_at))
        .add_property("DTEND", utc(ends_at))
        .add_property("STATUS", status)
        .add_property("TRANSP", "OPAQUE")
        // A calendar that is shared with others shows them a busy time, not a visit to a doctor.
        .class(Class::Private)
        .summary(&summary)
        .description(&text(description))
        .append_property(party("ORGANIZER", organizer));
    if let Some(location) = &texts.location {
        entry.add_property("LOCATION", text(location));
    }
    let mut guest = party("ATTENDEE", attendee);
    if method == "REQUEST" {
        guest.add_parameter("CUTYPE", "INDIVIDUAL").add_parameter("ROLE", "REQ-PARTICIPANT");
        guest.add_parameter("PARTSTAT", "NEEDS-ACTION").add_parameter("RSVP", "TRUE");
        let until_start = starts_at.duration_since(revision.updated_at).as_hours();
        for hours in REMINDERS.into_iter().filter(|hours| *hours < until_start) {
            entry.append_component(Alarm::display(&summary, -TimeDelta::hours(hours)));
        }
    }
    entry.append_multi_property(guest);
    let mut calendar = Calendar::empty();
    for (name, value) in [("VERSION", "2.0"), ("PRODID", "-//Citas//Citas//EN"), ("METHOD", method)] {
        calendar.append_property((name, value));
    }
    let calendar = folded(&calendar.push(entry.done()).to_string());
    Some(Invitation { method, calendar })
}

/// Returns the method and the status of an appointment's entry; none if the calendar has nothing to change.
fn method(phase: Phase) -> Option<(&'static str, &'static str)> {
    match phase {
        Phase::Requested | Phase::Waitlisted | Phase::Pending => Some(("REQUEST", "TENTATIVE")),
        Phase::Booked | Phase::Arrived => Some(("REQUEST", "CONFIRMED")),
        Phase::Cancelled => Some(("CANCEL", "CANCELLED")),
        Phase::Fulfilled | Phase::NoShow => None,
    }
}

/// Returns a property that names the owner of a mailbox, by the address if there is no name.
fn party(property: &str, mailbox: &Mailbox) -> Property {
    let name = mailbox.name.clone().unwrap_or_else(|| mailbox.email.to_string());
    let mut party = Property::new(property, mailto(&mailbox.email));
    party.add_parameter("CN", &parameter(&name));
    party
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

/// Encodes a parameter's value (RFC 6868). The library adds the quotation marks.
fn parameter(value: &str) -> String {
    text(value).replace('^', "^^").replace('"', "^'").replace('\n', "^n")
}

/// Returns the text with LF as its line end and without other control characters, which would end a line of the
/// calendar. The library escapes LF as `\n` (RFC 5545, section 3.3.11).
fn text(text: &str) -> String {
    let is_stray = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    text.replace("\r\n", "\n").replace(is_stray, " ")
}

/// Formats a UTC date-time (RFC 5545, section 3.3.5).
fn utc(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Folds the lines that are still too long: the last piece of a line that the library folds may have an octet more.
fn folded(calendar: &str) -> String {
    let mut folded = String::with_capacity(calendar.len());
    for mut line in calendar.split_terminator("\r\n") {
        while line.len() > MAX_LINE {
            let (head, rest) = line.split_at(line.floor_char_boundary(MAX_LINE));
            folded.extend([head, "\r\n "]);
            line = rest;
        }
        folded.extend([line, "\r\n"]);
    }
    folded
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::Notice;
    use crate::testing::{notice, revision};

    fn booked() -> Revision {
        revision(Uuid::from_u128(9))
    }

    fn changed(phase: Phase, number: u32) -> Revision {
        let mut revision = booked();
        revision.appointment.phase = phase;
        revision.appointment.revision = number;
        revision
    }

    /// Returns the lines of an invitation, unfolded.
    fn lines_with(revision: &Revision, notice: &Notice, texts: &CalendarTexts) -> Vec<String> {
        let organizer = "Citas <citas@example.org>".parse().unwrap();
        let attendee = Mailbox::new(None, notice.to.parse().unwrap());
        let calendar =
            invitation(revision, &notice.subject, &notice.text, texts, &organizer, &attendee).unwrap().calendar;
        assert!(calendar.ends_with("END:VCALENDAR\r\n") && calendar.split("\r\n").all(|line| line.len() <= MAX_LINE));
        calendar.replace("\r\n ", "").split("\r\n").map(str::to_owned).collect()
    }

    fn lines(revision: &Revision, notice: &Notice) -> Vec<String> {
        lines_with(revision, notice, &CalendarTexts::default())
    }

    #[track_caller]
    fn assert_lines(lines: &[String], expected: &[&str]) {
        for line in expected {
            assert!(lines.iter().any(|found| found == line), "{line} in {lines:#?}");
        }
    }

    #[test]
    fn an_invitation_has_what_a_calendar_shows() {
        let texts = CalendarTexts {
            summary: Some("Cita médica, CMP 45678".into()),
            location: Some("IPRESS 00006219; Miraflores, Lima".into()),
        };
        assert_lines(
            &lines_with(&booked(), &notice(), &texts),
            &[
                "PRODID:-//Citas//Citas//EN",
                "VERSION:2.0",
                "METHOD:REQUEST",
                "DTSTAMP:20261124T150000Z",
                "DTSTART:20261201T143000Z",
                "DTEND:20261201T150000Z",
                "STATUS:CONFIRMED",
                "TRANSP:OPAQUE",
                "CLASS:PRIVATE",
                r"SUMMARY:Cita médica\, CMP 45678",
                r"LOCATION:IPRESS 00006219\; Miraflores\, Lima",
                r"DESCRIPTION:Le esperamos.\nTraiga su DNI.",
                "ORGANIZER;CN=Citas:mailto:citas@example.org",
                "ATTENDEE;CN=ana@example.com;CUTYPE=INDIVIDUAL;PARTSTAT=NEEDS-ACTION;ROLE=REQ-PARTICIPANT;RSVP=TRUE:mailto:ana@example.com",
            ],
        );
        let bare = lines(&booked(), &notice());
        assert_lines(&bare, &[r"SUMMARY:Cita reservada\, mañana"]);
        assert!(!bare.iter().any(|line| line.starts_with("LOCATION")), "{bare:?}");
    }

    #[test]
    fn an_invitation_keeps_its_uid_and_counts_its_changes() {
        let uid = format!("UID:{}", Uuid::from_u128(9));
        let uid = uid.as_str();
        assert_lines(&lines(&changed(Phase::Booked, 1), &notice()), &["METHOD:REQUEST", "SEQUENCE:0", uid]);
        let cancelled = lines(&changed(Phase::Cancelled, 2), &notice());
        let attendee = "ATTENDEE;CN=ana@example.com:mailto:ana@example.com";
        assert_lines(&cancelled, &["METHOD:CANCEL", "SEQUENCE:1", "STATUS:CANCELLED", uid, attendee]);
    }

    #[test]
    fn what_is_not_certain_is_tentative_and_what_is_past_stays_as_it_is() {
        for phase in [Phase::Requested, Phase::Pending] {
            assert_lines(&lines(&changed(phase, 1), &notice()), &["METHOD:REQUEST", "STATUS:TENTATIVE"]);
        }
        let party = "a@example.com".parse().unwrap();
        for phase in [Phase::Fulfilled, Phase::NoShow] {
            let texts = CalendarTexts::default();
            assert!(invitation(&changed(phase, 3), "", "", &texts, &party, &party).is_none());
        }
    }

    #[test]
    fn reminders_are_a_day_and_two_hours_before_if_that_is_still_to_come() {
        let triggers = |revision: &Revision| {
            let lines = lines(revision, &notice());
            assert_eq!(
                lines.iter().filter(|line| *line == "BEGIN:VALARM").count(),
                lines.iter().filter(|line| *line == "ACTION:DISPLAY").count()
            );
            lines.into_iter().filter(|line| line.starts_with("TRIGGER")).collect::<Vec<_>>()
        };
        assert_eq!(triggers(&booked()), ["TRIGGER:-PT86400S", "TRIGGER:-PT7200S"]);
        let tomorrow = Revision { updated_at: "2026-11-30T20:00:00Z".parse().unwrap(), ..booked() };
        assert_eq!(triggers(&tomorrow), ["TRIGGER:-PT7200S"]);
        let soon = Revision { updated_at: "2026-12-01T13:00:00Z".parse().unwrap(), ..booked() };
        assert!(triggers(&soon).is_empty());
        assert!(triggers(&changed(Phase::Cancelled, 2)).is_empty());
    }

    #[test]
    fn text_stays_in_its_property_whatever_its_line_ends_and_signs() {
        let text = "one\r\ntwo\nEND:VEVENT;x,y\\z".to_owned();
        let texts = CalendarTexts { summary: Some("a\rb\u{1}".into()), location: Some("c\r\nd\re".into()) };
        assert_lines(
            &lines_with(&booked(), &Notice { text, ..notice() }, &texts),
            &[r"DESCRIPTION:one\ntwo\nEND:VEVENT\;x\,y\\z", "SUMMARY:a b ", r"LOCATION:c\nd e"],
        );
    }

    #[test]
    fn a_long_line_is_folded_between_characters() {
        for length in 1..400 {
            for text in ["a".repeat(length), format!("a{}", "ñ😀".repeat(length / 6))] {
                let expected = format!("DESCRIPTION:{text}");
                assert_lines(&lines(&booked(), &Notice { text, ..notice() }), &[&expected]);
            }
        }
    }

    #[test]
    fn an_odd_address_is_still_one_uri() {
        for (address, uri) in [
            ("ana%41@example.com", "mailto:ana%2541@example.com"),
            ("r&d?x=1@example.com", "mailto:r%26d%3Fx%3D1@example.com"),
            ("ana+citas@example.com", "mailto:ana+citas@example.com"),
            ("\"a;b c:d\"@example.com", "mailto:%22a%3Bb%20c%3Ad%22@example.com"),
        ] {
            let lines = lines(&booked(), &Notice { to: address.into(), ..notice() });
            let attendee = lines.iter().find(|line| line.starts_with("ATTENDEE")).unwrap();
            assert!(attendee.ends_with(&format!(":{uri}")), "{attendee}");
            let organizer = Mailbox::new(None, address.parse().unwrap());
            assert_eq!(party("ORGANIZER", &organizer).value(), uri);
        }
    }

    #[test]
    fn a_name_stays_in_its_parameter() {
        let mailbox = Mailbox::new(Some("\"Citas\"; ^sur,\nLima".into()), "citas@example.org".parse().unwrap());
        let line: String = party("ORGANIZER", &mailbox).try_into().unwrap();
        assert_eq!(line, "ORGANIZER;CN=\"^'Citas^'; ^^sur,^nLima\":mailto:citas@example.org\r\n");
    }
}
