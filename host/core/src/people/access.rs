//! A caller within one country: the role, and the patients and hospitals that the caller acts for. Decides which
//! appointments the caller sees. What a refusal may reveal is decided in `booking`.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::{
    Agenda, Caller, CountryCode, Forbidden, Pseudonyms, ReadReason, Relation, Revision, Role, RulesCaller, Tie,
};
use crate::ports::{OwnerFilter, Query};

/// Subject of links in mail, in provenance.
const LINK: &str = "link";

/// Subject of the host itself in provenance.
pub(crate) const CLOCK: &str = "clock";

/// A caller within one country.
#[derive(Clone, Debug)]
pub struct Access {
    /// Role of the caller in the country.
    pub role: Role,
    /// Subject of the token.
    pub subject: String,
    /// Opaque id of the account for the country's rules; empty for the clock.
    pub account: String,
    /// Patients whom the caller is, or acts for.
    pub ties: Vec<Tie>,
    /// Hospitals that a member of staff works for; `None` means all of the country's.
    pub hospitals: Option<BTreeSet<String>>,
    /// Id of the request.
    pub request_id: String,
}

impl Access {
    /// Returns the access of the bearer of a token, without ties.
    ///
    /// # Errors
    /// Returns an error if the caller has no role in the country.
    pub fn of_token(caller: &Caller, country: CountryCode, names: &Pseudonyms) -> Result<Self, Forbidden> {
        let role = caller.role(country)?;
        Ok(Self {
            role,
            subject: caller.subject.clone(),
            account: names.account(country, &caller.subject),
            ties: Vec::new(),
            hospitals: if role == Role::Staff { caller.hospitals(country) } else { None },
            request_id: caller.request_id.clone(),
        })
    }

    /// Returns the access of somebody who follows a link in the mail about an appointment. A link has no account, so each
    /// patient is one. The mail goes to the address that the booking gives, which is the patient's unless the appointment
    /// has an owner.
    pub fn of_link(revision: &Revision, names: &Pseudonyms, request_id: &str) -> Self {
        let Revision { country, owner, appointment, .. } = revision;
        let patient = &appointment.patient;
        let tie = Tie { patient: patient.clone(), relation: Relation::Oneself };
        Self {
            role: Role::Patient,
            subject: LINK.to_owned(),
            account: names.account(*country, &format!("{LINK}/{patient}")),
            ties: if owner.is_none() { vec![tie] } else { Vec::new() },
            hospitals: None,
            request_id: request_id.to_owned(),
        }
    }

    /// Returns the access of the host itself, for a scheduled action.
    pub fn of_clock(request_id: String) -> Self {
        Self {
            role: Role::Clock,
            subject: CLOCK.to_owned(),
            account: String::new(),
            ties: Vec::new(),
            hospitals: None,
            request_id,
        }
    }

    /// Returns true if the caller may see an appointment.
    pub fn sees(&self, revision: &Revision) -> bool {
        match self.role {
            Role::Staff | Role::Platform | Role::Clock => self.works_at(revision.appointment.hospital.as_deref()),
            Role::Patient => match &revision.owner {
                Some(owner) => *owner == self.subject,
                None => self.acts_for(&revision.appointment.patient),
            },
        }
    }

    /// Returns true if the caller is the patient with this key, or acts for that patient.
    pub fn acts_for(&self, patient: &str) -> bool {
        self.ties.iter().any(|tie| tie.patient == patient)
    }

    /// Returns the owner of an appointment that the caller books for a patient: none if the caller's tie to the patient is
    /// verified, or if the caller is not a patient.
    pub fn owner_for(&self, patient: &str) -> Option<String> {
        (self.role == Role::Patient && !self.acts_for(patient)).then(|| self.subject.clone())
    }

    /// Returns the reason for which the caller may see data of the patient with this key.
    pub fn reason(&self, patient: &str) -> ReadReason {
        match self.role {
            Role::Platform => ReadReason::Platform,
            Role::Staff | Role::Clock => ReadReason::Staff,
            Role::Patient => {
                let tie = self.ties.iter().find(|tie| tie.patient == patient);
                tie.map_or(ReadReason::Owner, |tie| tie.relation.into())
            }
        }
    }

