//! What Citas is, apart from where it runs: appointments, the ports to the world, and the use cases.
//!
//! Knows no AWS, no wasmtime, no HTTP server, no environment and no clock: all of these stand behind the ports.
//!
//! - [`appointment`], [`event`], [`json`]: what is stored and spoken of
//! - [`rules`], [`ledger`], [`registry`], [`last_good`], [`publisher`], [`mailer`], [`time`]: the ports, with what each adapter MUST do
//! - [`loaded`], [`catalogue`], [`admission`], [`swap`], [`cases`]: a country's rules, in force and on the way there
//! - [`executor`]: the threads on which rules are called, and whose call runs next
//! - [`compare`]: what clients will notice of a new version
//! - [`follow`], [`on_demand`], [`precompile`]: from the registry to there
//! - [`views`]: what was shown of an appointment
//! - [`booking`], [`relay`], [`notifier`]: the use cases
//! - [`deadline`]: a request's time limit
//! - [`replay`]: a decision judged again
//! - [`trial`], [`shadow`], [`personal`]: a version tried beside the one in use
//! - [`messages`]: violations in words

pub mod access;
pub mod admission;
mod alternatives;
pub mod appointment;
pub mod booking;
pub mod cases;
pub mod catalogue;
pub mod compare;
pub mod deadline;
pub mod event;
pub mod executor;
pub mod follow;
mod idempotency;
pub mod json;
mod judged;
pub mod last_good;
pub mod ledger;
mod letter;
pub mod limits;
pub mod loaded;
pub mod mailer;
pub mod messages;
pub mod notifier;
pub mod on_demand;
pub mod personal;
pub mod precompile;
pub mod publisher;
pub mod registry;
pub mod relay;
pub mod replay;
pub mod rules;
pub mod schema;
pub mod shadow;
pub mod swap;
#[cfg(test)]
mod testing;
pub mod time;
pub mod trial;
pub mod trust;

pub mod views;
