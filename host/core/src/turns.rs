//! The calls to one country's rules take turns: a country that is slow may keep some of the machine's cores busy, never
//! all of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::rules::Fault;

/// Rules whose calls take longer than this on average are slow, and nobody is kept waiting for them.
const SLOW: Duration = Duration::from_millis(5);

/// How many calls may wait for rules that are slow: each takes its whole budget, and the last is still to be told within
/// a tenth of a second that there is no answer.
const MOST_BEHIND_SLOW: usize = 3;

/// How many calls may wait for rules that are quick.
const MOST_WAITING: usize = 10_000;

/// A new call counts for an eighth of the average.
const WEIGHT: u64 = 8;

/// Some calls at once, the others in the order in which they came.
pub(crate) struct Turns {
    permits: Semaphore,
    waiting: AtomicUsize,
    /// Moving average of what a call takes, in nanoseconds.
    average: AtomicU64,
}

impl Turns {
    /// At most `at_once` calls at once.
    pub fn new(at_once: usize) -> Self {
        Self { permits: Semaphore::new(at_once), waiting: AtomicUsize::new(0), average: AtomicU64::new(0) }
    }

    /// Runs a call when its turn has come.
    pub async fn take<T>(&self, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let place = Place::in_queue(&self.waiting);
        if place.ahead >= self.most_waiting() {
            return Err(Fault::Busy);
        }
        let _turn = self.permits.acquire().await.map_err(|_| Fault::Busy)?;
        drop(place);
        let started = Instant::now();
        let answer = run();
        self.learn(started.elapsed());
        answer
    }

    fn most_waiting(&self) -> usize {
        let slow = self.average.load(Ordering::Relaxed) > nanoseconds(SLOW);
        if slow { MOST_BEHIND_SLOW } else { MOST_WAITING }
    }

    /// Two calls that end at once may lose one of the two: it is an average.
    fn learn(&self, took: Duration) {
        let before = self.average.load(Ordering::Relaxed);
        self.average.store(before - before / WEIGHT + nanoseconds(took) / WEIGHT, Ordering::Relaxed);
    }
}

/// A place in the queue, until this is dropped: also when the one who waits goes away.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    ahead: usize,
}

impl<'a> Place<'a> {
    fn in_queue(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, ahead: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(turns: &Turns, count: usize) -> usize {
        let calls = (0..count).map(|_| turns.take(|| Ok(())));
        futures::future::join_all(calls).await.into_iter().filter(Result::is_ok).count()
    }

    #[tokio::test]
    async fn many_wait_for_rules_that_are_quick_and_all_are_answered() {
        assert_eq!(ask(&Turns::new(1), 2_000).await, 2_000);
    }

    #[tokio::test]
    async fn few_wait_for_rules_that_are_slow_and_more_once_they_are_quick_again() {
        let turns = Turns::new(1);
        turns.learn(SLOW * 100);
        let held = turns.permits.acquire().await.unwrap();
        let calls = futures::future::join_all((0..10).map(|_| turns.take(|| Ok(()))));
        tokio::pin!(calls);
        assert!(futures::poll!(&mut calls).is_pending());
        drop(held);
        assert_eq!(calls.await.into_iter().filter(Result::is_ok).count(), MOST_BEHIND_SLOW);
        (0..100).for_each(|_| turns.learn(Duration::from_micros(10)));
        assert_eq!(ask(&turns, 10).await, 10);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_queue() {
        let turns = Turns::new(1);
        let held = turns.permits.acquire().await.unwrap();
        {
            let gone = turns.take(|| Ok(()));
            tokio::pin!(gone);
            assert!(futures::poll!(&mut gone).is_pending());
        }
        drop(held);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
