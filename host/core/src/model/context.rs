//! The context of a call to the rules: the time, the clocks of the country's zones, the caller, and other appointments.

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::model::appointment::{Appointment, Phase};

/// Role of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees and changes their own appointments, and those of patients for whom they act.
    Patient,
    /// Works for the country.
    Staff,
    /// Operates the platform.
    Platform,
    /// The host itself, for a scheduled action that is due.
    Clock,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Patient, Self::Staff, Self::Platform, Self::Clock];

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

/// Local time of a zone and its shifts from 400 days ago until 400 days ahead, for arithmetic with local times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneClock {
    /// IANA name of the zone.
    pub zone: String,
    /// Current local time.
    pub now: DateTime,
    /// Shifts in order; the first is in force at the beginning.
    pub shifts: Vec<Shift>,
}

/// Tie of a caller to a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract documents them")]
pub enum Relation {
    Oneself,
    Parent,
    Guardian,
    Carer,
}

/// A patient whom the caller is, or acts for, as verified by the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    /// Key of the patient.
    pub patient: String,
    /// Relation of the caller to the patient.
    pub relation: Relation,
}

/// The caller in the rules' view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesCaller {
    /// Role of the caller.
    pub role: Role,
    /// Opaque id of the caller's account, stable within the country.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Verified ties to patients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tie>,
    /// Hospitals that a member of staff works for; `None` means all of the country's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hospitals: Option<Vec<String>>,
}

impl RulesCaller {
    /// Returns true if the caller books for this patient without a verified tie.
    pub fn is_stranger_to(&self, patient: &str) -> bool {
        self.role == Role::Patient && !self.ties.iter().any(|tie| tie.patient == patient)
    }
}

impl From<Role> for RulesCaller {
    /// Returns a caller with a role and nothing else.
    fn from(role: Role) -> Self {
        Self { role, account: String::new(), ties: Vec::new(), hospitals: None }
    }
}

/// The kinds of key by which appointments are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Party {
    Patient,
    Doctor,
    Hospital,
}

impl Party {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Patient, Self::Doctor, Self::Hospital];

    /// Returns the contract's name of the kind, which is also the name of a list's filter.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A query of the rules for other appointments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactQuery {
    /// The rules' own name for it.
    pub name: String,
    /// Kind of the key.
    pub of: Party,
    /// Key by which the appointments are found.
    pub key: String,
    /// Phases of the appointments; any if there are none.
    pub phases: Vec<Phase>,
    /// Earliest start, included, in Unix seconds.
    pub since: Option<i64>,
    /// Latest start, excluded, in Unix seconds.
    pub until: Option<i64>,
    /// Maximum number of appointments, the newest first.
    pub at_most: u8,
}

/// Other appointments that the rules asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The rules' own name for it.
    pub name: String,
    /// Appointments, the newest first.
    pub appointments: Vec<Appointment>,
    /// True if there are more than the query's maximum.
    pub more: bool,
}

/// The revisions of a fact, stored in provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactSource {
    /// The rules' own name for it.
    pub name: String,
    /// Ids and revisions, the newest first.
    pub appointments: Vec<(Uuid, u32)>,
    /// True if there were more than the query's maximum.
    #[serde(default)]
    pub more: bool,
}

impl From<&Fact> for FactSource {
    fn from(fact: &Fact) -> Self {
        let appointments = fact.appointments.iter().map(|found| (found.id, found.revision)).collect();
        Self { name: fact.name.clone(), appointments, more: fact.more }
    }
}

/// The facts that a call gives to the rules beside the request and the appointment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Unix time, in seconds.
    pub now: i64,
    /// Clocks, one for each zone that the descriptor lists.
    pub clocks: Vec<ZoneClock>,
    /// The caller.
    pub caller: RulesCaller,
    /// Other appointments that the rules asked for. Provenance keeps their revisions, and not the appointments.
    #[serde(skip)]
    pub facts: Vec<Fact>,
}
