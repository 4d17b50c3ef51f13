//! Appointments as Citas stores them: the state that the rules planned, and its provenance.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::model::context::Context;

/// A country code: ISO 3166-1 alpha-2 in lower case, for example `pe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("pattern" = "^[a-z]{2}$"))]
pub struct CountryCode([u8; 2]);

/// Error for a text that is not a country code.
#[derive(Debug, thiserror::Error)]
#[error("a country is two lower-case letters (ISO 3166-1 alpha-2), such as `pe`; this is `{0}`")]
pub struct NotACountry(String);

impl CountryCode {
    /// Returns the two letters.
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

/// A time interval in the local time of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Local start time in `zone`.
    pub start: DateTime,
    /// Duration, in minutes.
    pub minutes: u16,
    /// IANA name of the zone.
    pub zone: String,
}

impl Slot {
    /// Returns the local start with its offset from UTC (RFC 3339), for example `2026-12-01T09:30:00-05:00`. `starts_at`
    /// is the start as an instant: a local time may occur twice.
    pub fn start_with_offset(&self, starts_at: Timestamp) -> String {
        let ahead = self.start.duration_since(Offset::UTC.to_datetime(starts_at)).as_secs();
        let offset = i32::try_from(ahead).ok().and_then(|seconds| Offset::from_seconds(seconds).ok());
        starts_at.display_with_offset(offset.unwrap_or(Offset::UTC)).to_string()
    }
}

/// The value of one leaf of a JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A string.
    Text(String),
    /// A signed 64-bit integer.
    Integer(i64),
    /// Any other number, in its shortest decimal form.
    Decimal(String),
    /// A boolean.
    Flag(bool),
    /// An array of strings.
    Texts(Vec<String>),
}

/// A leaf of a JSON document with its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// JSON Pointer to the leaf (RFC 6901).
    pub path: String,
    /// Value of the leaf.
    pub value: Value,
}

/// State of an appointment, in the terms of FHIR's Appointment.status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[strum(serialize_all = "kebab-case")]
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
    /// All phases.
    pub const ALL: [Self; 7] =
        [Self::Requested, Self::Pending, Self::Booked, Self::Arrived, Self::Fulfilled, Self::Cancelled, Self::NoShow];

    /// Returns true if an appointment in this phase keeps its claims.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Requested | Self::Pending | Self::Booked | Self::Arrived)
    }

    /// Returns FHIR's code for the phase.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Error for a text that is not a phase.
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

/// A stored appointment, as the rules see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appointment {
    /// Id, unique in its country and not guessable.
    pub id: Uuid,
    /// Phase of the appointment.
    pub phase: Phase,
    /// Time of the appointment; `None` while it has no date.
    pub slot: Option<Slot>,
    /// Number of the revision: 1 when first booked, and one more with each change.
    pub revision: u32,
    /// The country's own attributes, as the rules last mapped them.
    pub attributes: Vec<Field>,
}

/// Identifies one version of a country's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RulesVersion")]
pub struct RulesId {
    /// Semantic version.
    pub version: String,
    /// Digest of the component's bytes: `sha256:` and 64 hexadecimal digits.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// Everything that is needed to explain a decision and to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Name of the action, or `book`.
    pub action: String,
    /// Leaves of the request that the rules received.
    pub input: Vec<Field>,
    /// Context that the rules received.
    pub context: Context,
    /// Rules that decided.
    pub rules: RulesId,
    /// Version of the rules contract.
    pub contract: String,
    /// Version of the host.
    pub host: String,
    /// Subject of the caller's token. The caller's role is in `context`.
    pub subject: String,
    /// Id of the request.
    pub request_id: String,
}

/// One complete state of an appointment. It is stored once and never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Country whose rules apply.
    pub country: CountryCode,
    /// The appointment, as the rules planned it.
    pub appointment: Appointment,
    /// Start of the slot as an instant; `None` without a slot.
    pub starts_at: Option<Timestamp>,
    /// Claims that the appointment holds while it is live.
    pub claims: Vec<String>,
    /// Subject of the token that booked the appointment.
    pub owner: String,
    /// The country's key for the patient.
    pub patient: String,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// Time at which the appointment was first stored.
    pub created_at: Timestamp,
    /// Time at which this revision was stored.
    pub updated_at: Timestamp,
    /// Provenance of this revision.
    pub provenance: Provenance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_has_the_offset_of_its_instant() {
        let start = |start: &str, starts_at: &str| {
            let slot = Slot { start: start.parse().unwrap(), minutes: 30, zone: "America/Santiago".into() };
            slot.start_with_offset(starts_at.parse().unwrap())
        };
        assert_eq!(start("2026-12-01T09:30", "2026-12-01T12:30:00Z"), "2026-12-01T09:30:00-03:00");
        // The clocks show this time twice.
        assert_eq!(start("2026-04-04T23:30", "2026-04-05T02:30:00Z"), "2026-04-04T23:30:00-03:00");
        assert_eq!(start("2026-04-04T23:30", "2026-04-05T03:30:00Z"), "2026-04-04T23:30:00-04:00");
        assert_eq!(start("2026-12-01T00:30", "2026-11-30T11:00:00Z"), "2026-12-01T00:30:00+13:30");
    }
}
