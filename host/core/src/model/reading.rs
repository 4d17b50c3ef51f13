//! Readings: who was shown data of which patients, when and why. A reading names patients by their opaque ids only.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::context::{Relation, Role};

/// Time for which a reading is kept: a year.
pub const READINGS_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Operation that shows data of patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadOperation {
    /// One appointment.
    Get,
    /// The revisions of an appointment.
    History,
    /// A page of appointments.
    List,
    /// The page of a link in mail.
    Link,
    /// A page of the read log.
    ReadLog,
    /// Links of accounts to patients.
    PatientLinks,
    /// A privacy request, or a page of them.
    PrivacyRequests,
}

impl ReadOperation {
    /// Returns true if staff are shown nothing unless it can be recorded. Care goes first, so one appointment is shown.
    pub fn must_be_recorded(self) -> bool {
        match self {
            Self::Get | Self::History | Self::Link => false,
            Self::List | Self::ReadLog | Self::PatientLinks | Self::PrivacyRequests => true,
        }
    }
}

/// Reason for which a caller may see data of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadReason {
    /// The caller works for the country.
    Staff,
    /// The caller operates the platform.
    Platform,
    /// The account that booked the appointment, filed the privacy request, or has the link.
    Owner,
    /// The caller is the patient, or has the patient's mail.
    #[serde(rename = "self")]
    Oneself,
    /// The caller is a parent of the patient.
    Parent,
    /// The caller is a guardian of the patient.
    Guardian,
    /// The caller cares for the patient.
    Carer,
}

impl From<Relation> for ReadReason {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::Oneself => Self::Oneself,
            Relation::Parent => Self::Parent,
            Relation::Guardian => Self::Guardian,
            Relation::Carer => Self::Carer,
        }
    }
}

/// One request that showed data of patients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Time of the request.
    pub at: Timestamp,
    /// Subject of the caller's token; `link` for a link in mail.
    pub subject: String,
    /// Role of the caller.
    pub role: Role,
    /// Operation of the request.
    pub operation: ReadOperation,
    /// Id of the request.
    pub request_id: String,
    /// Patients whose data was shown, each once.
    pub patients: Vec<PatientRead>,
}

/// A patient whose data was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientRead {
    /// Opaque id of the patient.
    pub person: Uuid,
    /// Reason for which the caller may see the patient's data.
    pub reason: ReadReason,
    /// Ids of the appointments that were shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appointments: Vec<Uuid>,
}

impl Reading {
    /// Returns the reading with no other patient than this one, or `None` if the patient is not among those of the reading.
    pub fn of_person(mut self, person: Uuid) -> Option<Self> {
        self.patients.retain(|patient| patient.person == person);
        (!self.patients.is_empty()).then_some(self)
    }
}
