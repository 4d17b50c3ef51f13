//! Callers, their roles and scopes, and the checks of what they may see and do.

use std::collections::BTreeSet;

use crate::model::appointment::{CountryCode, Revision};
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
    #[must_use]
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
    /// Groups of the caller: `platform` or `<country>:staff`.
    pub groups: BTreeSet<String>,
    /// Scopes of the token.
    pub scopes: BTreeSet<String>,
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
        if self.groups.contains(&format!("{country}:staff")) {
            return Ok(Role::Staff);
        }
        if self.groups.iter().any(|group| group.ends_with(":staff")) {
            return Err(Forbidden(format!("this token is for the staff of another country than `{country}`")));
        }
        Ok(Role::Patient)
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

    /// Returns true if the caller may see an appointment in this role.
    #[must_use]
    pub fn sees(&self, role: Role, revision: &Revision) -> bool {
        match role {
            Role::Staff | Role::Platform => true,
            Role::Patient => revision.owner == self.subject,
        }
    }
}

/// Verified claims of a token about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Subject of the token.
    pub subject: String,
    /// Groups of the bearer: `platform` or `<country>:staff`.
    pub groups: BTreeSet<String>,
    /// Scopes of the token.
    pub scopes: BTreeSet<String>,
}
