//! Composes the API's description (OpenAPI 3.1) from the rules in force. It changes when a country's schema does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use citas_core::model::{CountryCode, Phase, Scope};
use citas_core::release::Entry;
use citas_core::rules::schema::map_subschemas;
use citas_core::rules::{ADDED_MEMBERS, HOST_MEMBERS, LoadedRules, MAX_PAGE};
use serde_json::{Map, Value, json};
use strum::VariantArray as _;

use super::Api;
use super::appointments::{DEFAULT_PAGE, MAX_FILTER_CHARS};
use super::caching::revalidated;
use super::problem::{Kind, Problem};

/// The document that was composed last, and the countries that it was composed of. It is kept because everybody may
/// request it, and composing it takes milliseconds.
#[derive(Default)]
pub struct Description(Mutex<Option<(Countries, Bytes)>>);

type Countries = Arc<BTreeMap<CountryCode, Entry>>;

impl Description {
    fn of(&self, countries: Countries) -> Bytes {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(composed, _)| Arc::ptr_eq(composed, &countries)) {
            return bytes.clone();
        }
        let loaded: Vec<&LoadedRules> = countries.values().filter_map(|entry| entry.rules.as_deref()).collect();
        let bytes = Bytes::from(document(&loaded).to_string());
        *last = Some((countries, bytes.clone()));
        bytes
    }
}

/// Handles `GET /openapi.json`.
pub async fn serve(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    revalidated(&headers, api.description.of(api.catalogue.all()))
}

/// Returns the whole document.
fn document(countries: &[&LoadedRules]) -> Value {
    let mut paths = platform_paths();
    let mut schemas = common_schemas();
    for rules in countries {
        paths.extend(country_paths(rules));
        schemas.extend(country_schemas(rules));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Citas",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Medical appointments in many countries, each under its own rules.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problem_responses(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "An access token; its scopes and groups say what it may be used for.",
            } },
        },
    })
}

/// Returns the name of a schema, for example `PeNoShow`.
fn named(country: CountryCode, what: &str) -> String {
    [country.as_str(), what].into_iter().flat_map(|text| text.split('-')).map(capital).collect()
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
    first.to_uppercase() + rest
}

/// Returns the id of an operation, for example `peNoShow`.
fn operation_id(country: CountryCode, what: &str) -> String {
    let name = named(country, what);
    let (first, rest) = name.split_at(1);
    first.to_lowercase() + rest
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns an operation. Every operation may meet a fault of the host; `problems` are its other problems.
fn operation(id: &str, tag: &str, summary: &str, success: (&str, Value), problems: &[Kind]) -> Value {
    let mut responses = Map::from_iter([(success.0.to_owned(), success.1)]);
    for kind in problems.iter().chain([&Kind::Internal]) {
        let status = kind.parts().0.as_u16().to_string();
        let response = json!({ "$ref": format!("#/components/responses/Problem{status}") });
        responses.insert(status, response);
    }
    json!({ "operationId": id, "tags": [tag], "summary": summary, "responses": responses })
}

fn secured(mut operation: Value, scope: Scope) -> Value {
    operation["security"] = json!([{ "bearer": [scope.as_str()] }]);
    operation
}

fn ok(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// Problems of every request with a token.
const GUARDED: [Kind; 7] = [
    Kind::MalformedRequest,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::SlowDown,
    Kind::RulesUnavailable,
    Kind::Unavailable,
];

/// Additional problems of a change.
const CHANGING: [Kind; 6] =
    [Kind::TooSlow, Kind::SlotTaken, Kind::Stale, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated];

fn platform_paths() -> Map<String, Value> {
    let object = json!({ "type": "object" });
    let text = json!({ "description": "Prometheus text format", "content": { "text/plain": { "schema": { "type": "string" } } } });
    let plain = |id: &str, summary: &str, success: (&str, Value), problems: &[Kind]| json!({ "get": operation(id, "platform", summary, success, problems) });
    let mut ready = plain("ready", "Ready to book", ("200", ok("Some country can be booked", &object)), &[]);
    ready["get"]["responses"]["503"] = ok("No country can be booked", &object);
    Map::from_iter([
        (
            "/v1/countries".into(),
            plain(
                "listCountries",
                "What can be booked where",
                ("200", ok("The countries", &reference("Countries"))),
                &[],
            ),
        ),
        ("/healthz".into(), plain("health", "The process runs", ("200", ok("It does", &object)), &[])),
        ("/readyz".into(), ready),
        ("/openapi.json".into(), plain("describe", "This document", ("200", ok("OpenAPI 3.1", &object)), &[])),
        (
            "/.well-known/jwks.json".into(),
            plain("keys", "The local issuer's keys", ("200", ok("RFC 7517", &object)), &[Kind::NotFound]),
        ),
        ("/metrics".into(), plain("metrics", "Metrics", ("200", text), &[])),
    ])
}

fn country_paths(rules: &LoadedRules) -> Map<String, Value> {
    let country = rules.country;
    let base = format!("/v1/{country}");
    let mut paths = Map::from_iter([
        (format!("{base}/appointments"), json!({ "post": book(rules), "get": list(country) })),
        (format!("{base}/appointments/{{id}}"), json!({ "parameters": [id_parameter()], "get": get(country) })),
        (
            format!("{base}/appointments/{{id}}/history"),
            json!({ "parameters": [id_parameter()], "get": history(country) }),
        ),
        (format!("{base}/schema"), json!({ "get": schema(country) })),
        (format!("{base}/rules"), json!({ "get": rules_status(country) })),
    ]);
    for name in rules.actions.keys() {
        let path = format!("{base}/appointments/{{id}}/{name}");
        paths.insert(path, json!({ "parameters": [id_parameter()], "post": act(country, name) }));
    }
    paths
}

fn id_parameter() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } })
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
}

