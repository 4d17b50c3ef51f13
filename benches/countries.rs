//! Measures the memory and the calls of a loaded country, with 2 and with 200 countries. The engine does not notice
//! that all of them are Peru.

use citas::wasm::WasmEngine;

use citas_core::model::{Limits, Role};
use citas_core::ports::Clock as _;
use citas_core::rules::LoadedRules;

use crate::platform::peru;
use crate::report::{Report, spread};
use crate::requests::{example, leaves};
use crate::timing::{median, time_answer};

const FEW: usize = 2;
const MANY: usize = 200;
const CALLS: usize = 20_000;

/// Maximum ratio that counts as unchanged: the noise of a median on a machine that others use.
const UNCHANGED: f64 = 1.2;

pub fn measure(report: &mut Report) {
    let few = load(FEW);
    let before = resident();
    let many = load(MANY);
    let each = (resident() - before) / f64::from(u32::try_from(MANY).expect("a small number"));
    report.target(
        format!("{MANY} countries: resident memory of each"),
        format!("{each:.2} MiB"),
        "≤ 1 MiB",
        each <= 1.0,
    );

    let context = few[0].context(citas::system::SystemClock.now(), Role::Patient);
    let request = leaves(&example(&few[0]));
    let book = |rules: &LoadedRules| time_answer(|| rules.rules().book(&context, &request));
    let [mut alone, mut among_many, mut one_after_the_other] = [const { Vec::new() }; 3];
    for turn in 0..CALLS {
        alone.push(book(&few[turn % FEW]));
        among_many.push(book(&many[turn % FEW]));
    }
    for turn in 0..CALLS {
        one_after_the_other.push(book(&many[turn % MANY]));
    }
    let ratio = median(&mut among_many).as_secs_f64() / median(&mut alone).as_secs_f64();
    report.figure(format!("book, engine with {FEW} countries"), spread(&mut alone));
    report.figure(format!("book, engine with {MANY} countries"), spread(&mut among_many));
    report.target("  of these the ratio", format!("{ratio:.2}"), "unchanged (≤ 1.2)", ratio <= UNCHANGED);
    report.figure(format!("book, each of {MANY} in turn: no cache is warm"), spread(&mut one_after_the_other));
}

/// Loads countries into one engine and calls each once.
fn load(count: usize) -> Vec<LoadedRules> {
    let engine = WasmEngine::new().expect("an engine");
    let load = |_| {
        let rules = LoadedRules::load(&engine, peru(), &Limits::default()).expect("a country");
        rules.rules().describe().expect("an answer");
        rules
    };
    (0..count).map(load).collect()
}

/// Returns the resident memory of this process, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kib: u32 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    f64::from(kib) / 1024.0
}
