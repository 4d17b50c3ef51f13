//! Runs calls to rules on dedicated threads, with fair turns across countries. Measures
//! the wait for a turn, not the call, and knows nothing of its content.
//!
//! Guest code is synchronous, and a country's team decides how long it takes. It must therefore not run on the threads
//! that serve connections. A host has a few places for calls, and countries take turns: the country that has used the
//! least time so far comes first. A long call gives up its place when another country waits for one, and goes on beside
//! the others, on its own thread. A call that cannot start soon is refused at once.

mod turns;

use std::collections::BTreeMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tokio::sync::oneshot;
use tracing::Span;

use self::turns::{Outcome, Turns};
use crate::model::CountryCode;
use crate::ports::Fault;

/// Niceness of a thread whose call goes on beside the others. Connections, the ledger and short calls come first on a
/// core; without other work the call has the whole core.
const BESIDE_NICENESS: i32 = 10;

/// Delay before the host asks the system for a thread again.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A queued call. It runs only if its caller still waits, and returns true if it ran.
type Job = Box<dyn FnOnce() -> bool + Send>;

/// Threads that run calls. They end after the executor is dropped and their current calls are over.
pub struct Executor(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes a thread when a call may start.
    startable: Condvar,
    /// Wakes the supervisor when a country waits for the place of another country.
    contended: Condvar,
    started: Instant,
}

struct State {
    turns: Turns<Job>,
    /// Threads that run calls, by the calls' tickets.
    threads: BTreeMap<u64, Pid>,
    /// Time of the supervisor's next look; none while it waits to be woken.
    next_look: Option<Duration>,
    is_stopping: bool,
}

impl Default for Executor {
    /// Leaves one core to connections and the ledger.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)))
    }
}

impl Executor {
    /// Runs at most `places` calls at once, besides those that have given up their place.
    ///
    /// # Panics
    /// Panics if the system does not create a thread.
    pub fn new(places: usize) -> Self {
        let state = State { turns: Turns::new(places), threads: BTreeMap::new(), next_look: None, is_stopping: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            startable: Condvar::new(),
            contended: Condvar::new(),
            started: Instant::now(),
        });
        let started = (0..places).try_for_each(|_| spawn("rules", &shared, Shared::work));
        let started = started.and_then(|()| spawn("rules-supervisor", &shared, Shared::supervise));
        started.expect("the system gives threads to a process that starts");
        Self(shared)
    }

    /// Runs a country's call when its turn comes.
    ///
    /// # Errors
    /// Returns [`Fault::Busy`] at once if the turn would come too late for a waiting client.
    pub async fn run<T: Send + 'static>(
        &self,
        country: CountryCode,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        self.submit(country, true, call).await
    }

    /// Runs a country's call when its turn comes, however late that is. For work that no client waits for.
    pub async fn run_eventually<T: Send + 'static>(
        &self,
        country: CountryCode,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.submit(country, false, call).await.expect("only calls that somebody waits for are refused")
    }

    async fn submit<T: Send + 'static>(
        &self,
        country: CountryCode,
        is_urgent: bool,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let (span, enqueued) = (Span::current(), Instant::now());
        let job = Box::new(move || {
            if answer.is_closed() {
                return false;
            }
            metrics::histogram!("citas_rules_wait_seconds", "country" => country.to_string())
                .record(enqueued.elapsed());
            let result = span.in_scope(|| panic::catch_unwind(AssertUnwindSafe(call)));
            // The caller may have gone away.
            let _ = answer.send(result);
            true
        });
        self.0.enqueue(country, is_urgent, job)?;
        match answered.await.expect("a call is answered, and a thread survives its panic") {
            Ok(result) => Ok(result),
            Err(panic) => panic::resume_unwind(panic),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.0.lock().is_stopping = true;
        self.0.startable.notify_all();
        self.0.contended.notify_all();
    }
}

impl Shared {
    fn enqueue(&self, country: CountryCode, is_urgent: bool, job: Job) -> Result<(), Fault> {
        let mut state = self.lock();
        if state.turns.enqueue(country, is_urgent, job, self.now()).is_err() {
            drop(state);
            metrics::counter!("citas_rules_shed_total", "country" => country.to_string()).increment(1);
            return Err(Fault::Busy);
        }
        self.wake(&mut state);
        Ok(())
    }

    /// Wakes the thread or the supervisor that can act on a waiting call.
    fn wake(&self, state: &mut State) {
        if state.turns.has_free_place() {
            self.startable.notify_one();
        } else if let Some(overdue) = state.turns.next_overdue()
            && state.next_look.is_none_or(|look| overdue < look)
        {
            state.next_look = Some(overdue);
            self.contended.notify_one();
        }
    }

