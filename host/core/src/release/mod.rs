//! The way of a version into force: read it from the registry, verify it, have it judged, swap it in. [`catalogue`] holds what
//! is in force. Nothing here decides on an appointment.

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
