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
