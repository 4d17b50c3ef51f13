//! Waits for a condition up to a deadline, without a guess at how long it takes.

use std::time::{Duration, Instant};

/// Interval between two attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls `found` until it returns a value.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::park_timeout(POLL_INTERVAL);
    }
}
