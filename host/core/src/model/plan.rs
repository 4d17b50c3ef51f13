//! Answers of the rules: a plan or the violations that speak against it, offers of free slots, notices to people.

use serde::{Deserialize, Serialize};

use crate::model::appointment::{Field, Phase, Slot};

/// Most claims that one plan may make: a reschedule's old and new ones fit one transaction of DynamoDB.
pub const MAX_CLAIMS: usize = 40;

/// Most events of one plan. With the claims of a reschedule they fit one transaction of every ledger.
pub const MAX_EVENTS: usize = 10;

/// Longest claim, and longest key of a patient, a doctor or a hospital, in bytes: what every ledger's indexes take.
pub const MAX_KEY_BYTES: usize = 512;

/// Why the country, or the request's schema, says no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// JSON Pointer to the offending part; empty when it is the whole.
    pub path: String,
    /// Dotted and stable: `pe.dni.check-digit`, `schema.required`.
    pub code: String,
    /// Values for the placeholders of the code's message.
    pub params: Vec<(String, String)>,
}

impl Violation {
    /// At that place the clocks skip that time.
    #[must_use]
    pub fn nonexistent_time() -> Self {
        Self { path: String::new(), code: "time.nonexistent".into(), params: Vec::new() }
    }
}

/// What the host is to make true, whole or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where the appointment will stand.
    pub phase: Phase,
    /// When it will be.
    pub slot: Option<Slot>,
    /// What no two live appointments may hold at once.
    pub claims: Vec<String>,
    /// The country's key for the patient.
    pub patient: String,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// The country's own attributes.
    pub attributes: Vec<Field>,
    /// Names of the events to publish once it is stored.
    pub events: Vec<String>,
}

/// A plan, or every reason against one.
pub type Verdict = Result<Plan, Vec<Violation>>;

/// An opening that the country allows, with the claims that booking it would make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The opening.
    pub slot: Slot,
    /// What booking it would claim.
    pub claims: Vec<String>,
}

/// One mail that an event calls for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Mail address.
    pub to: String,
    /// BCP 47.
    pub locale: String,
    /// The subject line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: Option<String>,
    /// Whether a calendar invitation goes with it.
    pub invite: bool,
}
