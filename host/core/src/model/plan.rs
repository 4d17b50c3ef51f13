//! Results of the rules: plans or the violations that prevent them, offers of free slots, and notices to people.

use serde::{Deserialize, Serialize};

use crate::model::appointment::{Field, Phase, Slot, Wake};
use crate::model::claim::{Choice, Claim};

/// Maximum number of claims of one plan with its largest choice. The old and the new claims of a reschedule fit into one
/// transaction of DynamoDB.
pub const MAX_CLAIMS: usize = 40;

/// Maximum number of choices of one plan.
pub const MAX_CHOICES: usize = 32;

/// Maximum number of events of one plan. With the claims of a reschedule they fit into one transaction of every ledger.
pub const MAX_EVENTS: usize = 10;

/// Maximum length of a claim and of the key of a patient, doctor or hospital, in bytes. The indexes of every ledger
/// allow it.
pub const MAX_KEY_BYTES: usize = 512;

/// A reason to refuse a request, from the rules, the request's schema or the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// JSON Pointer to the offending part; empty for the whole document.
    pub path: String,
    /// Stable code with dots, for example `pe.dni.check-digit` or `schema.required`.
    pub code: String,
    /// Values for the placeholders of the code's message.
    pub params: Vec<(String, String)>,
    /// True if the request is allowed, but not in the appointment's present phase.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
}

impl Violation {
    /// Returns a violation without params.
    pub fn new(path: impl Into<String>, code: impl Into<String>) -> Self {
        Self { path: path.into(), code: code.into(), params: Vec::new(), conflict: false }
    }

    /// Returns the violation of a local time that the clocks of its zone skip.
    pub fn nonexistent_time() -> Self {
        Self::new("", "time.nonexistent")
    }
}

/// The new state of an appointment. The host stores all of it or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// New phase of the appointment.
    pub phase: Phase,
    /// Time of the appointment; `None` if it has no date.
    pub slot: Option<Slot>,
    /// Claims, all of which the appointment takes.
    pub claims: Vec<Claim>,
    /// Alternatives. The appointment keeps the one that it has, or else takes the first that is free.
    pub choices: Vec<Choice>,
    /// The country's key for the patient.
    pub patient: String,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// The country's own attributes.
    pub attributes: Vec<Field>,
    /// Names of the events to publish after the plan is stored.
    pub events: Vec<String>,
    /// The next scheduled action, in place of the one before.
    pub wake: Option<Wake>,
    /// True if the slot may lie outside the doctor's agenda.
    pub off_agenda: bool,
}

/// A plan, or all violations that prevent one.
pub type Verdict = Result<Plan, Vec<Violation>>;

/// A place at which a caller looks for a free slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Key of the doctor.
    pub doctor: Option<String>,
    /// Key of the hospital.
    pub hospital: Option<String>,
    /// Leaves of a booking request that are known.
    pub fields: Vec<Field>,
}

/// A time that an agenda, or the country's own hours, provides.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Time of the opening.
    pub slot: Slot,
    /// Key of the doctor.
    pub doctor: Option<String>,
    /// Key of the hospital.
    pub hospital: Option<String>,
    /// Number of patients at once.
    pub places: u16,
    /// Leaves of a booking request that the opening fixes.
    pub fields: Vec<Field>,
}

/// An opening that the country allows, with the claims of its booking.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Index of the opening.
    pub opening: usize,
    /// Time of the offer, which may be shorter than the opening, or in another zone.
    pub slot: Slot,
    /// Claims that a booking makes.
    pub claims: Vec<Claim>,
    /// Alternatives of a booking.
    pub choices: Vec<Choice>,
    /// Leaves of the request, or of an action's input, that select the offer.
    pub request: Vec<Field>,
}

/// Offers in the order of their openings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offered {
    /// Openings that the country allows.
    pub offers: Vec<Offer>,
    /// Reason why nothing is offered.
    pub reason: Option<Violation>,
}

/// One mail that an event requires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Mail address of the recipient.
    pub to: String,
    /// Language tag (BCP 47).
    pub locale: String,
    /// Subject line.
    pub subject: String,
    /// Text part.
    pub text: String,
    /// HTML part, if any.
    pub html: Option<String>,
    /// True if the mail carries a calendar invitation.
    pub invite: bool,
}

/// Texts that a calendar shows for an appointment, in the country's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalendarTexts {
    /// Title of the entry, for example `Cita médica, CMP 45678`.
    pub summary: Option<String>,
    /// Place of the appointment.
    pub location: Option<String>,
}
