//! The ports as one machine fulfils them. Knows files, SQLite, SMTP and the machine's clock; knows no rules and no HTTP.
//!
//! - [`sqlite`]: the ledger and its outbox, one file a country
//! - [`publisher`]: events go straight to the notifier
//! - [`spool`], [`smtp`]: where mail goes
//! - [`trials`]: what is found of versions on trial
//! - [`issuer`], [`oidc`]: whose tokens are taken

pub mod issuer;
mod jwt;
mod known_tokens;
pub mod oidc;
pub mod publisher;
pub mod smtp;
pub mod spool;
pub mod sqlite;
pub mod trials;
