//! Links in notices: each lets the holder of the mail do one action on one appointment, as the patient.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::appointment::{Appointment, CountryCode, Revision};
use super::context::Role;
use super::keyring::Keyring;

/// Purpose of the tokens. Another layout of their content needs another purpose.
const PURPOSE: &str = "link/1";

/// Time for which a link to an appointment without a date is valid.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Length of the digest of the appointment in a mail, in bytes.
const SHOWN_BYTES: usize = 8;

/// Content of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Country of the appointment.
    pub country: CountryCode,
    /// Id of the appointment.
    pub appointment: Uuid,
    /// Name of the action.
    pub action: String,
    /// Language of the mail (BCP 47).
    pub locale: String,
    /// Expiry of the link: the start of the appointment, or 30 days after the revision if it has no date.
    pub expires_at: Timestamp,
    /// Revision that the mail is about.
    revision: u32,
    /// Digest of the time, the doctor and the hospital that the mail shows.
    shown: [u8; SHOWN_BYTES],
}

/// State of an appointment with respect to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The action has not been done since the mail.
    Open,
    /// The action was done since the mail, by this link or otherwise.
    Done,
    /// The appointment is at another time, with another doctor or at another hospital than the mail shows.
    Changed,
}

impl Link {
    /// Returns the link for an action on an appointment as a mail about this revision shows it.
    pub fn new(revision: &Revision, action: &str, locale: &str) -> Self {
        let appointment = &revision.appointment;
        let undated = || revision.updated_at.saturating_add(VALID_FOR).unwrap_or(Timestamp::MAX);
        Self {
            country: revision.country,
            appointment: appointment.id,
            action: action.to_owned(),
            locale: locale.to_owned(),
            expires_at: appointment.starts_at.unwrap_or_else(undated),
            revision: appointment.revision,
            shown: details_digest(appointment),
        }
    }

    /// Returns the token of the link.
    pub fn token(&self, keys: &Keyring) -> String {
        let words = format!("{} {}", self.action, self.locale);
        let parts = [
            self.country.as_str().as_bytes(),
            self.appointment.as_bytes(),
            &self.revision.to_be_bytes(),
            &self.expires_at.as_second().to_be_bytes(),
            &self.shown,
            words.as_bytes(),
        ];
        keys.sign(PURPOSE, &parts.concat())
    }

    /// Returns the link of a token; `None` if the token was not signed with these keys for a link.
    pub fn read(keys: &Keyring, token: &str) -> Option<Self> {
        let content = keys.verify(PURPOSE, token)?;
        let (country, rest) = content.split_first_chunk::<2>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (revision, rest) = rest.split_first_chunk::<4>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let (shown, words) = rest.split_first_chunk::<SHOWN_BYTES>()?;
        let (action, locale) = str::from_utf8(words).ok()?.split_once(' ')?;
        Some(Self {
            country: str::from_utf8(country).ok()?.parse().ok()?,
            appointment: Uuid::from_bytes(*id),
            action: action.to_owned(),
            locale: locale.to_owned(),
            expires_at: Timestamp::from_second(i64::from_be_bytes(*expires_at)).ok()?,
            revision: u32::from_be_bytes(*revision),
            shown: *shown,
        })
    }

    /// Returns the state of the appointment with respect to the link.
    pub fn standing(&self, current: &Appointment) -> Standing {
        let since = usize::try_from(current.revision.saturating_sub(self.revision)).unwrap_or(usize::MAX);
        let since = &current.steps[current.steps.len().saturating_sub(since)..];
        let is_same = self.shown == details_digest(current);
        // An action may itself change the digest. It counts as done if it is the last step that is not the clock's.
        let last = since.iter().rfind(|step| step.role != Role::Clock);
        if last.is_some_and(|step| step.action == self.action) {
            return Standing::Done;
        }
        match (is_same, since.iter().any(|step| step.action == self.action)) {
            (false, _) => Standing::Changed,
            (true, true) => Standing::Done,
            (true, false) => Standing::Open,
        }
    }
}

