//! What Citas is, apart from where it runs: appointments, the ports to the world, and the use cases.
//!
//! Knows no AWS, no wasmtime, no HTTP server, no environment and no clock: all of these stand behind the ports.
//!
//! - [`appointment`], [`event`], [`json`]: what is stored and spoken of
//! - [`rules`], [`ledger`], [`registry`], [`publisher`], [`mailer`], [`time`]: the ports, with what each adapter MUST do
//! - [`loaded`], [`catalogue`], [`swap`], [`cases`]: a country's rules, in force and on the way there
//! - [`booking`], [`relay`], [`notifier`]: the use cases
//! - [`messages`]: violations in words

pub mod appointment;
pub mod event;
pub mod json;
pub mod ledger;
pub mod mailer;
pub mod publisher;
pub mod registry;
pub mod rules;
pub mod time;
