//! Describes what all countries share: the schemas of the responses, from the types that are serialised, the headers
//! and the problems.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use citas_core::booking::PrivacyAction;
use citas_core::model::{CountryCode, PatientLinkTerms, Phase};
use citas_core::rules::schema::map_subschemas;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use strum::VariantArray as _;

use super::super::agendas::{AgendaChangeView, AgendaView};
use super::super::appointments::{Entry, Page, Representation};
use super::super::countries::{RulesStatus, Schemas};
use super::super::holds::{HeldSlot, HoldRequest};
use super::super::patient_links::{OwnLinks, PatientLinkDocument};
use super::super::privacy_requests::PrivacyRequestView;
use super::super::problem::{Kind, ProblemDocument};
use super::super::readings::ReadingView;
use super::super::slots::{Slot, SlotDay, Slots};

/// Path of the schemas in the document.
const SCHEMAS: &str = "#/components/schemas/";

/// The schemas of the document, each under a name of its own.
pub struct Components {
    types: SchemaGenerator,
    schemas: Map<String, Value>,
    /// Names of schemas that are added later.
    reserved: BTreeSet<String>,
}

/// Names of the schemas of a request with a slot, and of one with a hold.
const SLOT_REQUESTS: [&str; 2] = ["SlotRequest", "HeldRequest"];

/// Name of the schema of a page of agendas.
const AGENDA_PAGE: &str = "AgendaPage";

/// Name of the schema of a page of the read log.
const READING_PAGE: &str = "ReadingPage";
/// Name of the schema of a page of patient links.
const PATIENT_LINK_PAGE: &str = "PatientLinkPage";

/// Name of the schema of a page of privacy requests.
const PRIVACY_PAGE: &str = "PrivacyRequestPage";

/// Names of the schemas of the inputs of privacy requests.
const PRIVACY_INPUTS: [(PrivacyAction, &str); 4] = [
    (PrivacyAction::File, "PrivacyRequestInput"),
    (PrivacyAction::Extend, "PrivacyExtensionInput"),
    (PrivacyAction::Close, "PrivacyAnswerInput"),
    (PrivacyAction::Withdraw, "PrivacyWithdrawalInput"),
];

impl Default for Components {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let mut types = settings.into_generator();
        // Names of types come first: no schema of a country takes one.
        types.subschema_for::<ProblemDocument<'_>>();
        types.subschema_for::<Phase>();
        types.subschema_for::<Schemas>();
        types.subschema_for::<RulesStatus>();
        types.subschema_for::<Slots<Slot>>();
        types.subschema_for::<Slots<SlotDay>>();
        types.subschema_for::<HoldRequest>();
        types.subschema_for::<HeldSlot>();
        types.subschema_for::<AgendaView>();
        types.subschema_for::<AgendaChangeView>();
        types.subschema_for::<ReadingView>();
        types.subschema_for::<PatientLinkDocument>();
        types.subschema_for::<OwnLinks>();
        types.subschema_for::<PatientLinkTerms>();
        types.subschema_for::<PrivacyRequestView>();
        let pages = [AGENDA_PAGE, PATIENT_LINK_PAGE, READING_PAGE, PRIVACY_PAGE];
        let names = SLOT_REQUESTS.into_iter().chain(pages).chain(PRIVACY_INPUTS.map(|(_, name)| name));
        let reserved = names.map(str::to_owned).collect();
        Self { types, schemas: Map::new(), reserved }
    }
}

impl Components {
    /// Returns the reference to the schema of a type.
    pub fn of<T: JsonSchema>(&mut self) -> Value {
        self.types.subschema_for::<T>().into()
    }

    /// Reserves names, so that [`Components::add`] gives them to no other schema.
    pub fn reserve(&mut self, names: impl IntoIterator<Item = String>) {
        self.reserved.extend(names);
    }

    /// Adds a schema under a reserved name, and returns the reference to it.
    pub fn put(&mut self, name: &str, schema: Value) -> Value {
        // A schema that is `true` or `false` could have no title.
        let schema = match schema {
            Value::Bool(true) => json!({}),
            Value::Bool(false) => json!({ "not": {} }),
            schema => schema,
        };
        self.schemas.insert(name.to_owned(), schema);
        reference(name)
    }

