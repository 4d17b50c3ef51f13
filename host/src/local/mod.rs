//! Implements the ports on one machine. Knows files, SQLite, SMTP and the machine's clock, but no rules and no HTTP
//! server.
//!
//! - [`sqlite`]: the ledger and its outbox, one file per country
//! - [`read_log`]: who was shown data of which patients
//! - [`publisher`]: events, handed directly to the notifier
//! - [`spool`], [`smtp`]: delivery of mail
//! - [`registry`], [`last_good`]: published rules, and those that last came into force on this host
//! - [`trials`]: reports of trials
//! - [`link_keys`]: the keys that sign the links in mail
//! - [`secret`]: new keys
//! - [`issuer`], [`oidc`], [`jwt`], [`token_cache`]: verification of tokens

pub mod issuer;
mod jwt;
pub mod last_good;
pub mod link_keys;
pub mod oidc;
pub mod publisher;
pub mod read_log;
pub mod registry;
mod secret;
pub mod smtp;
pub mod spool;
pub mod sqlite;
mod token_cache;
pub mod trials;
