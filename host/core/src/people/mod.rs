//! People: who calls, in which role, and for which patients and hospitals.
//!
//! - [`access`]: a caller within one country

mod access;

pub use self::access::Access;
pub(crate) use self::access::CLOCK;
