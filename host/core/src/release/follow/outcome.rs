//! Reasons why a version is not in force or on trial.

use crate::ports::{Refusal, RegistryError};
use crate::release::admission::NotAdmitted;

/// Reasons why a version is not in force or on trial.
pub(super) enum NotTaken {
    /// The version is refused. The refusal is recorded for the platform team.
    Refused,
    /// The version could not be read this time.
    Later(String),
    /// The version could not be judged, or is damaged. Finding that out takes much work, so the next attempt may be
    /// delayed.
    Unjudged(String),
    /// Other versions are judged first. There is nothing to record.
    Waiting,
}

impl From<RegistryError> for NotTaken {
    fn from(error: RegistryError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<NotAdmitted> for NotTaken {
    fn from(cause: NotAdmitted) -> Self {
        match cause {
            NotAdmitted::Refused(_) => Self::Refused,
            NotAdmitted::Unjudged(_) => Self::Unjudged(cause.to_string()),
        }
    }
}

impl From<Refusal> for NotTaken {
    fn from(_: Refusal) -> Self {
        Self::Refused
    }
}

/// Reasons why the registry's version is not in force when a host starts.
pub(super) enum NotInForce {
    /// This host has not accepted the version before.
    Unjudged,
    /// The version is not the published one, or is not signed by a trusted key. The refusal is recorded.
    Refused,
    /// The version could not be read.
    Unread(String),
}

impl NotInForce {
    /// Returns the reason in plain words.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Unjudged => "not yet accepted by this host; judging it now",
            Self::Refused => "it was refused",
            Self::Unread(why) => why,
        }
    }
}
