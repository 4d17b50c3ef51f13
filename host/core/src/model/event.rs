//! What has happened, as a CloudEvent 1.0 in its JSON format.
//!
//! The format is written here and not taken from the CloudEvents SDK: nine members need no conversion to and from the
//! SDK's untyped data (the architecture's decision D26).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::appointment::{CountryCode, Revision};

/// Prefix of every event's `type`; the rules' own name of the event follows.
pub const TYPE_PREFIX: &str = "citas.appointment.";

/// A CloudEvent whose subject is one appointment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique; a repeated delivery carries the same.
    pub id: Uuid,
    /// `/v1/<country>/appointments`.
    pub source: String,
    /// [`TYPE_PREFIX`] and the rules' name: `citas.appointment.booked`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The appointment's id.
    pub subject: Uuid,
    /// When it was stored.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Extension attribute, for filters.
    pub country: CountryCode,
    /// The appointment as it then stood.
    pub data: Revision,
}

impl Event {
    /// The event `name` about an appointment that has just become `revision`.
    #[must_use]
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
            data: revision.clone(),
        }
    }

    /// The rules' own name of it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind)
    }
}