    /// Adds a schema, and returns the reference to it. The name gets a number if another schema has it.
    pub fn add(&mut self, name: &str, schema: Value) -> Value {
        let numbered = (2..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let is_free = |name: &String| {
            let taken = [self.schemas.contains_key(name), self.types.definitions().contains_key(name)];
            !taken.contains(&true) && !self.reserved.contains(name)
        };
        let name = names.find(is_free).expect("numbers do not end");
        self.put(&name, schema)
    }

    /// Adds a page of these items.
    pub fn add_page(&mut self, name: &str, item: Value) -> Value {
        let mut page = plain(Page::<Value>::json_schema(&mut self.types).into());
        page["properties"]["items"]["items"] = item;
        self.put(name, page)
    }

    /// Adds a page of agendas.
    pub fn agenda_page(&mut self) -> Value {
        let agenda = self.of::<AgendaView>();
        self.add_page(AGENDA_PAGE, agenda)
    }

    /// Adds a page of the read log.
    pub fn reading_page(&mut self) -> Value {
        let reading = self.of::<ReadingView>();
        self.add_page(READING_PAGE, reading)
    }

    /// Adds a page of patient links.
    pub fn patient_link_page(&mut self) -> Value {
        let link = self.of::<PatientLinkDocument>();
        self.add_page(PATIENT_LINK_PAGE, link)
    }

    /// Adds a page of privacy requests.
    pub fn privacy_page(&mut self) -> Value {
        let request = self.of::<PrivacyRequestView>();
        self.add_page(PRIVACY_PAGE, request)
    }

    /// Adds the inputs of privacy requests, and returns the name of each.
    pub fn privacy_inputs(&mut self) -> BTreeMap<PrivacyAction, &'static str> {
        for (action, name) in PRIVACY_INPUTS {
            self.put(name, action.schema());
        }
        PRIVACY_INPUTS.into()
    }

    /// Adds a request with the token of a free slot in place of the members that the slot stands for, and one with a hold.
    pub fn slot_requests(&mut self) -> [Value; 2] {
        let request = |what: &str, member: &str, schema: Value| {
            json!({
                "description": format!("A request with {what} in place of the members that the slot stands for, such as date and \
                    time. Its other members are those of a request without."),
                "type": "object", "required": [member], "properties": { member: schema }, "additionalProperties": true,
            })
        };
        let slot = json!({ "type": "string", "description": "Token of the slot." });
        let hold = json!({ "type": "string", "format": "uuid", "description": "Id of the hold." });
        let [by_slot, by_hold] = SLOT_REQUESTS;
        [
            self.put(by_slot, request("the token of a free slot", "slot", slot)),
            self.put(by_hold, request("the id of a hold", "hold", hold)),
        ]
    }

    /// Adds an entry of a history of these appointments.
    pub fn add_entry(&mut self, name: &str, appointment: Value) -> Value {
        let mut entry = plain(Entry::<Value>::json_schema(&mut self.types).into());
        entry["properties"]["appointment"] = appointment;
        self.put(name, entry)
    }

    /// Adds the host's members to a country's appointment schema. Both are in one schema because a country that closes
    /// its own (`additionalProperties`) would forbid the host's members otherwise.
    pub fn with_host_members(&mut self, schema: &Value, country: CountryCode) -> Value {
        let host = plain(Representation::json_schema(&mut self.types).into());
        let mut schema = schema.clone();
        let list = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
        schema["required"] = [list(&schema), list(&host)].concat().into();
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        for (name, member) in host["properties"].as_object().into_iter().flatten() {
            // A country may have a member of its own in place of one that the host added later.
            if schema["properties"].get(name).is_none() {
                schema["properties"][name] = member.clone();
            }
        }
        schema["properties"]["country"] = json!({ "type": "string", "const": country });
        schema
    }

    /// Returns all schemas, each with its name as the title: generators name types after titles.
    pub fn into_schemas(mut self) -> Map<String, Value> {
        let types = self.types.take_definitions(true).into_iter().map(|(name, schema)| (name, plain(schema)));
        let mut schemas: Map<String, Value> = types.chain(self.schemas).collect();
        for (name, schema) in &mut schemas {
            schema["title"] = name.as_str().into();
        }
        schemas
    }
}

/// Returns a reference to a schema of the document.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// Returns true for a reference to a schema of the document.
pub fn is_reference(text: &str) -> bool {
    text.starts_with(SCHEMAS)
}

/// Simplifies a derived schema for generators of clients: a member that may be absent is never null, the words of an
/// enumeration are one list, and integers have no format of Rust.
fn plain(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let required = members.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut simple: Map<String, Value> = members
        .iter()
        .map(|(key, member)| (key.clone(), map_subschemas(key, member, |schema| plain(schema.clone()))))
        .collect();
    for (name, member) in simple.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if !required.contains(&Value::from(name.as_str())) {
            *member = not_null(member.take());
        }
    }
    if simple.get("type") == Some(&"integer".into()) || simple.get("type") == Some(&json!(["integer", "null"])) {
        simple.remove("format");
    }
    if let Some(Value::String(text)) = simple.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    // Clients ignore members that a later version adds.
    if simple.get("additionalProperties") == Some(&false.into()) {
        simple.remove("additionalProperties");
    }
    if let Some(words) = words(&simple) {
        simple.remove("oneOf");
        simple.insert("type".into(), "string".into());
        simple.insert("enum".into(), words);
    }
    simple.into()
}

