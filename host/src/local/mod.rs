//! The ports as one machine fulfils them. Knows files, SQLite, SMTP and the machine's clock; knows no rules and no HTTP.
//!
//! - [`sqlite`]: the ledger and its outbox, one file a country
//! - [`publisher`]: events go straight to the notifier
//! - [`spool`], [`smtp`]: where mail goes
//! - [`registry`], [`last_good`]: published rules, and those that last came into force here
//! - [`trials`]: what is found of versions on trial
//! - [`issuer`], [`oidc`]: whose tokens are taken

pub mod issuer;
mod jwt;
pub mod last_good;
pub mod oidc;
pub mod publisher;
pub mod registry;
pub mod smtp;
pub mod spool;
pub mod sqlite;
mod token_cache;
pub mod trials;
