//! A caller within one country: the role, and the patients and hospitals that the caller acts for. Decides which
//! appointments the caller sees. What a refusal may reveal is decided in `booking`.

use std::collections::BTreeSet;

use crate::model::{
    Caller, CountryCode, Forbidden, Pseudonyms, ReadReason, Relation, Revision, Role, RulesCaller, Tie,
};

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
        Ok(Self {
            role: caller.role(country)?,
            subject: caller.subject.clone(),
            account: names.account(country, &caller.subject),
            ties: Vec::new(),
            hospitals: None,
            request_id: caller.request_id.clone(),
        })
    }

    /// Returns the access of somebody who follows a link in a patient's mail. A link has no account, so each patient is one.
    pub fn of_link(patient: &str, country: CountryCode, names: &Pseudonyms, request_id: &str) -> Self {
        Self {
            role: Role::Patient,
            subject: LINK.to_owned(),
            account: names.account(country, &format!("{LINK}/{patient}")),
            ties: vec![Tie { patient: patient.to_owned(), relation: Relation::Oneself }],
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
            Role::Staff | Role::Platform | Role::Clock => true,
            Role::Patient => revision.owner == self.subject,
        }
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

    #[test]
    fn a_patient_sees_what_the_same_subject_booked() {
        let booked = revision(Uuid::nil());
        assert!(access("ana", &[]).sees(&booked));
        assert!(!access("luis", &[]).sees(&booked));
        assert!(access("luis", &["pe:staff"]).sees(&booked));
    }
}
