//! Schedules attempts at a version that could not be judged or is damaged.

use std::time::Duration;

use semver::Version;
use tokio::time::Instant;

use super::outcome::NotTaken;

/// Delay of the second retry of a version that could not be judged or is damaged. The first retry is at the next look.
/// Later delays double while the reason stays the same.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum delay of a retry.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Next attempt at a version that could not be judged or is damaged.
pub(super) struct Retry {
    pub(super) version: Version,
    why: String,
    pub(super) interval: Duration,
    pub(super) at: Instant,
}

impl Retry {
    /// Returns an error with the reason of the last failure if it is too early to retry this version.
    pub(super) fn postponed(retry: Option<&Self>, version: &Version) -> Result<(), NotTaken> {
        match retry {
            Some(retry) if retry.version == *version && Instant::now() < retry.at => {
                Err(NotTaken::Later(retry.why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the next attempt at this version; none if it was accepted or refused.
    pub(super) fn after(before: Option<Self>, version: &Version, taken: &Result<(), NotTaken>) -> Option<Self> {
        match taken {
            Err(NotTaken::Unjudged(why)) => {
                let same = before.filter(|before| before.version == *version && before.why == *why);
                let doubled = |before: Self| (before.interval * 2).clamp(RETRY_INTERVAL, MAX_RETRY_INTERVAL);
                let interval = same.map_or(Duration::ZERO, doubled);
                Some(Self { version: version.clone(), why: why.clone(), interval, at: Instant::now() + interval })
            }
            // Neither a failed read nor a wait changes the next attempt.
            Err(NotTaken::Later(_) | NotTaken::Waiting) => before,
            Ok(()) | Err(NotTaken::Refused) => None,
        }
    }
}
