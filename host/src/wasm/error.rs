//! Errors of the engine in one line.

/// What went wrong at the bottom, without the engine's context and backtrace.
pub(super) fn first_line(error: &wasmtime::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
}
