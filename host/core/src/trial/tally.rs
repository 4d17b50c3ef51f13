//! A version on trial beside the one in use: for whom it decides, what is found of it, and when it is taken back.
//!
//! A shadow's answers are compared with those that count, and count for nothing. A canary also decides for some patients,
//! always the same ones, and is taken back by itself when it refuses too much or gives no answer too often.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::model::appointment::CountryCode;
use crate::model::time::Clock;
use crate::ports::ledger::Unavailable;
use crate::ports::registry::{Canary, Candidate, ChangeNote, Registry, RegistryError, SequenceSpent};
use crate::rules::loaded::LoadedRules;

/// So many decisions a share is a share of at least: of one decision, one refusal would be all of them.
const MIN_DECISIONS: u64 = 100;

/// How often a channel is read anew because somebody else was faster to change it.
const ATTEMPTS: u32 = 3;

/// Who takes a canary back by itself, in the channel's history.
const BY: &str = "citas";

/// How many places of difference are kept of what is added together; others count among those that differ, and are not told
/// apart.
const MAX_BUCKETS: usize = 100;

/// A candidate, loaded.
pub struct OnTrial {
    /// Its rules.
    pub rules: Arc<LoadedRules>,
    /// What it is on trial for.
    pub terms: Candidate,
    /// Whether it decides no more here.
    stopped: AtomicBool,
}

impl OnTrial {
    /// On trial from now on.
    #[must_use]
    pub fn new(rules: Arc<LoadedRules>, terms: Candidate) -> Self {
        Self { rules, terms, stopped: AtomicBool::new(false) }
    }

    /// Has it decide no more in this process, whatever the channel says until it says otherwise.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it decides for this patient. The share depends on patient and version alone: a patient meets one version
    /// wherever and however often they ask, and a larger share has all those that a smaller one had.
    #[must_use]
    pub fn meets(&self, patient: &str) -> bool {
        let Some(canary) = self.terms.canary.filter(|_| !self.stopped.load(Ordering::Relaxed)) else { return false };
        place(&self.rules.id.version, patient) < u64::from(canary.share) * 100
    }
}

/// A patient's place among 10,000.
fn place(version: &str, patient: &str) -> u64 {
    let digest = Sha256::digest([version, "\n", patient].concat());
    let first: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
    u64::from_be_bytes(first) % 10_000
}

/// What a canary's decisions came to, beside those of the version in use on the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Decisions that were the canary's.
    pub decided: u64,
    /// Of these, refusals of what the version in use would have accepted.
    pub refused: u64,
    /// Of these, those without an answer where the version in use had one, which then counted.
    pub unanswered: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, later: Self) {
        self.decided = self.decided.saturating_add(later.decided);
        self.refused = self.refused.saturating_add(later.refused);
        self.unanswered = self.unanswered.saturating_add(later.unanswered);
    }
}

impl Tally {
    /// Why a canary is to be taken back; none while it is within its margin.
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

/// What a trial has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReport {
    /// Calls that both versions answered.
    pub compared: u64,
    /// Of these, those that differed.
    pub differed: u64,
    /// The canary's decisions.
    pub canary: Tally,
    /// What differed, by place: `book /slot/minutes`, `cancel refused pe.date.past`, …
    pub places: BTreeMap<String, DiffBucket>,
}

/// What is known of one place where answers differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffBucket {
    /// How many calls differed there.
    pub count: u64,
    /// One of them, with nothing personal in it.
    pub sample: Json,
}

impl TrialReport {
    /// Both together. Of two samples the later one stays.
    pub fn add(&mut self, later: &Self) {
        self.compared = self.compared.saturating_add(later.compared);
        self.differed = self.differed.saturating_add(later.differed);
        self.canary += later.canary;
        for (name, DiffBucket { count, sample }) in &later.places {
            if self.places.len() < MAX_BUCKETS || self.places.contains_key(name) {
                let place = self.places.entry(name.clone()).or_default();
                place.count = place.count.saturating_add(*count);
                place.sample.clone_from(sample);
            }
        }
    }
}

/// Keeps what trials find, each under its country and number.
///
/// An adapter MUST
/// - add up whatever is added, whoever else adds at the same time;
/// - show what was added to every read that starts after it was acknowledged.
#[async_trait]
pub trait Trials: Send + Sync {
    /// Adds what was found; gives the canary's decisions so far.
    async fn add(&self, country: CountryCode, trial: u64, found: &TrialReport) -> Result<Tally, Unavailable>;

    /// What the canary's decisions came to.
    async fn tally(&self, country: CountryCode, trial: u64) -> Result<Tally, Unavailable> {
        Ok(self.found(country, trial).await?.canary)
    }

    /// All that was found; nothing of a trial of which nothing is known.
    async fn found(&self, country: CountryCode, trial: u64) -> Result<TrialReport, Unavailable>;
}

/// Takes a canary back if it exceeds its margin, over all hosts that add to these trials. Whether it did.
///
/// # Errors
/// When what was found cannot be read, the registry cannot be read or written, or somebody else changed the channel
/// meanwhile.
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
            // Somebody else may have taken it back at the same moment.
            Err(RegistryError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
            done => return Ok(done.map(|()| true)?),
        }
    }
}

/// Why a canary that is to be taken back was not.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenBack {
    /// What was found cannot be read.
    #[error(transparent)]
    Trials(#[from] Unavailable),
    /// The registry was not changed.
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

    #[test]
    fn a_share_has_about_as_many_patients_as_it_says_and_a_larger_one_has_them_too() {
        let within =
            |share: u64| (0..10_000).filter(move |number| place("1.1.0", &format!("dni:{number}")) < share * 100);
        let fifth: Vec<u32> = within(20).collect();
        assert!((1_800..2_200).contains(&fifth.len()), "{}", fifth.len());
        assert_eq!(within(100).count(), 10_000);
        let third: Vec<u32> = within(33).collect();
        assert!(fifth.iter().all(|number| third.contains(number)));
        let other = |number: &&u32| place("1.2.0", &format!("dni:{number}")) < 2_000;
        assert!(fifth.iter().filter(other).count() < fifth.len() / 2, "another version has other patients");
    }

    #[test]
    fn a_sum_stays_at_the_largest_number() {
        let most = Tally { decided: u64::MAX, refused: u64::MAX, unanswered: u64::MAX };
        let place = DiffBucket { count: u64::MAX, sample: Json::Null };
        let places = [("book".to_owned(), place)].into();
        let found = TrialReport { compared: u64::MAX, differed: u64::MAX, canary: most, places };
        let mut sum = found.clone();
        sum.add(&found);
        assert_eq!(sum, found);
    }

    #[test]
    fn places_beyond_the_most_count_and_are_not_told_apart() {
        let found = |name: String| TrialReport {
            compared: 1,
            differed: 1,
            places: [(name, DiffBucket { count: 1, sample: Json::Null })].into(),
            ..TrialReport::default()
        };
        let mut all = TrialReport::default();
        for number in 0..MAX_BUCKETS + 5 {
            all.add(&found(format!("book /{number}")));
        }
        all.add(&found("book /0".into()));
        assert_eq!((all.places.len(), all.places["book /0"].count), (MAX_BUCKETS, 2));
        assert_eq!(all.differed, u64::try_from(MAX_BUCKETS).unwrap() + 6);
    }
}