fn idempotency_key() -> Value {
    const KEY: &str = "[!#-~]([ -~]{0,253}[!#-~])?";
    let schema = json!({ "type": "string", "pattern": format!("^(\"{KEY}\"|{KEY})$") });
    header("Idempotency-Key", "The same key and request bring about one thing, once, for 24 hours.", &schema)
}

fn accept_language() -> Value {
    header(
        "Accept-Language",
        "The language of the violations' messages.",
        &json!({ "type": "string", "examples": ["es", "en"] }),
    )
}

fn appointment(country: CountryCode, description: &str) -> Value {
    let mut response = ok(description, &reference(&named(country, "Appointment")));
    response["headers"] = json!({ "ETag": { "description": "The revision", "schema": { "type": "string" } } });
    response
}

fn with_body(mut operation: Value, schema: &str, required: bool) -> Value {
    let content = json!({ "application/json": { "schema": reference(schema) } });
    operation["requestBody"] = json!({ "required": required, "content": content });
    operation
}

fn book(rules: &LoadedRules) -> Value {
    let country = rules.country;
    let mut created = appointment(country, "Booked");
    created["headers"]["Location"] = json!({ "description": "Where it is", "schema": { "type": "string" } });
    created["links"] = links(rules);
    let problems = [&GUARDED[..], &CHANGING[..]].concat();
    let mut book = operation(&operation_id(country, "book"), country.as_str(), "Book", ("201", created), &problems);
    book["parameters"] = json!([idempotency_key(), accept_language()]);
    secured(with_body(book, &named(country, "Request"), true), Scope::Write)
}

/// Returns links from a booking to the operations on it.
fn links(rules: &LoadedRules) -> Value {
    let actions = rules.actions.keys().map(String::as_str);
    let targets = ["get", "history"].into_iter().chain(actions);
    let link = |what: &str| {
        let operation = operation_id(rules.country, what);
        (operation.clone(), json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } }))
    };
    targets.map(link).collect::<Map<_, _>>().into()
}

fn act(country: CountryCode, action: &str) -> Value {
    let id = operation_id(country, action);
    let success = ("200", appointment(country, "Done; the appointment as it now stands"));
    let mut act = operation(&id, country.as_str(), action, success, &[&GUARDED[..], &CHANGING[..]].concat());
    let if_match =
        json!({ "type": "string", "pattern": "^(\\*|\"[0-9]{1,9}(-[0-9a-f]{8})?\")?$", "examples": ["\"1\""] });
    let if_match = header("If-Match", "The revision that the client saw: another one gives 412.", &if_match);
    act["parameters"] = json!([if_match, idempotency_key(), accept_language()]);
    secured(with_body(act, &named(country, &format!("{action}-input")), false), Scope::Write)
}

