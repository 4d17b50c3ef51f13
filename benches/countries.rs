//! What a loaded country costs, with 2 and with 200 of them. One engine cannot tell that all are Peru.

use citas_core::json::flatten;
use citas_core::loaded::LoadedRules;
use citas_core::rules::Role;
use citas_core::time::Clock as _;

use crate::platform::{loaded, peru};
use crate::report::{Report, spread};
use crate::requests::example;
use crate::timing::{median, time_answer};

const FEW: usize = 2;
const MANY: usize = 200;
const CALLS: usize = 20_000;

/// Noise of a median, on a machine that others use.
const UNCHANGED: f64 = 1.2;

pub fn measure(report: &mut Report) {
    let mut countries = Vec::new();
    load(&mut countries, FEW);
    let few = resident();
    load(&mut countries, MANY);
    let each = (resident() - few) / f64::from(u32::try_from(MANY - FEW).expect("a small number"));
    report.target(
        format!("{MANY} countries: resident memory of each"),
        format!("{each:.2} MiB"),
        "≤ 1 MiB",
        each <= 1.0,
    );

    let context = countries[0].context(citas::local::system::SystemClock.now(), Role::Patient);
    let request = flatten(&example(&countries[0]));
    let book = |rules: &LoadedRules| time_answer(|| rules.rules().book(&context, &request));
    let (mut among_few, mut among_many) = (Vec::new(), Vec::new());
    for turn in 0..CALLS {
        among_few.push(book(&countries[turn % FEW]));
        among_many.push(book(&countries[turn % MANY]));
    }
    let ratio = median(&mut among_many).as_secs_f64() / median(&mut among_few).as_secs_f64();
    report.figure(format!("book, one of {FEW} countries after the other"), spread(&mut among_few));
    report.figure(format!("book, one of {MANY} countries after the other"), spread(&mut among_many));
    report.target("  of these the ratio", format!("{ratio:.2}"), "unchanged (≤ 1.2)", ratio <= UNCHANGED);
}

/// Loads until there are so many, and calls each.
fn load(countries: &mut Vec<LoadedRules>, count: usize) {
    while countries.len() < count {
        let rules = loaded(peru());
        rules.rules().describe().expect("an answer");
        countries.push(rules);
    }
}

/// This process's resident memory, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kib: u32 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    f64::from(kib) / 1024.0
}
