//! Appointments as Citas stores them: the state that the rules planned, and its provenance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::model::claim::HeldClaim;
use crate::model::context::{Context, FactSource, Role};

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
    Waitlisted,
    Pending,
    Booked,
    Arrived,
    Fulfilled,
    Cancelled,
    NoShow,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 8] = [
        Self::Requested,
        Self::Waitlisted,
        Self::Pending,
        Self::Booked,
        Self::Arrived,
        Self::Fulfilled,
        Self::Cancelled,
        Self::NoShow,
    ];

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
#[error(
    "a phase is one of requested, waitlisted, pending, booked, arrived, fulfilled, cancelled, no-show; this is `{0}`"
)]
pub struct NotAPhase(String);

impl FromStr for Phase {
    type Err = NotAPhase;
    fn from_str(text: &str) -> Result<Self, NotAPhase> {
        let found = Self::ALL.into_iter().find(|phase| phase.as_str() == text);
        found.ok_or_else(|| NotAPhase(text.to_owned()))
    }
}

/// An action that the host does to an appointment at its time, as the caller `clock`, unless another revision comes
/// first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// Time at which the action is due.
    pub at: Timestamp,
    /// Name of the action.
    pub action: String,
}

/// One action in an appointment's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Name of the action, or `book`.
    pub action: String,
    /// Role of the caller.
    pub role: Role,
    /// Time at which the revision was stored.
    pub at: Timestamp,
}

/// Maximum number of steps that an appointment keeps. The earliest are dropped.
const MAX_STEPS: usize = 50;

impl Step {
    /// Returns the steps of an appointment with this one added. Of more than 50 the earliest are dropped.
    pub fn after(self, before: Option<&Appointment>) -> Vec<Self> {
        let mut steps = before.map_or_else(Vec::new, |before| before.steps.clone());
        steps.push(self);
        steps.drain(..steps.len().saturating_sub(MAX_STEPS));
        steps
    }
}

/// Name of the host's own action, which confirms who booked an appointment. No country has an action of this name.
pub const VERIFY: &str = "verify";

/// A stored appointment, as the rules see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Appointment {
    /// Id, unique in its country and not guessable.
    pub id: Uuid,
    /// Phase of the appointment.
    pub phase: Phase,
    /// Time of the appointment; `None` while it has no date.
    pub slot: Option<Slot>,
    /// Start of the slot as an instant; `None` without a slot.
    pub starts_at: Option<Timestamp>,
    /// Time at which the appointment was first stored.
    pub created_at: Timestamp,
    /// The country's key for the patient. Once the patient's data is erased, it is the opaque id.
    pub patient: String,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// True if the caller who booked it had no verified tie to the patient, and it has not been confirmed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// The next scheduled action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Wake>,
    /// Number of the revision: 1 when first booked, and one more with each change.
    pub revision: u32,
    /// Actions so far, the booking first; the last 50 of them.
    pub steps: Vec<Step>,
    /// The country's own attributes, as the rules last mapped them.
    pub attributes: Vec<Field>,
}

impl Appointment {
    /// Sets attributes, each in place of one with the same path.
    pub fn set(&mut self, attributes: &[Field]) {
        for attribute in attributes {
            match self.attributes.iter_mut().find(|one| one.path == attribute.path) {
                Some(one) => one.value.clone_from(&attribute.value),
                None => self.attributes.push(attribute.clone()),
            }
        }
    }
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
    /// Context that the rules received, without its facts.
    pub context: Context,
    /// Revisions of other appointments in the facts of the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<FactSource>,
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
    /// Opaque id of the patient.
    pub person: Uuid,
    /// The appointment, as the rules planned it.
    pub appointment: Appointment,
    /// Claims that the appointment holds while it is live.
    pub claims: Vec<HeldClaim>,
    /// Subject of the account that booked the appointment without a verified tie to its patient. Only this account and staff
    /// see it. `None` for any other appointment, and once the appointment is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Number of places of each personal claim that has more than one, in an appointment with an owner. Verification takes
    /// the patient's claims with these limits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub personal_places: BTreeMap<String, u16>,
    /// Time at which this revision was stored.
    pub updated_at: Timestamp,
    /// Provenance of this revision.
    pub provenance: Provenance,
    /// Paths of the attributes that are personal. Ledgers keep those [apart](Revision::apart).
    #[serde(skip)]
    pub personal: BTreeSet<String>,
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
