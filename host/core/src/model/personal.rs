//! The personal data of a revision, which ledgers store separately: erasing a patient deletes these parts, and the
//! revisions stay.

use std::collections::BTreeSet;
use std::mem::{replace, take};

use serde::{Deserialize, Serialize};

use crate::model::appointment::{Field, Revision};
use crate::model::context::Tie;

/// The personal part of one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Personal {
    /// The country's key for the patient.
    pub patient: String,
    /// Attributes that identify a person, or that no schema describes.
    pub attributes: Vec<Field>,
    /// Leaves of the request that the rules received.
    pub input: Vec<Field>,
    /// The caller's ties to patients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<Tie>,
}

impl Revision {
    /// Splits the revision into the open part, which names nobody, and the personal part.
    pub fn apart(mut self) -> (Self, Personal) {
        let opaque = self.person.to_string();
        let attributes = take(&mut self.appointment.attributes);
        let personal = take(&mut self.personal);
        let (hidden, open) = attributes.into_iter().partition(|field| personal.contains(&field.path));
        self.appointment.attributes = open;
        let personal = Personal {
            patient: replace(&mut self.appointment.patient, opaque),
            attributes: hidden,
            input: take(&mut self.provenance.input),
            ties: take(&mut self.provenance.context.caller.ties),
        };
        (self, personal)
    }

    /// Completes an open part. Without a personal part, which may be erased, the patient stays opaque.
    #[must_use]
    pub fn complete(mut self, personal: Option<Personal>) -> Self {
        let Some(Personal { patient, attributes, input, ties }) = personal else { return self };
        self.personal = attributes.iter().map(|field| field.path.clone()).collect::<BTreeSet<_>>();
        self.appointment.patient = patient;
        self.appointment.attributes.extend(attributes);
        self.provenance.input = input;
        self.provenance.context.caller.ties = ties;
        self
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::Value;
    use crate::testing::revision;

    fn field(path: &str, text: &str) -> Field {
        Field { path: path.into(), value: Value::Text(text.into()) }
    }

    #[test]
    fn a_revision_comes_together_again_and_its_open_part_names_nobody() {
        let mut whole = revision(Uuid::from_u128(1));
        whole.person = Uuid::from_u128(7);
        whole.appointment.attributes = vec![field("/doctor", "45678"), field("/dni", "10117410")];
        whole.personal = ["/dni".to_owned()].into();
        whole.provenance.input = vec![field("/dni", "10117410-2")];
        let (open, personal) = whole.clone().apart();
        let text = serde_json::to_string(&open).unwrap();
        assert!(!text.contains("10117410") && text.contains("45678"), "{text}");
        assert_eq!(open.clone().complete(Some(personal)), whole);
        let erased = open.complete(None);
        assert_eq!(erased.appointment.patient, Uuid::from_u128(7).to_string());
        assert_eq!(erased.appointment.attributes, [field("/doctor", "45678")]);
    }
}
