//! `citas rules check`: reports whether a host would accept a component, what it offers, and what clients will notice.

use std::collections::BTreeSet;
use std::error::Error;

use citas_core::model::RulesPackage;
use citas_core::ports::{Registry, lowest_host};
use citas_core::rules::{LoadedRules, cases};
use semver::Version;
use serde_json::{Value, json};

use super::compared::{Compared, compared};
use super::publish::{NO_CASES, Published, refuse_lower, signed_highest};
use super::{Answer, InRegistry, Misuse, Outcome, Source, chain, failed_calls, judge};
use crate::command::terminal::{BAD, GOOD, styled};
use crate::wasm::limits::Bounds;

/// Findings beside the registry.
struct Found {
    compared: Option<Compared>,
    /// Reason for which `publish` would refuse the version, if any.
    refusal: Option<String>,
    /// Line about publishing, if there is something to say.
    note: Option<String>,
}

pub(super) async fn check(source: &Source, registry: &InRegistry) -> Outcome {
    let absent = registry.folders.require().err();
    if let Some(absent) = absent.as_ref().filter(|_| registry.is_named()) {
        return Err(Misuse(absent.to_string()).into());
    }
    let package = source.package()?;
    let (rules, judging) = match judge(&package).await {
        Ok(judged) => judged,
        Err(refusal) => {
            let (why, mut repeated) = (chain(refusal.as_ref()), source.repeated(failed_calls(refusal.as_ref())));
            repeated.dedup();
            let words = [&why].into_iter().chain(&repeated).cloned().collect::<Vec<_>>().join("\n    ");
            let value = json!({ "good": false, "why": why, "repeated": repeated });
            registry.report.say(&format!("{}: {words}", styled(BAD, "no")), &value);
            return Ok(Answer::No);
        }
    };
    let page = cases::full_page(&rules, &cases::read(&package.cases)?)?;
    let found = match absent {
        Some(absent) => Err(absent.into()),
        None => found(&*registry.open_or_create().await, &rules, &package).await,
    };
    let found = match found {
        Err(cause) if registry.is_named() => return Err(cause),
        other => other,
    };
    let no_cases = (cases::read(&package.cases)?.is_empty() && source.names_cases()).then(|| NO_CASES.to_owned());
    let short = page.filter(|page| !page.is_whole()).map(|page| page.to_string());
    let refusal = found.as_ref().ok().and_then(|found| found.refusal.clone());
    let why = refusal.or(no_cases).or(short);
    let verdict = match &why {
        Some(why) => format!("{}: {why}\n", styled(BAD, "no")),
        None => format!("{}: ", styled(GOOD, "good")),
    };
    let bounds = Bounds::of(&package.limits)?;
    let (words, mut value) = offered(&rules, bounds, package.component.len(), &judging);
    let (noticed, compared) = noticed(&found);
    let paged = page.map_or_else(|| "no golden case leads to an appointment".to_owned(), |page| page.to_string());
    value["good"] = why.is_none().into();
    value["compared"] = compared;
    value["page"] = json!(page);
    let misplaced = rules.misplaced_messages();
    value["misplaced"] = json!(misplaced);
    let links = cases::links(&rules, &cases::read(&package.cases)?);
    value["links"] = json!(links);
    let answer = if why.is_some() { Answer::No } else { Answer::Done };
    if let Some(why) = why {
        value["why"] = why.into();
    }
    let misplaced: String = misplaced.iter().map(|code| unused(code)).collect();
    let linked = linked(&rules, &links);
    registry.report.say(&format!("{verdict}{words}\npage     {paged}{linked}{misplaced}{noticed}"), &value);
    Ok(answer)
}

/// Formats the warning about a message that nobody will see.
fn unused(code: &str) -> String {
    format!("\nunused   {code}: no schema of a request or an action has this keyword at this place")
}

/// Formats the warnings about links in notices.
fn linked(rules: &LoadedRules, links: &BTreeSet<String>) -> String {
    if links.is_empty() {
        return String::new();
    }
    let instead = rules.messages.no_link(&rules.descriptor.locales[0]);
    let listed = links.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let warnings = links.iter().filter_map(|action| {
        if !rules.is_linkable(action) {
            return Some(format!(
                "\nno link  {action}: patients may not do it with an empty input, so mail has words instead"
            ));
        }
        let is_said = rules.messages.is_link_said(action);
        (!is_said)
            .then(|| format!("\nno text  link.{action} and link.{action}.done: the page would show the action's name"))
    });
    let warnings: String = warnings.collect();
    format!("\nlinks    {listed}; a host without --public-url writes `{instead}` instead{warnings}")
}

/// Compares with the registry, and finds out what `publish` would say.
async fn found(published: &dyn Registry, rules: &LoadedRules, package: &RulesPackage) -> Result<Found, Box<dyn Error>> {
    let (country, version) = (rules.country, rules.id.version.parse::<Version>()?);
    let compared = compared(published, rules, &package.cases).await?;
    let too_low = compared.as_ref().and_then(|compared| compared.too_low.as_ref()).map(ToString::to_string);
    let (refusal, note) = match Published::of(published, country, &version, package).await? {
        Published::Same => (None, Some(format!("{version} is published already, with the same content"))),
        Published::Differing(why) => (Some(why), None),
        Published::No => {
            let lower = refuse_lower(published, country, &version).await.err().map(|lower| lower.to_string());
            let signed = signed_highest(published, country).await?;
            (too_low.or(lower), signed.map(|highest| format!("with --key, because {highest} is signed")))
        }
    };
    Ok(Found { compared, refusal, note })
}

/// Describes what the rules offer, in text and in JSON.
fn offered(rules: &LoadedRules, bounds: Bounds, bytes: usize, judging: &(String, Value)) -> (String, Value) {
    let actions: Vec<&str> = rules.actions.keys().map(String::as_str).collect();
    let (descriptor, contract) = (&rules.descriptor, rules.contract());
    let lowest = lowest_host(contract);
    let words = format!(
        "{} {}, {bytes} bytes, {}\nzones    {}\nlocales  {}\nactions  {}\nlimits   {bounds}\njudging  {}\ncontract {contract}, which hosts from {lowest} on run",
        rules.country,
        rules.id.version,
        rules.id.digest,
        descriptor.zones.join(", "),
        descriptor.locales.join(", "),
        actions.join(", "),
        judging.0,
    );
    let value = json!({
        "country": rules.country, "rules": rules.id, "bytes": bytes, "contract": contract, "lowestHost": lowest,
        "limits": bounds, "judging": judging.1,
        "zones": descriptor.zones, "locales": descriptor.locales, "actions": actions,
    });
    (words, value)
}

/// Describes what clients will notice, or why that is unknown.
fn noticed(found: &Result<Found, Box<dyn Error>>) -> (String, Value) {
    match found {
        Ok(Found { compared, note, .. }) => {
            let publish = note.as_ref().map_or_else(String::new, |note| format!("\npublish  {note}"));
            match compared {
                Some(compared) => (format!("{publish}\n{}", compared.to_text()), compared.json()),
                None => (format!("{publish}\ncompared with nothing: no version is published"), Value::Null),
            }
        }
        Err(cause) => (format!("\ncompared with nothing: {}", chain(cause.as_ref())), Value::Null),
    }
}