    /// Returns true if the caller may see every appointment of the country.
    pub fn sees_all(&self) -> bool {
        self.role != Role::Patient && self.hospitals.is_none()
    }

    /// Returns queries that together find those appointments of a query that the caller may see, each once. A patient has
    /// one for the caller's own, and one for each patient for whom the caller acts.
    pub fn queries(&self, query: Query, country: CountryCode, names: &Pseudonyms) -> Vec<Query> {
        if self.role == Role::Patient {
            let people: BTreeSet<Uuid> = self.ties.iter().map(|tie| names.patient(country, &tie.patient)).collect();
            let is_asked = |person: &Uuid| query.person.is_none_or(|asked| asked == *person);
            let of = |person| Query { owner: OwnerFilter::Nobody, person: Some(person), ..query.clone() };
            let own = Query { owner: OwnerFilter::Account(self.subject.clone()), ..query.clone() };
            return [own].into_iter().chain(people.into_iter().filter(is_asked).map(of)).collect();
        }
        let Some(hospitals) = &self.hospitals else { return vec![query] };
        let is_asked = |hospital: &&String| query.hospital.as_ref().is_none_or(|asked| asked == *hospital);
        let at = |hospital: &String| Query { hospital: Some(hospital.clone()), ..query.clone() };
        hospitals.iter().filter(is_asked).map(at).collect()
    }

    /// Checks that the caller may store an appointment at a hospital, or at none.
    ///
    /// # Errors
    /// Returns an error if the caller is staff of other hospitals.
    pub fn check_hospital(&self, hospital: Option<&str>) -> Result<(), Forbidden> {
        match hospital {
            _ if self.works_at(hospital) => Ok(()),
            Some(hospital) => {
                Err(Forbidden(format!("this token is for the staff of other hospitals than `{hospital}`")))
            }
            None => Err(Forbidden("this token is for the staff of hospitals, and the appointment has none".to_owned())),
        }
    }

    /// Returns true if the caller may see and store an agenda. One without hours is of no hospital.
    pub fn has_agenda(&self, agenda: &Agenda) -> bool {
        let is_elsewhere = || agenda.hours().any(|hours| !self.works_at(hours.hospital.as_deref()));
        self.hospitals.is_none() || agenda.hours().next().is_some() && !is_elsewhere()
    }

    /// Returns true if the caller is not limited to hospitals, or this is one of them.
    fn works_at(&self, hospital: Option<&str>) -> bool {
        self.hospitals.as_ref().is_none_or(|own| hospital.is_some_and(|hospital| own.contains(hospital)))
    }

