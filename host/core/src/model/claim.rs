//! Claims: keys that a limited number of live appointments may hold at once.

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use serde::{Deserialize, Serialize};

use crate::model::appointment::Field;

/// Form of the minute at the end of a claim on time.
const MINUTE: &str = "%Y-%m-%dT%H:%MZ";

/// Length of that minute, in bytes.
const MINUTE_BYTES: usize = "2026-12-01T14:15Z".len();

/// A claim that a plan makes.
///
/// As JSON it is its key, or an object if it has several places or is personal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Claim {
    /// Key of the claim. A claim on time is a resource, `/` and a minute in UTC: `doctor/45678/2026-12-01T14:15Z`.
    pub key: String,
    /// Number of live appointments that may hold the key at once, this one included.
    pub places: u16,
    /// True if the key reveals something about the patient.
    pub personal: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Key(String),
    Whole(Whole),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    key: String,
    #[serde(default = "one")]
    places: u16,
    #[serde(default)]
    personal: bool,
}

fn one() -> u16 {
    1
}

impl From<Written> for Claim {
    fn from(written: Written) -> Self {
        match written {
            Written::Key(key) => Self::new(key),
            Written::Whole(Whole { key, places, personal }) => Self { key, places, personal },
        }
    }
}

impl From<Claim> for Written {
    fn from(Claim { key, places, personal }: Claim) -> Self {
        if places == 1 && !personal { Self::Key(key) } else { Self::Whole(Whole { key, places, personal }) }
    }
}

impl Claim {
    /// Returns the claim of a key with one place that reveals nothing about the patient.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), places: 1, personal: false }
    }

    /// Returns true if the claim reveals something about a patient: if the rules say so, or if its key contains the
    /// patient's.
    pub fn is_about(&self, patient: &str) -> bool {
        self.personal || self.key.contains(patient)
    }
}

/// Splits the key of a claim on time into its resource and its minute. Any other key is a resource without a minute.
///
/// `doctor/45678/2026-12-01T14:15Z` is the resource `doctor/45678` and a minute.
pub fn resource_and_minute(key: &str) -> (&str, Option<Timestamp>) {
    let minute = key.len().checked_sub(MINUTE_BYTES).filter(|start| key.is_char_boundary(*start));
    let parsed = minute.and_then(|start| {
        let (resource, minute) = (key[..start].strip_suffix('/')?, &key[start..]);
        let time = BrokenDownTime::parse(MINUTE, minute).ok()?.to_datetime().ok()?;
        Some((resource, jiff::tz::Offset::UTC.to_timestamp(time).ok()?))
    });
    parsed.filter(|(resource, _)| !resource.is_empty()).map_or((key, None), |(resource, at)| (resource, Some(at)))
}

/// Returns the key of a claim on the time of a resource, or on the resource itself.
pub fn key_of(resource: &str, minute: Option<Timestamp>) -> String {
    minute.map_or_else(|| resource.to_owned(), |minute| format!("{resource}/{}", minute.strftime(MINUTE)))
}

/// One of several alternatives of a plan, of which the host takes one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Claims of this alternative, beside those of the plan.
    pub claims: Vec<Claim>,
    /// Attributes that the appointment gets with this alternative.
    pub attributes: Vec<Field>,
}

/// A claim as an appointment holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldClaim {
    /// Key of the claim.
    pub key: String,
    /// Place of the key that the appointment holds, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ordinal: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(ordinal: &u16) -> bool {
    *ordinal == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_on_time_has_a_resource_and_a_minute() {
        let at = |minute: &str| Some(minute.parse::<Timestamp>().unwrap());
        for (key, resource, minute) in [
            ("doctor/45678/2026-12-01T14:15Z", "doctor/45678", at("2026-12-01T14:15:00Z")),
            ("a/2026-12-01T14:15Z", "a", at("2026-12-01T14:15:00Z")),
            ("a/9999-12-31T23:59Z", "a/9999-12-31T23:59Z", None),
            ("/2026-12-01T14:15Z", "/2026-12-01T14:15Z", None),
            ("2026-12-01T14:15Z", "2026-12-01T14:15Z", None),
            ("a2026-12-01T14:15Z", "a2026-12-01T14:15Z", None),
            ("a/2026-12-01T14:15", "a/2026-12-01T14:15", None),
            ("a/2026-13-01T14:15Z", "a/2026-13-01T14:15Z", None),
            ("a/2026-12-01T14:15Z/b", "a/2026-12-01T14:15Z/b", None),
            ("live/patient/dni:10117410", "live/patient/dni:10117410", None),
            ("ñandú", "ñandú", None),
            ("", "", None),
        ] {
            assert_eq!(resource_and_minute(key), (resource, minute), "{key}");
            assert_eq!(key_of(resource, minute), key);
        }
    }

    #[test]
    fn a_plain_claim_is_written_as_its_key() {
        let claims = [
            Claim::new("room/1"),
            Claim { places: 10, ..Claim::new("session/1") },
            Claim { personal: true, ..Claim::new("patient/dni:1") },
        ];
        let written = json!([
            "room/1",
            { "key": "session/1", "places": 10, "personal": false },
            { "key": "patient/dni:1", "places": 1, "personal": true },
        ]);
        assert_eq!(json!(claims), written);
        assert_eq!(serde_json::from_value::<Vec<Claim>>(written).unwrap(), claims);
        assert_eq!(serde_json::from_value::<Claim>(json!({ "key": "room/1" })).unwrap(), claims[0]);
    }
}
