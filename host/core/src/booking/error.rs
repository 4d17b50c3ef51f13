//! Reasons why a use case of appointments fails. Clients read the text of a variant as the `detail` of a problem document.
//! Knows no status codes: the API gives each variant its own response.

use std::sync::Arc;

use crate::booking::holds::MAX_HOLDS;
use crate::booking::privacy::MAX_OPEN;
use crate::booking::slots::FreeSlot;
use crate::model::json::TooManyLeaves;
use crate::model::{CountryCode, Forbidden, OtherSlot, Violation};
use crate::people::AccessError;
use crate::ports::{Fault, ReadLogUnavailable, Unavailable};
use crate::rules::{LoadedRules, NotDecided, Rejection};

/// Errors of the use cases of appointments, one variant for each different response.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The host knows no such country.
    #[error("there is no country `{0}` here")]
    UnknownCountry(CountryCode),
    /// The appointment does not exist, or the caller may not see it.
    #[error("there is no such appointment")]
    UnknownAppointment,
    /// The country has no action of that name.
    #[error("there is no action `{0}` here")]
    UnknownAction(String),
    /// No appointment can have this key.
    #[error("no appointment can have this `{filter}`: {}", spelling(.examples))]
    NoSuchKey {
        /// Name of the filter.
        filter: &'static str,
        /// Keys as the country writes them.
        examples: Vec<String>,
    },
    /// No appointment can start at these times.
    #[error("no appointment can start then: {0}")]
    NoSuchTime(&'static str),
    /// A search for free slots has a value that no request can have.
    #[error("no request can have this `{parameter}`: {code}")]
    NoSuchPlace {
        /// Name of the parameter.
        parameter: String,
        /// Code of the schema's violation.
        code: String,
    },
    /// The token of a slot does not go with the request.
    #[error(transparent)]
    OtherSlot(#[from] OtherSlot),
    /// The country's rules have no free slots.
    #[error("this country does not show free slots")]
    NoSlots,
    /// The search would have too many openings.
    #[error("there are more than {limit} openings there; name a doctor or a hospital, or fewer days")]
    TooManyOpenings {
        /// Maximum number of openings of a search.
        limit: usize,
    },
    /// The doctor has no agenda.
    #[error("the doctor has no agenda")]
    NoAgenda,
    /// The agenda is not as the request requires.
    #[error("the agenda is not the one that the condition names, or has changed; read it again")]
    AgendaStale,
    /// A new revision of an agenda needs a condition.
    #[error("send `If-Match` with the agenda's `ETag`, or `If-None-Match: *` for the doctor's first agenda")]
    AgendaUnconditional,
    /// An agenda is not valid.
    #[error("the agenda is not valid")]
    BadAgenda(Rejection),
    /// The token is valid but does not permit the request.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The schema or the rules refuse the request.
    #[error("the rules refuse the request")]
    Violations(Rejection),
    /// The action is not possible in this phase.
    #[error("the action is not possible in the appointment's current state")]
    NotAllowedNow(Rejection),
    /// Another appointment, or a hold, has a claim of this one.
    #[error("{} is taken", .claim.as_deref().unwrap_or("that time"))]
    SlotTaken {
        /// The taken claim, if the caller may know it.
        claim: Option<String>,
        /// Free slots near the requested one, the nearest first.
        free: Vec<FreeSlot>,
        /// The country's words for the taken claim, if it has any and the caller may know it.
        rejection: Option<Rejection>,
    },
    /// Other appointments of the patient have a claim of the one to be verified.
    #[error("the patient has another appointment at that time, or as many as the country allows")]
    PatientTaken,
    /// The hold that the request names has ended, and another has the slot.
    #[error("the hold has ended, and {} is taken", .claim.as_deref().unwrap_or("that time"))]
    HoldExpired {
        /// The taken claim, if the caller may know it.
        claim: Option<String>,
        /// Free slots near the requested one, the nearest first.
        free: Vec<FreeSlot>,
        /// The country's words for the taken claim, if it has any and the caller may know it.
        rejection: Option<Rejection>,
    },
    /// The hold does not exist, or belongs to another account.
    #[error("there is no such hold; it may have been used or given up, or have ended")]
    UnknownHold,
    /// The account has as many holds as it may have.
    #[error("an account holds at most {MAX_HOLDS} slots at once; book or give up one of them, or wait for its end")]
    HoldLimit,
    /// The appointment is not at the revision that the caller saw.
    #[error("the appointment has changed; its current revision is {current}")]
    Stale {
        /// Current revision.
        current: u32,
    },
    /// The agenda of the doctor kept changing while the request was decided.
    #[error("the agenda of the doctor keeps changing; retry the request")]
    AgendaChanged,
    /// Another request with this key is in progress.
    #[error("a request with this Idempotency-Key is in progress")]
    InProgress,
    /// The key was used with another request before.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// The request, or the revision that it would make, is too large.
    #[error("the request, or the appointment that it makes, exceeds {limit} bytes")]
    TooLarge {
        /// Limit, in bytes.
        limit: usize,
    },
    /// The country's rules gave no result.
    #[error("the rules gave no answer")]
    RulesUnavailable(#[source] Option<Fault>),
    /// The ledger does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The privacy request does not exist, or the caller may not see it.
    #[error("there is no such privacy request")]
    UnknownPrivacyRequest,
    /// The input of a step of a privacy request is not valid.
    #[error("the privacy request, or the step, is not valid")]
    BadPrivacyRequest(Rejection),
    /// The step is not possible in the state of the privacy request.
    #[error("{0}")]
    PrivacyNotNow(&'static str),
    /// The privacy request is not at the revision that the caller saw.
    #[error("the privacy request has changed; read it again")]
    PrivacyStale,
    /// The account has filed as many privacy requests that are open as it may have.
    #[error("an account has at most {MAX_OPEN} open privacy requests; wait for an answer, or withdraw one of them")]
    TooManyPrivacyRequests,
    /// A search of the read log names neither a patient nor an actor.
    #[error("name a `patient`, an `actor` or both")]
    ReadingsOfAll,
    /// The read log cannot be used, so nothing is shown that must be recorded.
    #[error(transparent)]
    ReadLog(#[from] ReadLogUnavailable),
}

/// Returns what a key looks like.
fn spelling(examples: &[String]) -> String {
    if examples.is_empty() {
        return "its form is in `x-filters` of the country's appointment schema".to_owned();
    }
    format!("it is written like {}", examples.join(" or "))
}

impl From<AccessError> for BookingError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::UnknownCountry(country) => Self::UnknownCountry(country),
            AccessError::Forbidden(forbidden) => forbidden.into(),
            AccessError::RulesUnavailable(fault) => Self::RulesUnavailable(fault),
            AccessError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<Fault> for BookingError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InputTooLarge { limit } => Self::TooLarge { limit },
            fault => Self::RulesUnavailable(Some(fault)),
        }
    }
}

impl BookingError {
    /// Returns the error for a refusal by these rules.
    pub(super) fn refused(rules: &Arc<LoadedRules>, violations: Vec<Violation>) -> Self {
        let not_now = violations.iter().any(|violation| violation.conflict);
        let rejection = Rejection { violations, rules: rules.clone() };
        if not_now { Self::NotAllowedNow(rejection) } else { Self::Violations(rejection) }
    }

    /// Returns the error for a request that these rules did not decide.
    pub(super) fn not_decided(rules: &Arc<LoadedRules>, cause: NotDecided) -> Self {
        match cause {
            NotDecided::Schema(violations) => Self::refused(rules, violations),
            NotDecided::UnknownAction(action) => Self::UnknownAction(action),
            NotDecided::WrongRole { .. } => Forbidden(cause.to_string()).into(),
            NotDecided::TooLarge(TooManyLeaves { limit }) => Self::TooLarge { limit },
            NotDecided::Fault(fault) => fault.into(),
        }
    }
}
