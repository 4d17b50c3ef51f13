//! Describes the operations: their parameters, bodies and responses.

use citas_core::booking::{AGENDA_KEYS, MAX_DAYS, PrivacyAction};
use citas_core::model::{CountryCode, MAX_KEY_BYTES, MAX_SUBJECT_BYTES, Scope, VERIFY};
use citas_core::rules::schema::named_members;
use citas_core::rules::{Action, LoadedRules, MAX_PAGE};
use serde_json::{Map, Value, json};

use super::super::Health;
use super::super::agendas::{AgendaChangeView, AgendaView};
use super::super::appointments::DEFAULT_PAGE;
use super::super::countries::{CountryList, RulesStatus, Schemas};
use super::super::holds::{HeldSlot, HoldRequest};
use super::super::patient_links::{OwnLinks, PatientLinkDocument};
use super::super::privacy_requests::PrivacyRequestView;
use super::super::problem::Kind;
use super::super::ready::Report;
use super::super::slots::{DEFAULT_DAYS, DEFAULT_SLOTS, MAX_SLOTS, PARAMETERS, Slot, SlotDay, Slots};
use super::components::{Components, reference, with_headers};
use super::country::{named, needs_members};

/// Problems of every request.
const ALWAYS: [Kind; 4] = [Kind::MalformedRequest, Kind::MethodNotAllowed, Kind::HeaderTooLarge, Kind::Internal];

/// Problems of every request with a token.
const GUARDED: [Kind; 7] = [
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::TooSlow,
    Kind::SlowDown,
    Kind::RulesUnavailable,
    Kind::Unavailable,
];

/// Additional problems of a change.
const CHANGING: [Kind; 5] =
    [Kind::SlotTaken, Kind::Stale, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated];

/// Operations of a country besides its actions. An action with such a name has another operation id.
const OPERATIONS: [&str; 29] = [
    "agenda",
    "agenda-history",
    "agendas",
    "book",
    "close-privacy-request",
    "create-hold",
    "delete-hold",
    "end-patient-link",
    "extend-privacy-request",
    "file-privacy-request",
    "get",
    "get-hold",
    "history",
    "link-requests",
    "list",
    "own-links",
    "patient-link",
    "patient-link-history",
    "patient-links",
    "privacy-request",
    "privacy-requests",
    "put-agenda",
    "put-patient-link",
    "read-log",
    "request-patient-link",
    "rules",
    "schema",
    "slots",
    "withdraw-privacy-request",
];

/// Appointments that a caller may get.
const VISIBLE: &str =
    "A patient gets their own `unverified` appointments, and those of the patients for whom they act.";

/// Texts of an operation: what it does, and what a client should know of it.
struct Texts<'a>(&'a str, &'a str);

/// Returns the id of an operation, for example `peNoShow`.
fn operation_id(country: CountryCode, what: &str) -> String {
    let name = named(country, what);
    let (first, rest) = name.split_at(1);
    first.to_lowercase() + rest
}

/// Returns the id of an action's operation.
fn action_id(country: CountryCode, action: &str) -> String {
    let id = operation_id(country, action);
    if OPERATIONS.contains(&action) { id + "Action" } else { id }
}

/// Returns an operation that needs no token.
fn open(id: &str, tag: &str, texts: &Texts<'_>, success: (&str, Value), problems: &[Kind]) -> Value {
    let mut responses = Map::from_iter([(success.0.to_owned(), success.1)]);
    for kind in ALWAYS.iter().chain(problems) {
        let status = kind.parts().0.as_u16().to_string();
        let response = json!({ "$ref": format!("#/components/responses/Problem{status}") });
        responses.insert(status, response);
    }
    let Texts(summary, description) = texts;
    json!({
        "operationId": id, "tags": [tag], "summary": summary, "description": description, "security": [],
        "responses": responses,
    })
}

/// Returns an operation that needs a token with this scope.
fn guarded(
    id: &str,
    country: CountryCode,
    texts: &Texts<'_>,
    success: (&str, Value),
    problems: &[Kind],
    scope: Scope,
) -> Value {
    let mut operation = open(id, country.as_str(), texts, success, &[&GUARDED[..], problems].concat());
    operation["security"] = json!([{ "bearer": [scope.as_str()] }]);
    operation
}

fn response(description: &str, schema: &Value, headers: &[&str]) -> Value {
    let content = json!({ "application/json": { "schema": schema } });
    with_headers(json!({ "description": description, "content": content }), headers)
}

