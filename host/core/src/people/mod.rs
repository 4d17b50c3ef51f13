//! People: who calls, in which role, and for which patients and hospitals.
//!
//! - [`access`]: a caller within one country
//! - [`access_control`]: the admission of callers to countries

mod access;
mod access_control;

pub use self::access::Access;
pub(crate) use self::access::CLOCK;
pub(crate) use self::access_control::AccessControl;
pub use self::access_control::AccessError;
