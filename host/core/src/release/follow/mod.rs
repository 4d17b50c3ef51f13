//! Follows a registry's channels, each country by itself: fetches what has changed, checks that it is what it is said to be,
//! and gives it to be swapped. Remembers what came into force, for a start without the registry.
//!
//! Nothing that one country's files or versions do keeps another country waiting: each look at a country is a task of its
//! own, and every read of the registry has a deadline.

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
use crate::model::appointment::CountryCode;
use crate::ports::registry::RegistryError;
use crate::release::swap::Target;

/// Time until the next look at a country after one that panicked.
const PANIC_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Follows every country of a registry, each with a follower of its own.
pub struct Followers {
    following: Arc<Following>,
    /// The countries that were heard of; none while a look at one is under way.
    countries: BTreeMap<CountryCode, Option<Follower>>,
    looks: JoinSet<Follower>,
    /// Which country each look is at.
    looked_at: HashMap<Id, CountryCode>,
    /// The countries whose last look panicked, and when the next is.
    panicked: BTreeMap<CountryCode, Instant>,
    /// Why the countries could not be listed last: logged once, tried again at every look.
    unlisted: Option<String>,
}

impl Followers {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(following: Following) -> Self {
        let following = Arc::new(following);
        let (countries, panicked, looked_at) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { following, countries, looks: JoinSet::new(), looked_at, panicked, unlisted: None }
    }

    /// The first look of a host that starts, at all countries at once. Returns when each has rules in force or has none to
    /// have, and after [`START_TIMEOUT`] at the latest; what is not done by then goes on.
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

    /// Looks at every country once, and waits for it.
    pub async fn look(&mut self) {
        self.begin_looks().await;
        while let Some(look) = self.looks.join_next_with_id().await {
            self.end(look);
        }
    }

    /// Looks at every country once in an interval. A country whose last look is not over is left out; the others do not wait
    /// for it. Never returns.
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

    /// Takes back the follower of a look. One that panicked is lost, and the country gets another after a while: what is in
    /// force stays so, and the other countries do not notice.
    fn end(&mut self, look: Result<(Id, Follower), JoinError>) {
        let id = look.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let country = self.looked_at.remove(&id).expect("each look is noted when it begins");
        let follower = if let Ok((_, follower)) = look {
            follower
        } else {
            // What a panic says may hold anything.
            let swapper = &self.following.swapper;
            swapper.end_trial(country);
            swapper.refuse(country, Target::named("the registry's version"), HOST_FAILED);
            self.panicked.insert(country, Instant::now() + PANIC_RETRY_INTERVAL);
            Follower::new(self.following.clone(), country)
        };
        self.countries.insert(country, Some(follower));
    }

    /// Adds the countries that are new; returns why they could not be listed.
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