fn get(country: CountryCode) -> Value {
    let success = ("200", appointment(country, "The appointment"));
    let mut get = operation(&operation_id(country, "get"), country.as_str(), "One appointment", success, &GUARDED);
    let tag = json!({ "type": "string", "pattern": "^(\\*|(W/)?\"[!#-+\\--~]*\")?$" });
    get["parameters"] = json!([header("If-None-Match", "The revision that the client has: 304 if it still is.", &tag)]);
    get["responses"]["304"] = json!({ "description": "It is as the client has it" });
    secured(get, Scope::Read)
}

fn history(country: CountryCode) -> Value {
    let success = ("200", ok("Its revisions, the first one first", &reference(&named(country, "History"))));
    let mut history = operation(
        &operation_id(country, "history"),
        country.as_str(),
        "What, who, when, under which rules",
        success,
        &GUARDED,
    );
    history["parameters"] = json!(paging());
    secured(history, Scope::Read)
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn paging() -> [Value; 2] {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE });
    [
        query("limit", "At most so many", &limit),
        query("cursor", "`nextCursor` of the page before", &json!({ "type": "string" })),
    ]
}

fn list(country: CountryCode) -> Value {
    let success = ("200", ok("A page, newest start last", &reference(&named(country, "Page"))));
    let mut list = operation(&operation_id(country, "list"), country.as_str(), "Some appointments", success, &GUARDED);
    let word = json!({ "type": "string", "minLength": 1, "maxLength": MAX_FILTER_CHARS });
    let instant = json!({ "type": "string", "format": "date-time" });
    let filters = [
        query("patient", "The country's key for the patient", &word),
        query("doctor", "The country's key for the doctor", &word),
        query("hospital", "The country's key for the hospital", &word),
        query("from", "Starting then or later", &instant),
        query("to", "Starting before then", &instant),
        query("phase", "Where it stands (FHIR Appointment.status)", &reference("Phase")),
    ];
    list["parameters"] = filters.into_iter().chain(paging()).collect();
    secured(list, Scope::Read)
}

fn schema(country: CountryCode) -> Value {
    let success = ("200", ok("JSON Schemas 2020-12", &json!({ "type": "object" })));
    operation(
        &operation_id(country, "schema"),
        country.as_str(),
        "Which fields a booking has",
        success,
        &[Kind::RulesUnavailable],
    )
}

fn rules_status(country: CountryCode) -> Value {
    let success = (
        "200",
        ok(
            "The rules in force here",
            &json!({ "type": "object", "required": ["country", "rules", "since", "swaps", "calls", "refused", "candidate"] }),
        ),
    );
    let problems = [Kind::Unauthenticated, Kind::Forbidden, Kind::NotFound, Kind::SlowDown];
    let status =
        operation(&operation_id(country, "rules"), country.as_str(), "Which rules are in force", success, &problems);
    secured(status, Scope::Rules)
}

fn common_schemas() -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let rules = json!({
        "type": "object", "required": ["version", "digest"],
        "properties": { "version": text, "digest": { "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" } },
    });
    let violation = json!({
        "type": "object", "required": ["pointer", "code", "params", "message"],
        "properties": { "pointer": text, "code": text, "message": text,
            "params": { "type": "object", "additionalProperties": text } },
    });
    let free = json!({
        "type": "object", "required": ["start", "minutes", "zone", "startsAt", "startsAtLocal"],
        "properties": { "start": text, "minutes": { "type": "integer" }, "zone": text,
            "startsAt": { "type": "string", "format": "date-time" },
            "startsAtLocal": { "type": "string", "format": "date-time" } },
    });
    let country = json!({ "type": "object", "required": ["country", "zones", "locales", "actions", "rules"],
        "properties": { "country": text, "rules": reference("Rules") } });
    let problem = json!({
        "type": "object", "required": ["type", "title", "status", "detail", "instance", "requestId"],
        "properties": {
            "type": { "enum": Kind::VARIANTS.iter().map(|kind| format!("/problems/{}", kind.parts().1)).collect::<Vec<_>>() },
            "title": text, "status": { "type": "integer" }, "detail": text, "instance": text, "requestId": text,
            "violations": { "type": "array", "items": reference("Violation") },
            "claim": text,
            "freeSlots": { "type": "array", "items": reference("FreeSlot") },
            "country": text, "rules": reference("Rules"),
        },
    });
    Map::from_iter([
        ("Phase".into(), json!({ "type": "string", "enum": Phase::ALL })),
        ("Rules".into(), rules),
        ("Violation".into(), violation),
        ("FreeSlot".into(), free),
        ("Problem".into(), problem),
        (
            "Countries".into(),
            json!({ "type": "object", "required": ["items"], "properties": { "items": { "type": "array", "items": country } } }),
        ),
    ])
}

