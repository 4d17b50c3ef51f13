//! A candidate version beside the version in use. A canary decides for some patients, a shadow for nobody, a replay for
//! nobody and about the past.

pub mod redaction;
pub mod replay;
pub mod shadow;
pub mod take_back;
