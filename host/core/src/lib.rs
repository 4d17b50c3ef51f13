//! The domain of Citas: appointments, the rules that decide on them, and the use cases that clients and operators have.
//!
//! This crate knows no AWS, wasmtime, HTTP server, environment or clock. All of these are adapters behind [`ports`].
//! Rooms import only rooms that stand before them in this list:
//!
//! - [`model`]: the values that all rooms share, such as appointments, plans and channels.
//! - [`ports`]: the interfaces to the world, each with what its adapters MUST do.
//! - [`rules`]: one loaded version of a country's rules: its schemas, plan checks, messages, golden cases and call threads.
//! - [`trial`]: a candidate version beside the version in use: canary, shadow, replay.
//! - [`release`]: the way of a version from the registry into force, and the catalogue of versions in force.
//! - [`booking`]: the use cases of the API: book, act, get, list, history.
//! - [`notify`]: the use cases behind the outbox: publish events, send mail.

pub mod booking;
pub mod model;
pub mod notify;
pub mod ports;
pub mod release;
pub mod rules;
#[cfg(test)]
mod testing;
pub mod trial;