/// Makes an operation conditional: its response is a 304 if the client has the current one.
fn revalidated(mut operation: Value, entity_tag: &str) -> Value {
    let tag = json!({ "type": "string", "pattern": "^(\\*|(W/)?\"[!#-+\\--~]*\")?$", "examples": [entity_tag] });
    let condition = header("If-None-Match", "`ETag` of the response that the client has.", &tag);
    operation["parameters"] =
        operation["parameters"].as_array().into_iter().flatten().cloned().chain([condition]).collect();
    let unchanged = json!({ "description": "The response is the one that the client has." });
    operation["responses"]["304"] = with_headers(unchanged, &["Cache-Control", "ETag"]);
    operation
}

/// Returns the paths of the platform.
pub fn of_platform(components: &mut Components) -> Map<String, Value> {
    let object = json!({ "type": "object", "additionalProperties": true });
    let (countries, health, report) =
        (components.of::<CountryList>(), components.of::<Health>(), components.of::<Report>());
    let public = |schema: &Value, description| ("200", response(description, schema, &["Cache-Control", "ETag"]));
    let plain = |id, texts: &Texts<'_>, success, problems: &[Kind]| open(id, "platform", texts, success, problems);
    let list = Texts(
        "List the countries",
        "The countries that can be booked here, with their zones, languages, actions and rules.",
    );
    let describe = Texts(
        "Get this document",
        "It describes the rules in force, so it changes when a country's rules do. Its examples have dates that can be booked today.",
    );
    let health_texts = Texts("Check the process", "A response means that the process runs. For operators.");
    let ready_texts =
        Texts("Check readiness", "Reports whether some country can be booked, and why another cannot. For operators.");
    let keys_texts = Texts(
        "Get the issuer's keys",
        "The keys of the local issuer as a JSON Web Key Set (RFC 7517), if the host has one.",
    );
    let metrics_texts = Texts("Get the metrics", "The metrics in the Prometheus text format. For operators.");
    let keys = json!({ "type": "object", "required": ["keys"], "properties": { "keys": { "type": "array", "items": object } } });
    let keys = components.add("KeySet", keys);
    let metrics =
        json!({ "description": "The metrics.", "content": { "text/plain": { "schema": { "type": "string" } } } });
    let mut ready = plain("ready", &ready_texts, ("200", response("Some country can be booked.", &report, &[])), &[]);
    ready["responses"]["503"] = response("No country can be booked.", &report, &[]);
    let get = |path: &str, operation: Value| (path.to_owned(), json!({ "get": operation }));
    Map::from_iter([
        get(
            "/v1/countries",
            revalidated(plain("listCountries", &list, public(&countries, "The countries."), &[]), "W/\"9c\""),
        ),
        get("/healthz", plain("health", &health_texts, ("200", response("The process runs.", &health, &[])), &[])),
        get("/readyz", ready),
        get(
            "/openapi.json",
            revalidated(plain("describe", &describe, public(&object, "OpenAPI 3.1."), &[]), "W/\"9c\""),
        ),
        get(
            "/.well-known/jwks.json",
            plain("keys", &keys_texts, ("200", response("The keys.", &keys, &[])), &[Kind::NotFound]),
        ),
        get("/metrics", plain("metrics", &metrics_texts, ("200", with_headers(metrics, &[])), &[])),
    ])
}

