//! Follows the channels of the countries that somebody asks for, for a host that sleeps between requests: a country is
//! looked for when it is first asked for, and later looked at beside a request, once in an interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;

use crate::model::appointment::CountryCode;
use crate::ports::registry::Registry;
use crate::release::follow::{Follower, Following, READ_TIMEOUT, within};

/// How soon a first look that failed is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// After so many intervals without a request, the next one waits for its look: rules that were taken back an hour ago are
/// not to decide once more.
const INTERVALS_UNTIL_STALE: u32 = 10;

/// How long it waits at most.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many countries are looked for at once.
const MAX_CONCURRENCY: usize = 16;

/// The countries that were asked for.
pub struct OnDemand {
    registry: Arc<dyn Registry>,
    following: Arc<Following>,
    interval: Duration,
    countries: Mutex<BTreeMap<CountryCode, Arc<Watched>>>,
    /// The countries that the registry had, and when that was.
    listed: Turn<Option<(Instant, Vec<CountryCode>)>>,
}

struct Watched {
    follower: Turn<Follower>,
    looked: Mutex<Looked>,
}

/// What came of the last look, and when it was.
#[derive(Clone, Copy)]
enum Looked {
    Never,
    Failed(Instant),
    At(Instant),
}

/// What a request has to do about a country's rules.
enum Due {
    Nothing,
    /// Nothing can be in force before that is over.
    LookFirst,
    LookBeside,
    /// The same, and wait for it a little.
    LookAndWait,
}

impl OnDemand {
    /// Looks at a country at most once in an `interval`, each with a follower of its own.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, following: Following, interval: Duration) -> Self {
        let following = Arc::new(following);
        Self { registry, following, interval, countries: Mutex::default(), listed: Turn::default() }
    }

    /// Sees to it that a country's rules are in force, if it has any, and not much older than the interval. Waits for the
    /// first look alone, and after a long sleep a little.
    pub async fn ask(&self, country: CountryCode) {
        let watched = self.watched(country);
        match watched.due(self.interval) {
            Due::Nothing => {}
            Due::LookFirst => watched.look_first(self.interval).await,
            Due::LookBeside => drop(tokio::spawn(watched.look())),
            Due::LookAndWait => {
                let look = tokio::spawn(watched.look());
                // What is not over by then goes on beside the request.
                let _ = tokio::time::timeout(LOOK_TIMEOUT, look).await;
            }
        }
    }

    /// The same for every country that the registry has.
    pub async fn ask_all(&self) {
        stream::iter(self.all().await).for_each_concurrent(MAX_CONCURRENCY, |country| self.ask(country)).await;
    }

    /// The registry's countries, as of an interval ago or later, where it answers.
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

    /// Whoever has waited while somebody else looked has nothing more to do.
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
