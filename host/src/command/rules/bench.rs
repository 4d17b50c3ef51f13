//! `citas rules bench`: measures the rules' calls over the golden cases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use citas_core::rules::LoadedRules;
use citas_core::rules::cases::{self, Case};
use serde_json::{Value, json};

use super::{Answer, Outcome, Report, Source, headroom};
use crate::wasm::limits::Bounds;
use crate::wasm::{Meter, Metered, WasmEngine};

/// Minimum time for which the cases are repeated.
const MEASURED: Duration = Duration::from_secs(2);

const NO_CASES: &str = "there is no golden case, so there is no call to measure; write one into the country's cases/, or \
                        name a folder that has some with --cases";

/// Measurements of the calls of one function.
struct Measured {
    function: &'static str,
    calls: usize,
    median: Duration,
    p99: Duration,
    fuel_median: u64,
    fuel_max: u64,
    memory: usize,
}

pub(super) fn bench(source: &Source, report: &Report) -> Outcome {
    let cases = cases::read(&source.cases()?)?;
    if cases.is_empty() {
        return Err(NO_CASES.into());
    }
    let component = source.component()?;
    let (meter, limits) = (Arc::new(Meter::default()), source.limits()?);
    let bounds = Bounds::of(&limits)?;
    let started = Instant::now();
    let rules = LoadedRules::load(&WasmEngine::metered(meter.clone())?, &component, &limits)?;
    let load = started.elapsed();
    let measured = measure(&rules, &cases, &meter);
    let head = format!(
        "{} {}: {} bytes, loaded in {:.1} ms\n{:<8} {:>8} {:>12} {:>12} {:>12} {:>12} {:>9} {:>15}",
        rules.country,
        rules.id.version,
        component.len(),
        load.as_secs_f64() * 1e3,
        "call",
        "calls",
        "median",
        "p99",
        "fuel median",
        "fuel max",
        "headroom",
        "memory"
    );
    let words = [head]
        .into_iter()
        .chain(measured.iter().map(|measured| measured.line(bounds.fuel)))
        .collect::<Vec<_>>()
        .join("\n");
    let value = json!({
        "rules": rules.id, "bytes": component.len(), "loadSeconds": load.as_secs_f64(), "memoryLimit": bounds.memory,
        "calls": measured.iter().map(Measured::json).collect::<Vec<_>>(),
    });
    report.say(&words, &value);
    Ok(Answer::Done)
}

/// Runs the cases repeatedly and groups the measurements by function. The first round is not counted, because caches
/// are cold.
fn measure(rules: &LoadedRules, cases: &[Case], meter: &Meter) -> Vec<Measured> {
    drop(cases::run(rules, cases));
    drop(meter.take());
    let started = Instant::now();
    let mut functions: BTreeMap<&'static str, Vec<Metered>> = BTreeMap::new();
    while functions.is_empty() || started.elapsed() < MEASURED {
        drop(cases::run(rules, cases));
        let calls = meter.take();
        if calls.is_empty() {
            break;
        }
        for call in calls {
            functions.entry(call.function).or_default().push(call);
        }
    }
    functions.into_iter().map(|(function, calls)| Measured::of(function, &calls)).collect()
}

impl Measured {
    fn of(function: &'static str, calls: &[Metered]) -> Self {
        let mut times: Vec<Duration> = calls.iter().map(|call| call.time).collect();
        let mut fuel: Vec<u64> = calls.iter().map(|call| call.fuel).collect();
        times.sort_unstable();
        fuel.sort_unstable();
        Self {
            function,
            calls: calls.len(),
            median: percentile(&times, 50),
            p99: percentile(&times, 99),
            fuel_median: percentile(&fuel, 50),
            fuel_max: percentile(&fuel, 100),
            memory: calls.iter().map(|call| call.memory).max().unwrap_or_default(),
        }
    }

    fn line(&self, limit: u64) -> String {
        let Self { function, calls, median, p99, fuel_median, fuel_max, memory } = self;
        let [median, p99] = [median, p99].map(|time| format!("{:.1} µs", time.as_secs_f64() * 1e6));
        let [left, memory] = [headroom(*fuel_max, limit), format!("{memory} bytes")];
        format!(
            "{function:<8} {calls:>8} {median:>12} {p99:>12} {fuel_median:>12} {fuel_max:>12} {left:>9} {memory:>15}"
        )
    }

    fn json(&self) -> Value {
        json!({
            "function": self.function, "calls": self.calls, "medianSeconds": self.median.as_secs_f64(),
            "p99Seconds": self.p99.as_secs_f64(), "fuelMedian": self.fuel_median, "fuelMax": self.fuel_max,
            "memoryBytes": self.memory,
        })
    }
}

/// Returns the percentile of sorted values, by nearest rank.
fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}