/// Returns the paths of a country.
pub fn of_country(rules: &LoadedRules, components: &mut Components) -> Map<String, Value> {
    let country = rules.country;
    let base = format!("/v1/{country}");
    let one = |operation: Value| json!({ "parameters": [id_parameter("appointment")], "get": operation });
    let (schemas, status) = (components.of::<Schemas>(), components.of::<RulesStatus>());
    let slot = rules.has_openings().then(|| components.slot_requests());
    let slot = slot.as_ref();
    let mut paths = Map::from_iter([
        (format!("{base}/appointments"), json!({ "post": book(rules, slot), "get": list(rules) })),
        (format!("{base}/appointments/{{id}}"), one(get(country))),
        (format!("{base}/appointments/{{id}}/history"), one(history(country))),
        (format!("{base}/read-log"), json!({ "get": read_log(rules, &components.reading_page()) })),
        (
            format!("{base}/appointments/{{id}}/{VERIFY}"),
            json!({ "parameters": [id_parameter("appointment")], "post": verify(country) }),
        ),
        (format!("{base}/schema"), json!({ "get": schema(country, &schemas) })),
        (format!("{base}/rules"), json!({ "get": rules_status(country, &status) })),
    ]);
    paths.extend(privacy_requests(rules, components));
    if slot.is_some() {
        let free = json!({ "anyOf": [components.of::<Slots<Slot>>(), components.of::<Slots<SlotDay>>()] });
        paths.insert(format!("{base}/slots"), json!({ "get": slots(rules, &free) }));
        let (request, held) = (components.of::<HoldRequest>(), components.of::<HeldSlot>());
        paths.insert(format!("{base}/holds"), json!({ "post": create_hold(country, &request, &held) }));
        let one = json!({
            "parameters": [id_parameter("hold")], "get": get_hold(country, &held), "delete": delete_hold(country),
        });
        paths.insert(format!("{base}/holds/{{id}}"), one);
        paths.extend(agendas(rules, components));
    }
    paths.extend(patient_links(rules, components));
    for (name, action) in rules.client_actions() {
        let path = format!("{base}/appointments/{{id}}/{name}");
        let slot = slot.filter(|_| takes_slot(rules, action));
        paths.insert(
            path,
            json!({ "parameters": [id_parameter("appointment")], "post": act(country, name, action, slot) }),
        );
    }
    paths
}

/// Returns true for an action that needs a member which a booking has, too: one that a slot may stand for.
fn takes_slot(rules: &LoadedRules, action: &Action) -> bool {
    let needed = action.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known: Vec<&str> = named_members(&rules.request_schema).collect();
    needed.into_iter().any(|name| known.contains(&name))
}

fn id_parameter(of: &str) -> Value {
    let (schema, description) = (json!({ "type": "string", "format": "uuid" }), format!("Id of the {of}."));
    json!({ "name": "id", "in": "path", "required": true, "description": description, "schema": schema })
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
}

fn idempotency_key() -> Value {
    const KEY: &str = "[!#-~]([ -~]{0,253}[!#-~])?";
    let schema = json!({
        "type": "string", "pattern": format!("^(\"{KEY}\"|{KEY})$"), "examples": ["7f9c2ba4-e88f-427d-a720-1c2e8f0b3d51"],
    });
    header("Idempotency-Key", "The same key and the same request take effect once, for 24 hours.", &schema)
}

fn accept_language() -> Value {
    let schema = json!({ "type": "string", "examples": ["es", "en"] });
    header("Accept-Language", "Languages for the messages of violations (RFC 9110).", &schema)
}

fn appointment(country: CountryCode, description: &str, headers: &[&str]) -> Value {
    let headers = [&["Cache-Control", "ETag"], headers].concat();
    response(description, &reference(&named(country, "appointment")), &headers)
}

/// Adds the body of an operation. With `slot`, the token of a free slot or a hold may be in place of what the slot stands
/// for.
fn with_body(mut operation: Value, schema: &str, slot: Option<&[Value; 2]>, required: bool) -> Value {
    let schema = reference(schema);
    let schema = slot.map_or_else(|| schema.clone(), |[slot, hold]| json!({ "anyOf": [schema, slot, hold] }));
    let content = json!({ "application/json": { "schema": schema } });
    operation["requestBody"] = json!({ "required": required, "content": content });
    operation
}

fn book(rules: &LoadedRules, slot: Option<&[Value; 2]>) -> Value {
    let country = rules.country;
    let mut created = appointment(country, "The appointment is booked.", &["Location"]);
    created["links"] = links(rules);
    let texts = Texts(
        "Book an appointment",
        "An appointment for a patient for whom the caller does not act is `unverified`. A time that is taken leads to a 409 with free slots nearby.",
    );
    let id = operation_id(country, "book");
    let mut book = guarded(&id, country, &texts, ("201", created), &CHANGING, Scope::Write);
    book["parameters"] = json!([idempotency_key(), accept_language()]);
    with_body(book, &named(country, "request"), slot, true)
}

/// Returns links from a booking to the operations on it.
fn links(rules: &LoadedRules) -> Value {
    let country = rules.country;
    let actions = rules.client_actions().map(|(name, _)| action_id(country, name));
    let targets = ["get", "history", VERIFY].map(|name| operation_id(country, name)).into_iter().chain(actions);
    let link = |id: String| (id.clone(), json!({ "operationId": id, "parameters": { "id": "$response.body#/id" } }));
    targets.map(link).collect::<Map<_, _>>().into()
}

