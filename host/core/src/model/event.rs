//! Events about appointments: CloudEvents 1.0 in the JSON format.
//!
//! The format is written here and not taken from the CloudEvents SDK: nine members need no conversion to and from the
//! SDK's untyped data (the architecture's decision D26).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::appointment::{CountryCode, Revision};

/// Prefix of every event's `type`. The rules' name of the event follows it.
pub const TYPE_PREFIX: &str = "citas.appointment.";

/// A CloudEvent whose subject is one appointment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of CloudEvents: always `1.0`.
    pub specversion: String,
    /// Unique id. A repeated delivery carries the same id.
    pub id: Uuid,
    /// Path of the country's appointments: `/v1/<country>/appointments`.
    pub source: String,
    /// Type: [`TYPE_PREFIX`] and the rules' name of the event, for example `citas.appointment.booked`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the appointment.
    pub subject: Uuid,
    /// Time at which the revision was stored.
    pub time: Timestamp,
    /// Media type of `data`: always `application/json`.
    pub datacontenttype: String,
    /// Country, as an extension attribute for filters.
    pub country: CountryCode,
    /// The revision that the event is about, without its content.
    pub data: EventData,
}

/// Reference to a revision. It has no personal data, because published events cannot be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// Number of the revision.
    pub revision: u32,
    /// Opaque id of the patient.
    pub patient: Uuid,
}

impl Event {
    /// Returns the event `name` about an appointment whose new revision is `revision`.
    pub fn new(id: Uuid, name: &str, revision: &Revision) -> Self {
        Self {
            specversion: "1.0".into(),
            id,
            source: format!("/v1/{}/appointments", revision.country),
            kind: format!("{TYPE_PREFIX}{name}"),
            subject: revision.appointment.id,
            time: revision.updated_at,
            datacontenttype: "application/json".into(),
            country: revision.country,
            data: EventData { revision: revision.appointment.revision, patient: revision.person },
        }
    }

    /// Returns the rules' name of the event.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind)
    }
}