    /// Returns the caller in the rules' form.
    pub fn for_rules(&self) -> RulesCaller {
        RulesCaller {
            role: self.role,
            account: self.account.clone(),
            ties: self.ties.clone(),
            hospitals: self.hospitals.as_ref().map(|hospitals| hospitals.iter().cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::testing::revision;

    fn access(subject: &str, groups: &[&str]) -> Access {
        let caller = Caller {
            subject: subject.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: [].into(),
            identities: [].into(),
            request_id: "r-1".into(),
        };
        Access::of_token(&caller, "pe".parse().unwrap(), &Pseudonyms::new(b"key")).unwrap()
    }

    const PATIENT: &str = "dni:10117410";

    fn tied(subject: &str, patient: &str) -> Access {
        let tie = Tie { patient: patient.into(), relation: Relation::Parent };
        Access { ties: vec![tie], ..access(subject, &[]) }
    }

    #[test]
    fn an_appointment_with_an_owner_is_seen_by_the_owner_and_by_staff_alone() {
        let booked = revision(Uuid::nil());
        assert!(access("ana", &[]).sees(&booked));
        assert!(access("luis", &["pe:staff"]).sees(&booked));
        for other in [access("luis", &[]), tied("luis", PATIENT)] {
            assert!(!other.sees(&booked));
        }
    }

    #[test]
    fn an_appointment_without_an_owner_is_seen_by_whoever_acts_for_the_patient_and_by_staff() {
        let verified = Revision { owner: None, ..revision(Uuid::nil()) };
        assert!(tied("luis", PATIENT).sees(&verified));
        assert!(access("luis", &["pe:staff"]).sees(&verified));
        for other in [access("ana", &[]), tied("luis", "dni:1011741")] {
            assert!(!other.sees(&verified));
        }
    }

    #[test]
    fn a_patient_without_a_tie_owns_what_they_book() {
        assert_eq!(access("ana", &[]).owner_for(PATIENT), Some("ana".to_owned()));
        assert_eq!(tied("ana", "dni:1011741").owner_for(PATIENT), Some("ana".to_owned()));
        for verified in [tied("ana", PATIENT), access("ana", &["pe:staff"]), access("ana", &["platform"])] {
            assert_eq!(verified.owner_for(PATIENT), None);
        }
    }

    #[test]
    fn a_link_acts_for_the_patient_of_a_verified_appointment_alone() {
        let of = |owner: Option<&str>| {
            let revision = Revision { owner: owner.map(str::to_owned), ..revision(Uuid::nil()) };
            Access::of_link(&revision, &Pseudonyms::new(b"key"), "r-1")
        };
        assert_eq!(of(None).ties, [Tie { patient: PATIENT.into(), relation: Relation::Oneself }]);
        assert_eq!(of(Some("ana")).ties, []);
        assert_eq!(of(Some("ana")).account, of(None).account);
    }

    #[test]
    fn staff_of_hospitals_see_and_store_what_is_there() {
        let mut booked = revision(Uuid::nil());
        booked.owner = Some("ana".into());
        let (one, other) = (access("eva", &["pe:staff:1", "pe:staff:2"]), access("eva", &["pe:staff:3"]));
        let mut of = |hospital: Option<&str>| {
            booked.appointment.hospital = hospital.map(str::to_owned);
            [&one, &other].map(|access| (access.sees(&booked), access.check_hospital(hospital).is_ok()))
        };
        assert_eq!(of(Some("1")), [(true, true), (false, false)]);
        assert_eq!(of(Some("3")), [(false, false), (true, true)]);
        assert_eq!(of(None), [(false, false); 2], "it has no hospital yet");
        assert!(!one.sees_all() && access("eva", &["pe:staff:1", "pe:staff"]).sees_all());
        assert_eq!(access("eva", &["pe:staff:1", "platform"]).for_rules().hospitals, None);
        assert_eq!(one.for_rules().hospitals, Some(vec!["1".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn a_list_of_staff_of_hospitals_is_a_query_for_each_of_those_that_are_asked_for() {
        let eva = access("eva", &["pe:staff:1", "pe:staff:2"]);
        let asked = |hospital: Option<&str>| {
            let query = Query { hospital: hospital.map(str::to_owned), limit: 7, ..Query::default() };
            eva.queries(query, "pe".parse().unwrap(), &Pseudonyms::new(b"key"))
                .into_iter()
                .map(|query| (query.hospital.unwrap(), query.limit))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(None), [("1".to_owned(), 7), ("2".to_owned(), 7)]);
        assert_eq!(asked(Some("2")), [("2".to_owned(), 7)]);
        assert_eq!(asked(Some("3")), []);
    }

    #[test]
    fn an_agenda_is_of_the_staff_of_hospitals_if_all_its_hours_are_there() {
        let hours = |hospital: Option<&str>| {
            let hours =
                json!({ "from": "09:00", "to": "10:00", "minutes": 30, "zone": "America/Lima", "hospital": hospital });
            let mut weekly = hours.clone();
            weekly["weekday"] = "monday".into();
            let mut extra = hours;
            extra["date"] = "2026-12-01".into();
            [weekly, extra]
        };
        let agenda = |weekly: Option<&str>, extra: Option<&str>| -> Agenda {
            let [of_week, _] = hours(weekly);
            let [_, of_day] = hours(extra);
            serde_json::from_value(json!({ "weekly": [of_week], "extra": [of_day] })).unwrap()
        };
        let eva = access("eva", &["pe:staff:1", "pe:staff:2"]);
        assert!(eva.has_agenda(&agenda(Some("1"), Some("2"))));
        for (weekly, extra) in [(Some("1"), Some("3")), (Some("3"), Some("1")), (Some("1"), None)] {
            assert!(!eva.has_agenda(&agenda(weekly, extra)), "{weekly:?} {extra:?}");
        }
        assert!(!eva.has_agenda(&Agenda::default()), "nobody could say whose doctor it is");
        assert!(access("eva", &["pe:staff"]).has_agenda(&Agenda::default()));
    }
}