fn act(country: CountryCode, name: &str, action: &Action, slot: Option<&[Value; 2]>) -> Value {
    let roles = action.client_roles().into_iter().collect::<Vec<_>>().join(", ");
    let title = action.schema["title"].as_str();
    let summary = title.map_or_else(|| format!("Perform the action {name}"), |title| format!("{name}: {title}"));
    let description = format!("Performs the country's action `{name}`. Allowed for the roles: {roles}.");
    let success = ("200", appointment(country, "The appointment as the action left it.", &[]));
    let texts = Texts(&summary, &description);
    let mut act = guarded(&action_id(country, name), country, &texts, success, &CHANGING, Scope::Write);
    act["parameters"] = json!([if_match(), idempotency_key(), accept_language()]);
    with_body(act, &named(country, &format!("{name}-input")), slot, needs_members(action))
}

fn verify(country: CountryCode) -> Value {
    let success = ("200", appointment(country, "The appointment, which is the patient's now.", &[]));
    let texts = Texts(
        "Verify an appointment",
        "Confirms an `unverified` appointment. For staff, and for accounts that are the patient or act for the patient. Other \
         appointments of the patient may be in the way: then the response is a 409.",
    );
    let mut verify = guarded(&operation_id(country, VERIFY), country, &texts, success, &CHANGING, Scope::Write);
    verify["parameters"] = json!([if_match(), idempotency_key(), accept_language()]);
    verify
}

fn get(country: CountryCode) -> Value {
    let success = ("200", appointment(country, "The appointment.", &[]));
    let texts = Texts("Get an appointment", VISIBLE);
    let mut get = guarded(&operation_id(country, "get"), country, &texts, success, &[Kind::Stale], Scope::Read);
    get["parameters"] = json!([if_match()]);
    revalidated(get, "\"1\"")
}

fn if_match() -> Value {
    let tag = json!({ "type": "string", "pattern": "^(\\*|\"[0-9]{1,9}(-[0-9a-f]{8})?\")?$", "examples": ["\"1\""] });
    header("If-Match", "`ETag` of the appointment that the client saw: another one leads to a 412.", &tag)
}

fn history(country: CountryCode) -> Value {
    let page =
        response("Revisions, the first one first.", &reference(&named(country, "history")), &["Cache-Control", "Link"]);
    let texts = Texts(
        "List an appointment's revisions",
        "Each entry has the change, its author, its time, the rules that decided, and the appointment as it then was.",
    );
    let mut history = guarded(&operation_id(country, "history"), country, &texts, ("200", page), &[], Scope::Read);
    history["parameters"] = json!(paging(DEFAULT_PAGE, MAX_PAGE));
    history
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
}

fn paging(default: usize, max: usize) -> [Value; 2] {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default });
    [
        query("limit", "Maximum number of items.", &limit),
        query("cursor", "`nextCursor` of the page before.", &json!({ "type": "string" })),
    ]
}

fn key(rules: &LoadedRules, of: &str) -> Value {
    let mut form = json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES });
    let examples = rules.example_keys(of);
    if !examples.is_empty() {
        form["examples"] = json!(examples);
    }
    query(of, &format!("The country's key for the {of}. Another spelling is refused."), &form)
}

fn slots(rules: &LoadedRules, schema: &Value) -> Value {
    let country = rules.country;
    let headers = ["Cache-Control", "Content-Language", "ETag"];
    let success = ("200", response("Free slots, sorted by start; or the days with `view=days`.", schema, &headers));
    let texts = Texts(
        "List free slots",
        "The times that can be booked at a place. Another booking may take one at any moment. An empty response says why.",
    );
    let mut slots = guarded(&operation_id(country, "slots"), country, &texts, success, &[], Scope::Read);
    let days = json!({ "type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": DEFAULT_DAYS });
    let view = json!({ "type": "string", "enum": ["slots", "days"], "default": "slots" });
    let id = json!({ "type": "string", "format": "uuid" });
    let host = [
        key(rules, "doctor"),
        key(rules, "hospital"),
        query(
            "from",
            "First day, by the clocks of the place; by default today.",
            &json!({ "type": "string", "format": "date" }),
        ),
        query("days", "Number of days.", &days),
        query("view", "`days` counts the free slots of each day instead, for a calendar.", &view),
        query("appointment", "Id of an appointment that is to be moved. What is left out is as it has it.", &id),
    ];
    let members = rules.place_members();
    let own = members.iter().filter(|(name, _)| !PARAMETERS.contains(name)).map(|(name, member)| {
        let text = member["description"].as_str().or(member["title"].as_str());
        query(name, text.unwrap_or("A member of a booking request."), &of_text(member))
    });
    slots["parameters"] = host.into_iter().chain(own).chain(paging(DEFAULT_SLOTS, MAX_SLOTS)).collect();
    revalidated(slots, "W/\"9c\"")
}

