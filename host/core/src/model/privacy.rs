//! Requests of patients about their personal data: what is demanded, by when it must be answered, and the answer. The texts,
//! which may name anybody, are a part of their own that can be erased.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::model::appointment::CountryCode;
use crate::model::context::Role;

/// A right of a patient over personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are those of the laws")]
pub enum Demand {
    Access,
    Rectification,
    Erasure,
    Objection,
    Portability,
    Blocking,
}

impl Demand {
    /// Returns the contract's name of the demand.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// State of a privacy request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum PrivacyState {
    /// It waits for an answer.
    Open,
    /// It is answered or withdrawn.
    Closed,
}

impl PrivacyState {
    /// All states.
    pub const ALL: [Self; 2] = [Self::Open, Self::Closed];

    /// Returns the name of the state.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Outcome of a privacy request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyOutcome {
    /// All that was demanded is done.
    Granted,
    /// Some of it is done.
    PartlyGranted,
    /// Nothing is done, for the reason in the answer.
    Refused,
    /// Whoever filed the request no longer wants an answer.
    Withdrawn,
}

/// A step in the handling of a privacy request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyStep {
    /// Name of the step: `file`, `extend` or `close`.
    pub action: String,
    /// Time of the step.
    pub at: Timestamp,
    /// Subject of the token.
    pub subject: String,
    /// Role of that caller.
    pub role: Role,
    /// Id of the request.
    pub request_id: String,
}

/// Texts of a privacy request. They may name the patient and others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyTexts {
    /// The country's key for the patient.
    pub patient: String,
    /// Demand in the patient's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Reason for the extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A privacy request, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyRequest {
    /// Unique id.
    pub id: Uuid,
    /// Country of the patient.
    pub country: CountryCode,
    /// Opaque id of the patient.
    pub person: Uuid,
    /// The right that is exercised.
    pub demand: Demand,
    /// Subject of the token that filed the request, unless it was staff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// True if the owner has a verified tie to the patient, or staff filed the request.
    pub verified: bool,
    /// Time at which the demand was received.
    pub received_at: Timestamp,
    /// Time by which it must be answered.
    pub due_at: Timestamp,
    /// Time by which it had to be answered before the extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_from: Option<Timestamp>,
    /// Outcome, once the request is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PrivacyOutcome>,
    /// Reference to the proof that the answer was given, such as the number of a letter. It names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Steps so far, the filing first. Their number is that of the revision.
    pub steps: Vec<PrivacyStep>,
    /// The texts, unless they are erased. Ledgers store them apart.
    #[serde(skip)]
    pub texts: Option<PrivacyTexts>,
}

impl PrivacyRequest {
    /// Returns the state.
    pub fn state(&self) -> PrivacyState {
        if self.outcome.is_some() { PrivacyState::Closed } else { PrivacyState::Open }
    }

    /// Returns the number of the revision: 1 when filed, and one more with each step.
    pub fn revision(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Returns the position in a list.
    pub fn position(&self) -> (Timestamp, Uuid) {
        (self.due_at, self.id)
    }
}
