//! `citas rules check`: would a host take it, and what does it offer?

use citas_core::rules::CONTRACT;
use serde_json::json;

use super::{Answer, Outcome, Report, Source, chain, load};

pub(super) fn check(source: &Source, report: &Report) -> Outcome {
    let component = source.component()?;
    let rules = match load(&component) {
        Ok(rules) => rules,
        Err(refusal) => {
            let why = chain(refusal.as_ref());
            report.say(&format!("no: {why}"), &json!({ "good": false, "why": why }));
            return Ok(Answer::No);
        }
    };
    let actions: Vec<&String> = rules.actions.keys().collect();
    let descriptor = &rules.descriptor;
    let words = format!(
        "good: {} {}, {} bytes, {}\nzones    {}\nlocales  {}\nactions  {}\ncontract {CONTRACT}",
        rules.country,
        rules.id.version,
        component.len(),
        rules.id.digest,
        descriptor.zones.join(", "),
        descriptor.locales.join(", "),
        actions.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
    );
    let value = json!({
        "good": true, "country": rules.country, "rules": rules.id, "bytes": component.len(), "contract": CONTRACT,
        "zones": descriptor.zones, "locales": descriptor.locales, "actions": actions,
    });
    report.say(&words, &value);
    Ok(Answer::Done)
}
