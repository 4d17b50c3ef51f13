//! The time of the next attempt at a version that could not be judged, or is damaged.

use std::time::Duration;

use semver::Version;
use tokio::time::Instant;

use super::outcome::NotTaken;

/// Time until a version is tried again that could not be judged or is damaged: at the next look, then after this, and each
/// time doubled while the reason stays.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The longest of these times.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// A version that could not be judged or is damaged.
pub(super) struct Retry {
    pub(super) version: Version,
    why: String,
    pub(super) interval: Duration,
    pub(super) at: Instant,
}

impl Retry {
    /// Returns why this version failed, if it is not time to try it again.
    pub(super) fn postponed(retry: Option<&Self>, version: &Version) -> Result<(), NotTaken> {
        match retry {
            Some(retry) if retry.version == *version && Instant::now() < retry.at => {
                Err(NotTaken::Later(retry.why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns when to try again, if an attempt failed.
    pub(super) fn after(before: Option<Self>, version: &Version, taken: &Result<(), NotTaken>) -> Option<Self> {
        match taken {
            Err(NotTaken::Unjudged(why)) => {
                let same = before.filter(|before| before.version == *version && before.why == *why);
                let doubled = |before: Self| (before.interval * 2).clamp(RETRY_INTERVAL, MAX_RETRY_INTERVAL);
                let interval = same.map_or(Duration::ZERO, doubled);
                Some(Self { version: version.clone(), why: why.clone(), interval, at: Instant::now() + interval })
            }
            // What could not be read this time says nothing new.
            Err(NotTaken::Later(_) | NotTaken::Waiting) => before,
            Ok(()) | Err(NotTaken::Refused) => None,
        }
    }
}
