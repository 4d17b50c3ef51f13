//! What calls took, for who measures rules. A host that serves has no meter, and its calls note nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What one call took.
#[derive(Clone, Copy, Debug)]
pub struct Metered {
    /// The contract's name of the function.
    pub function: &'static str,
    /// Of its [bound](super::limits::Bounds::fuel).
    pub fuel: u64,
    /// The most memory that its instance had, in bytes.
    pub memory: usize,
    /// From the making of its instance to the end of it.
    pub time: Duration,
}

/// The calls since it was last read.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Vec<Metered>>);

impl Meter {
    pub(super) fn note(&self, call: Metered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// The calls since this was last asked.
    #[must_use]
    pub fn take(&self) -> Vec<Metered> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
