//! The host: one program that runs the countries' rules and owns all data and I/O.
//!
//! Arrows go one way: [`command`] → [`wiring`] → the adapters ([`api`], [`rules`], [`registry`], [`local`]) →
//! `citas_core`. The adapters never import one another.

pub mod api;
pub mod command;
pub mod config;
pub mod local;
pub mod registry;
pub mod rules;
pub mod wiring;
