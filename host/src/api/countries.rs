//! The endpoints of countries: the list, the schemas and the state of the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use citas_core::model::{CountryCode, Forbidden, Scope};
use citas_core::release::Entry;
use citas_core::rules::LoadedRules;
use serde_json::{Value, json};

use super::Api;
use super::caching::revalidated_json;
use super::identity::Identified;
use super::paths::At;
use super::problem::{Kind, Problem};

/// Handles `GET /v1/countries`.
pub async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let countries = api.catalogue.all();
    let loaded = countries.values().filter_map(|entry| entry.rules.as_deref());
    revalidated_json(&headers, &json!({ "items": loaded.map(summary).collect::<Vec<_>>() }))
}

fn summary(rules: &LoadedRules) -> Value {
    json!({
        "country": rules.country,
        "zones": rules.descriptor.zones,
        "locales": rules.descriptor.locales,
        "actions": rules.actions.keys().collect::<Vec<_>>(),
        "rules": rules.id,
    })
}

/// Handles `GET /v1/{country}/schema`.
pub async fn schema(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let rules = entry(&api, country)?.rules;
    let rules = rules.ok_or_else(|| Problem::new(Kind::RulesUnavailable, "no rules are in force"))?;
    let actions: serde_json::Map<String, Value> = rules
        .actions
        .iter()
        .map(|(name, action)| (name.clone(), json!({ "roles": action.roles, "input": action.schema })))
        .collect();
    let mut document = summary(&rules);
    document["request"] = rules.request_schema.clone();
    document["appointment"] = rules.appointment_schema.clone();
    document["actions"] = actions.into();
    revalidated_json(&headers, &document)
}

/// Handles `GET /v1/{country}/rules`, for the platform team.
pub async fn rules(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
) -> Result<Json<Value>, Problem> {
    caller.needs(Scope::Rules)?;
    if !caller.groups.contains("platform") {
        return Err(Forbidden("this is for the group `platform`".into()).into());
    }
    let Entry { rules, since, swaps, refused, candidate } = entry(&api, country)?;
    let candidate = candidate.map(|candidate| {
        let (rules, terms) = (&candidate.rules, &candidate.terms);
        json!({ "rules": rules.id, "trial": terms.trial, "canary": terms.canary, "calls": calls(rules) })
    });
    let refused = refused.map(|refused| json!({ "at": refused.at, "what": refused.what, "why": refused.why }));
    Ok(Json(json!({
        "country": country,
        "rules": rules.as_ref().map(|rules| &rules.id),
        "since": since,
        "swaps": swaps,
        "calls": rules.as_deref().map(calls),
        "refused": refused,
        "candidate": candidate,
    })))
}

/// Returns the number of answered calls and of faults of one loaded version.
fn calls(rules: &LoadedRules) -> Value {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    json!({ "answered": read(&rules.counters.answered), "faults": read(&rules.counters.faults) })
}

fn entry(api: &Api, country: CountryCode) -> Result<Entry, Problem> {
    let absent = || Problem::new(Kind::NotFound, format!("there is no country `{country}` here"));
    api.catalogue.entry(country).ok_or_else(absent)
}
