//! Patient links: an account acts for a patient, because staff have seen that it may. Knows no ledger and no clock.

use std::borrow::Cow;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value as Json, json};
use strum::IntoStaticStr;
use uuid::Uuid;

use crate::model::appointment::CountryCode;
use crate::model::context::{Relation, Role, Tie};

/// Maximum length of a token's subject (OpenID Connect Core 1.0, section 2).
pub const MAX_SUBJECT_BYTES: usize = 255;

/// Maximum length of a reason, in characters.
const MAX_REASON: usize = 500;

/// Names of the relations in documents.
const RELATIONS: [(&str, Relation); 4] = [
    ("self", Relation::Oneself),
    ("parent", Relation::Parent),
    ("guardian", Relation::Guardian),
    ("carer", Relation::Carer),
];

/// State of a patient link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, JsonSchema)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum PatientLinkState {
    /// The account has asked for it.
    Requested,
    /// Staff have made it.
    Active,
    /// Staff, the account or the patient has ended it, or staff have refused the request.
    Ended,
}

impl PatientLinkState {
    /// Returns the name of the state in documents.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One revision of the link of an account to a patient. The personal part is not part of its JSON: ledgers store it
/// separately, so that erasing a patient deletes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PatientLink {
    /// Country of the patient.
    pub country: CountryCode,
    /// Opaque id of the patient.
    pub person: Uuid,
    /// Subject of the account's tokens.
    pub subject: String,
    /// 1 for the first revision, and one more with each change.
    pub revision: u32,
    /// State from this revision on.
    pub state: PatientLinkState,
    /// Relation of the account to the patient.
    pub relation: Relation,
    /// First day on which the account may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// Last day on which the account may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// Time at which the revision was stored.
    pub updated_at: Timestamp,
    /// Subject of the token that stored it.
    pub by: String,
    /// Role of that caller.
    pub role: Role,
    /// Id of the request that stored it.
    pub request_id: String,
    /// The personal part; `None` if it is erased.
    #[serde(skip)]
    pub personal: Option<LinkedPatient>,
}

/// The personal part of a patient link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkedPatient {
    /// The country's key for the patient.
    pub patient: String,
    /// Reason for the link.
    pub reason: String,
    /// The patient's date of birth, for a parent's link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<Date>,
}

/// The day in a country, and the age from which nobody is a child there.
#[derive(Clone, Copy, Debug)]
pub struct Today {
    /// The day, by the clocks of the country's first zone.
    pub date: Date,
    /// Age in years.
    pub adult_age: u8,
}

impl Today {
    /// Returns true if somebody born on this day is of age.
    pub fn is_adult(self, birth_date: Date) -> bool {
        birth_date.saturating_add(i32::from(self.adult_age).years()) <= self.date
    }
}

impl PatientLink {
    /// Returns true if the link has ended, whether or not a revision says so.
    pub fn is_over(&self, today: Today) -> bool {
        let birth_date = self.personal.as_ref().and_then(|personal| personal.birth_date);
        self.state == PatientLinkState::Ended
            || self.until.is_some_and(|until| until < today.date)
            || self.relation == Relation::Parent && birth_date.is_none_or(|born| today.is_adult(born))
    }

    /// Returns true if the account may act for the patient today.
    pub fn is_valid(&self, today: Today) -> bool {
        let has_begun = self.from.is_none_or(|from| from <= today.date);
        self.state == PatientLinkState::Active && has_begun && !self.is_over(today)
    }

    /// Returns the account's tie to the patient if it may act today and the patient's key is not erased.
    pub fn tie(&self, today: Today) -> Option<Tie> {
        let patient = self.personal.as_ref().filter(|_| self.is_valid(today))?.patient.clone();
        Some(Tie { patient, relation: self.relation })
    }

    /// Returns the name of the relation in documents.
    pub fn relation_name(&self) -> &'static str {
        let named = RELATIONS.iter().find(|(_, relation)| *relation == self.relation);
        named.map_or("", |(name, _)| name)
    }
}

/// The terms of a link, as staff set them or an account asks for them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PatientLinkTerms {
    /// Relation of the account to the patient.
    #[serde(deserialize_with = "relation")]
    pub relation: Relation,
    /// Reason for the link.
    pub reason: String,
    /// First day on which the account may act.
    #[serde(default)]
    pub from: Option<Date>,
    /// Last day on which the account may act.
    #[serde(default)]
    pub until: Option<Date>,
    /// The patient's date of birth, for a parent's link.
    #[serde(default)]
    pub birth_date: Option<Date>,
}

fn relation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Relation, D::Error> {
    let text = String::deserialize(deserializer)?;
    let named = RELATIONS.iter().find(|(name, _)| *name == text);
    named.map(|(_, relation)| *relation).ok_or_else(|| serde::de::Error::custom("not a relation"))
}

impl JsonSchema for PatientLinkTerms {
    fn schema_name() -> Cow<'static, str> {
        "PatientLinkTerms".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(Self::schema()).expect("it is an object")
    }
}

