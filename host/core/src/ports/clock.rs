//! The ports to time and to new ids.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// Tells the time, and how long something takes.
pub trait Clock: Send + Sync {
    /// The current time, as the wall clock has it. It may be set, so no duration is measured with it.
    fn now(&self) -> Timestamp;

    /// Time since a fixed moment of this process. It never goes back, whatever is done to the wall clock.
    fn monotonic(&self) -> Duration;
}

/// Makes ids.
pub trait Ids: Send + Sync {
    /// An id that nobody has, or can guess.
    fn next(&self) -> Uuid;
}
