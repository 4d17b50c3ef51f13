//! Brings versions into force: reads a version from the registry, verifies it, has it judged, and swaps it in.
//! [`catalogue`] holds the versions in force. Nothing here decides on an appointment.

pub mod admission;
pub mod catalogue;
pub mod follow;
pub mod layout;
pub mod on_demand;
pub mod precompile;
pub mod routing;
pub mod swap;
pub mod trust;
mod verify;
