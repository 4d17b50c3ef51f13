//! Reasons why a version is not in force or on trial.

use semver::Version;

use crate::ports::registry::RegistryError;
use crate::ports::rules::Refusal;
use crate::release::admission::NotAdmitted;

/// Why a version is not in force or on trial.
pub(super) enum NotTaken {
    /// It will not do, which is noted where the platform team looks.
    Refused,
    /// It could not be had this time.
    Later(String),
    /// It could not be judged, or is damaged. To find that out takes much work, so the next attempt may have to wait.
    Unjudged(String),
    /// Other versions are judged first. There is nothing to note.
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

/// Why the registry's version is not in force at a start.
pub(super) enum NotInForce {
    /// This host has not accepted it before.
    Unjudged(Version),
    /// It is not what was published, or not by somebody who may; that is noted.
    Refused,
    /// It could not be had.
    Unread(String),
}

impl NotInForce {
    /// Returns what is not in force, and why.
    pub(super) fn words(&self) -> (String, String) {
        let unknown_version = || "the registry's version".to_owned();
        match self {
            Self::Unjudged(version) => {
                (format!("version {version}"), "not yet accepted by this host; judging it now".into())
            }
            Self::Refused => (unknown_version(), "it was refused".into()),
            Self::Unread(why) => (unknown_version(), why.clone()),
        }
    }
}
