//! The use cases of privacy requests: file, list, extend, close and withdraw. A country's rules say by when a request must be
//! answered, and staff say how it was. Nothing here changes an appointment.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use crate::booking::error::BookingError;
use crate::booking::filters::{self, Spellings};
use crate::booking::{Booking, MAX_ATTEMPTS};
use crate::model::{
    Caller, CountryCode, Demand, Forbidden, MAX_KEY_BYTES, Party, PatientRead, PrivacyOutcome, PrivacyRequest,
    PrivacyState, PrivacyStep, PrivacyTexts, ReadOperation, Relation, Role, Scope, Violation,
};
use crate::people::Access;
use crate::ports::{PrivacyError, PrivacyQuery};
use crate::release::InForce;
use crate::rules::{Rejection, schema};

/// Maximum number of open requests that a patient's account has filed.
pub(super) const MAX_OPEN: usize = 10;

/// Maximum length of a text, in characters.
const MAX_TEXT: usize = 4_000;

/// Maximum length of the reference to a proof, in characters.
const MAX_PROOF: usize = 500;

/// Maximum time for which a demand on paper may have waited before staff file it.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A step that a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum PrivacyAction {
    /// Files a request.
    File,
    /// Extends the time for the answer, once.
    Extend,
    /// Records the answer.
    Close,
    /// Takes the request back.
    Withdraw,
}

/// Schema of each step's input, and its validator.
static SCHEMAS: LazyLock<BTreeMap<PrivacyAction, (Json, Validator)>> = LazyLock::new(|| {
    let compiled = |action: PrivacyAction| {
        let schema = action.schema();
        let validator = schema::validator(action.into(), &schema).expect("the schema is valid");
        (action, (schema, validator))
    };
    PrivacyAction::ALL.map(compiled).into()
});

impl PrivacyAction {
    /// All steps.
    pub const ALL: [Self; 4] = [Self::File, Self::Extend, Self::Close, Self::Withdraw];

