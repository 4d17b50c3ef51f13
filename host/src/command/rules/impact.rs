//! `citas rules impact`: which future appointments a candidate would refuse. It judges again what led to each, at the time it
//! was asked for: would it stand, had these rules been in force? Prints no personal data: ids, starts, codes and their texts.

use std::error::Error;

use citas_core::appointment::Revision;
use citas_core::ledger::Query;
use citas_core::loaded::LoadedRules;
use citas_core::replay::{differences, under};
use citas_core::time::Clock as _;
use serde_json::{Value, json};

use super::{Answer, InData, Misuse, Outcome, Report, Source, load};
use crate::local::sqlite::Archive;
use crate::system::SystemClock;

/// How many are read at once.
const PAGE: usize = 200;

/// What a candidate makes of the future.
#[derive(Default)]
struct Impact {
    judged: u64,
    refused: Vec<Value>,
    changed: Vec<Value>,
}

pub(super) fn impact(source: &Source, data: &InData, report: &Report) -> Outcome {
    let rules = load(&source.component()?)?;
    let archive = Archive::open(&data.data, rules.country).map_err(|cause| Misuse(cause.to_string()))?;
    let impact = future(&archive, &rules)?;
    let line = |one: &Value| format!("{}  {}  {}", text(&one["id"]), text(&one["startsAt"]), text(&one["why"]));
    let mut lines: Vec<String> = impact.refused.iter().map(line).collect();
    let changed = impact.changed.iter().map(|one| {
        format!("{}  {}  would differ in {}", text(&one["id"]), text(&one["startsAt"]), text(&one["members"]))
    });
    lines.extend(changed);
    lines.push(format!(
        "{} {}: {} future appointments judged, {} would be refused, {} would differ",
        rules.country,
        rules.id.version,
        impact.judged,
        impact.refused.len(),
        impact.changed.len()
    ));
    let value =
        json!({ "rules": rules.id, "judged": impact.judged, "refused": impact.refused, "changed": impact.changed });
    report.say(&lines.join("\n"), &value);
    Ok(if impact.refused.is_empty() { Answer::Done } else { Answer::No })
}

fn future(archive: &Archive, rules: &LoadedRules) -> Result<Impact, Box<dyn Error>> {
    let mut query = Query { from: Some(SystemClock.now()), limit: PAGE, ..Query::default() };
    let mut impact = Impact::default();
    loop {
        let page = archive.page(&query)?;
        for revision in page.items.iter().filter(|revision| revision.appointment.phase.is_live()) {
            impact.judged += 1;
            judge(&mut impact, rules, archive.before(revision)?.as_ref(), revision);
        }
        let Some(next) = page.next else { return Ok(impact) };
        query.after = Some(next);
    }
}

fn judge(impact: &mut Impact, rules: &LoadedRules, before: Option<&Revision>, revision: &Revision) {
    let about = |member: &str, said: String, codes: Value| json!({ "id": revision.appointment.id, "startsAt": revision.starts_at, member: said, "codes": codes });
    match under(rules, before, revision) {
        Ok(Ok(plan)) => {
            let members = differences(&plan, revision);
            if !members.is_empty() {
                impact.changed.push(about("members", members.join(", "), Value::Null));
            }
        }
        Ok(Err(violations)) => {
            let locale = rules.messages.negotiate("");
            let said: Vec<String> = violations
                .iter()
                .map(|violation| format!("{}: {}", violation.code, rules.messages.text(violation, &locale)))
                .collect();
            let codes: Vec<&str> = violations.iter().map(|violation| violation.code.as_str()).collect();
            impact.refused.push(about("why", said.join("; "), json!(codes)));
        }
        Err(fault) => impact.refused.push(about("why", format!("no answer: {fault}"), json!([]))),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("no date")
}
