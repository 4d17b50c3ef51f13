//! A difference between two versions that clients notice.

use serde::Serialize;

/// One difference that clients notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Description in plain words.
    pub words: String,
    /// True if a client that works with the version before may fail.
    pub breaking: bool,
}

impl Difference {
    pub(super) fn new(breaking: bool, words: String) -> Self {
        Self { words, breaking }
    }
}
