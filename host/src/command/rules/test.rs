//! `citas rules test`: golden cases in the real engine with the real limits.

use citas_core::cases::{self, Outcome as CaseOutcome};
use serde_json::{Value, json};

use super::{Answer, Outcome, Report, Source, load};

pub(super) fn test(source: &Source, report: &Report) -> Outcome {
    let cases = cases::read(&source.cases()?)?;
    let rules = load(&source.component()?)?;
    let outcomes = cases::run(&rules, &cases);
    let failed: Vec<&CaseOutcome> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let lines = outcomes.iter().map(|CaseOutcome { name, failure }| match failure {
        None => format!("ok      {name}"),
        Some(failure) => format!("FAILED  {name}\n        {failure}"),
    });
    let passed = outcomes.len() - failed.len();
    let sum = format!("{} {}: {passed} cases passed, {} failed", rules.country, rules.id.version, failed.len());
    let words = lines.chain([sum]).collect::<Vec<_>>().join("\n");
    let failures: Vec<Value> = failed.iter().map(|case| json!({ "name": case.name, "why": case.failure })).collect();
    report.say(&words, &json!({ "rules": rules.id, "passed": passed, "failed": failures }));
    Ok(if failed.is_empty() { Answer::Done } else { Answer::No })
}
