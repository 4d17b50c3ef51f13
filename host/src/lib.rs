//! The host: one program that runs the countries' rules and owns all data and I/O.
//!
//! Dependencies go one way: [`command`] → [`wiring`] → the adapters ([`api`], [`wasm`], [`toolkit`], [`local`], `aws`)
//! → `citas_core`. Adapters never import one another. Tools that know no adapter stand beside the wiring: the HTTP
//! server, background tasks, the log format, the status file, templates of identities, and `files`, which reads and writes all
//! files.

// `println!` and `eprintln!` panic if nobody reads their output.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
#[cfg(feature = "aws")]
pub mod aws;
pub mod background;
pub mod command;
pub mod config;
mod files;
pub mod identities;
mod json_lines;
#[cfg(feature = "aws")]
pub mod lambda;
pub mod local;
mod server;
mod status;
pub mod system;
pub mod toolkit;
pub mod wasm;
pub mod wiring;
