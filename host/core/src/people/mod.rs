//! People: who calls, in which role, and for which patients and hospitals.
//!
//! - [`access`]: a caller within one country
//! - [`access_control`]: the admission of callers to countries
//! - [`patient_links`]: the use cases of the links of accounts to patients
//! - [`read_log`]: the record of who was shown which patients

mod access;
mod access_control;
mod patient_links;
mod read_log;

pub use self::access::Access;
pub(crate) use self::access::CLOCK;
pub use self::access_control::{AccessControl, AccessError};
pub use self::patient_links::{LinkingError, MAX_LINKS, MAX_REQUESTS, NewPatientLink, PatientLinkView};
