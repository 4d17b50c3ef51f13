//! Callers, their roles and scopes. Which appointments a caller may see is decided in `people`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::appointment::CountryCode;
use crate::model::context::Role;

/// A set of operations that a token allows (an OAuth 2.0 scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Allows reading appointments.
    Read,
    /// Allows booking and changing appointments.
    Write,
    /// Allows reading which rules are in force and the counts of their calls.
    Rules,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Rules];

    /// Returns the scope as it is written in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "appointments/read",
            Self::Write => "appointments/write",
            Self::Rules => "rules/read",
        }
    }
}

/// The caller of one request, with the claims of the token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Subject of the token.
    pub subject: String,
    /// Groups of the caller: `platform`, `<country>:staff` or `<country>:staff:<hospital>`.
    pub groups: BTreeSet<String>,
    /// Scopes of the token.
    pub scopes: BTreeSet<String>,
    /// Identities that the issuer has verified, by country: texts that the country's rules make keys of patients of.
    pub identities: BTreeMap<CountryCode, String>,
    /// Id of the request.
    pub request_id: String,
}

/// Error for a valid token that does not allow the operation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub String);

impl Caller {
    /// Returns the caller's role in a country. Staff of another country have no role.
    ///
    /// # Errors
    /// Returns an error if the caller is staff, but not of this country.
    pub fn role(&self, country: CountryCode) -> Result<Role, Forbidden> {
        if self.groups.contains("platform") {
            return Ok(Role::Platform);
        }
        if self.staff_of(country).next().is_some() {
            return Ok(Role::Staff);
        }
        if self.groups.iter().any(|group| staff_group(group).is_some()) {
            return Err(Forbidden(format!("this token is for the staff of another country than `{country}`")));
        }
        Ok(Role::Patient)
    }

    /// Returns the hospitals for which the caller is staff of a country; `None` means all of the country's.
    pub fn hospitals(&self, country: CountryCode) -> Option<BTreeSet<String>> {
        self.staff_of(country).map(|hospital| hospital.map(str::to_owned)).collect()
    }

    /// Returns the hospital of each of the caller's groups of a country's staff; `None` for that of the whole country.
    fn staff_of(&self, country: CountryCode) -> impl Iterator<Item = Option<&str>> {
        let groups = self.groups.iter().filter_map(|group| staff_group(group));
        groups.filter(move |(of, _)| *of == country.as_str()).map(|(_, hospital)| hospital)
    }

    /// Checks that the token has a scope.
    ///
    /// # Errors
    /// Returns an error if the scope is missing.
    pub fn needs(&self, scope: Scope) -> Result<(), Forbidden> {
        if self.scopes.contains(scope.as_str()) {
            return Ok(());
        }
        Err(Forbidden(format!("this token lacks the scope `{}`", scope.as_str())))
    }

    /// Returns true if the caller may know, in this role, which subject made a change. Patients know only themselves.
    pub fn knows(&self, role: Role, subject: &str) -> bool {
        role != Role::Patient || subject == self.subject
    }
}

/// Returns the country and the hospital of a group of staff. The group of a country's whole staff has no hospital.
fn staff_group(group: &str) -> Option<(&str, Option<&str>)> {
    let (country, rest) = group.split_once(':')?;
    match rest.split_once(':') {
        None => (rest == "staff").then_some((country, None)),
        Some((kind, hospital)) => (kind == "staff").then_some((country, Some(hospital))),
    }
}

/// Verified claims of a token about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Subject of the token.
    pub subject: String,
    /// Groups of the bearer: `platform`, `<country>:staff` or `<country>:staff:<hospital>`.
    pub groups: BTreeSet<String>,
    /// Scopes of the token.
    pub scopes: BTreeSet<String>,
    /// Identities that the issuer has verified, by country.
    pub identities: BTreeMap<CountryCode, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(subject: &str, groups: &[&str]) -> Caller {
        Caller {
            subject: subject.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: [Scope::Read.as_str().to_owned()].into(),
            identities: [].into(),
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
        assert_eq!(role(&["pe:staff:00006219"]), Ok(Role::Staff));
        assert_eq!(role(&["cl:staff:109100", "pe:staff:00006219"]), Ok(Role::Staff));
        assert_eq!(role(&["pe:nurses", "pe:nurses:00006219", "pe", "staff"]), Ok(Role::Patient));
    }

    #[test]
    fn groups_limit_staff_to_hospitals_unless_one_is_of_the_whole_country() {
        let hospitals = |groups: &[&str]| caller("eva", groups).hospitals("pe".parse().unwrap());
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(hospitals(&["pe:staff"]), None);
        assert_eq!(hospitals(&["pe:staff:00006219", "pe:staff:1:2"]), some(&["00006219", "1:2"]));
        assert_eq!(hospitals(&["pe:staff:00006219", "pe:staff"]), None);
        assert_eq!(hospitals(&["pe:staff:00006219", "cl:staff"]), some(&["00006219"]));
    }

    #[test]
    fn staff_of_another_country_have_no_role() {
        for group in ["cl:staff", "cl:staff:109100"] {
            let words = role(&[group]).unwrap_err().to_string();
            assert!(words.contains("another country than `pe`"), "{words}");
        }
    }

    #[test]
    fn a_token_is_for_the_scopes_in_it() {
        assert_eq!(caller("ana", &[]).needs(Scope::Read), Ok(()));
        let words = caller("ana", &[]).needs(Scope::Write).unwrap_err().to_string();
        assert!(words.contains("appointments/write"), "{words}");
    }
}