/// Returns the digest of the time, the doctor and the hospital of an appointment. It includes the id, so that two
/// appointments at one time have different digests.
fn details_digest(appointment: &Appointment) -> [u8; SHOWN_BYTES] {
    let Appointment { id, slot, starts_at, doctor, hospital, .. } = appointment;
    let shown = serde_json::to_vec(&(id, slot, starts_at, doctor, hospital)).expect("members with text keys");
    Sha256::digest(shown)[..SHOWN_BYTES].try_into().expect("a digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Step;
    use crate::testing::revision;

    fn keys() -> Keyring {
        "0a".repeat(32).parse().unwrap()
    }

    fn booked() -> Revision {
        revision(Uuid::from_u128(9))
    }

    fn link() -> Link {
        Link::new(&booked(), "confirm", "es-PE")
    }

    /// Returns the appointment after further actions.
    fn after(actions: &[(&str, Role)]) -> Appointment {
        let mut appointment = booked().appointment;
        for (action, role) in actions {
            appointment.revision += 1;
            appointment.steps.push(Step { action: (*action).into(), role: *role, at: Timestamp::UNIX_EPOCH });
        }
        appointment
    }

    #[test]
    fn a_token_leads_to_its_link_alone() {
        let token = link().token(&keys());
        assert_eq!(Link::read(&keys(), &token), Some(link()));
        assert!(token.len() < 120, "{} characters", token.len());
        for place in 0..token.len() {
            let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
            let altered = [&token[..place], other, &token[place + 1..]].concat();
            assert_eq!(Link::read(&keys(), &altered), None, "{altered}");
        }
    }

    #[test]
    fn parts_of_two_tokens_make_no_valid_token() {
        let mut other = booked();
        (other.country, other.appointment.id) = ("cl".parse().unwrap(), Uuid::from_u128(10));
        let tokens = [link(), Link::new(&other, "cancel", "es-CL")].map(|link| link.token(&keys()));
        for place in 1..tokens[0].len().min(tokens[1].len()) {
            let swapped = [&tokens[0][..place], &tokens[1][place..]].concat();
            assert!(tokens.contains(&swapped) || Link::read(&keys(), &swapped).is_none(), "{swapped}");
        }
        assert_eq!(Link::read(&keys(), &keys().sign("slot/1", b"pe")), None, "another purpose");
        assert_eq!(Link::read(&keys(), &keys().sign(PURPOSE, b"pe")), None, "too short");
    }

    #[test]
    fn links_of_two_appointments_at_one_time_have_different_digests() {
        let mut other = booked();
        other.appointment.id = Uuid::from_u128(10);
        assert_ne!(link().shown, Link::new(&other, "confirm", "es-PE").shown);
    }

    #[test]
    fn a_link_ends_at_the_start_or_after_thirty_days() {
        assert_eq!(Some(link().expires_at), booked().appointment.starts_at);
        let mut undated = booked();
        (undated.appointment.slot, undated.appointment.starts_at) = (None, None);
        let expires_at = Link::new(&undated, "confirm", "es-PE").expires_at;
        assert_eq!(expires_at.duration_since(undated.updated_at), SignedDuration::from_hours(720));
    }

    #[test]
    fn an_action_is_done_once_whoever_did_it_and_whatever_time_did_after() {
        assert_eq!(link().standing(&after(&[])), Standing::Open);
        assert_eq!(link().standing(&after(&[("remind", Role::Clock), ("note", Role::Staff)])), Standing::Open);
        for actions in [
            &[("confirm", Role::Patient)][..],
            &[("confirm", Role::Staff), ("remind", Role::Clock)],
            &[("remind", Role::Clock), ("confirm", Role::Patient), ("note", Role::Staff)],
        ] {
            assert_eq!(link().standing(&after(actions)), Standing::Done, "{actions:?}");
        }
        let mut later = revision(Uuid::from_u128(9));
        later.appointment = after(&[("confirm", Role::Patient)]);
        let later = Link::new(&later, "confirm", "es-PE");
        assert_eq!(later.standing(&after(&[("confirm", Role::Patient)])), Standing::Open, "done before the mail");
    }

    #[test]
    fn a_link_is_for_the_time_the_doctor_and_the_hospital_that_the_mail_shows() {
        let moved: [fn(&mut Appointment); 4] = [
            |appointment| appointment.starts_at = Some("2026-12-02T14:30:00Z".parse().unwrap()),
            |appointment| appointment.doctor = Some("99999".into()),
            |appointment| appointment.hospital = Some("00006219".into()),
            |appointment| appointment.slot = None,
        ];
        for change in moved {
            let mut appointment = after(&[("confirm", Role::Patient), ("reschedule", Role::Staff)]);
            change(&mut appointment);
            assert_eq!(link().standing(&appointment), Standing::Changed);
            let mut itself = after(&[("confirm", Role::Patient)]);
            change(&mut itself);
            assert_eq!(link().standing(&itself), Standing::Done);
        }
    }

    #[test]
    fn a_dropped_step_does_not_count_as_done() {
        let mut appointment = after(&[("note", Role::Staff)]);
        appointment.revision = 90;
        assert_eq!(link().standing(&appointment), Standing::Open);
    }
}
