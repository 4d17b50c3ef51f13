//! When to stop: at Ctrl-C, or when the system says so.

use tokio::signal::unix::{SignalKind, signal};

/// Over when the program was told to stop.
pub async fn told_to_stop() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
