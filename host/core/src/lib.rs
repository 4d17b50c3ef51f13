//! The domain of Citas: appointments, the rules that decide on them, and the use cases of clients and operators.
//!
//! This crate knows nothing of AWS, wasmtime, HTTP servers, the environment or the system clock. They are adapters
//! behind [`ports`]. A module imports only the modules above it in this list:
//!
//! - [`model`]: the values that all modules share, such as appointments, plans and channels.
//! - [`ports`]: the interfaces to the outside world, each with what its adapters MUST do.
//! - [`rules`]: one loaded version of a country's rules: its schemas, plan checks, messages, golden cases and call
//!   threads.
//! - [`release`]: the path of a version from the registry into force, and the catalogue of versions in force.
//! - [`trial`]: a candidate version beside the version in use: canary, shadow, replay.
//! - [`people`]: who calls, in which role, and for which patients and hospitals.
//! - [`booking`]: the use cases of the API: book, act, get, list, history.
//! - [`notify`]: the use cases behind the outbox: publish events, send mail.

pub mod booking;
pub mod model;
pub mod notify;
pub mod people;
pub mod ports;
pub mod release;
pub mod rules;
#[cfg(test)]
mod testing;
pub mod trial;
