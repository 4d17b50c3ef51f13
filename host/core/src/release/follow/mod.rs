//! Follows the channels of a registry, each country separately: fetches changed versions, verifies them, and passes
//! them on to be swapped. Saves the versions that came into force, for a start without the registry.
//!
//! The files and versions of one country do not delay another country: each look at a country is a separate task, and
//! every read of the registry has a deadline.

mod follower;
mod following;
mod outcome;
mod reads;
mod retry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

pub use self::follower::Follower;
use self::follower::{HOST_FAILED, START_TIMEOUT};
pub use self::following::Following;
use self::reads::start_within;
pub(crate) use self::reads::{READ_TIMEOUT, within};
use crate::model::CountryCode;
use crate::ports::RegistryError;

/// Time until the next look at a country after a look that panicked.
const PANIC_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Follows every country of a registry, each with a separate follower.
pub struct Followers {
    following: Arc<Following>,
    /// Known countries; without a follower while a look at the country is under way.
    countries: BTreeMap<CountryCode, Option<Follower>>,
    looks: JoinSet<Follower>,
    /// Country of each look under way.
    looked_at: HashMap<Id, CountryCode>,
    /// Countries whose last look panicked, with the time of their next look.
    panicked: BTreeMap<CountryCode, Instant>,
    /// Reason why the countries could not be listed at the last attempt. A reason is logged once, and every look tries
    /// again.
    unlisted: Option<String>,
}

impl Followers {
    /// Creates followers without any country yet.
    pub fn new(following: Following) -> Self {
        let following = Arc::new(following);
        let (countries, panicked, looked_at) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { following, countries, looks: JoinSet::new(), looked_at, panicked, unlisted: None }
    }

    /// Performs the first look of a starting host, at all countries at once. Returns when each country has rules in
    /// force or has no version to load, at the latest after [`START_TIMEOUT`]. Unfinished looks go on.
    pub async fn start(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        let listed = start_within(self.following.registry.countries()).await;
        let unlisted = self.listed(listed);
        self.add_last_good().await;
        for (country, follower) in &mut self.countries {
            let mut follower = follower.take().unwrap_or_else(|| Follower::new(self.following.clone(), *country));
            let unlisted = unlisted.clone();
            let look = self.looks.spawn(async move {
                follower.start(unlisted).await;
                follower
            });
            self.looked_at.insert(look.id(), *country);
        }
        while let Ok(Some(look)) = timeout_at(end, self.looks.join_next_with_id()).await {
            self.end(look);
        }
    }

    /// Looks at every country once and waits for all looks.
    pub async fn look(&mut self) {
        self.begin_looks().await;
        while let Some(look) = self.looks.join_next_with_id().await {
            self.end(look);
        }
    }

    /// Looks at every country once in an interval. Skips a country whose last look is not over, so that the others do
    /// not wait for it. Never returns.
    pub async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.begin_looks().await,
                Some(look) = self.looks.join_next_with_id() => self.end(look),
            }
        }
    }

    async fn begin_looks(&mut self) {
        let listed = within(READ_TIMEOUT, self.following.registry.countries()).await;
        self.listed(listed);
        let now = Instant::now();
        self.panicked.retain(|_, again| now < *again);
        for (country, follower) in &mut self.countries {
            if self.panicked.contains_key(country) {
                continue;
            }
            let Some(mut follower) = follower.take() else { continue };
            let look = self.looks.spawn(async move {
                follower.look().await;
                follower
            });
            self.looked_at.insert(look.id(), *country);
        }
    }

    /// Takes back the follower of a finished look. A follower that panicked is lost: after a while the country gets a
    /// new one. The rules in force do not change, and other countries are not affected.
    fn end(&mut self, look: Result<(Id, Follower), JoinError>) {
        let id = look.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let country = self.looked_at.remove(&id).expect("each look is noted when it begins");
        let follower = if let Ok((_, follower)) = look {
            follower
        } else {
            // The panic's message may contain anything, so it is left out.
            let swapper = &self.following.swapper;
            swapper.end_trial(country);
            swapper.refuse(country, "the registry's version", HOST_FAILED);
            self.panicked.insert(country, Instant::now() + PANIC_RETRY_INTERVAL);
            Follower::new(self.following.clone(), country)
        };
        self.countries.insert(country, Some(follower));
    }

    /// Adds new countries. Returns the reason why the countries could not be listed.
    fn listed(&mut self, listed: Result<Vec<CountryCode>, RegistryError>) -> Option<String> {
        match listed {
            Ok(countries) => {
                for country in countries {
                    self.add(country);
                }
                self.unlisted = None;
            }
            Err(error) => {
                let error = error.to_string();
                if self.unlisted.as_ref() != Some(&error) {
                    tracing::warn!(error, "the registry cannot be read; what is in force stays so");
                    self.unlisted = Some(error);
                }
            }
        }
        self.unlisted.clone()
    }

    async fn add_last_good(&mut self) {
        let Some(last_good) = self.following.last_good.clone() else { return };
        match within(READ_TIMEOUT, last_good.countries()).await {
            Ok(countries) => {
                for country in countries {
                    self.add(country);
                }
            }
            Err(error) => tracing::warn!(%error, "the last good versions cannot be read"),
        }
    }

    fn add(&mut self, country: CountryCode) {
        let follower = || Some(Follower::new(self.following.clone(), country));
        self.countries.entry(country).or_insert_with(follower);
    }
}
