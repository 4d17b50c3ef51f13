//! Follows the channels of the requested countries, for a host that sleeps between requests. The first request for a
//! country waits for a look at its channel. Later looks run beside a request, at most once in an interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use crate::model::CountryCode;
use crate::ports::Registry;
use crate::release::follow::{Follower, Following, READ_TIMEOUT, within};

/// Delay of a retry after a first look that failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Number of intervals without a request after which the next request waits for its look. Rules that were rolled back
/// an hour ago must not decide once more.
const INTERVALS_UNTIL_STALE: u32 = 10;

/// Maximum wait of a request for a look after a long sleep.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of countries that are looked at concurrently.
const MAX_CONCURRENCY: usize = 16;

/// Followers of the requested countries.
pub struct OnDemand {
    registry: Arc<dyn Registry>,
    following: Arc<Following>,
    interval: Duration,
    countries: Mutex<BTreeMap<CountryCode, Arc<Watched>>>,
    /// Countries of the registry, with the time of the listing.
    listed: Turn<Option<(Instant, Vec<CountryCode>)>>,
}

struct Watched {
    follower: Turn<Follower>,
    looked: Mutex<Looked>,
}

/// Outcome and time of the last look.
#[derive(Clone, Copy)]
enum Looked {
    Never,
    Failed(Instant),
    At(Instant),
}

/// Action that a request has to take for the rules of its country.
enum Due {
    Nothing,
    /// Look and wait: no rules can be in force before that look is over.
    LookFirst,
    LookBeside,
    /// Look, and wait for the look for a limited time.
    LookAndWait,
}

impl OnDemand {
    /// Looks at each country at most once in an `interval`, with a separate follower.
    pub fn new(registry: Arc<dyn Registry>, following: Following, interval: Duration) -> Self {
        let following = Arc::new(following);
        Self { registry, following, interval, countries: Mutex::default(), listed: Turn::default() }
    }

    /// Ensures that a country's rules, if it has any, are in force and not much older than the interval. Waits only for
    /// the first look, and after a long sleep for a limited time.
    pub async fn ask(&self, country: CountryCode) {
        let watched = self.watched(country);
        match watched.due(self.interval) {
            Due::Nothing => {}
            Due::LookFirst => watched.look_first(self.interval).await,
            Due::LookBeside => drop(tokio::spawn(watched.look())),
            Due::LookAndWait => {
                let look = tokio::spawn(watched.look());
                // An unfinished look goes on beside the request.
                let _ = tokio::time::timeout(LOOK_TIMEOUT, look).await;
            }
        }
    }

    /// Ensures that the rules of every country of the registry are in force and not much older than the interval.
    pub async fn ask_all(&self) {
        stream::iter(self.all().await).for_each_concurrent(MAX_CONCURRENCY, |country| self.ask(country)).await;
    }

    /// Returns the countries of the registry. The list is less than an interval old if the registry is readable.
    async fn all(&self) -> Vec<CountryCode> {
        let mut listed = self.listed.lock().await;
        if listed.as_ref().is_none_or(|(at, _)| at.elapsed() >= self.interval) {
            match within(READ_TIMEOUT, self.registry.countries()).await {
                Ok(countries) => *listed = Some((Instant::now(), countries)),
                Err(error) => tracing::warn!(%error, "the registry cannot be read; what is in force stays so"),
            }
        }
        listed.as_ref().map(|(_, countries)| countries.clone()).unwrap_or_default()
    }

    fn watched(&self, country: CountryCode) -> Arc<Watched> {
        let mut countries = self.countries.lock().unwrap_or_else(PoisonError::into_inner);
        let follower = || Turn::new(Follower::new(self.following.clone(), country));
        let watched = || Watched { follower: follower(), looked: Mutex::new(Looked::Never) };
        Arc::clone(countries.entry(country).or_insert_with(|| Arc::new(watched())))
    }
}

impl Watched {
    fn due(&self, interval: Duration) -> Due {
        let mut looked = self.looked();
        match *looked {
            Looked::Never => Due::LookFirst,
            Looked::Failed(at) if at.elapsed() >= RETRY_DELAY.min(interval) => Due::LookFirst,
            Looked::At(at) if at.elapsed() >= interval => {
                *looked = Looked::At(Instant::now());
                if at.elapsed() >= interval * INTERVALS_UNTIL_STALE { Due::LookAndWait } else { Due::LookBeside }
            }
            Looked::Failed(_) | Looked::At(_) => Due::Nothing,
        }
    }

    /// Looks, unless another request has looked while this one waited.
    async fn look_first(&self, interval: Duration) {
        let mut follower = self.follower.lock().await;
        if matches!(self.due(interval), Due::LookFirst) {
            let read = follower.look().await;
            *self.looked() = if read { Looked::At(Instant::now()) } else { Looked::Failed(Instant::now()) };
        }
    }

    async fn look(self: Arc<Self>) {
        self.follower.lock().await.look().await;
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
