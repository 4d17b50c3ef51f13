//! The host: one program that runs the countries' rules and owns all data and I/O.
//!
//! Arrows go one way: [`command`] → [`wiring`] → the adapters ([`api`], [`wasm`], [`toolkit`], [`local`], `aws`) →
//! `citas_core`. The adapters never import one another. Beside the wiring stand its tools, which know none of them: the
//! HTTP server, background tasks, the log's format, the status file, and `files`, through which all read and write files.

// `println!` and `eprintln!` panic where nobody takes what they print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
#[cfg(feature = "aws")]
pub mod aws;
pub mod background;
pub mod command;
pub mod config;
mod files;
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
