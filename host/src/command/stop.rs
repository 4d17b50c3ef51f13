//! Runs a server and stops it at Ctrl-C or SIGTERM, in bounded time even if something hangs.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::log;

/// Maximum time that threads have to end after everything else has stopped. A read of a file may never return.
const THREADS_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time from the signal to the end of the process. Requests and mail have ten seconds each, threads three;
/// Kubernetes kills after thirty.
const STOP_TIMEOUT: Duration = Duration::from_secs(28);

/// Runs a server on its own runtime, then waits a limited time for the runtime's threads.
///
/// # Errors
/// Returns an error if the system provides no threads.
pub fn run<T>(server: impl Future<Output = T>) -> io::Result<T> {
    let runtime = runtime::Runtime::new()?;
    let outcome = runtime.block_on(server);
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    Ok(outcome)
}

/// Resolves at the first SIGTERM or Ctrl-C. A second signal ends the process at once, and so does a timeout.
///
/// A separate thread watches for both, so nothing that hangs can keep the process from ending.
///
/// # Errors
/// Returns an error if the system provides no thread or no signals.
pub fn signalled() -> io::Result<impl Future<Output = ()>> {
    let signals = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut both = {
        let _entered = signals.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        signals.block_on(async {
            next(&mut both).await;
            // The server may have ended by itself.
            let _ = stop.send(());
            if tokio::time::timeout(STOP_TIMEOUT, next(&mut both)).await.is_ok() {
                tracing::warn!("told to stop again: stopping at once");
            } else {
                tracing::error!(seconds = STOP_TIMEOUT.as_secs(), "something hangs: stopping at once");
            }
        });
        log::flush();
        std::process::exit(1);
    })?;
    Ok(async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

async fn next((terminate, interrupt): &mut (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_never_ends_does_not_keep_the_server_from_ending() {
        let (ended, has_ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let outcome = run(async {
                tokio::task::spawn_blocking(|| {
                    loop {
                        thread::park();
                    }
                });
                "served"
            });
            ended.send(outcome.unwrap()).unwrap();
        });
        assert_eq!(has_ended.recv_timeout(THREADS_TIMEOUT * 5), Ok("served"));
    }
}
