//! Takes back a canary that refuses too much or gives no result too often, over all hosts that count its decisions. The
//! margin is in the channel. `shadow` has stopped the canary in its own process before.

use crate::model::{Canary, Candidate, ChangeNote, CountryCode, SequenceSpent};
use crate::ports::{Clock, Registry, RegistryError, Tally, Trials, Unavailable};

/// Minimum denominator when the margin is applied. As a share of one decision, a single refusal would be 100 %.
const MIN_DECISIONS: u64 = 100;

/// Maximum number of attempts to change a channel that others change at the same time.
const ATTEMPTS: u32 = 3;

/// Author of automatic changes in the channel's history.
const BY: &str = "citas";

impl Tally {
    /// Returns the reason to take the canary back; none while it is within its margin.
    #[must_use]
    pub fn exceeds(&self, canary: &Canary) -> Option<String> {
        let Self { decided, refused, unanswered } = *self;
        let allowed = u128::from(canary.margin) * u128::from(decided.max(MIN_DECISIONS));
        let (count, what) = [
            (unanswered, "got no answer where the version in use gives one"),
            (refused, "were refused where the version in use would have accepted"),
        ]
        .into_iter()
        .find(|(count, _)| u128::from(*count) * 100 > allowed)?;
        Some(format!(
            "{count} of its {decided} decisions {what}; the margin is {} %, of at least {MIN_DECISIONS} decisions",
            canary.margin
        ))
    }
}

/// Takes a canary back if it exceeds its margin over all hosts that add to this trial. Returns true if it was taken
/// back.
///
/// # Errors
/// Returns an error if the tally cannot be read, the registry cannot be read or written, the channel's sequence cannot
/// rise further, or others keep changing the channel meanwhile.
pub async fn take_back(
    registry: &dyn Registry,
    trials: &dyn Trials,
    clock: &dyn Clock,
    country: CountryCode,
) -> Result<bool, NotTakenBack> {
    let mut attempt = 1;
    loop {
        let Some(channel) = registry.channel(country).await? else { return Ok(false) };
        let Some(Candidate { version, trial, canary: Some(canary) }) = &channel.candidate else { return Ok(false) };
        let Some(why) = trials.tally(country, *trial).await?.exceeds(canary) else { return Ok(false) };
        tracing::warn!(%country, %version, why, "taking the canary back");
        let note = ChangeNote { at: clock.now(), by: BY.into(), why };
        let Some(without) = channel.withdraw(note)? else { return Ok(false) };
        match registry.set_channel(country, Some(&channel), &without).await {
            // Another host may have taken it back at the same moment.
            Err(RegistryError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            done => return Ok(done.map(|()| true)?),
        }
    }
}

/// Reasons why a canary that exceeds its margin was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenBack {
    /// The tally cannot be read.
    #[error(transparent)]
    Trials(#[from] Unavailable),
    /// The registry cannot be read or written, or another change came first.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The channel cannot change any more.
    #[error(transparent)]
    Channel(#[from] SequenceSpent),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeds(margin: u8, decided: u64, refused: u64, unanswered: u64) -> bool {
        Tally { decided, refused, unanswered }.exceeds(&Canary { share: 5, margin }).is_some()
    }

    #[test]
    fn a_margin_is_a_share_of_at_least_a_hundred_decisions() {
        assert!(!exceeds(0, 1000, 0, 0));
        assert!(exceeds(0, 1, 1, 0) && exceeds(0, 1, 0, 1));
        assert!(!exceeds(2, 3, 2, 0) && exceeds(2, 3, 3, 0), "two of a hundred, though there are but three");
        assert!(!exceeds(2, 1000, 20, 20) && exceeds(2, 1000, 21, 0) && exceeds(2, 1000, 0, 21));
        assert!(!exceeds(100, 50, 50, 50));
        assert!(exceeds(100, 1, u64::MAX, 0) && !exceeds(u8::MAX, u64::MAX, u64::MAX, u64::MAX));
    }
}
