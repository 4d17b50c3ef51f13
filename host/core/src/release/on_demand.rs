//! Follows the channels of the requested countries, for a host that is frozen between requests. The first request for a
//! country waits for a look at its channel. Later looks run beside a request, at most one in an interval.
//!
//! A look that goes on after its request's response stops with the process. Its network operations have timed out when
//! the process goes on. So a response waits for its look, for a limited time, and only a look that was successful counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Mutex as Turn;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::model::CountryCode;
use crate::ports::Registry;
use crate::release::follow::{Follower, Following, READ_TIMEOUT, within};

/// Time from the beginning of a look that failed to the next look.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Number of intervals without a request after which the next request waits for its look. Rules that were rolled back
/// an hour ago must not decide once more.
const INTERVALS_UNTIL_STALE: u32 = 10;

/// Maximum wait of a request for a look after a long sleep.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time from the beginning of a look beside a request to the request's response, if only the look is unfinished.
const LOOK_BESIDE_TIMEOUT: Duration = Duration::from_millis(300);

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

/// Times of the last looks.
#[derive(Clone, Copy, Default)]
struct Looked {
    /// Beginning of the last look.
    began: Option<Instant>,
    /// End of the last successful look.
    succeeded: Option<Instant>,
}

/// Looks that run beside a request. Dropped, they go on.
#[must_use = "a look that the response does not wait for is frozen with the process"]
#[derive(Default)]
pub struct Looks(Vec<(JoinHandle<()>, Instant)>);

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
    /// the first look, and after a long sleep for a limited time. Another look runs beside the request, which ends with
    /// [`Looks::finish`].
    pub async fn ask(&self, country: CountryCode) -> Looks {
        let watched = self.watched(country);
        match watched.due(self.interval) {
            Due::Nothing => {}
            Due::LookFirst => watched.look(self.interval).await,
            Due::LookBeside => return Looks::begin(watched, self.interval, LOOK_BESIDE_TIMEOUT),
            Due::LookAndWait => Looks::begin(watched, self.interval, LOOK_TIMEOUT).finish().await,
        }
        Looks::default()
    }

    /// Ensures that the rules of every country of the registry are in force and not much older than the interval. The
    /// request ends with [`Looks::finish`].
    pub async fn ask_all(&self) -> Looks {
        let asked = stream::iter(self.all().await).map(|country| self.ask(country)).buffer_unordered(MAX_CONCURRENCY);
        Looks(asked.flat_map(|looks| stream::iter(looks.0)).collect().await)
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
        let watched = || Watched { follower: follower(), looked: Mutex::default() };
        Arc::clone(countries.entry(country).or_insert_with(|| Arc::new(watched())))
    }
}

impl Looks {
    fn begin(watched: Arc<Watched>, interval: Duration, timeout: Duration) -> Self {
        // The look is a task, so that it is never cut off halfway.
        let look = tokio::spawn(async move { watched.look(interval).await });
        Self(vec![(look, Instant::now() + timeout)])
    }

    /// Waits until the looks end, for a limited time.
    pub async fn finish(self) {
        for (look, end) in self.0 {
            let _ = timeout_at(end, look).await;
        }
    }
}

impl Watched {
    fn due(&self, interval: Duration) -> Due {
        let Looked { began, succeeded } = *self.looked();
        let waited = began.is_none_or(|began| began.elapsed() >= RETRY_DELAY.min(interval));
        match succeeded.map(|at| at.elapsed()) {
            None if waited => Due::LookFirst,
            Some(age) if waited && age >= interval * INTERVALS_UNTIL_STALE => Due::LookAndWait,
            Some(age) if waited && age >= interval => Due::LookBeside,
            _ => Due::Nothing,
        }
    }

