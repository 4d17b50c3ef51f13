//! Holds the rules in force in each country, and the threads that run them. A request keeps the rules that are in force
//! when it arrives; a swap is one atomic store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::model::CountryCode;
use crate::release::routing::{InForce, OnTrial};
use crate::rules::{Executor, LoadedRules};

/// Last version that did not come into force or on trial, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedVersion {
    /// Name of the version, or of the folder of its sources.
    pub what: String,
    /// The version, if it is a published one and known.
    #[serde(default)]
    pub version: Option<Version>,
    /// Reason in plain words.
    pub why: String,
    /// Time of the attempt.
    pub at: Timestamp,
    /// True for a candidate, false for a version that was to be in use.
    #[serde(default)]
    pub on_trial: bool,
    /// True if the host tries again by itself, because the version could not be read or judged.
    #[serde(default)]
    pub retried: bool,
}

/// State of a country on this host.
#[derive(Clone, Default)]
pub struct Entry {
    /// Rules in force; none if no version has come into force yet.
    pub rules: Option<Arc<LoadedRules>>,
    /// Time at which the rules came into force.
    pub since: Option<Timestamp>,
    /// Number of versions that have come into force in this process.
    pub swaps: u64,
    /// Candidate beside the rules in force.
    pub candidate: Option<Arc<OnTrial>>,
    /// Last version that did not come into force or on trial. Cleared when a version comes into force; that of a
    /// candidate also when a trial begins or ends.
    pub refused: Option<RefusedVersion>,
}

impl Entry {
    /// Returns the versions that decide in the country; none if no version has come into force yet.
    pub fn in_force(&self) -> Option<InForce> {
        Some(InForce { used: self.rules.clone()?, candidate: self.candidate.clone() })
    }
}

/// All countries that this host knows.
#[derive(Default)]
pub struct Catalogue {
    entries: ArcSwap<BTreeMap<CountryCode, Entry>>,
    executor: Executor,
}

impl Catalogue {
    /// Returns the threads that run calls to rules.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Returns all countries, ordered by code.
    pub fn all(&self) -> Arc<BTreeMap<CountryCode, Entry>> {
        self.entries.load_full()
    }

    /// Returns a country; none if the host does not know it.
    pub fn entry(&self, country: CountryCode) -> Option<Entry> {
        self.entries.load().get(&country).cloned()
    }

    /// Returns the rules in force in a country.
    pub fn rules(&self, country: CountryCode) -> Option<Arc<LoadedRules>> {
        self.entries.load().get(&country)?.rules.clone()
    }

    /// Puts rules into force.
    pub fn install(&self, rules: LoadedRules, at: Timestamp) {
        let country = rules.country;
        tracing::info!(%country, version = rules.id.version, digest = rules.id.digest, "rules in force");
        let rules = Arc::new(rules);
        Self::count(country, "in-force");
        self.update(country, |entry| {
            entry.rules = Some(rules.clone());
            entry.since = Some(at);
            entry.swaps += 1;
            entry.refused = None;
        });
    }

    /// Records why a version did not come into force or on trial. The rules in force do not change.
    pub fn refuse(&self, country: CountryCode, refused: &RefusedVersion) {
        let RefusedVersion { what, why, .. } = refused;
        tracing::warn!(%country, what, why, "kept the last good rules");
        Self::count(country, "refused");
        self.update(country, |entry| entry.refused = Some(refused.clone()));
    }

    /// Forgets the refusal of a version that was to be in use, because that is no longer wanted.
    pub(crate) fn forget_refusal(&self, country: CountryCode) {
        let is_of_use = |entry: &Entry| entry.refused.as_ref().is_some_and(|refused| !refused.on_trial);
        if self.all().get(&country).is_some_and(is_of_use) {
            self.update(country, |entry| entry.refused = None);
        }
    }

    /// Puts a version on trial, or ends the trial.
    pub fn try_out(&self, country: CountryCode, candidate: Option<OnTrial>) {
        if let Some(OnTrial { rules, terms, .. }) = &candidate {
            let (version, digest) = (&rules.id.version, &rules.id.digest);
            let (share, margin) = terms.canary.map(|canary| (canary.share, canary.margin)).unzip();
            tracing::info!(%country, version, digest, trial = terms.trial, share, margin, "rules on trial");
        } else {
            tracing::info!(%country, "no rules are on trial");
        }
        let candidate = candidate.map(Arc::new);
        self.update(country, |entry| {
            entry.candidate.clone_from(&candidate);
            entry.refused = entry.refused.take().filter(|refused| !refused.on_trial);
        });
    }

    fn count(country: CountryCode, outcome: &'static str) {
        metrics::counter!("citas_rules_swaps_total", "country" => country.to_string(), "outcome" => outcome)
            .increment(1);
    }

    fn update(&self, country: CountryCode, change: impl Fn(&mut Entry)) {
        self.entries.rcu(|entries| {
            let mut entries = BTreeMap::clone(entries);
            change(entries.entry(country).or_default());
            entries
        });
    }
}