impl PatientLinkTerms {
    /// Returns the schema of the terms (JSON Schema 2020-12), without the condition of [`PatientLinkTerms::strict_schema`].
    pub fn schema() -> Json {
        let date = |title: &str, description: &str| json!({ "title": title, "description": description, "type": "string", "format": "date" });
        json!({
            "type": "object", "required": ["relation", "reason"], "additionalProperties": false,
            "properties": {
                "relation": {
                    "title": "Relation", "description": "The account is the patient, or one of these of the patient.",
                    "type": "string", "enum": Self::relations(),
                },
                "reason": {
                    "title": "Reason", "description": "Why the account may act, such as the document that staff have seen.",
                    "type": "string", "minLength": 1, "maxLength": MAX_REASON, "pattern": "\\S",
                    "examples": ["Birth certificate shown at the desk"],
                },
                "from": date("From", "First day on which the account may act. It may at once if this is absent."),
                "until": date("Until", "Last day on which the account may act. There is none if this is absent."),
                "birthDate": date(
                    "Birth date", "The patient's date of birth, for a parent alone: the link ends when the patient is of age.",
                ),
            },
        })
    }

    /// Returns the schema of the terms that are accepted: a parent's have the patient's date of birth, and no others do.
    /// Generators of clients understand no conditions.
    pub fn strict_schema() -> Json {
        let mut schema = Self::schema();
        schema["if"] = json!({ "properties": { "relation": { "const": "parent" } }, "required": ["relation"] });
        schema["then"] = json!({ "required": ["birthDate"] });
        schema["else"] = json!({ "properties": { "birthDate": false } });
        schema
    }

    /// Returns the names of the relations.
    pub fn relations() -> [&'static str; 4] {
        RELATIONS.map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today(date: &str) -> Today {
        Today { date: date.parse().unwrap(), adult_age: 18 }
    }

    fn link(relation: Relation, birth_date: Option<&str>) -> PatientLink {
        PatientLink {
            country: "pe".parse().unwrap(),
            person: Uuid::nil(),
            subject: "ana".into(),
            revision: 1,
            state: PatientLinkState::Active,
            relation,
            from: None,
            until: None,
            updated_at: Timestamp::UNIX_EPOCH,
            by: "eva".into(),
            role: Role::Staff,
            request_id: "r-1".into(),
            personal: Some(LinkedPatient {
                patient: "dni:10117410".into(),
                reason: "seen".into(),
                birth_date: birth_date.map(|date| date.parse().unwrap()),
            }),
        }
    }

    #[test]
    fn a_link_is_valid_from_its_first_day_to_its_last_one() {
        let mut link = link(Relation::Carer, None);
        (link.from, link.until) = ("2026-12-01".parse().ok(), "2026-12-24".parse().ok());
        let on = |date: &str| (link.is_valid(today(date)), link.is_over(today(date)));
        assert_eq!(on("2026-11-30"), (false, false));
        assert_eq!([on("2026-12-01"), on("2026-12-24")], [(true, false); 2]);
        assert_eq!(on("2026-12-25"), (false, true));
    }

    #[test]
    fn a_parents_link_ends_on_the_day_on_which_the_patient_is_of_age() {
        let child = link(Relation::Parent, Some("2008-12-24"));
        assert!(child.is_valid(today("2026-12-23")));
        assert!(child.is_over(today("2026-12-24")) && child.tie(today("2026-12-24")).is_none());
        let leap = link(Relation::Parent, Some("2008-02-29"));
        assert!(leap.is_valid(today("2026-02-27")) && leap.is_over(today("2026-02-28")));
        let older = Today { adult_age: 21, ..today("2026-12-24") };
        assert!(child.is_valid(older));
        assert!(link(Relation::Guardian, None).is_valid(today("2026-12-24")));
    }

    #[test]
    fn only_a_link_that_is_active_and_not_erased_is_a_tie() {
        let mut link = link(Relation::Oneself, None);
        let tie = Tie { patient: "dni:10117410".into(), relation: Relation::Oneself };
        assert_eq!(link.tie(today("2026-12-24")), Some(tie));
        for state in [PatientLinkState::Requested, PatientLinkState::Ended] {
            assert_eq!(PatientLink { state, ..link.clone() }.tie(today("2026-12-24")), None);
        }
        link.personal = None;
        assert_eq!(link.tie(today("2026-12-24")), None);
    }

    #[test]
    fn the_json_of_a_link_names_no_patient() {
        let whole = link(Relation::Parent, Some("2008-12-24"));
        let open = serde_json::to_string(&whole).unwrap();
        assert!(!["10117410", "seen", "2008"].iter().any(|text| open.contains(text)), "{open}");
        let read: PatientLink = serde_json::from_str(&open).unwrap();
        assert_eq!(PatientLink { personal: whole.personal.clone(), ..read }, whole);
    }
}