fn create_hold(country: CountryCode, request: &Value, held: &Value) -> Value {
    let success = ("201", response("The slot is held.", held, &["Cache-Control", "Location"]));
    let texts = Texts(
        "Hold a free slot",
        "Keeps the slot for the caller for some minutes. A booking with the hold cannot fail for want of the slot before it ends.",
    );
    let id = operation_id(country, "create-hold");
    let problems = [Kind::SlotTaken, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated];
    let mut create = guarded(&id, country, &texts, success, &problems, Scope::Write);
    create["parameters"] = json!([idempotency_key(), accept_language()]);
    create["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": request } } });
    create
}

fn get_hold(country: CountryCode, held: &Value) -> Value {
    let success = ("200", response("The hold.", held, &["Cache-Control"]));
    let texts = Texts("Get a hold", "A hold that has ended, or that another subject made, is not found.");
    guarded(&operation_id(country, "get-hold"), country, &texts, success, &[], Scope::Write)
}

fn delete_hold(country: CountryCode) -> Value {
    let success = ("204", with_headers(json!({ "description": "The slot is free." }), &[]));
    let texts = Texts("Give up a hold", "Frees the slot before the hold ends.");
    guarded(&operation_id(country, "delete-hold"), country, &texts, success, &[], Scope::Write)
}

/// Returns the part of a member's schema that a parameter has, too.
fn of_text(member: &Value) -> Value {
    let kept = ["type", "enum", "pattern", "examples", "minLength", "maxLength", "minimum", "maximum"];
    let keyword = |name: &str| Some((name.to_owned(), member.get(name)?.clone()));
    kept.into_iter().filter_map(keyword).collect::<Map<_, _>>().into()
}

/// Returns the paths of agendas.
fn agendas(rules: &LoadedRules, components: &mut Components) -> [(String, Value); 3] {
    let (country, base) = (rules.country, format!("/v1/{}/agendas", rules.country));
    let (one, changed) = (components.of::<AgendaView>(), components.of::<AgendaChangeView>());
    let pages = components.agenda_page();
    let operation = |what: &str, texts: Texts<'_>, success: (&str, Value), problems: &[Kind], scope| {
        guarded(&operation_id(country, what), country, &texts, success, problems, scope)
    };
    let page = |description: &str| ("200", response(description, &pages, &["Cache-Control", "Link"]));
    let agenda = |description: &str, schema: &Value| response(description, schema, &["Cache-Control", "ETag"]);

    let texts = Texts("List agendas", "For staff: the doctors with an agenda that may have openings at a place.");
    let mut list = operation("agendas", texts, page("Agendas, by the doctors' keys."), &[], Scope::Read);
    let members = rules.place_members();
    let own = members.iter().filter(|(name, _)| !AGENDA_KEYS.contains(name)).map(|(name, member)| {
        let text = member["description"].as_str().or(member["title"].as_str());
        query(name, text.unwrap_or("A member of a booking request."), &of_text(member))
    });
    list["parameters"] =
        [key(rules, "hospital")].into_iter().chain(own).chain(paging(DEFAULT_PAGE, MAX_PAGE)).collect();

    let texts = Texts("Get a doctor's agenda", "For staff: the times at which the doctor sees patients.");
    let success = ("200", agenda("The agenda.", &one));
    let mut get = operation("agenda", texts, success, &[Kind::Stale], Scope::Read);
    let if_match = if_match_of("agenda");
    get["parameters"] = json!([if_match]);

    let texts = Texts(
        "Replace a doctor's agenda",
        "For staff. `If-Match` with the agenda's `ETag` replaces it, and `If-None-Match: *` creates the first one. Appointments \
         that no longer lie in an opening stay, and the response names them.",
    );
    let problems =
        [Kind::Stale, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated, Kind::PreconditionRequired];
    let success = ("200", agenda("The agenda is replaced; or, with `dry-run`, it could be.", &changed));
    let mut put = operation("put-agenda", texts, success, &problems, Scope::Write);
    let created = response("The doctor has an agenda now.", &changed, &["Cache-Control", "ETag", "Location"]);
    put["responses"]["201"] = created;
    let dry_run = query("dry-run", "True if nothing is to be stored.", &json!({ "type": "boolean", "default": false }));
    let none = if_none_match("`*` creates the doctor's first agenda.");
    put["parameters"] = json!([if_match, none, accept_language(), dry_run]);

    let texts = Texts("List an agenda's revisions", "For staff. Each entry has the agenda, its author and its time.");
    let success = page("Revisions, the first one first.");
    let mut history = operation("agenda-history", texts, success, &[], Scope::Read);
    history["parameters"] = json!(paging(DEFAULT_PAGE, MAX_PAGE));

    let doctor = || json!([key_parameter(rules, "doctor")]);
    let one = json!({ "parameters": doctor(), "get": revalidated(get, "\"1\""), "put": with_body(put, "Agenda", None, true) });
    [
        (base.clone(), json!({ "get": list })),
        (format!("{base}/{{doctor}}"), one),
        (format!("{base}/{{doctor}}/history"), json!({ "parameters": doctor(), "get": history })),
    ]
}

