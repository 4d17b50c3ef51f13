//! The calls to one country's rules take turns: a country that is slow may keep some of the machine's cores busy, never
//! all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::rules::Fault;

/// How long a call may wait for its turn behind one that used up its budget: its client is to be told within a tenth of a
/// second that there is no answer. A crowd before rules that answer is served, one after the other, however long it is.
const LONGEST_BEHIND_A_LOOP: Duration = Duration::from_millis(50);

/// Some calls at once, the others in the order in which they came.
pub(crate) struct Turns {
    permits: Semaphore,
    /// Whether the last call used up its budget.
    overlong: AtomicBool,
}

impl Turns {
    /// At most `at_once` calls at once.
    pub fn new(at_once: usize) -> Self {
        Self { permits: Semaphore::new(at_once), overlong: AtomicBool::new(false) }
    }

    /// Runs a call when its turn has come.
    pub async fn take<T>(&self, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let asked = Instant::now();
        let _turn = self.permits.acquire().await.map_err(|_| Fault::Busy)?;
        if self.overlong.load(Ordering::Relaxed) && asked.elapsed() > LONGEST_BEHIND_A_LOOP {
            return Err(Fault::Busy);
        }
        let answer = run();
        self.overlong.store(matches!(answer, Err(Fault::OverBudget(_))), Ordering::Relaxed);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a crowd are called, each call taking some time and ending so.
    async fn called(turns: &Turns, takes: Duration, end: Result<(), Fault>) -> usize {
        let call = || {
            std::thread::sleep(takes);
            end.clone()
        };
        let answers = futures::future::join_all((0..50).map(|_| turns.take(call))).await;
        answers.into_iter().filter(|answer| *answer != Err(Fault::Busy)).count()
    }

    #[tokio::test]
    async fn a_crowd_before_rules_that_answer_is_served_however_long_it_waits() {
        assert_eq!(called(&Turns::new(1), Duration::from_millis(3), Ok(())).await, 50);
    }

    #[tokio::test]
    async fn behind_a_loop_nobody_waits_long_and_the_next_is_called_again() {
        let turns = Turns::new(1);
        assert!(called(&turns, Duration::from_millis(20), Err(Fault::OverBudget("fuel"))).await < 10);
        assert_eq!(called(&turns, Duration::from_millis(3), Ok(())).await, 50);
    }
}
