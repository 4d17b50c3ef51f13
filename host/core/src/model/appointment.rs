//! An appointment as Citas stores it: what the rules made of it, and how it came to be so.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::context::Context;

/// ISO 3166-1 alpha-2, lower case: `pe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

/// Why a text is no country code.
#[derive(Debug, thiserror::Error)]
#[error("a country is two lower-case letters (ISO 3166-1 alpha-2), such as `pe`; this is `{0}`")]
pub struct NotACountry(String);

impl CountryCode {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters")
    }
}

impl FromStr for CountryCode {
    type Err = NotACountry;
    fn from_str(text: &str) -> Result<Self, NotACountry> {
        match text.as_bytes() {
            &[a, b] if a.is_ascii_lowercase() && b.is_ascii_lowercase() => Ok(Self([a, b])),
            _ => Err(NotACountry(text.to_owned())),
        }
    }
}

impl TryFrom<String> for CountryCode {
    type Error = NotACountry;
    fn try_from(text: String) -> Result<Self, NotACountry> {
        text.parse()
    }
}

impl From<CountryCode> for String {
    fn from(code: CountryCode) -> String {
        code.as_str().to_owned()
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stretch of somebody's time, as the clock on the wall shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// When it starts, in `zone`.
    pub start: DateTime,
    /// How long it lasts.
    pub minutes: u16,
    /// IANA name.
    pub zone: String,
}

/// One leaf of a JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number, in its shortest decimal form.
    Decimal(String),
    /// A boolean.
    Flag(bool),
    /// An array of strings.
    Texts(Vec<String>),
}

/// A leaf and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// JSON Pointer (RFC 6901).
    pub path: String,
    /// What stands there.
    pub value: Value,
}

/// Where an appointment stands, in the words of FHIR's Appointment.status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "FHIR defines the words")]
pub enum Phase {
    Requested,
    Pending,
    Booked,
    Arrived,
    Fulfilled,
    Cancelled,
    NoShow,
}

impl Phase {
    /// Every phase, for lists of the allowed words.
    pub const ALL: [Self; 7] =
        [Self::Requested, Self::Pending, Self::Booked, Self::Arrived, Self::Fulfilled, Self::Cancelled, Self::NoShow];

    /// Whether an appointment in this phase keeps its claims.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Requested | Self::Pending | Self::Booked | Self::Arrived)
    }

    /// FHIR's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::Booked => "booked",
            Self::Arrived => "arrived",
            Self::Fulfilled => "fulfilled",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no-show",
        }
    }
}

/// Why a text is no phase.
#[derive(Debug, thiserror::Error)]
#[error("a phase is one of requested, pending, booked, arrived, fulfilled, cancelled, no-show; this is `{0}`")]
pub struct NotAPhase(String);

impl FromStr for Phase {
    type Err = NotAPhase;
    fn from_str(text: &str) -> Result<Self, NotAPhase> {
        let found = Self::ALL.into_iter().find(|phase| phase.as_str() == text);
        found.ok_or_else(|| NotAPhase(text.to_owned()))
    }
}

/// What the rules see of a stored appointment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appointment {
    /// Unique in its country; not to be guessed.
    pub id: Uuid,
    /// Where it stands.
    pub phase: Phase,
    /// When it is; none while it has no date.
    pub slot: Option<Slot>,
    /// How often it has changed: 1 when first booked.
    pub revision: u32,
    /// The country's own attributes, as the rules last mapped them.
    pub attributes: Vec<Field>,
}

/// Which rules decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesId {
    /// Semantic version.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits, over the component's bytes.
    pub digest: String,
}

/// Everything that is needed to explain a decision and to run it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// `book`, or the action's name.
    pub action: String,
    /// What the rules were given.
    pub input: Vec<Field>,
    /// The circumstances that they were given.
    pub context: Context,
    /// Which rules they were.
    pub rules: RulesId,
    /// Version of the rules contract.
    pub contract: String,
    /// Version of the host.
    pub host: String,
    /// Who asked: the token's subject. The role is in the context.
    pub subject: String,
    /// The request's id.
    pub request_id: String,
}

/// One state of an appointment, whole, as it is stored and never changed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Whose rules it is under.
    pub country: CountryCode,
    /// What the rules made of it.
    pub appointment: Appointment,
    /// The slot's start as an instant.
    pub starts_at: Option<Timestamp>,
    /// What it holds while it is live.
    pub claims: Vec<String>,
    /// Subject of the token that booked it.
    pub owner: String,
    /// The country's key for the patient.
    pub patient: String,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// When the appointment was first stored.
    pub created_at: Timestamp,
    /// When this revision was stored.
    pub updated_at: Timestamp,
    /// How it came to be.
    pub provenance: Provenance,
}
