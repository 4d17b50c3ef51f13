//! The port to the reports of trials: counts of a canary's decisions and samples of a shadow's differences.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::appointment::CountryCode;
use crate::ports::ledger::Unavailable;

/// How many places of difference are kept of what is added together; others count among those that differ, and are not told
/// apart.
const MAX_BUCKETS: usize = 100;

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

#[cfg(test)]
mod tests {
    use super::*;

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
