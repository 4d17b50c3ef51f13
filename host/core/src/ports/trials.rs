//! Port to the reports of trials: counts of a canary's decisions and samples of a shadow's differences.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::CountryCode;
use crate::ports::ledger::Unavailable;

/// Maximum number of places that a report keeps apart. A difference at any other place counts only in `differed`.
const MAX_BUCKETS: usize = 100;

/// Counts of a canary's decisions, compared with those of the version in use on the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Number of the canary's decisions. Its other calls count only if they fail.
    pub decided: u64,
    /// Number of these that refused a request which the version in use would have accepted.
    pub refused: u64,
    /// Number of these without a result, for which the result of the version in use counted.
    pub unanswered: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, later: Self) {
        self.decided = self.decided.saturating_add(later.decided);
        self.refused = self.refused.saturating_add(later.refused);
        self.unanswered = self.unanswered.saturating_add(later.unanswered);
    }
}

/// Findings of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReport {
    /// Number of calls that were compared.
    pub compared: u64,
    /// Number of these that differed.
    pub differed: u64,
    /// Counts of the canary's decisions.
    pub canary: Tally,
    /// Differences by place, for example `book /slot/minutes` or `cancel refused pe.date.past`.
    pub places: BTreeMap<String, DiffBucket>,
}

/// Differences at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffBucket {
    /// Number of calls that differed at this place.
    pub count: u64,
    /// One of the differences, without personal data.
    pub sample: Json,
}

impl TrialReport {
    /// Adds a later report. If both have a sample of a place, the later one stays.
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

/// Stores the reports of trials, each under its country and number.
///
/// An adapter MUST
/// - add up all reports, even with concurrent writers;
/// - show a report to every read that starts after its acknowledgement.
#[async_trait]
pub trait Trials: Send + Sync {
    /// Adds a report, and returns the counts of the canary's decisions so far.
    async fn add(&self, country: CountryCode, trial: u64, found: &TrialReport) -> Result<Tally, Unavailable>;

    /// Returns the counts of the canary's decisions.
    async fn tally(&self, country: CountryCode, trial: u64) -> Result<Tally, Unavailable> {
        Ok(self.found(country, trial).await?.canary)
    }

    /// Returns the whole report of a trial; empty if nothing is known of the trial.
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
