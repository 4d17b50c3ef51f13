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

    /// How many of a crowd are called that waits a while for one that holds the only turn.
    async fn called_after(turns: &Turns, wait: Duration) -> usize {
        let held = turns.permits.acquire().await.unwrap();
        let mut crowd = futures::future::join_all((0..50).map(|_| turns.take(|| Ok(()))));
        assert!(futures::poll!(&mut crowd).is_pending());
        std::thread::sleep(wait);
        drop(held);
        crowd.await.into_iter().flatten().count()
    }

    #[tokio::test]
    async fn a_crowd_before_rules_that_answer_is_served_however_long_it_waits() {
        assert_eq!(called_after(&Turns::new(1), LONGEST_BEHIND_A_LOOP * 2).await, 50);
    }

    #[tokio::test]
    async fn behind_a_loop_nobody_waits_long_and_the_next_is_called_again() {
        let turns = Turns::new(1);
        let looped: Result<(), Fault> = turns.take(|| Err(Fault::OverBudget("fuel"))).await;
        assert!(looped.is_err());
        assert_eq!(called_after(&turns, LONGEST_BEHIND_A_LOOP * 2).await, 0);
        assert_eq!(turns.take(|| Ok(())).await, Ok(()));
        assert_eq!(called_after(&turns, LONGEST_BEHIND_A_LOOP * 2).await, 50);
    }
}
