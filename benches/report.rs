//! Prints the table of a run.

use std::fmt::Display;
use std::thread::available_parallelism;
use std::time::Duration;

/// A table that prints each row as soon as it is measured.
pub struct Report;

impl Report {
    pub fn start() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        println!("\n{cores} cores; load generator, servers and bare SQLite share them\n");
        println!("| {:<58} | {:<28} | {:<18} | {:<6} |", "what", "measured", "target", "");
        println!("| {:-<58} | {:-<28} | {:-<18} | {:-<6} |", "", "", "", "");
        Self
    }

    /// Prints a figure for comparison.
    pub fn figure(&mut self, what: impl Display, measured: impl Display) {
        self.row(what, measured, "", "");
    }

    /// Prints a figure with its target.
    pub fn target(&mut self, what: impl Display, measured: impl Display, target: &str, met: bool) {
        self.row(what, measured, target, if met { "ok" } else { "MISSED" });
    }

    #[expect(clippy::unused_self, reason = "whoever has the report may print")]
    fn row(&mut self, what: impl Display, measured: impl Display, target: &str, verdict: &str) {
        println!("| {:<58} | {:<28} | {target:<18} | {verdict:<6} |", what.to_string(), measured.to_string());
    }
}

/// Formats a time in microseconds, to a tenth.
pub fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// Formats a time in milliseconds, to a tenth.
pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Formats the median and the 99th percentile.
pub fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    format!("{}, p99 {}", micros(times[times.len() / 2]), micros(times[times.len() * 99 / 100]))
}
