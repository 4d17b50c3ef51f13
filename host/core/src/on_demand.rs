//! Follows the channels of the countries that somebody asks for, for a host that sleeps between requests: a country is
//! looked for when it is first asked for, and later looked at beside a request, once in an interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;

use crate::appointment::CountryCode;
use crate::follow::Follower;
use crate::registry::Registry;

/// The countries that were asked for.
pub struct OnDemand {
    registry: Arc<dyn Registry>,
    follower: Box<dyn Fn() -> Follower + Send + Sync>,
    interval: Duration,
    countries: Mutex<BTreeMap<CountryCode, Arc<Watched>>>,
    listed: Turn<Option<Instant>>,
}

struct Watched {
    follower: Turn<Follower>,
    /// When the last look began; none before the first is over.
    looked: Mutex<Option<Instant>>,
}

/// What a request has to do about a country's rules.
enum Due {
    Nothing,
    LookBeside,
    LookFirst,
}

impl OnDemand {
    /// Looks at a country at most once in an `interval`, each with a follower of its own.
    pub fn new(
        registry: Arc<dyn Registry>,
        follower: impl Fn() -> Follower + Send + Sync + 'static,
        interval: Duration,
    ) -> Self {
        let follower = Box::new(follower);
        Self { registry, follower, interval, countries: Mutex::default(), listed: Turn::default() }
    }

    /// Sees to it that a country's rules are in force, if it has any, and not much older than the interval. Waits only
    /// for the first look.
    pub async fn ask(&self, country: CountryCode) {
        let watched = self.watched(country);
        match watched.due(self.interval) {
            Due::Nothing => {}
            Due::LookFirst => {
                let mut follower = watched.follower.lock().await;
                if watched.never_looked() {
                    follower.look_at(country).await;
                    watched.looked_now();
                }
            }
            Due::LookBeside => {
                tokio::spawn(async move { watched.follower.lock().await.look_at(country).await });
            }
        }
    }

    /// The same for every country that the registry has.
    pub async fn ask_all(&self) {
        let mut listed = self.listed.lock().await;
        if listed.is_none_or(|at| at.elapsed() >= self.interval) {
            match self.registry.countries().await {
                Ok(countries) => countries.into_iter().for_each(|country| drop(self.watched(country))),
                Err(error) => tracing::warn!(%error, "the registry cannot be read; what is in force stays so"),
            }
            *listed = Some(Instant::now());
        }
        drop(listed);
        let known: Vec<CountryCode> =
            self.countries.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for country in known {
            self.ask(country).await;
        }
    }

    fn watched(&self, country: CountryCode) -> Arc<Watched> {
        let mut countries = self.countries.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = || Watched { follower: Turn::new((self.follower)()), looked: Mutex::default() };
        Arc::clone(countries.entry(country).or_insert_with(|| Arc::new(watched())))
    }
}

impl Watched {
    fn due(&self, interval: Duration) -> Due {
        let mut looked = self.looked();
        match *looked {
            None => Due::LookFirst,
            Some(at) if at.elapsed() < interval => Due::Nothing,
            Some(_) => {
                *looked = Some(Instant::now());
                Due::LookBeside
            }
        }
    }

    /// False for whoever has waited while somebody else looked.
    fn never_looked(&self) -> bool {
        self.looked().is_none()
    }

    fn looked_now(&self) {
        *self.looked() = Some(Instant::now());
    }

    fn looked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
