//! The host.

pub mod local;
pub mod registry;
