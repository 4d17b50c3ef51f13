//! Where published rules lie. Knows files and S3's objects; runs no rules and checks no signatures.
//!
//! - [`folder`]: a folder of this machine
//! - `s3`: a bucket
//! - `layout`: what lies where in either

pub mod folder;
mod layout;
#[cfg(feature = "aws")]
pub mod s3;
