//! Every reason why a booking or an action does not come about. The API gives each variant an answer of its own.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::access::Forbidden;
use crate::model::appointment::{CountryCode, Slot};
use crate::model::json::TooManyLeaves;
use crate::model::plan::Violation;
use crate::ports::ledger::Unavailable;
use crate::ports::rules::Fault;
use crate::rules::decision::NotDecided;
use crate::rules::loaded::LoadedRules;

/// Why a booking or an action did not come about: one variant for each different answer.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// Nothing is known of that country.
    #[error("there is no country `{0}` here")]
    UnknownCountry(CountryCode),
    /// Unknown, or somebody else's.
    #[error("there is no such appointment")]
    UnknownAppointment,
    /// The country has no action of that name.
    #[error("there is no action `{0}` here")]
    UnknownAction(String),
    /// The token is good, and not for this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Schema or rules say no.
    #[error("the rules say no")]
    Violations(Rejection),
    /// The action is not possible in this phase.
    #[error("this cannot be done to the appointment as it stands")]
    NotAllowedNow(Rejection),
    /// Somebody else has it.
    #[error("somebody else has {}", .claim.as_deref().unwrap_or("that time"))]
    SlotTaken {
        /// What is taken, where the caller may know it.
        claim: Option<String>,
        /// Free slots near the one asked for, the nearest first.
        free: Vec<FreeSlot>,
    },
    /// The appointment is not at the revision that the caller saw.
    #[error("the appointment has changed since; it is at revision {current}")]
    Stale {
        /// Where it is now.
        current: u32,
    },
    /// The same key is at work right now.
    #[error("a request with this Idempotency-Key is at work right now")]
    InProgress,
    /// The key came with another request before.
    #[error("this Idempotency-Key came with another request before")]
    KeyReused,
    /// It is more than the rules can be given.
    #[error("the request is more than can be dealt with: it, or what comes of it, has more than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The country's rules gave no answer.
    #[error("the rules gave no answer")]
    RulesUnavailable(#[source] Option<Fault>),
    /// The ledger gave no answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<Fault> for BookingError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InputTooLarge { limit } => Self::TooLarge { limit },
            fault => Self::RulesUnavailable(Some(fault)),
        }
    }
}

/// Why rules say no, and which rules these are: it is in their words that a client is told.
#[derive(Debug)]
pub struct Rejection {
    /// All that speaks against it.
    pub violations: Vec<Violation>,
    /// Whose no it is.
    pub rules: Arc<LoadedRules>,
}

/// A slot that can be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSlot {
    /// As the clocks there show it.
    pub slot: Slot,
    /// When it starts.
    pub starts_at: Timestamp,
}

/// A code with this ending means that the action is not possible in the appointment's phase.
const NOT_ALLOWED_NOW: &str = ".not-allowed-now";

impl BookingError {
    /// The refusal of these rules for these violations.
    pub(super) fn refused(rules: &Arc<LoadedRules>, violations: Vec<Violation>) -> Self {
        let not_now = violations.iter().any(|violation| violation.code.ends_with(NOT_ALLOWED_NOW));
        let rejection = Rejection { violations, rules: rules.clone() };
        if not_now { Self::NotAllowedNow(rejection) } else { Self::Violations(rejection) }
    }

    /// The error of a request on which these rules were not asked, or gave no answer.
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
