//! Limits the time of a request. Once a ledger's adapter has handed over a change that may be stored, the request no longer
//! times out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

tokio::task_local! {
    /// True while the limit of the current request does not apply.
    static SUSPENDED: Arc<AtomicBool>;
}

/// Runs `work` for at most `limit`. Returns `None` if the time is over and the limit is not [suspended](without).
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let suspended = Arc::new(AtomicBool::new(false));
    let mut work = pin!(SUSPENDED.scope(suspended.clone(), work));
    let mut limit = pin!(tokio::time::sleep(limit));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if !suspended.load(Ordering::Relaxed) && limit.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Runs `commit` without the request's limit. The limit applies again if the commit fails, because nothing is stored
/// then.
///
/// # Errors
/// Returns the error of `commit`.
pub async fn without<T, E>(commit: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let suspend = |suspended: bool| {
        // There is no limit outside a request.
        let _ = SUSPENDED.try_with(|flag| flag.store(suspended, Ordering::Relaxed));
    };
    suspend(true);
    let outcome = commit.await;
    if outcome.is_err() {
        suspend(false);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn work_that_takes_too_long_is_given_up() {
        assert_eq!(within(LIMIT, async { 1 }).await, Some(1));
        assert_eq!(within(LIMIT, pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn a_commit_is_waited_for_however_long_it_takes() {
        let commit = async {
            sleep(LIMIT * 3).await;
            Ok::<_, ()>(())
        };
        let stored = async {
            without(commit).await?;
            sleep(LIMIT).await;
            Ok::<_, ()>("stored")
        };
        assert_eq!(within(LIMIT, stored).await, Some(Ok("stored")));
    }

    #[tokio::test]
    async fn after_a_refused_commit_the_limit_applies_again() {
        let commit = async {
            sleep(LIMIT * 3).await;
            Err::<(), _>(())
        };
        let refused = async {
            assert!(without(commit).await.is_err());
            pending::<()>().await;
        };
        assert_eq!(within(LIMIT, refused).await, None);
    }
}
