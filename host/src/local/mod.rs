//! The ports as one machine fulfils them. Knows files, SQLite, SMTP and the machine's clock; knows no rules and no HTTP.
//!
//! - [`sqlite`]: the ledger and its outbox, one file a country
//! - [`spool`], [`smtp`]: where mail goes
//! - [`system`]: the time and ids

pub mod smtp;
pub mod spool;
pub mod sqlite;
pub mod system;
