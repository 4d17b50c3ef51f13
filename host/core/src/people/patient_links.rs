//! The use cases of patient links: staff make them, an account may ask for one, and staff, the account and the patient may
//! end them. What an account may do with a link, [`Access`] and the rules decide.

use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::{
    Caller, CountryCode, Forbidden, LinkedPatient, MAX_SUBJECT_BYTES, Party, PatientLink, PatientLinkState,
    PatientLinkTerms, PatientRead, Precondition, ReadOperation, Relation, Role, Scope, Today, Violation,
};
use crate::people::{Access, AccessControl, AccessError};
use crate::ports::{
    AccountLinks, Fault, PatientLinkChange, PatientLinkError, ReadLogUnavailable, RequestPosition, Unavailable,
};
use crate::release::InForce;
use crate::rules::{LoadedRules, Rejection, schema};

/// Maximum number of active links of an account.
pub const MAX_LINKS: usize = 20;

/// Maximum number of open requests of an account.
pub const MAX_REQUESTS: usize = 5;

/// Maximum number of attempts to store a revision while others change links of the account.
const MAX_ATTEMPTS: usize = 5;

/// Schema of the terms of a link, and its validator.
static SCHEMA: LazyLock<(Json, Validator)> = LazyLock::new(|| {
    let schema = PatientLinkTerms::strict_schema();
    let validator = schema::validator("patient-link", &schema).expect("the schema is valid");
    (schema, validator)
});

/// Errors of the use cases of patient links, one variant for each different response.
#[derive(Debug, thiserror::Error)]
pub enum LinkingError {
    /// The caller is not admitted to the country.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The read log cannot record the response.
    #[error(transparent)]
    ReadLog(#[from] ReadLogUnavailable),
    /// The link does not exist, or the caller may not see it.
    #[error("there is no such link")]
    UnknownLink,
    /// The link is not valid.
    #[error("the link is not valid")]
    BadLink(Rejection),
    /// The link is not as the request requires.
    #[error("the link is not the one that the condition names, or has changed; read it again")]
    Stale,
    /// A new revision of a link needs a condition.
    #[error(
        "send `If-Match` with the link's `ETag`, or `If-None-Match: *` for the first link of the account to the patient"
    )]
    Unconditional,
    /// The account has as many links as it may have.
    #[error("an account acts for at most {MAX_LINKS} patients; end one of its links first")]
    LinkLimit,
    /// The account has as many open requests as it may have.
    #[error(
        "an account has at most {MAX_REQUESTS} open requests; withdraw one of them, or wait for the staff's answer"
    )]
    RequestLimit,
}

impl From<Forbidden> for LinkingError {
    fn from(forbidden: Forbidden) -> Self {
        AccessError::from(forbidden).into()
    }
}

impl From<Fault> for LinkingError {
    fn from(fault: Fault) -> Self {
        AccessError::from(fault).into()
    }
}

impl From<Unavailable> for LinkingError {
    fn from(unavailable: Unavailable) -> Self {
        AccessError::from(unavailable).into()
    }
}

/// A link that staff make or replace.
pub struct NewPatientLink<'a> {
    /// The patient, as the caller spells the key.
    pub patient: &'a str,
    /// Subject of the account.
    pub subject: &'a str,
    /// Terms of the link, not checked yet.
    pub terms: Json,
    /// Condition on the present revision.
    pub condition: Precondition,
}

/// A revision of a link, and whether the account may act with it today.
#[derive(Clone, Debug, PartialEq)]
pub struct PatientLinkView {
    /// The revision.
    pub link: PatientLink,
    /// True if the account may act for the patient today.
    pub is_valid: bool,
}

/// The link that a change is about, and who changes it.
struct Target<'a> {
    country: CountryCode,
    person: Uuid,
    subject: &'a str,
    access: &'a Access,
}

