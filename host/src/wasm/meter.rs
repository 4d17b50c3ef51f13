//! Records the resources of calls, for commands that measure rules. A host that serves has no meter: its metrics of calls
//! come from `citas_core::rules`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Resources that one call used.
#[derive(Clone, Copy, Debug)]
pub struct Metered {
    /// Name of the function in the contract.
    pub function: &'static str,
    /// Fuel used, out of its [bound](super::limits::Bounds::fuel).
    pub fuel: u64,
    /// Peak memory of the instance, in bytes.
    pub memory: usize,
    /// Time from the creation of the instance to its end.
    pub time: Duration,
}

/// Calls since the last read.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Vec<Metered>>);

impl Meter {
    pub(super) fn note(&self, call: Metered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Returns the calls since the last read, and clears them.
    pub fn take(&self) -> Vec<Metered> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
