//! A clock that stands still until a test sets it.

use std::sync::Mutex;
use std::time::Duration;

use citas_core::ports::Clock;
use jiff::{SignedDuration, Timestamp};

/// A wall clock that a test sets. No time passes by its monotonic clock.
pub struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }

    pub fn shift(&self, by: SignedDuration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}