    /// Runs calls one after the other. Ends after a call that has given up its place, because another thread has the
    /// place.
    fn work(self: Arc<Self>) {
        let thread = rustix::thread::gettid();
        let mut state = self.lock();
        while !state.is_stopping {
            let Some((ticket, job)) = state.turns.start(self.now()) else {
                state = self.startable.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.threads.insert(ticket, thread);
            self.wake(&mut state);
            drop(state);
            let did_run = job();
            state = self.lock();
            state.threads.remove(&ticket);
            let outcome = state.turns.finish(ticket, did_run, self.now());
            self.wake(&mut state);
            if outcome == Outcome::Beside {
                return;
            }
        }
    }

    /// Takes the places of long calls while another country waits.
    fn supervise(self: Arc<Self>) {
        let mut state = self.lock();
        while !state.is_stopping {
            let now = self.now();
            let next = match state.turns.next_overdue() {
                // The new thread is started first: without it the place would be lost.
                Some(at) if at <= now => match spawn("rules", &self, Self::work) {
                    Ok(()) => {
                        let beside = state.turns.set_beside(now);
                        if let Some(thread) = beside.and_then(|ticket| state.threads.get(&ticket)) {
                            lower_priority(*thread);
                        }
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(%error, "no thread for calls; long ones keep their places");
                        Some(now + RETRY_DELAY)
                    }
                },
                next => next,
            };
            state.next_look = next;
            state = match next {
                Some(at) => {
                    let waited = self.contended.wait_timeout(state, at.saturating_sub(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.contended.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Lowers the priority of a thread, so that the other threads of the host go first. The thread ends after its call, so
/// nothing has to be restored.
fn lower_priority(thread: Pid) {
    if let Err(error) = rustix::process::setpriority_process(Some(thread), BESIDE_NICENESS) {
        tracing::debug!(%error, "a call that goes on beside the others keeps its priority");
    }
}

fn spawn(name: &str, shared: &Arc<Shared>, run: fn(Arc<Shared>)) -> io::Result<()> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name(name.into()).spawn(move || run(shared)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn country(code: &str) -> CountryCode {
        code.parse().unwrap()
    }

    /// Starts a call of this country that runs until the sender is dropped.
    async fn hold(executor: &Arc<Executor>, code: &str) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (entered, inside) = oneshot::channel();
        let (executor, code) = (executor.clone(), country(code));
        tokio::spawn(async move {
            let call = move || {
                entered.send(()).unwrap();
                let _ = held.recv();
            };
            executor.run(code, call).await.unwrap();
        });
        inside.await.unwrap();
        release
    }

    #[tokio::test]
    async fn a_call_is_answered_from_another_thread() {
        let executor = Executor::new(1);
        let here = thread::current().id();
        let there = executor.run(country("pe"), || thread::current().id()).await.unwrap();
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn a_long_call_keeps_no_other_country_waiting() {
        let executor = Arc::new(Executor::new(1));
        let _long = [hold(&executor, "aa").await, hold(&executor, "bb").await];
        assert_eq!(executor.run(country("pe"), || 7).await, Ok(7));
        assert_eq!(executor.run(country("pe"), || 8).await, Ok(8));
    }

    #[tokio::test]
    async fn a_call_that_goes_on_beside_the_others_lets_them_go_first() {
        let executor = Arc::new(Executor::new(1));
        let (release, held) = mpsc::channel::<()>();
        let (entered, inside) = oneshot::channel();
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let (running, country_of_long) = (executor.clone(), country("aa"));
        let long = tokio::spawn(async move {
            let call = move || {
                entered.send(()).unwrap();
                let _ = held.recv();
                niceness()
            };
            running.run(country_of_long, call).await
        });
        inside.await.unwrap();
        let usual = executor.run(country("pe"), niceness).await.unwrap();
        drop(release);
        assert_eq!(long.await.unwrap().unwrap(), usual.max(BESIDE_NICENESS));
    }

    #[tokio::test]
    async fn a_place_that_was_given_up_is_not_missing_later() {
        let executor = Arc::new(Executor::new(1));
        for _ in 0..20 {
            let long = hold(&executor, "aa").await;
            assert_eq!(executor.run(country("pe"), || 7).await, Ok(7));
            drop(long);
        }
        assert_eq!(executor.run(country("aa"), || 9).await, Ok(9));
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller_and_the_thread_goes_on() {
        let executor = Arc::new(Executor::new(1));
        let panicking = executor.clone();
        let panicked = tokio::spawn(async move { panicking.run(country("pe"), || panic!("a bug")).await });
        assert!(panicked.await.unwrap_err().is_panic());
        assert_eq!(executor.run(country("pe"), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_call_whose_caller_has_gone_is_not_run() {
        let executor = Arc::new(Executor::new(1));
        let long = hold(&executor, "pe").await;
        let (ran, runs) = mpsc::channel();
        let mut abandoned = Box::pin(executor.run(country("pe"), move || ran.send(()).unwrap()));
        assert!(futures::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        drop(long);
        executor.run_eventually(country("pe"), || ()).await;
        assert!(runs.try_recv().is_err());
    }
}