/// Returns the parameter of a path that is the country's key of this kind.
fn key_parameter(rules: &LoadedRules, of: &str) -> Value {
    let mut parameter = key(rules, of);
    (parameter["in"], parameter["required"]) = ("path".into(), true.into());
    parameter["description"] = format!("The country's key for the {of}.").into();
    parameter
}

/// Returns the paths of the links of accounts to patients.
fn patient_links(rules: &LoadedRules, components: &mut Components) -> [(String, Value); 5] {
    let country = rules.country;
    let (own, base) = (format!("/v1/{country}/links"), format!("/v1/{country}/patients/{{patient}}/links"));
    let (one, owned) = (components.of::<PatientLinkDocument>(), components.of::<OwnLinks>());
    let pages = components.patient_link_page();
    let operation = |what: &str, texts: Texts<'_>, success: (&str, Value), problems: &[Kind], scope| {
        guarded(&operation_id(country, what), country, &texts, success, problems, scope)
    };
    let page = |description: &str| ("200", response(description, &pages, &["Cache-Control", "Link"]));
    let link = |description: &str, headers: &[&str]| {
        response(description, &one, &[&["Cache-Control", "ETag"], headers].concat())
    };
    let checked = [Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated, Kind::LinkLimit];

    let texts = Texts(
        "List the patients for whom the caller acts",
        "The patient whom the token's issuer has verified, and the links of the caller's account that have not ended.",
    );
    let success = ("200", response("The links.", &owned, &["Cache-Control"]));
    let own_links = operation("own-links", texts, success, &[], Scope::Read);

    let texts = Texts(
        "List the requests for links",
        "For staff: links that accounts have asked for, the oldest request first.",
    );
    let mut requests = operation("link-requests", texts, page("Links that are requested."), &[], Scope::Read);
    let state = query("state", "State of the links.", &json!({ "type": "string", "enum": ["requested"] }));
    requests["parameters"] = [state].into_iter().chain(paging(DEFAULT_PAGE, MAX_PAGE)).collect();

    let texts = Texts("List the links to a patient", "For staff and the patient: links in every state.");
    let mut list = operation("patient-links", texts, page("Links, each as it is now."), &[], Scope::Read);
    list["parameters"] = json!(paging(DEFAULT_PAGE, MAX_PAGE));

    let texts = Texts(
        "Request a link",
        "Asks the staff to let the caller's account act for the patient. The response is the same whether or not the patient has \
         appointments. A request that is open, and a link, stay as they are.",
    );
    let success = ("202", link("The staff will decide.", &["Location"]));
    let mut request = operation("request-patient-link", texts, success, &checked, Scope::Write);
    request["parameters"] = json!([accept_language()]);

    let texts = Texts("Get a link", "For staff, the account and the patient.");
    let success = ("200", link("The link.", &[]));
    let mut get = operation("patient-link", texts, success, &[Kind::Stale], Scope::Read);
    let if_match = if_match_of("link");
    get["parameters"] = json!([if_match]);

    let texts = Texts(
        "Make or replace a link",
        "For staff. `If-Match` with the link's `ETag` replaces it, or accepts a request; `If-None-Match: *` makes the first one.",
    );
    let problems = [&checked[..], &[Kind::Stale, Kind::PreconditionRequired]].concat();
    let mut put =
        operation("put-patient-link", texts, ("200", link("The link is replaced.", &[])), &problems, Scope::Write);
    put["responses"]["201"] = link("The account may act for the patient.", &["Location"]);
    put["parameters"] = json!([if_match, if_none_match("`*` makes the account's first link."), accept_language()]);

    let texts =
        Texts("End a link", "For staff, the account and the patient. It refuses or withdraws a request likewise.");
    let success = ("204", with_headers(json!({ "description": "The link has ended." }), &[]));
    let mut end = operation("end-patient-link", texts, success, &[Kind::Stale], Scope::Write);
    end["parameters"] = json!([if_match]);

    let texts = Texts("List a link's revisions", "For staff, the account and the patient.");
    let success = page("Revisions, the first one first.");
    let mut history = operation("patient-link-history", texts, success, &[], Scope::Read);
    history["parameters"] = json!(paging(DEFAULT_PAGE, MAX_PAGE));

    let subject = json!({
        "name": "subject", "in": "path", "required": true, "description": "Subject of the account's tokens.",
        "schema": { "type": "string", "minLength": 1, "maxLength": MAX_SUBJECT_BYTES },
    });
    let patient = key_parameter(rules, "patient");
    let parameters = json!([patient, subject]);
    [
        (own, json!({ "get": own_links })),
        (format!("/v1/{country}/patient-links"), json!({ "get": requests })),
        (
            base.clone(),
            json!({ "parameters": [patient], "get": list, "post": with_body(request, "PatientLinkTerms", None, true) }),
        ),
        (
            format!("{base}/{{subject}}"),
            json!({
                "parameters": parameters, "get": revalidated(get, "\"1\""),
                "put": with_body(put, "PatientLinkTerms", None, true), "delete": end,
            }),
        ),
        (format!("{base}/{{subject}}/history"), json!({ "parameters": parameters, "get": history })),
    ]
}

