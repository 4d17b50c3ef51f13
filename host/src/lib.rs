//! The host: one program that runs the countries' rules and owns all data and I/O.
//!
//! Arrows go one way: the command → [`wiring`] → the adapters ([`api`], [`local`]) → `citas_core`.
//! The adapters never import one another.

pub mod api;
pub mod local;
