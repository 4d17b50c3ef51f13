//! Ports to the time and to new ids.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// Reads the time and measures durations.
pub trait Clock: Send + Sync {
    /// Returns the current time of the wall clock. Do not measure durations with it: the clock may be set meanwhile.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment of this process. It never goes back, even if the wall clock is set.
    fn monotonic(&self) -> Duration;
}

/// Creates ids.
pub trait Ids: Send + Sync {
    /// Returns a unique id that cannot be guessed.
    fn next(&self) -> Uuid;
}
