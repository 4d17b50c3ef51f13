//! The endpoints of countries: the list, the schemas and the state of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use citas_core::model::{Canary, CountryCode, Forbidden, Role, RulesId, Scope};
use citas_core::release::{Entry, OnTrial, RefusedVersion};
use citas_core::rules::{Action, Code, LoadedRules};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Api;
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::{Kind, Problem};

/// The countries that can be booked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Countries")]
pub struct CountryList {
    items: Vec<Country>,
}

/// A country that can be booked.
#[derive(Serialize, JsonSchema)]
pub struct Country {
    country: CountryCode,
    /// IANA time zones of its appointments.
    zones: Vec<String>,
    /// Languages of its messages (BCP 47), the default first.
    locales: Vec<String>,
    /// Names of the actions on an appointment.
    actions: Vec<String>,
    rules: RulesId,
}

/// A country's JSON Schemas (2020-12).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CountrySchemas")]
pub struct Schemas {
    country: CountryCode,
    /// IANA time zones of its appointments.
    zones: Vec<String>,
    /// Languages of its messages (BCP 47), the default first.
    locales: Vec<String>,
    rules: RulesId,
    /// Schema of a booking request.
    #[schemars(with = "Map<String, Value>")]
    request: Value,
    /// Schema of the country's part of an appointment.
    #[schemars(with = "Map<String, Value>")]
    appointment: Value,
    /// Actions by name.
    actions: BTreeMap<String, ActionSchema>,
    /// Codes of violations, with their texts.
    codes: BTreeMap<String, Code>,
}

/// An action on an appointment.
#[derive(Serialize, JsonSchema)]
pub struct ActionSchema {
    /// Roles that may perform it.
    #[schemars(with = "Vec<Role>")]
    roles: BTreeSet<&'static str>,
    /// Schema of its input.
    #[schemars(with = "Map<String, Value>")]
    input: Value,
}

/// State of a country's rules on this host.
#[derive(Serialize, JsonSchema)]
pub struct RulesStatus {
    country: CountryCode,
    /// Rules in force.
    rules: Option<RulesId>,
    /// Time at which they came into force here.
    #[schemars(with = "Option<Instant>")]
    since: Option<Timestamp>,
    /// Number of versions that have come into force since the host started.
    swaps: u64,
    calls: Option<CallCounts>,
    /// Last version that did not come into force.
    refused: Option<Refused>,
    /// Version on trial.
    candidate: Option<Trial>,
}

/// Calls to one version of the rules.
#[derive(Serialize, JsonSchema)]
pub struct CallCounts {
    /// Number of calls that gave a result.
    answered: u64,
    /// Number of calls that failed.
    faults: u64,
}

/// A version that did not come into force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RefusedVersion")]
pub struct Refused {
    #[schemars(with = "Instant")]
    at: Timestamp,
    /// Name of the version.
    what: String,
    /// Reason in plain words.
    why: String,
}

/// A version on trial beside the rules in force.
#[derive(Serialize, JsonSchema)]
pub struct Trial {
    rules: RulesId,
    /// Number of the trial.
    trial: u64,
    /// Share of the patients for whom it decides; null for a shadow.
    canary: Option<Canary>,
    calls: CallCounts,
}

/// Handles `GET /v1/countries`.
pub async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let countries = api.catalogue.all();
    let loaded = || countries.values().filter_map(|entry| entry.rules.as_deref());
    let list = || CountryList { items: loaded().map(summary).collect() };
    api.documents.of_rules("/v1/countries", &countries, list).response(&headers)
}

fn summary(rules: &LoadedRules) -> Country {
    Country {
        country: rules.country,
        zones: rules.descriptor.zones.clone(),
        locales: rules.descriptor.locales.clone(),
        actions: rules.client_actions().map(|(name, _)| name.clone()).collect(),
        rules: rules.id.clone(),
    }
}

/// Handles `GET /v1/{country}/schema`.
pub async fn schema(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (countries, rules) = (api.catalogue.all(), rules_of(&api, country)?);
    api.documents.of_rules(&format!("/v1/{country}/schema"), &countries, || schemas(&rules)).response(&headers)
}

fn schemas(rules: &LoadedRules) -> Schemas {
    let action = |action: &Action| ActionSchema { roles: action.client_roles(), input: action.schema.clone() };
    let Country { country, zones, locales, rules: id, .. } = summary(rules);
    Schemas {
        country,
        zones,
        locales,
        rules: id,
        request: rules.request_schema.clone(),
        appointment: rules.appointment_schema.clone(),
        actions: rules.client_actions().map(|(name, of)| (name.clone(), action(of))).collect(),
        codes: rules.messages.codes(),
    }
}

/// Handles `GET /v1/{country}/rules`, for the platform team.
pub async fn rules(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
) -> Result<Json<RulesStatus>, Problem> {
    caller.needs(Scope::Rules)?;
    if !caller.groups.contains("platform") {
        return Err(Forbidden("this is for the group `platform`".into()).into());
    }
    let Entry { rules, since, swaps, refused, candidate } = entry(&api, country)?;
    let trial = |candidate: &OnTrial| Trial {
        rules: candidate.rules.id.clone(),
        trial: candidate.terms.trial,
        canary: candidate.terms.canary,
        calls: calls(&candidate.rules),
    };
    Ok(Json(RulesStatus {
        country,
        rules: rules.as_ref().map(|rules| rules.id.clone()),
        since,
        swaps,
        calls: rules.as_deref().map(calls),
        refused: refused.map(|RefusedVersion { at, what, why, .. }| Refused { at, what, why }),
        candidate: candidate.as_deref().map(trial),
    }))
}

/// Returns the counts of one loaded version.
fn calls(rules: &LoadedRules) -> CallCounts {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    CallCounts { answered: read(&rules.counters.answered), faults: read(&rules.counters.faults) }
}

/// Returns the rules in use.
pub(super) fn rules_of(api: &Api, country: CountryCode) -> Result<Arc<LoadedRules>, Problem> {
    entry(api, country)?.rules.ok_or_else(|| Problem::new(Kind::RulesUnavailable, "no rules are in force"))
}

fn entry(api: &Api, country: CountryCode) -> Result<Entry, Problem> {
    api.catalogue.entry(country).ok_or_else(|| unknown(country))
}

fn unknown(country: CountryCode) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no country `{country}` here"))
}
