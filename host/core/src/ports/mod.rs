//! Interfaces to the outside world. Each trait states what every adapter MUST do, and the contract suites in `tests/`
//! check the adapters. Ports import only the model and each other.

mod agendas;
mod clock;
pub mod deadline;
mod last_good;
mod ledger;
mod mailer;
mod native_code;
mod patient_links;
mod places;
mod privacy_requests;
mod publisher;
mod read_log;
mod registry;
mod rules;
mod tokens;
mod trials;

pub use self::agendas::{AgendaCondition, AgendaError, Agendas};
pub use self::clock::{Clock, Ids};
pub use self::last_good::LastGood;
pub use self::ledger::{
    Attempts, Change, CommitError, Committed, DueWake, Ledger, NewHold, Order, Outbox, OwnerFilter, Page, Pending,
    Position, Query, Receipt, Taken, Unavailable, Wakes,
};
pub use self::mailer::{Mail, MailError, Mailer};
pub use self::native_code::NativeCodeStore;
pub use self::patient_links::{AccountLinks, PatientLinkChange, PatientLinkError, PatientLinks, RequestPosition};
pub use self::places::{PlaceRequest, Settled};
pub use self::privacy_requests::{PrivacyError, PrivacyQuery, PrivacyRequests};
pub use self::publisher::{NotPublished, Publisher};
pub use self::read_log::{ReadLog, ReadLogUnavailable, ReadPage, ReadQuery};
pub use self::registry::{Readiness, Registry, RegistryError};
pub use self::rules::{CONTRACTS, Engine, FIRST_CONTRACT, FailedCall, Fault, Refusal, Rules, lowest_host};
pub use self::tokens::{BadToken, TokenVerifier};
pub use self::trials::{DiffBucket, Tally, TrialReport, Trials};
