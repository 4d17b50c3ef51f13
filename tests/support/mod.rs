//! What several tests need.

pub mod components;