fn country_schemas(rules: &LoadedRules) -> Map<String, Value> {
    let country = rules.country;
    let entry = json!({
        "type": "object",
        "required": ["revision", "action", "at", "by", "rules", "contract", "host", "requestId", "appointment"],
        "properties": { "appointment": reference(&named(country, "Appointment")), "rules": reference("Rules") },
    });
    let items = |item: Value| json!({ "type": "array", "items": item });
    let page = json!({ "type": "object", "required": ["items"], "properties": {
        "items": items(reference(&named(country, "Appointment"))), "nextCursor": { "type": "string" } } });
    let history = json!({ "type": "object", "required": ["items"], "properties": {
        "items": items(entry), "nextCursor": { "type": "string" } } });
    let own = |what: &str, schema: &Value| (named(country, what), embedded(schema, &named(country, what)));
    let mut schemas = Map::from_iter([
        own("Request", &rules.request_schema),
        own("Appointment", &with_host_members(&rules.appointment_schema, country)),
        (named(country, "Page"), page),
        (named(country, "History"), history),
    ]);
    schemas.extend(rules.actions.iter().map(|(name, action)| own(&format!("{name}-input"), &action.schema)));
    schemas
}

/// Adds the host's members to a country's appointment schema. Both are in one schema because a country that closes its
/// own (`additionalProperties`) would forbid the host's members otherwise.
fn with_host_members(schema: &Value, country: CountryCode) -> Value {
    let instant = json!({ "type": "string", "format": "date-time" });
    let number = json!({ "type": "integer", "minimum": 1 });
    let members = json!({
        "id": { "type": "string", "format": "uuid" },
        "country": { "const": country },
        "phase": { "type": "string", "enum": Phase::ALL },
        "revision": number,
        "startsAt": instant,
        "minutes": number,
        "rules": { "type": "object", "required": ["version", "digest"] },
        "createdAt": instant,
        "updatedAt": instant,
    });
    let optional = ["startsAt", "minutes"];
    let required = HOST_MEMBERS.into_iter().filter(|name| !optional.contains(name)).map(Value::from);
    let mut schema = schema.clone();
    let own = schema["required"].as_array().cloned().unwrap_or_default();
    schema["required"] = own.into_iter().chain(required).collect();
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    if let (Some(properties), Value::Object(members)) = (schema["properties"].as_object_mut(), members) {
        properties.extend(members);
        for (name, schema) in ADDED_MEMBERS.into_iter().zip([json!({ "type": "string" }), instant]) {
            properties.entry(name).or_insert(schema);
        }
    }
    schema
}

/// Adapts a schema to its place in the document, where its references to itself now point. Data that looks like a
/// reference stays as it is.
fn embedded(schema: &Value, name: &str) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let kept = members.iter().filter(|(key, _)| !["$id", "$schema"].contains(&key.as_str()));
    kept.map(|(key, member)| {
        let place = match member.as_str().filter(|_| key == "$ref").and_then(|to| to.strip_prefix('#')) {
            Some(within) => format!("#/components/schemas/{name}{within}").into(),
            None => map_subschemas(key, member, |schema| embedded(schema, name)),
        };
        (key.clone(), place)
    })
    .collect()
}

/// Returns one response for each status code, with the titles of all problems that have it.
fn problem_responses() -> Map<String, Value> {
    let mut responses = Map::new();
    for kind in Kind::VARIANTS {
        let (status, ..) = kind.parts();
        let same = Kind::VARIANTS.iter().filter(|other| other.parts().0 == status);
        let description = same.map(|kind| kind.parts().2).collect::<Vec<_>>().join("; or: ");
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        let response = json!({ "description": description, "content": content });
        responses.insert(format!("Problem{}", status.as_u16()), response);
    }
    responses
}
