//! The context of a call to the rules: the time, the clocks of the country's zones, and the caller's role.

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Role of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and changes the appointments that the same subject booked.
    Patient,
    /// Works for the country.
    Staff,
    /// Operates the platform.
    Platform,
}

impl Role {
    /// Returns the contract's name of the role.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An offset from UTC, and the time from which it applies in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// Unix time, in seconds.
    pub at: i64,
    /// Offset from UTC, in minutes. East of Greenwich is positive.
    pub offset_minutes: i16,
}

/// Local time of a zone and its shifts over the booking horizon, for arithmetic with local times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneClock {
    /// IANA name of the zone.
    pub zone: String,
    /// Current local time.
    pub now: DateTime,
    /// Shifts in order; the first is in force now.
    pub shifts: Vec<Shift>,
}

/// The facts that a call gives to the rules beside the request and the appointment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Unix time, in seconds.
    pub now: i64,
    /// Clocks, one for each zone that the descriptor lists.
    pub clocks: Vec<ZoneClock>,
    /// Role of the caller.
    pub role: Role,
}
