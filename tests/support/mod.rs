//! What several suites need.

pub mod appointments;
pub mod chance;
pub mod components;
