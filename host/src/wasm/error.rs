//! Formats the engine's errors as one line.

/// Returns the first line of the root cause, without the context and the backtrace of the engine.
pub(super) fn first_line(error: &wasmtime::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
}