impl AccessControl {
    /// Makes a link, or replaces it. For staff.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn put_patient_link(
        &self,
        caller: &Caller,
        country: CountryCode,
        new: NewPatientLink<'_>,
    ) -> Result<PatientLinkView, LinkingError> {
        let (rules, access) = self.admit(caller, country, Scope::Write)?;
        for_staff(&access, country)?;
        let NewPatientLink { patient, subject, terms, condition } = new;
        let patient = self.patient_key(&rules, patient).await?.ok_or_else(|| no_such_patient(&rules))?;
        let today = self.today(&rules);
        let terms = checked(&rules, terms, today)?;
        if condition == Precondition::None {
            return Err(LinkingError::Unconditional);
        }
        let person = self.names.patient(country, &patient);
        let target = Target { country, person, subject, access: &access };
        let stored = self.change_link(&target, |before, of_account| {
            if !condition.holds(before.map_or(0, |before| before.revision)) {
                return Err(LinkingError::Stale);
            }
            let is_other = |link: &&PatientLink| link.state == PatientLinkState::Active && link.person != person;
            let others = of_account.links.iter().filter(is_other).filter(|link| !link.is_over(today));
            if others.count() >= MAX_LINKS {
                return Err(LinkingError::LinkLimit);
            }
            Ok(Some(self.revision(&target, before, PatientLinkState::Active, &terms, &patient)))
        });
        Ok(stored.await?.view(today))
    }

    /// Asks the staff for a link of the caller's account. The outcome does not depend on whether there is such a patient.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn request_patient_link(
        &self,
        caller: &Caller,
        country: CountryCode,
        patient: &str,
        terms: Json,
    ) -> Result<PatientLinkView, LinkingError> {
        let (rules, access) = self.admit(caller, country, Scope::Write)?;
        if access.role != Role::Patient {
            return Err(Forbidden("staff make a link with `PUT`, and request none".into()).into());
        }
        if caller.subject.len() > MAX_SUBJECT_BYTES {
            let why = format!("the subject of this token has more than {MAX_SUBJECT_BYTES} bytes");
            return Err(Forbidden(why).into());
        }
        let patient = self.patient_key(&rules, patient).await?.ok_or_else(|| no_such_patient(&rules))?;
        let today = self.today(&rules);
        let terms = checked(&rules, terms, today)?;
        let person = self.names.patient(country, &patient);
        let target = Target { country, person, subject: &caller.subject, access: &access };
        let stored = self.change_link(&target, |before, of_account| {
            // An open request, or a link, stays as it is.
            if before.is_some_and(|before| !before.is_over(today)) {
                return Ok(None);
            }
            let is_open = |link: &&PatientLink| link.state == PatientLinkState::Requested && link.person != person;
            if of_account.links.iter().filter(is_open).count() >= MAX_REQUESTS {
                return Err(LinkingError::RequestLimit);
            }
            Ok(Some(self.revision(&target, before, PatientLinkState::Requested, &terms, &patient)))
        });
        Ok(stored.await?.view(today))
    }

    /// Ends a link, or refuses or withdraws a request. For staff, the account and the patient. Ending it again does nothing.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn end_patient_link(
        &self,
        caller: &Caller,
        country: CountryCode,
        patient: &str,
        subject: &str,
        if_match: Option<&[String]>,
    ) -> Result<(), LinkingError> {
        let (_, access, person) = self.party_to_link(caller, country, patient, subject, Scope::Write).await?;
        let target = Target { country, person, subject, access: &access };
        let ended = self.change_link(&target, |before, _| {
            let before = before.ok_or(LinkingError::UnknownLink)?;
            if if_match.is_some_and(|tags| !tags.contains(&before.revision.to_string())) {
                return Err(LinkingError::Stale);
            }
            let ended = || PatientLink {
                revision: before.revision.saturating_add(1),
                state: PatientLinkState::Ended,
                updated_at: self.clock.now(),
                by: access.subject.clone(),
                role: access.role,
                request_id: access.request_id.clone(),
                ..before.clone()
            };
            Ok((before.state != PatientLinkState::Ended).then(ended))
        });
        ended.await.map(drop)
    }

    /// Returns the latest revision of a link. For staff, the account and the patient.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn patient_link(
        &self,
        caller: &Caller,
        country: CountryCode,
        patient: &str,
        subject: &str,
    ) -> Result<PatientLinkView, LinkingError> {
        let (rules, access, person) = self.party_to_link(caller, country, patient, subject, Scope::Read).await?;
        let found = self.ledger.patient_link(country, person, subject).await?.ok_or(LinkingError::UnknownLink)?;
        let (mut shown, _) = self.show(&rules, &access, vec![found], 1).await?;
        shown.pop().ok_or(LinkingError::UnknownLink)
    }

    /// Returns at most `limit` revisions of a link after revision `after`, the oldest first, and true if there are more. For
    /// staff, the account and the patient.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn patient_link_history(
        &self,
        caller: &Caller,
        country: CountryCode,
        (patient, subject): (&str, &str),
        after: u32,
        limit: usize,
    ) -> Result<(Vec<PatientLinkView>, bool), LinkingError> {
        let (rules, access, person) = self.party_to_link(caller, country, patient, subject, Scope::Read).await?;
        let found = self.ledger.patient_link_history(country, person, subject, after, limit + 1).await?;
        if after == 0 && found.is_empty() {
            return Err(LinkingError::UnknownLink);
        }
        Ok(self.show(&rules, &access, found, limit).await?)
    }

    /// Returns at most `limit` links to a patient, in any state, and true if there are more. For staff and the patient.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn person_links(
        &self,
        caller: &Caller,
        country: CountryCode,
        patient: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<PatientLinkView>, bool), LinkingError> {
        let (rules, access) = self.enter(caller, country, Scope::Read).await?;
        let patient = self.patient_key(&rules, patient).await?.ok_or(LinkingError::UnknownLink)?;
        if !is_for_staff(&access) && !is_patient(&access, &patient) {
            return Err(LinkingError::UnknownLink);
        }
        let person = self.names.patient(country, &patient);
        let found = self.ledger.person_links(country, person, after, limit + 1).await?;
        Ok(self.show(&rules, &access, found, limit).await?)
    }

    /// Returns the patient whom the issuer has verified the caller to be, and the links of the caller's account that have not
    /// ended.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn own_links(
        &self,
        caller: &Caller,
        country: CountryCode,
    ) -> Result<(Option<String>, Vec<PatientLinkView>), LinkingError> {
        let (rules, _) = self.admit(caller, country, Scope::Read)?;
        let identity = self.identity(&rules, caller).await?;
        let AccountLinks { links, .. } = self.ledger.account_links(country, &caller.subject).await?;
        let today = self.today(&rules);
        let links = links.into_iter().filter(|link| !link.is_over(today) && link.personal.is_some());
        Ok((identity, links.map(|link| link.view(today)).collect()))
    }

    /// Returns at most `limit` links that are requested, the oldest request first, and true if there are more. For staff.
    ///
    /// # Errors
    /// See [`LinkingError`].
    pub async fn requested_links(
        &self,
        caller: &Caller,
        country: CountryCode,
        after: Option<&RequestPosition>,
        limit: usize,
    ) -> Result<(Vec<PatientLinkView>, bool), LinkingError> {
        let (rules, access) = self.admit(caller, country, Scope::Read)?;
        for_staff(&access, country)?;
        let found = self.ledger.requested_links(country, after, limit + 1).await?;
        Ok(self.show(&rules, &access, found, limit).await?)
    }

    /// Returns the first `limit` links, and true if there are more. Records that the caller is shown them.
    async fn show(
        &self,
        rules: &InForce,
        access: &Access,
        mut found: Vec<PatientLink>,
        limit: usize,
    ) -> Result<(Vec<PatientLinkView>, bool), ReadLogUnavailable> {
        let more = found.len() > limit;
        found.truncate(limit);
        let mut patients: Vec<PatientRead> = Vec::new();
        for PatientLink { person, personal, .. } in &found {
            if let Some(LinkedPatient { patient, .. }) = personal
                && !patients.iter().any(|read| read.person == *person)
            {
                let reason = access.reason(patient);
                patients.push(PatientRead { person: *person, reason, appointments: Vec::new() });
            }
        }
        if !patients.is_empty() {
            self.record(rules.used.country, access, ReadOperation::PatientLinks, patients).await?;
        }
        let today = self.today(rules);
        Ok((found.into_iter().map(|link| link.view(today)).collect(), more))
    }

    /// Stores the revision that `next` makes of the latest one and the account's links. Returns what is stored then: `next`
    /// may make none of a latest one.
    async fn change_link(
        &self,
        target: &Target<'_>,
        next: impl Fn(Option<&PatientLink>, &AccountLinks) -> Result<Option<PatientLink>, LinkingError>,
    ) -> Result<PatientLink, LinkingError> {
        let Target { country, person, subject, .. } = *target;
        for _ in 0..MAX_ATTEMPTS {
            // In this order, so that a change between the two reads is noticed.
            let of_account = self.ledger.account_links(country, subject).await?;
            let before = self.ledger.patient_link(country, person, subject).await?;
            let Some(revision) = next(before.as_ref(), &of_account)? else {
                return before.ok_or(LinkingError::UnknownLink);
            };
            let change = PatientLinkChange { revision: revision.clone(), before, changes: of_account.changes };
            match self.ledger.put_patient_link(change).await {
                Ok(()) => return Ok(revision),
                Err(PatientLinkError::Stale) => {}
                Err(PatientLinkError::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        Err(LinkingError::Stale)
    }

    /// Returns the revision after the latest one with these terms.
    fn revision(
        &self,
        target: &Target<'_>,
        before: Option<&PatientLink>,
        state: PatientLinkState,
        terms: &PatientLinkTerms,
        patient: &str,
    ) -> PatientLink {
        let Target { country, person, subject, access } = target;
        let PatientLinkTerms { relation, reason, from, until, birth_date } = terms.clone();
        PatientLink {
            country: *country,
            person: *person,
            subject: (*subject).to_owned(),
            revision: before.map_or(0, |before| before.revision).saturating_add(1),
            state,
            relation,
            from,
            until,
            updated_at: self.clock.now(),
            by: access.subject.clone(),
            role: access.role,
            request_id: access.request_id.clone(),
            personal: Some(LinkedPatient { patient: patient.to_owned(), reason, birth_date }),
        }
    }

    /// Returns the rules, and the access of a caller who is a party to the link, with the patient's opaque id.
    async fn party_to_link(
        &self,
        caller: &Caller,
        country: CountryCode,
        patient: &str,
        subject: &str,
        scope: Scope,
    ) -> Result<(InForce, Access, Uuid), LinkingError> {
        let (rules, access) = self.enter(caller, country, scope).await?;
        let patient = self.patient_key(&rules, patient).await?.ok_or(LinkingError::UnknownLink)?;
        if !is_for_staff(&access) && access.subject != subject && !is_patient(&access, &patient) {
            return Err(LinkingError::UnknownLink);
        }
        Ok((rules, access, self.names.patient(country, &patient)))
    }

    /// Returns the key of a spelling of a patient.
    async fn patient_key(&self, rules: &InForce, spelling: &str) -> Result<Option<String>, Fault> {
        let (rules, country, spelling) = (rules.clone(), rules.used.country, spelling.to_owned());
        let key = move || {
            let mut found = rules.versions().map(|rules| rules.key(Party::Patient, &spelling));
            found.find_map(Result::transpose).transpose()
        };
        self.catalogue.executor().run(country, key).await?
    }
}

impl PatientLink {
    fn view(self, today: Today) -> PatientLinkView {
        PatientLinkView { is_valid: self.tie(today).is_some(), link: self }
    }
}

/// Returns true if the caller works for the whole country. A link is for all hospitals, so staff of some may make none.
fn is_for_staff(access: &Access) -> bool {
    access.role != Role::Patient && access.hospitals.is_none()
}

fn for_staff(access: &Access, country: CountryCode) -> Result<(), Forbidden> {
    if is_for_staff(access) {
        return Ok(());
    }
    Err(Forbidden(format!("links to patients are for the staff of all of `{country}`")))
}

/// Returns true if the caller is the patient.
fn is_patient(access: &Access, patient: &str) -> bool {
    access.ties.iter().any(|tie| tie.relation == Relation::Oneself && tie.patient == patient)
}

fn no_such_patient(rules: &InForce) -> LinkingError {
    refused(&rules.used, vec![Violation::new("", "patient-link.patient")])
}

fn refused(rules: &Arc<LoadedRules>, violations: Vec<Violation>) -> LinkingError {
    LinkingError::BadLink(Rejection { violations, rules: Arc::clone(rules) })
}

/// Returns the terms of a document.
fn checked(rules: &InForce, document: Json, today: Today) -> Result<PatientLinkTerms, LinkingError> {
    let (schema, validator) = &*SCHEMA;
    let violations = schema::violations(validator, &document);
    if !violations.is_empty() {
        let labelled = violations.into_iter().map(|violation| schema::labelled(schema, violation));
        return Err(refused(&rules.used, labelled.collect()));
    }
    let parsed = serde_json::from_value(document);
    let terms: PatientLinkTerms =
        parsed.map_err(|_| refused(&rules.used, vec![Violation::new("", "schema.format")]))?;
    let PatientLinkTerms { from, until, birth_date, .. } = terms;
    let mut violations = Vec::new();
    if until.is_some_and(|until| until < today.date) {
        violations.push(Violation::new("/until", "patient-link.past"));
    }
    if from.zip(until).is_some_and(|(from, until)| until < from) {
        violations.push(Violation::new("/until", "patient-link.order"));
    }
    if birth_date.is_some_and(|born| born > today.date) {
        violations.push(Violation::new("/birthDate", "patient-link.future"));
    }
    if birth_date.is_some_and(|born| today.is_adult(born)) {
        let params = vec![("age".into(), today.adult_age.to_string())];
        violations.push(Violation { params, ..Violation::new("/birthDate", "patient-link.adult") });
    }
    if violations.is_empty() { Ok(terms) } else { Err(refused(&rules.used, violations)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_of_some_hospitals_make_no_links() {
        let of = |role, hospitals: Option<&[&str]>| Access {
            role,
            subject: "eva".into(),
            account: String::new(),
            ties: Vec::new(),
            hospitals: hospitals.map(|hospitals| hospitals.iter().map(|key| (*key).to_owned()).collect()),
            request_id: String::new(),
        };
        let pe = "pe".parse().unwrap();
        assert_eq!(for_staff(&of(Role::Staff, None), pe), Ok(()));
        assert_eq!(for_staff(&of(Role::Platform, None), pe), Ok(()));
        assert!(for_staff(&of(Role::Staff, Some(&["00006219"])), pe).is_err());
        assert!(for_staff(&of(Role::Patient, None), pe).is_err());
    }
}
