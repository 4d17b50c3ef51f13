//! Routes patients to the version that decides for them: the version in use, or the canary for a share of the patients.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use crate::model::Candidate;
use crate::rules::LoadedRules;

/// Versions that decide in a country. A request keeps them until it ends.
#[derive(Clone)]
pub struct InForce {
    /// Rules in use.
    pub used: Arc<LoadedRules>,
    /// Candidate beside the rules in use.
    pub candidate: Option<Arc<OnTrial>>,
}

impl InForce {
    /// Returns the rules in use, and those of the candidate.
    pub fn versions(&self) -> impl Iterator<Item = &LoadedRules> {
        iter::once(&*self.used).chain(self.candidate.iter().map(|candidate| &*candidate.rules))
    }

    /// Returns the candidate if it decides for this patient.
    pub fn canary_of(&self, patient: &str) -> Option<&OnTrial> {
        self.candidate.as_deref().filter(|candidate| candidate.meets(patient))
    }

    /// Returns the version that decides for this patient.
    pub fn of(&self, patient: &str) -> &Arc<LoadedRules> {
        self.canary_of(patient).map_or(&self.used, |candidate| &candidate.rules)
    }
}

/// A loaded candidate.
pub struct OnTrial {
    /// Rules of the candidate.
    pub rules: Arc<LoadedRules>,
    /// Terms of the trial.
    pub terms: Candidate,
    /// True if the candidate no longer decides in this process.
    stopped: AtomicBool,
}

impl OnTrial {
    /// Starts a trial under these terms.
    pub fn new(rules: Arc<LoadedRules>, terms: Candidate) -> Self {
        Self { rules, terms, stopped: AtomicBool::new(false) }
    }

    /// Stops the candidate from deciding in this process until the channel changes its terms.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Returns true if the candidate decides for this patient. The share depends only on the patient and the version: a
    /// patient always meets the same version, and a larger share contains all patients of a smaller one.
    pub fn meets(&self, patient: &str) -> bool {
        let Some(canary) = self.terms.canary.filter(|_| !self.stopped.load(Ordering::Relaxed)) else { return false };
        place(&self.rules.id.version, patient) < u64::from(canary.share) * 100
    }
}

/// Returns a patient's place among 10,000.
fn place(version: &str, patient: &str) -> u64 {
    let digest = Sha256::digest([version, "\n", patient].concat());
    let first: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
    u64::from_be_bytes(first) % 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
