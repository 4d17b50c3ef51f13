//! Where published rules lie. Knows files and S3's objects; runs no rules and checks no signatures.
//!
//! - [`folder`]: a folder of this machine
//! - `s3`: a bucket
//! - [`last_good`]: what came into force on this host, in a folder of its own
//! - `layout`: what lies where in either

pub mod folder;
pub mod last_good;
mod layout;
#[cfg(feature = "aws")]
pub mod s3;