    /// Returns the JSON Schema 2020-12 of the step's input.
    pub fn schema(self) -> Json {
        let text = |title: &str, description: &str, max: usize| json!({ "title": title, "description": description, "type": "string", "minLength": 1, "maxLength": max });
        let (required, properties) = match self {
            Self::File => (
                vec!["demand"],
                json!({
                    "demand": {
                        "title": "Demand", "description": "The right that the patient exercises.", "type": "string",
                        "enum": ["access", "rectification", "erasure", "objection", "portability", "blocking"],
                    },
                    "patient": text(
                        "Patient", "The country's key for the patient. A caller with a verified identity may leave it out.",
                        MAX_KEY_BYTES,
                    ),
                    "details": text("Details", "The demand in the patient's own words.", MAX_TEXT),
                    "receivedAt": {
                        "title": "Received", "description": "For staff: time at which a demand on paper was received.",
                        "type": "string", "format": "date-time",
                    },
                }),
            ),
            Self::Extend => (
                vec!["reason"],
                json!({ "reason": text("Reason", "Reason for the extension, which the patient sees.", MAX_TEXT) }),
            ),
            Self::Close => (
                vec!["outcome", "answer", "proof"],
                json!({
                    "outcome": {
                        "title": "Outcome", "type": "string", "enum": ["granted", "partly-granted", "refused"],
                    },
                    "answer": text("Answer", "The answer that the patient got, with the reasons of a refusal.", MAX_TEXT),
                    "proof": text(
                        "Proof",
                        "Reference to the proof that the answer was given, such as the number of a letter. It is kept after an \
                         erasure, so it must not name the patient.",
                        MAX_PROOF,
                    ),
                }),
            ),
            Self::Withdraw => (vec![], json!({})),
        };
        json!({
            "type": "object", "required": required, "properties": properties, "additionalProperties": false,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filing {
    demand: Demand,
    patient: Option<String>,
    details: Option<String>,
    received_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Extension {
    reason: String,
}

#[derive(Deserialize)]
struct Closing {
    outcome: PrivacyOutcome,
    answer: String,
    proof: String,
}

/// A search for privacy requests.
#[derive(Clone, Debug, Default)]
pub struct PrivacySearch {
    /// State of the requests; any state if it is absent.
    pub state: Option<PrivacyState>,
    /// Patient, as the caller spells the key.
    pub patient: Option<String>,
    /// Latest time of the answer, excluded.
    pub due_before: Option<Timestamp>,
    /// Position after which the page begins.
    pub after: Option<(Timestamp, Uuid)>,
    /// Maximum number of requests.
    pub limit: usize,
}

impl Booking {
    /// Files a privacy request, and returns it with true. An account that has filed the same demand for the patient, which is
    /// open, gets that one with false.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn file_privacy_request(
        &self,
        caller: &Caller,
        country: CountryCode,
        input: Json,
    ) -> Result<(PrivacyRequest, bool), BookingError> {
        let (rules, access) = self.enter_privacy(caller, country, Scope::Write).await?;
        let filing: Filing = parsed(&rules, PrivacyAction::File, input)?;
        let now = self.clock.now();
        let received_at = received_at(&rules, &access, &filing, now)?;
        let patient = self.demanding(&rules, &access, filing.patient).await?;
        let person = self.decider.names.patient(country, &patient);
        let owner = (access.role == Role::Patient).then(|| access.subject.clone());
        if let Some(owner) = &owner {
            let query = PrivacyQuery { state: Some(PrivacyState::Open), owner: Some(owner.clone()), ..all(MAX_OPEN) };
            let open = self.decider.ledger.privacy_requests(country, &query).await?;
            let is_this = |open: &PrivacyRequest| (open.person, open.demand) == (person, filing.demand);
            match open.iter().position(is_this) {
                Some(filed) => return Ok((open.into_iter().nth(filed).expect("it was found"), false)),
                None if open.len() == MAX_OPEN => return Err(BookingError::TooManyPrivacyRequests),
                None => {}
            }
        }
        let request = PrivacyRequest {
            id: self.decider.ids.next(),
            country,
            person,
            demand: filing.demand,
            verified: owner.is_none() || may_demand(&access, &patient),
            owner,
            received_at,
            due_at: self.due(&rules, &access, filing.demand, received_at).await?,
            extended_from: None,
            outcome: None,
            proof: None,
            steps: vec![step(&access, PrivacyAction::File, now)],
            texts: Some(PrivacyTexts { patient, details: filing.details, ..PrivacyTexts::default() }),
        };
        match self.decider.ledger.put_privacy_request(request.clone()).await {
            Ok(()) => Ok((request, true)),
            Err(PrivacyError::Stale) => Err(BookingError::InProgress),
            Err(PrivacyError::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }

    /// Returns a privacy request: any for staff, and for a patient those that the same account filed or that are about a
    /// patient whom it may demand for.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn privacy_request(
        &self,
        caller: &Caller,
        country: CountryCode,
        id: Uuid,
    ) -> Result<PrivacyRequest, BookingError> {
        let (_, access) = self.enter_privacy(caller, country, Scope::Read).await?;
        let found = self.visible_privacy_request(&access, country, id).await?;
        self.log_privacy_requests(&access, country, std::slice::from_ref(&found)).await?;
        Ok(found)
    }

    /// Returns the first privacy requests that match and that the caller may see, by the time of the answer, and true if there
    /// are more.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn privacy_requests(
        &self,
        caller: &Caller,
        country: CountryCode,
        search: PrivacySearch,
    ) -> Result<(Vec<PrivacyRequest>, bool), BookingError> {
        let (rules, access) = self.enter_privacy(caller, country, Scope::Read).await?;
        let PrivacySearch { state, patient, due_before, after, limit } = search;
        let patient = match patient {
            Some(_) => self.patient_key(&rules, patient).await?,
            None => None,
        };
        let person = patient.map(|patient| self.decider.names.patient(country, &patient));
        let query = PrivacyQuery { state, person, owner: None, due_before, after, limit: limit + 1 };
        let mut found = BTreeMap::new();
        for query in self.own_queries(&access, country, query) {
            let page = self.decider.ledger.privacy_requests(country, &query).await?;
            found.extend(page.into_iter().map(|request| (request.position(), request)));
        }
        let more = found.len() > limit;
        let found: Vec<PrivacyRequest> = found.into_values().take(limit).collect();
        self.log_privacy_requests(&access, country, &found).await?;
        Ok((found, more))
    }

    /// Does a step of an open privacy request. Staff extend and close, and whoever filed it withdraws.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn step_privacy_request(
        &self,
        caller: &Caller,
        country: CountryCode,
        id: Uuid,
        action: PrivacyAction,
        input: Json,
        if_match: Option<&[String]>,
    ) -> Result<PrivacyRequest, BookingError> {
        let (rules, access) = self.enter_privacy(caller, country, Scope::Write).await?;
        for _ in 0..MAX_ATTEMPTS {
            let current = self.visible_privacy_request(&access, country, id).await?;
            if if_match.is_some_and(|tags| !tags.contains(&current.revision().to_string())) {
                return Err(BookingError::PrivacyStale);
            }
            let next = self.stepped(&rules, &access, current, action, input.clone()).await?;
            match self.decider.ledger.put_privacy_request(next.clone()).await {
                Ok(()) => return Ok(next),
                Err(PrivacyError::Stale) => {}
                Err(PrivacyError::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        Err(BookingError::PrivacyStale)
    }

    /// Returns the next revision of a request.
    async fn stepped(
        &self,
        rules: &InForce,
        access: &Access,
        mut request: PrivacyRequest,
        action: PrivacyAction,
        input: Json,
    ) -> Result<PrivacyRequest, BookingError> {
        let is_owner = request.owner.as_ref() == Some(&access.subject);
        match (action, access.role) {
            (PrivacyAction::File, _) => return Err(BookingError::UnknownAction("file".to_owned())),
            (PrivacyAction::Extend | PrivacyAction::Close, Role::Patient) => {
                return Err(Forbidden("privacy requests are extended and closed by staff".to_owned()).into());
            }
            (PrivacyAction::Withdraw, _) if !is_owner => {
                return Err(Forbidden("a privacy request is withdrawn by whoever filed it".to_owned()).into());
            }
            _ => {}
        }
        let now = self.clock.now();
        if request.outcome.is_some() {
            return Err(BookingError::PrivacyNotNow("the request is closed"));
        }
        // An erased text stays erased: the country's key is not known any more.
        let mut texts = request.texts.take().unwrap_or_default();
        match action {
            PrivacyAction::Extend => {
                let Extension { reason } = parsed(rules, action, input)?;
                check_extension(&request, now)?;
                request.extended_from = Some(request.due_at);
                request.due_at = self.due(rules, access, request.demand, request.due_at).await?;
                texts.extension = Some(reason);
            }
            PrivacyAction::Close => {
                let Closing { outcome, answer, proof } = parsed(rules, action, input)?;
                (request.outcome, request.proof, texts.answer) = (Some(outcome), Some(proof), Some(answer));
            }
            PrivacyAction::Withdraw | PrivacyAction::File => {
                let Json::Object(_) = parsed(rules, action, input)? else { unreachable!("the schema wants an object") };
                request.outcome = Some(PrivacyOutcome::Withdrawn);
            }
        }
        request.texts = Some(texts);
        request.steps.push(step(access, action, now));
        Ok(request)
    }

    /// Returns the rules of the country and the caller's access there, unless the caller is staff of some hospitals only.
    async fn enter_privacy(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(InForce, Access), BookingError> {
        let (rules, access) = self.enter(caller, country, scope).await?;
        if access.hospitals.is_some() {
            let why = format!("privacy requests are for the staff of all hospitals of `{country}`");
            return Err(Forbidden(why).into());
        }
        Ok((rules, access))
    }

    async fn visible_privacy_request(
        &self,
        access: &Access,
        country: CountryCode,
        id: Uuid,
    ) -> Result<PrivacyRequest, BookingError> {
        let found = self.decider.ledger.privacy_request(country, id).await?;
        let own: Vec<Uuid> = self.own_people(access, country);
        let sees = |request: &PrivacyRequest| {
            access.role != Role::Patient
                || request.owner.as_ref() == Some(&access.subject)
                || own.contains(&request.person)
        };
        found.filter(sees).ok_or(BookingError::UnknownPrivacyRequest)
    }

    /// Returns the opaque ids of the patients whom a patient's account may demand for.
    fn own_people(&self, access: &Access, country: CountryCode) -> Vec<Uuid> {
        let own = access.ties.iter().filter(|tie| represents(tie.relation));
        own.map(|tie| self.decider.names.patient(country, &tie.patient)).collect()
    }

    /// Narrows a query to what the caller may see. A patient's account gets one for what it filed, and one for each person.
    fn own_queries(&self, access: &Access, country: CountryCode, query: PrivacyQuery) -> Vec<PrivacyQuery> {
        if access.role != Role::Patient {
            return vec![query];
        }
        let filed = PrivacyQuery { owner: Some(access.subject.clone()), ..query.clone() };
        let people = self.own_people(access, country).into_iter();
        let people = people.filter(|own| query.person.is_none_or(|person| person == *own));
        [filed].into_iter().chain(people.map(|own| PrivacyQuery { person: Some(own), ..query.clone() })).collect()
    }

    /// Returns the key of the patient whose right is exercised.
    async fn demanding(&self, rules: &InForce, access: &Access, spelt: Option<String>) -> Result<String, BookingError> {
        let Some(spelt) = spelt else {
            let own = access.ties.iter().find(|tie| tie.relation == Relation::Oneself);
            let missing = Violation {
                params: vec![("property".into(), "patient".into())],
                ..Violation::new("/patient", "schema.required")
            };
            return own.map(|tie| tie.patient.clone()).ok_or_else(|| refused(rules, PrivacyAction::File, missing));
        };
        let (known, spelling) = (rules.used.clone(), spelt);
        let call = move || known.key(Party::Patient, &spelling);
        let key = self.decider.catalogue.executor().run(rules.used.country, call).await??;
        key.ok_or_else(|| refused(rules, PrivacyAction::File, Violation::new("/patient", "privacy.patient")))
    }

    async fn patient_key(&self, rules: &InForce, patient: Option<String>) -> Result<Option<String>, BookingError> {
        let (rules, country) = (rules.clone(), rules.used.country);
        let spelt = Spellings { patient, ..Spellings::default() };
        Ok(self.decider.catalogue.executor().run(country, move || filters::keys(&rules, &spelt)).await??.patient)
    }

    /// Returns the time by which a demand that was received at this time must be answered.
    async fn due(
        &self,
        rules: &InForce,
        access: &Access,
        demand: Demand,
        received_at: Timestamp,
    ) -> Result<Timestamp, BookingError> {
        let (known, caller, now) = (rules.used.clone(), access.for_rules(), self.clock.now());
        let call = move || known.due(&known.context(now, caller), demand, received_at);
        Ok(self.decider.catalogue.executor().run(rules.used.country, call).await??)
    }

    async fn log_privacy_requests(
        &self,
        access: &Access,
        country: CountryCode,
        shown: &[PrivacyRequest],
    ) -> Result<(), BookingError> {
        let mut patients: Vec<PatientRead> = Vec::new();
        for PrivacyRequest { person, texts, .. } in shown {
            if !patients.iter().any(|patient| patient.person == *person) {
                let reason = access.reason(texts.as_ref().map_or("", |texts| &texts.patient));
                patients.push(PatientRead { person: *person, reason, appointments: Vec::new() });
            }
        }
        if patients.is_empty() {
            return Ok(());
        }
        Ok(self.access_control.record(country, access, ReadOperation::PrivacyRequests, patients).await?)
    }
}

/// Returns true for a relation by which somebody exercises the rights of a patient.
fn represents(relation: Relation) -> bool {
    match relation {
        Relation::Oneself | Relation::Parent | Relation::Guardian => true,
        Relation::Carer => false,
    }
}

fn may_demand(access: &Access, patient: &str) -> bool {
    access.ties.iter().any(|tie| tie.patient == patient && represents(tie.relation))
}

fn all(limit: usize) -> PrivacyQuery {
    PrivacyQuery { limit, ..PrivacyQuery::default() }
}

fn step(access: &Access, action: PrivacyAction, at: Timestamp) -> PrivacyStep {
    let action: &str = action.into();
    PrivacyStep {
        action: action.to_owned(),
        at,
        subject: access.subject.clone(),
        role: access.role,
        request_id: access.request_id.clone(),
    }
}

/// Returns the time at which a demand was received. Only staff name one.
fn received_at(rules: &InForce, access: &Access, filing: &Filing, now: Timestamp) -> Result<Timestamp, BookingError> {
    let Some(received_at) = filing.received_at else { return Ok(now) };
    let is_possible = access.role != Role::Patient && (now - MAX_AGE..=now).contains(&received_at);
    let wrong = || refused(rules, PrivacyAction::File, Violation::new("/receivedAt", "privacy.received"));
    if is_possible { Ok(received_at) } else { Err(wrong()) }
}

fn check_extension(request: &PrivacyRequest, now: Timestamp) -> Result<(), BookingError> {
    if request.demand == Demand::Blocking {
        return Err(BookingError::PrivacyNotNow("the time for a blocking cannot be extended"));
    }
    if request.extended_from.is_some() {
        return Err(BookingError::PrivacyNotNow("the time for the answer has been extended already"));
    }
    if now > request.due_at {
        return Err(BookingError::PrivacyNotNow("the time for the answer is over"));
    }
    Ok(())
}

/// Checks the input of a step by its schema, and parses it.
fn parsed<T: for<'de> Deserialize<'de>>(
    rules: &InForce,
    action: PrivacyAction,
    input: Json,
) -> Result<T, BookingError> {
    let (schema, validator) = &SCHEMAS[&action];
    let violations = schema::violations(validator, &input);
    if violations.is_empty() {
        let invalid = |_| refused(rules, action, Violation::new("", "privacy.invalid"));
        return serde_json::from_value(input).map_err(invalid);
    }
    let violations = violations.into_iter().map(|violation| schema::labelled(schema, violation)).collect();
    Err(BookingError::BadPrivacyRequest(Rejection { violations, rules: Arc::clone(&rules.used) }))
}

fn refused(rules: &InForce, action: PrivacyAction, violation: Violation) -> BookingError {
    let violations = vec![schema::labelled(&SCHEMAS[&action].0, violation)];
    BookingError::BadPrivacyRequest(Rejection { violations, rules: Arc::clone(&rules.used) })
}
