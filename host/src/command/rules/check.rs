//! `citas rules check`: reports whether a host would accept a component, what it offers, and what clients will notice.

use std::error::Error;

use citas_core::ports::{CONTRACT, LOWEST_HOST};
use citas_core::rules::{LoadedRules, cases};
use serde_json::{Value, json};

use super::compared::{Compared, compared};
use super::{Answer, InRegistry, Outcome, Source, chain, judge};
use crate::wasm::limits::Bounds;

pub(super) async fn check(source: &Source, registry: &InRegistry) -> Outcome {
    registry.is_there_if_named()?;
    let package = source.package()?;
    let (rules, judging) = match judge(&package).await {
        Ok(judged) => judged,
        Err(refusal) => {
            let why = chain(refusal.as_ref());
            registry.report.say(&format!("no: {why}"), &json!({ "good": false, "why": why }));
            return Ok(Answer::No);
        }
    };
    let page = cases::full_page(&rules, &cases::read(&package.cases)?)?;
    let compared = compared(&*registry.open().await, &rules, &package.cases).await;
    let compared = match compared {
        Err(cause) if registry.is_named() => return Err(cause),
        other => other,
    };
    let too_low = compared.as_ref().ok().and_then(|compared| compared.as_ref()?.too_low.as_ref());
    let short = page.filter(|page| !page.is_whole());
    let why = too_low.map(ToString::to_string).or_else(|| short.map(|page| page.to_string()));
    let verdict = why.as_ref().map_or_else(|| "good: ".to_owned(), |why| format!("no: {why}\n"));
    let bounds = Bounds::of(&package.limits)?;
    let (words, mut value) = offered(&rules, bounds, package.component.len(), &judging);
    let (noticed, compared) = noticed(&compared);
    let paged = page.map_or_else(|| "no golden case leads to an appointment".to_owned(), |page| page.to_string());
    value["good"] = why.is_none().into();
    value["compared"] = compared;
    value["page"] = json!(page);
    let misplaced = rules.misplaced_messages();
    value["misplaced"] = json!(misplaced);
    let answer = if why.is_some() { Answer::No } else { Answer::Done };
    if let Some(why) = why {
        value["why"] = why.into();
    }
    let misplaced: String = misplaced.iter().map(|code| unused(code)).collect();
    registry.report.say(&format!("{verdict}{words}\npage     {paged}{misplaced}{noticed}"), &value);
    Ok(answer)
}

/// Formats the warning about a message that nobody will see.
fn unused(code: &str) -> String {
    format!("\nunused   {code}: no schema of a request or an action has this keyword at this place")
}

/// Describes what the rules offer, in text and in JSON.
fn offered(rules: &LoadedRules, bounds: Bounds, bytes: usize, judging: &(String, Value)) -> (String, Value) {
    let actions: Vec<&str> = rules.actions.keys().map(String::as_str).collect();
    let descriptor = &rules.descriptor;
    let words = format!(
        "{} {}, {bytes} bytes, {}\nzones    {}\nlocales  {}\nactions  {}\nlimits   {bounds}\njudging  {}\ncontract {CONTRACT}, which hosts from {LOWEST_HOST} on run",
        rules.country,
        rules.id.version,
        rules.id.digest,
        descriptor.zones.join(", "),
        descriptor.locales.join(", "),
        actions.join(", "),
        judging.0,
    );
    let value = json!({
        "country": rules.country, "rules": rules.id, "bytes": bytes, "contract": CONTRACT, "lowestHost": LOWEST_HOST,
        "limits": bounds, "judging": judging.1,
        "zones": descriptor.zones, "locales": descriptor.locales, "actions": actions,
    });
    (words, value)
}

/// Describes what clients will notice, or why that is unknown.
fn noticed(compared: &Result<Option<Compared>, Box<dyn Error>>) -> (String, Value) {
    match compared {
        Ok(Some(compared)) => (format!("\n{}", compared.to_text()), compared.json()),
        Ok(None) => ("\ncompared with nothing: no version is published".into(), Value::Null),
        Err(cause) => (format!("\ncompared with nothing: {}", chain(cause.as_ref())), Value::Null),
    }
}
