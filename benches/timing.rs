//! Measures the times of calls.

use std::hint::black_box;
use std::time::{Duration, Instant};

use citas_core::ports::Fault;

/// Returns the time of one call, without that for dropping its result.
pub fn time<T>(call: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    let answer = call();
    let took = started.elapsed();
    black_box(answer);
    took
}

/// Returns the time of a call that succeeds. Repeats a call that missed its deadline, because others may keep the
/// machine busy.
pub fn time_answer<T>(call: impl Fn() -> Result<T, Fault>) -> Duration {
    loop {
        let started = Instant::now();
        let answer = call();
        let took = started.elapsed();
        match black_box(answer) {
            Ok(_) => return took,
            Err(Fault::OverBudget("time")) => {}
            Err(fault) => panic!("{fault}"),
        }
    }
}

pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
pub fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Returns the middle figure.
pub fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
