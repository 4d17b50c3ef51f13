//! The circumstances of a call to the rules: the time, the clocks of the country's zones, and the role of whoever asks.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and changes what the same subject booked.
    Patient,
    /// Works for the country.
    Staff,
    /// Runs the platform.
    Platform,
}

impl Role {
    /// The contract's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Staff => "staff",
            Self::Platform => "platform",
        }
    }
}

/// From `at` on, the zone's clocks stand this far from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// Unix seconds.
    pub at: i64,
    /// East of Greenwich is positive.
    pub offset_minutes: i16,
}

/// What local-time arithmetic needs of a zone over the booking horizon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneClock {
    /// IANA name.
    pub zone: String,
    /// What its clocks show.
    pub now: DateTime,
    /// In order; the first is in force now.
    pub shifts: Vec<Shift>,
}

/// The circumstances of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Unix seconds.
    pub now: i64,
    /// One for each zone that the descriptor lists.
    pub clocks: Vec<ZoneClock>,
    /// Who asks.
    pub role: Role,
}
