//! Tries a candidate version beside the version in use. A canary decides for some patients. A shadow decides for no
//! patient. A replay evaluates decisions of the past again.
//!
//! - [`shadow`]: compares the results of both versions, and counts a canary's decisions
//! - [`mod@take_back`]: ends a canary that does much worse
//! - [`mod@replay`]: evaluates stored decisions
//! - [`redaction`]: masks personal data in reports

mod redaction;
mod replay;
mod shadow;
mod take_back;

pub use self::redaction::{Shown, planned, presented};
pub use self::replay::{Difference, Replayed, recall, replay};
pub(crate) use self::shadow::Routed;
pub use self::shadow::{Call, Refused, TrialRecorder, compare_all};
pub use self::take_back::{NotTakenBack, take_back};
