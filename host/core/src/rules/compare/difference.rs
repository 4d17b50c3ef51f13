//! A difference between two versions that clients notice.

use serde::Serialize;

/// One thing that clients will notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In plain words.
    pub words: String,
    /// Whether a client that did well with the version before may fail.
    pub breaking: bool,
}

impl Difference {
    pub(super) fn new(breaking: bool, words: String) -> Self {
        Self { words, breaking }
    }
}