/// Returns the header `If-Match` of a resource whose tag is the number of its revision.
fn if_match_of(what: &str) -> Value {
    let tag = json!({ "type": "string", "pattern": "^(\\*|\"[0-9]{1,9}\")?$", "examples": ["\"1\""] });
    header("If-Match", &format!("`ETag` of the {what} that the client saw: another one leads to a 412."), &tag)
}

fn if_none_match(description: &str) -> Value {
    header("If-None-Match", description, &json!({ "type": "string", "enum": ["*"] }))
}

fn list(rules: &LoadedRules) -> Value {
    let country = rules.country;
    let page = response("A page, sorted by start.", &reference(&named(country, "page")), &["Cache-Control", "Link"]);
    let which = format!("Those that match all filters. {VISIBLE}");
    let texts = Texts("List appointments", &which);
    let mut list = guarded(&operation_id(country, "list"), country, &texts, ("200", page), &[], Scope::Read);
    let instant = json!({ "type": "string", "format": "date-time" });
    let day = json!({ "type": "string", "format": "date" });
    let phases = json!({ "type": "array", "items": reference("Phase") });
    let order = json!({ "type": "string", "enum": ["asc", "desc"], "default": "asc" });
    let filters = [
        key(rules, "patient"),
        key(rules, "doctor"),
        key(rules, "hospital"),
        query("from", "Start at this instant or later.", &instant),
        query("to", "Start before this instant.", &instant),
        query("date", "Start on this day, by the clocks of the appointment's zone.", &day),
        query("phase", "Phase of the appointment: any of these.", &phases),
        query("order", "The earliest start first (`asc`), or the latest (`desc`).", &order),
    ];
    list["parameters"] = filters.into_iter().chain(paging(DEFAULT_PAGE, MAX_PAGE)).collect();
    list
}

