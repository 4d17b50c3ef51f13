//! Which rules are in force, and the threads that run them. A request takes what is there when it comes and ends on it; a
//! swap is one atomic store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::appointment::CountryCode;
use crate::release::routing::{InForce, OnTrial};
use crate::rules::executor::Executor;
use crate::rules::loaded::LoadedRules;

/// Why the last version that was to come into force did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedVersion {
    /// A version, or the sources' folder.
    pub what: String,
    /// In plain words.
    pub why: String,
    /// When it was tried.
    pub at: Timestamp,
    /// Whether it was to be on trial, and not in use.
    #[serde(default)]
    pub on_trial: bool,
}

/// A country as this host sees it.
#[derive(Clone, Default)]
pub struct Entry {
    /// The rules in force; none when no version has come into force yet.
    pub rules: Option<Arc<LoadedRules>>,
    /// Since when they are.
    pub since: Option<Timestamp>,
    /// How many versions have come into force in this process.
    pub swaps: u64,
    /// The version on trial beside them.
    pub candidate: Option<Arc<OnTrial>>,
    /// The last version that did not; none once a later one did.
    pub refused: Option<RefusedVersion>,
}

impl Entry {
    /// What decides here; none when no version has come into force yet.
    #[must_use]
    pub fn in_force(&self) -> Option<InForce> {
        Some(InForce { used: self.rules.clone()?, candidate: self.candidate.clone() })
    }
}

/// Every country that this host knows.
#[derive(Default)]
pub struct Catalogue {
    entries: ArcSwap<BTreeMap<CountryCode, Entry>>,
    executor: Executor,
}

impl Catalogue {
    /// The threads on which rules are called.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// All countries, in the order of their codes.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<CountryCode, Entry>> {
        self.entries.load_full()
    }

    /// One country; none when the host has never heard of it.
    #[must_use]
    pub fn entry(&self, country: CountryCode) -> Option<Entry> {
        self.entries.load().get(&country).cloned()
    }

    /// The rules in force in a country.
    #[must_use]
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

    /// Remembers why a version did not come into force. What was in force stays so.
    pub fn refuse(&self, country: CountryCode, refused: &RefusedVersion) {
        let RefusedVersion { what, why, .. } = refused;
        tracing::warn!(%country, what, why, "kept the last good rules");
        Self::count(country, "refused");
        self.update(country, |entry| entry.refused = Some(refused.clone()));
    }

    /// Puts a version on trial, or ends the trial.
    pub fn try_out(&self, country: CountryCode, candidate: Option<OnTrial>) {
        if let Some(OnTrial { rules, terms, .. }) = &candidate {
            let (version, digest) = (&rules.id.version, &rules.id.digest);
            tracing::info!(%country, version, digest, trial = terms.trial, canary = ?terms.canary, "rules on trial");
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
