//! `citas rules test`: runs golden cases in the real engine with the real limits.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use citas_core::ports::FailedCall;
use citas_core::rules::LoadedRules;
use citas_core::rules::cases::{self, Case, Failure, Outcome as CaseOutcome};
use serde_json::{Value, json};
use similar::TextDiff;

use super::{Answer, Outcome, Report, Source, headroom};
use crate::command::terminal::{BAD, GOOD, styled};
use crate::wasm::limits::Bounds;
use crate::wasm::{Meter, WasmEngine};

/// Maximum number of failed calls that are repeated outside the component.
const MAX_REPEATED: usize = 100;

const NO_CASES: &str = "there is no golden case, so nothing was tested; write one into the country's cases/, or name a \
                        folder that has some with --cases";

/// Outcome of a case, and the fuel of its most expensive call, because the limit is per call.
struct Ran {
    outcome: CaseOutcome,
    fuel: u64,
    limit: u64,
    /// Call that failed, if any, and what is wrong with it, in words.
    failed: Option<FailedCall>,
    repeated: Option<String>,
}

pub(super) fn test(source: &Source, only: Option<&str>, report: &Report) -> Outcome {
    let mut cases = cases::read(&source.cases()?)?;
    if cases.is_empty() {
        return Err(NO_CASES.into());
    }
    if let Some(only) = only {
        let all = cases.len();
        cases.retain(|case| case.name.contains(only));
        if cases.is_empty() {
            return Err(format!("none of the {all} golden cases has `{only}` in its name").into());
        }
    }
    let meter = Arc::new(Meter::default());
    let limits = source.limits()?;
    let limit = Bounds::of(&limits)?.fuel;
    let (sender, calls) = sync_channel(MAX_REPEATED);
    let engine = WasmEngine::metered(meter.clone())?.watched(sender);
    let explained = |error: &dyn Error| explained(error, source, &calls);
    let rules = LoadedRules::load(&engine, &source.component()?, &limits).map_err(|error| explained(&error))?;
    let mut ran: Vec<Ran> = cases.iter().map(|case| run(&rules, case, &meter, limit, &calls)).collect();
    repeat(source, &mut ran);
    let failed = ran.iter().filter(|ran| ran.outcome.failure.is_some()).count();
    let (passed, most) = (ran.len() - failed, ran.iter().map(|ran| ran.fuel).max().unwrap_or_default());
    let sum = format!(
        "{} {}: {passed} cases passed, {failed} failed; most fuel of a call {most} of {limit}, headroom {}",
        rules.country,
        rules.id.version,
        headroom(most, limit)
    );
    let missing = cases::missing_texts(&rules, &cases);
    let wordless = cases::wordless_claims(&rules, &cases);
    let page = cases::full_page(&rules, &cases).map_err(|fault| explained(&fault))?;
    let is_whole = page.is_none_or(|page| page.is_whole());
    let paged =
        page.map(|page| format!("{}    {page}", if is_whole { "page  ".to_owned() } else { styled(BAD, "FAILED") }));
    let warnings =
        missing.iter().map(|code| textless(code, &rules)).chain(wordless.iter().map(|claim| unexplained(claim)));
    let words = ran.iter().map(line).chain(warnings).chain(paged).chain([sum]).collect::<Vec<_>>().join("\n");
    let value = json!({
        "rules": rules.id, "passed": passed, "failed": ran.iter().filter_map(failed_json).collect::<Vec<_>>(),
        "unsaid": missing, "unexplainedClaims": wordless, "page": page, "fuelLimit": limit, "fuel": ran.iter().map(fuel_json).collect::<Vec<_>>(),
    });
    report.say(&words, &value);
    Ok(if failed == 0 && is_whole { Answer::Done } else { Answer::No })
}

/// Formats the warning about a code without a text in some locale. It is not a failure, but patients would read another
/// language or the bare code.
fn textless(code: &str, rules: &LoadedRules) -> String {
    let lacking = rules.messages.lacking(code);
    let default = &rules.descriptor.locales[0];
    let read =
        if lacking.contains(default) { format!("`is not allowed ({code})`") } else { format!("the text in {default}") };
    format!(
        "no text {code}: the descriptor's messages lack it in {}, where people would read {read}",
        lacking.join(", ")
    )
}

/// Formats the warning about a claim without words.
fn unexplained(claim: &str) -> String {
    format!("no words {claim}: the descriptor's `claims` have no prefix for it, so people are not told why it is taken")
}

fn run(rules: &LoadedRules, case: &Case, meter: &Meter, limit: u64, calls: &Receiver<FailedCall>) -> Ran {
    drop(meter.take());
    let outcome = case.run(rules);
    let fuel = meter.take().iter().map(|call| call.fuel).max().unwrap_or_default();
    Ran { outcome, fuel, limit, failed: calls.try_iter().last(), repeated: None }
}

/// Repeats the calls that failed outside the component.
fn repeat(source: &Source, ran: &mut [Ran]) {
    let (mut failed, calls): (Vec<&mut Ran>, Vec<FailedCall>) =
        ran.iter_mut().filter_map(|ran| ran.failed.take().map(|call| (ran, call))).take(MAX_REPEATED).unzip();
    for (ran, words) in failed.iter_mut().zip(source.repeated(&calls)) {
        ran.repeated = Some(words);
    }
}

/// Returns an error with what is wrong with the call that caused it.
fn explained(error: &dyn Error, source: &Source, calls: &Receiver<FailedCall>) -> String {
    let call = calls.try_iter().last();
    let function = call.as_ref().map_or_else(String::new, |call| format!("`{}`: ", call.function));
    let words = [format!("{function}{error}")].into_iter().chain(source.repeated(call.as_slice()));
    words.collect::<Vec<_>>().join("\n    ")
}

fn line(Ran { outcome: CaseOutcome { name, failure }, fuel, limit, repeated, .. }: &Ran) -> String {
    let repeated = repeated.as_ref().map_or_else(String::new, |words| format!("\n        {words}"));
    let used = format!("(fuel {fuel}, headroom {})", headroom(*fuel, *limit));
    let failed = styled(BAD, "FAILED");
    match failure {
        None => format!("{}      {name} {used}", styled(GOOD, "ok")),
        Some(failure) => format!("{failed}  {name} {used}\n        {failure}{}{repeated}", difference(failure)),
    }
}

/// Returns a unified diff of the expected and the actual result, in the form of a case.
fn difference(failure: &Failure) -> String {
    let Some((expected, actual)) = &failure.compared else { return String::new() };
    let [expected, actual] = [expected, actual].map(|side| format!("{side:#}\n"));
    let diff = TextDiff::from_lines(&expected, &actual);
    let diff = diff.unified_diff().header("expected", "actual").to_string();
    format!("\n        {}", diff.trim_end().replace('\n', "\n        "))
}

fn failed_json(Ran { outcome: CaseOutcome { name, failure }, repeated, .. }: &Ran) -> Option<Value> {
    let failure = failure.as_ref()?;
    let mut value = json!({ "name": name, "why": failure.to_string(), "repeated": repeated });
    if let Some((expected, actual)) = &failure.compared {
        value["expected"] = expected.clone();
        value["actual"] = actual.clone();
    }
    Some(value)
}

fn fuel_json(Ran { outcome, fuel, .. }: &Ran) -> Value {
    json!({ "name": outcome.name, "used": fuel })
}
