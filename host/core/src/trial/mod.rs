//! Tries a candidate version beside the version in use. A canary decides for some patients. A shadow decides for no
//! patient. A replay evaluates decisions of the past again.

pub mod redaction;
pub mod replay;
pub mod shadow;
pub mod take_back;
