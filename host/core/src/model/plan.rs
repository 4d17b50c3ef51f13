//! Results of the rules: plans or the violations that prevent them, offers of free slots, and notices to people.

use serde::{Deserialize, Serialize};

use crate::model::appointment::{Field, Phase, Slot};

/// Maximum number of claims of one plan. The old and the new claims of a reschedule fit into one transaction of
/// DynamoDB.
pub const MAX_CLAIMS: usize = 40;

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
}

impl Violation {
    /// Returns the violation of a local time that the clocks of its zone skip.
    pub fn nonexistent_time() -> Self {
        Self { path: String::new(), code: "time.nonexistent".into(), params: Vec::new() }
    }
}

/// The new state of an appointment. The host stores all of it or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// New phase of the appointment.
    pub phase: Phase,
    /// Time of the appointment; `None` if it has no date.
    pub slot: Option<Slot>,
    /// Claims. No two live appointments may hold the same claim.
    pub claims: Vec<String>,
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
}

/// A plan, or all violations that prevent one.
pub type Verdict = Result<Plan, Vec<Violation>>;

/// An opening that the country allows, with the claims of its booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Time of the opening.
    pub slot: Slot,
    /// Claims that a booking of the opening makes.
    pub claims: Vec<String>,
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
