//! Who asks, and what that lets them see and do.

use std::collections::BTreeSet;

use crate::model::appointment::{CountryCode, Revision};
use crate::model::context::Role;

/// What a token may be used for (OAuth 2.0 scopes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See appointments.
    Read,
    /// Book and change appointments.
    Write,
    /// See which rules are in force and how they fare.
    Rules,
}

impl Scope {
    /// Every scope, for lists of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Rules];

    /// As it stands in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "appointments/read",
            Self::Write => "appointments/write",
            Self::Rules => "rules/read",
        }
    }
}

/// The one who asks, as the token says, and the request that they ask with.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's subject.
    pub subject: String,
    /// `platform`, `<country>:staff`.
    pub groups: BTreeSet<String>,
    /// What the token may be used for.
    pub scopes: BTreeSet<String>,
    /// The request's id.
    pub request_id: String,
}

/// The token is good, and not for this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub String);

impl Caller {
    /// The caller's part in a country. Staff of another country have none.
    ///
    /// # Errors
    /// When the caller is staff, and not of this country.
    pub fn role(&self, country: CountryCode) -> Result<Role, Forbidden> {
        if self.groups.contains("platform") {
            return Ok(Role::Platform);
        }
        if self.groups.contains(&format!("{country}:staff")) {
            return Ok(Role::Staff);
        }
        if self.groups.iter().any(|group| group.ends_with(":staff")) {
            return Err(Forbidden(format!("this token is for the staff of another country than `{country}`")));
        }
        Ok(Role::Patient)
    }

    /// Whether the token may be used for this.
    ///
    /// # Errors
    /// When the scope is not in it.
    pub fn needs(&self, scope: Scope) -> Result<(), Forbidden> {
        if self.scopes.contains(scope.as_str()) {
            return Ok(());
        }
        Err(Forbidden(format!("this token lacks the scope `{}`", scope.as_str())))
    }

    /// Whether somebody in that role may see an appointment.
    #[must_use]
    pub fn sees(&self, role: Role, revision: &Revision) -> bool {
        match role {
            Role::Staff | Role::Platform => true,
            Role::Patient => revision.owner == self.subject,
        }
    }
}

/// What a token says of the one who carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub subject: String,
    /// `platform`, `<country>:staff`.
    pub groups: BTreeSet<String>,
    /// What the token may be used for.
    pub scopes: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::revision;

    fn caller(subject: &str, groups: &[&str]) -> Caller {
        Caller {
            subject: subject.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: [Scope::Read.as_str().to_owned()].into(),
            request_id: "r-1".into(),
        }
    }

    fn role(groups: &[&str]) -> Result<Role, Forbidden> {
        caller("ana", groups).role("pe".parse().unwrap())
    }

    #[test]
    fn groups_make_the_role_and_a_caller_without_any_is_a_patient() {
        assert_eq!(role(&[]), Ok(Role::Patient));
        assert_eq!(role(&["pe:staff"]), Ok(Role::Staff));
        assert_eq!(role(&["cl:staff", "pe:staff"]), Ok(Role::Staff));
        assert_eq!(role(&["cl:staff", "platform"]), Ok(Role::Platform));
        assert_eq!(role(&["pe:nurses"]), Ok(Role::Patient));
    }

    #[test]
    fn staff_of_another_country_have_no_role() {
        let words = role(&["cl:staff"]).unwrap_err().to_string();
        assert!(words.contains("another country than `pe`"), "{words}");
    }

    #[test]
    fn a_patient_sees_what_the_same_subject_booked() {
        let booked = revision(Uuid::nil());
        assert!(caller("ana", &[]).sees(Role::Patient, &booked));
        assert!(!caller("luis", &[]).sees(Role::Patient, &booked));
        assert!(caller("luis", &[]).sees(Role::Staff, &booked));
    }

    #[test]
    fn a_token_is_for_the_scopes_in_it() {
        assert_eq!(caller("ana", &[]).needs(Scope::Read), Ok(()));
        let words = caller("ana", &[]).needs(Scope::Write).unwrap_err().to_string();
        assert!(words.contains("appointments/write"), "{words}");
    }
}