    /// Looks, unless another request has looked while this one waited. A look that was under way already does not count
    /// if it failed: the process may have been frozen meanwhile.
    async fn look(&self, interval: Duration) {
        let last = self.looked().began;
        let mut follower = self.follower.lock().await;
        if self.looked().began != last || matches!(self.due(interval), Due::Nothing) {
            return;
        }
        self.looked().began = Some(Instant::now());
        if follower.look().await {
            self.looked().succeeded = Some(Instant::now());
        }
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use semver::Version;
    use tokio::sync::Notify;

    use super::*;
    use crate::model::{Artifact, Channel};
    use crate::ports::RegistryError;
    use crate::release::{Catalogue, InProcess, Swapper};
    use crate::testing::{ManualClock, NoEngine};

    const INTERVAL: Duration = Duration::from_secs(30);

    /// A registry without channels. Each look gets the next of its answers, or finds no channel.
    #[derive(Default)]
    struct Scripted {
        answers: Mutex<VecDeque<Answer>>,
        answered: AtomicUsize,
    }

    enum Answer {
        Fails,
        /// Fails once it is told to.
        Hangs(Arc<Notify>),
    }

    impl Scripted {
        fn next(&self, answer: Answer) {
            self.answers.lock().unwrap().push_back(answer);
        }

        fn looks(&self) -> usize {
            self.answered.load(Ordering::Relaxed)
        }
    }

    #[async_trait]
    impl Registry for Scripted {
        async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
            Ok(vec![peru()])
        }
        async fn channel(&self, _: CountryCode) -> Result<Option<Channel>, RegistryError> {
            let answer = self.answers.lock().unwrap().pop_front();
            if let Some(Answer::Hangs(end)) = &answer {
                end.notified().await;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            answer.map_or(Ok(None), |_| Err(RegistryError::Unavailable("it is away".into())))
        }
        async fn set_channel(&self, _: CountryCode, _: Option<&Channel>, _: &Channel) -> Result<(), RegistryError> {
            Err(RegistryError::Unavailable("this fake is only read".into()))
        }
        async fn versions(&self, _: CountryCode) -> Result<Vec<Version>, RegistryError> {
            Ok(Vec::new())
        }
        async fn publish(&self, _: &Artifact) -> Result<(), RegistryError> {
            Err(RegistryError::Unavailable("this fake is only read".into()))
        }
        async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
            Err(RegistryError::Absent { country, version: version.clone() })
        }
    }

    fn peru() -> CountryCode {
        "pe".parse().unwrap()
    }

    /// Returns rules whose first look at Peru was successful, an interval ago.
    async fn asked_once() -> (Arc<Scripted>, OnDemand) {
        let registry = Arc::new(Scripted::default());
        let admission = Arc::new(InProcess::new(NoEngine));
        let swapper = Swapper::new(admission, Arc::new(Catalogue::default()), Arc::new(ManualClock::default()));
        let following = Following::new(registry.clone(), Arc::new(swapper), None);
        let on_demand = OnDemand::new(registry.clone(), following, INTERVAL);
        on_demand.ask(peru()).await.finish().await;
        assert_eq!(registry.looks(), 1);
        pass(&on_demand, INTERVAL);
        (registry, on_demand)
    }

    /// Lets time pass for Peru.
    fn pass(on_demand: &OnDemand, time: Duration) {
        let watched = on_demand.watched(peru());
        let Looked { began, succeeded } = &mut *watched.looked();
        for at in [began, succeeded] {
            *at = at.map(|at| at - time);
        }
    }

    #[tokio::test]
    async fn a_due_look_runs_beside_the_request_and_the_response_waits_for_it() {
        let (registry, on_demand) = asked_once().await;
        for all in [false, true] {
            let before = registry.looks();
            let looks = if all { on_demand.ask_all().await } else { on_demand.ask(peru()).await };
            assert_eq!(registry.looks(), before, "the request does not wait");
            looks.finish().await;
            assert_eq!(registry.looks(), before + 1);
            on_demand.ask(peru()).await.finish().await;
            assert_eq!(registry.looks(), before + 1, "the next one is due in an interval");
            pass(&on_demand, INTERVAL);
        }
    }

    #[tokio::test]
    async fn a_response_waits_for_a_look_for_a_limited_time() {
        let (registry, on_demand) = asked_once().await;
        let end = Arc::new(Notify::new());
        registry.next(Answer::Hangs(end.clone()));
        let begun = Instant::now();
        on_demand.ask(peru()).await.finish().await;
        let took = begun.elapsed();
        assert!((LOOK_BESIDE_TIMEOUT..LOOK_TIMEOUT).contains(&took), "{took:?}");
        assert_eq!(registry.looks(), 1);
    }

    #[tokio::test]
    async fn a_look_that_failed_does_not_count() {
        let (registry, on_demand) = asked_once().await;
        registry.next(Answer::Fails);
        on_demand.ask(peru()).await.finish().await;
        on_demand.ask(peru()).await.finish().await;
        assert_eq!(registry.looks(), 2, "it is not repeated at once");
        pass(&on_demand, RETRY_DELAY);
        on_demand.ask(peru()).await.finish().await;
        assert_eq!(registry.looks(), 3);
    }

    #[tokio::test]
    async fn a_look_that_was_frozen_is_repeated_by_the_next_request() {
        let (registry, on_demand) = asked_once().await;
        let end = Arc::new(Notify::new());
        registry.next(Answer::Hangs(end.clone()));
        on_demand.ask(peru()).await.finish().await;
        pass(&on_demand, INTERVAL);
        // The process goes on: the answer did not come in time.
        end.notify_one();
        on_demand.ask(peru()).await.finish().await;
        assert_eq!(registry.looks(), 3);
        on_demand.ask(peru()).await.finish().await;
        assert_eq!(registry.looks(), 3, "the repeated look counts");
    }
}