/// Returns the paths of privacy requests.
fn privacy_requests(rules: &LoadedRules, components: &mut Components) -> Vec<(String, Value)> {
    let (country, base) = (rules.country, format!("/v1/{}/privacy-requests", rules.country));
    let (one, page, inputs) =
        (components.of::<PrivacyRequestView>(), components.privacy_page(), components.privacy_inputs());
    let operation = |what: &str, texts: Texts<'_>, success: (&str, Value), problems: &[Kind], scope| {
        guarded(&operation_id(country, what), country, &texts, success, problems, scope)
    };
    let request = |description: &str, headers: &[&str]| {
        response(description, &one, &[&["Cache-Control", "ETag"], headers].concat())
    };
    let changing = [Kind::NotAllowedNow, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::RulesViolated];

    let texts = Texts(
        "File a privacy request",
        "A patient exercises a right over personal data, or staff file a demand on paper. The response says by when it is answered.",
    );
    let filed = ("201", request("The request is filed.", &["Location"]));
    let mut file = operation("file-privacy-request", texts, filed, &changing, Scope::Write);
    file["responses"]["200"] = request("The account has filed this demand already, and it is open.", &["Location"]);
    file["parameters"] = json!([accept_language()]);
    let file = with_body(file, inputs[&PrivacyAction::File], None, true);

    let texts = Texts(
        "List privacy requests",
        "Sorted by the time of the answer. A patient gets those that the same account filed, or that are about patients whom it \
         represents.",
    );
    let listed = ("200", response("Privacy requests.", &page, &["Cache-Control", "Link"]));
    let mut list = operation("privacy-requests", texts, listed, &[], Scope::Read);
    let state = json!({ "type": "string", "enum": ["open", "closed"] });
    let instant = json!({ "type": "string", "format": "date-time" });
    let filters = [
        query("state", "State of the requests.", &state),
        key(rules, "patient"),
        query("due-before", "To be answered before this instant.", &instant),
    ];
    list["parameters"] = filters.into_iter().chain(paging(DEFAULT_PAGE, MAX_PAGE)).collect();

    let texts = Texts("Get a privacy request", "What was demanded, by when it is answered, and how it was.");
    let get = operation("privacy-request", texts, ("200", request("The request.", &[])), &[], Scope::Read);
    let get = json!({ "parameters": [id_parameter("privacy request")], "get": revalidated(get, "\"1\"") });

    let steps = [
        (PrivacyAction::Extend, "extend", "Extend the time for an answer", "For staff, once, with the reason.", true),
        (
            PrivacyAction::Close,
            "close",
            "Answer a privacy request",
            "For staff: the outcome, the answer and its proof.",
            true,
        ),
        (PrivacyAction::Withdraw, "withdraw", "Withdraw a privacy request", "For the account that filed it.", false),
    ];
    let step = |(action, name, summary, description, has_input): (PrivacyAction, &str, &str, &str, bool)| {
        let problems = [&changing[..], &[Kind::Stale]].concat();
        let success = ("200", request("The request after the step.", &[]));
        let what = format!("{name}-privacy-request");
        let mut step = operation(&what, Texts(summary, description), success, &problems, Scope::Write);
        step["parameters"] = json!([if_match_of("privacy request"), accept_language()]);
        let step = with_body(step, inputs[&action], None, has_input);
        let parameters = [id_parameter("privacy request")];
        (format!("{base}/{{id}}/{name}"), json!({ "parameters": parameters, "post": step }))
    };
    let first = [(base.clone(), json!({ "get": list, "post": file })), (format!("{base}/{{id}}"), get)];
    first.into_iter().chain(steps.map(step)).collect()
}

fn read_log(rules: &LoadedRules, page: &Value) -> Value {
    let country = rules.country;
    let success = ("200", response("Readings, the latest first.", page, &["Cache-Control", "Link"]));
    let texts = Texts(
        "Search the read log",
        "Who was shown data of which patients, kept for a year. Staff name a patient, an actor or both; a patient with a verified \
         identity sees the readings of their own data.",
    );
    let mut search = guarded(&operation_id(country, "read-log"), country, &texts, success, &[], Scope::Read);
    let instant = json!({ "type": "string", "format": "date-time" });
    let subject = json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES });
    let filters = [
        key(rules, "patient"),
        query("actor", "Subject of the token that read.", &subject),
        query("from", "Read at this instant or later.", &instant),
        query("to", "Read before this instant.", &instant),
    ];
    search["parameters"] = filters.into_iter().chain(paging(DEFAULT_PAGE, MAX_PAGE)).collect();
    search
}

fn schema(country: CountryCode, schemas: &Value) -> Value {
    let success = ("200", response("The schemas (JSON Schema 2020-12).", schemas, &["Cache-Control", "ETag"]));
    let texts =
        Texts("Get the country's schemas", "The members of a request, of an appointment, and of each action's input.");
    let id = operation_id(country, "schema");
    revalidated(open(&id, country.as_str(), &texts, success, &[Kind::RulesUnavailable]), "W/\"9c\"")
}

fn rules_status(country: CountryCode, status: &Value) -> Value {
    let success = ("200", response("The rules.", status, &[]));
    let texts = Texts(
        "Get the rules in force",
        "For the group `platform`: the rules in force, the last refusal, and the version on trial.",
    );
    guarded(&operation_id(country, "rules"), country, &texts, success, &[], Scope::Rules)
}
