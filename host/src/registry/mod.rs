//! Where published rules lie. Knows files; runs no rules and checks no signatures.
//!
//! - [`folder`]: a folder of this machine

pub mod folder;