/// Returns the schema without null.
fn not_null(mut schema: Value) -> Value {
    let null = Value::from("null");
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|kind| *kind != null);
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    let alternatives = schema.get_mut("anyOf").and_then(Value::as_array_mut);
    let only = alternatives.and_then(|alternatives| {
        alternatives.retain(|alternative| alternative["type"] != null);
        if let [Value::Object(only)] = &alternatives[..] { Some(only.clone()) } else { None }
    });
    if let (Some(only), Some(members)) = (only, schema.as_object_mut()) {
        members.remove("anyOf");
        members.extend(only);
    }
    schema
}

/// Returns the words of an enumeration whose variants have descriptions of their own.
fn words(schema: &Map<String, Value>) -> Option<Value> {
    schema.get("oneOf")?.as_array()?.iter().map(|variant| variant.get("const").cloned()).collect()
}

/// Returns the headers of responses by name.
pub fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string", "examples": [example] } });
    let seconds = json!({ "type": "integer", "minimum": 0, "examples": [2] });
    json!({
        "Accept-Encoding": text("Content codings that a request may have.", "identity"),
        "Allow": text("Methods of the path.", "GET, HEAD"),
        "Cache-Control": text("Caches that may keep the response.", "private, no-cache"),
        "Content-Language": text("Language of the messages of the violations (BCP 47).", "es-PE"),
        "ETag": text("Entity tag, for `If-None-Match` and, if it is strong, `If-Match`.", "\"1\""),
        "Link": text("Address of the next page (RFC 8288), `rel=\"next\"`; absent at the end.",
            "</v1/pe/appointments?cursor=eyJ9>; rel=\"next\""),
        "Location": text("Address of the appointment.", "/v1/pe/appointments/01a20bd2-de9f-7050-b084-5bab34f21f48"),
        "RateLimit": text("Remaining requests, and seconds until there are more.", "\"subject\";r=0;t=1"),
        "RateLimit-Policy": text("Limit of the requests in a window of seconds.", "\"subject\";q=500;w=1"),
        "Retry-After": { "description": "Seconds to wait before the next request.", "schema": seconds },
        "WWW-Authenticate": text("Challenge (RFC 6750).", "Bearer realm=\"citas\", error=\"invalid_token\""),
        "X-Request-Id": text("Id of the request in the log: the client's own, or a new one.", "01a20bd2-de9f-7050-b084"),
    })
}

/// Returns references to headers by name, and to that of the request's id, which every response has.
pub fn with_headers(mut response: Value, names: &[&str]) -> Value {
    let names = names.iter().chain(&["X-Request-Id"]);
    let headers = names.map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })));
    response["headers"] = headers.collect::<Map<_, _>>().into();
    response
}

/// Returns one response for each status code, with the titles of all problems that have it.
pub fn problem_responses() -> Map<String, Value> {
    let of_status = |status: StatusCode| Kind::VARIANTS.iter().filter(move |kind| kind.parts().0 == status);
    let response = |kind: &Kind| {
        let (status, ..) = kind.parts();
        let description = of_status(status).map(|kind| kind.parts().2).collect::<Vec<_>>().join("; or: ");
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        let response = json!({ "description": description, "content": content });
        (format!("Problem{}", status.as_u16()), with_headers(response, headers_of(status)))
    };
    Kind::VARIANTS.iter().map(response).collect()
}

fn headers_of(status: StatusCode) -> &'static [&'static str] {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => &["WWW-Authenticate"],
        StatusCode::METHOD_NOT_ALLOWED => &["Allow"],
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => &["Content-Language"],
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &["Accept-Encoding"],
        StatusCode::TOO_MANY_REQUESTS => &["RateLimit", "RateLimit-Policy", "Retry-After"],
        StatusCode::SERVICE_UNAVAILABLE => &["Retry-After"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_schemas_never_have_one_name() {
        let mut components = Components::default();
        let names: Vec<Value> =
            ["PeRequest", "PeRequest", "Problem"].map(|name| components.add(name, json!({}))).into();
        assert_eq!(names, ["PeRequest", "PeRequest2", "Problem2"].map(reference));
    }

    #[test]
    fn a_member_that_may_be_absent_is_never_null() {
        let schema = plain(json!({ "required": ["a"], "properties": {
            "a": { "type": ["integer", "null"], "format": "uint64" },
            "b": { "type": ["string", "null"] },
            "c": { "anyOf": [{ "$ref": "#/components/schemas/C" }, { "type": "null" }] },
        } }));
        let expected = json!({
            "a": { "type": ["integer", "null"] }, "b": { "type": "string" }, "c": { "$ref": "#/components/schemas/C" },
        });
        assert_eq!(schema["properties"], expected);
    }
}
