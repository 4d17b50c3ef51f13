//! `openapi.json` as a generator of clients and a reader of its examples see it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use citas_core::ports::Clock as _;
use citas_core::rules::schema::{validator, violations};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use ureq::http::HeaderName;

use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};

/// Headers of HTTP's own layers, which no description lists.
const TRANSPORT: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "date", "transfer-encoding", "vary"];

/// The document of a running host.
struct Document(Value);

impl Document {
    fn of(host: &Host) -> Self {
        Self(host.with_token(None).get("/openapi.json").expect(200).json())
    }

    fn schemas(&self) -> &Map<String, Value> {
        self.0["components"]["schemas"].as_object().unwrap()
    }

    fn examples(&self, name: &str) -> &[Value] {
        self.schemas()[name]["examples"].as_array().unwrap()
    }

    fn example(&self, name: &str) -> Value {
        self.examples(name)[0].clone()
    }

    /// Returns the codes and places of what a schema of the document has against a value.
    fn violations(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut whole = schema.as_object().unwrap().clone();
        whole.insert("$defs".into(), self.0["components"]["schemas"].clone());
        let whole = Value::from(whole).to_string().replace("#/components/schemas/", "#/$defs/");
        let validator = validator("a schema of the document", &whole.parse().unwrap()).unwrap();
        violations(&validator, value).iter().map(|found| format!("{} at {}", found.code, found.path)).collect()
    }

    /// Returns every operation with its path and method.
    fn operations(&self) -> Vec<(String, &Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        let methods = paths.iter().flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters");
            operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        methods.collect()
    }
}

/// Calls `see` with every object of a document and its place.
fn each_object<'a>(value: &'a Value, place: &str, see: &mut impl FnMut(&str, &'a Map<String, Value>)) {
    if let Value::Object(members) = value {
        see(place, members);
        members.iter().for_each(|(name, member)| each_object(member, &format!("{place}/{name}"), see));
    }
    if let Value::Array(items) = value {
        items.iter().enumerate().for_each(|(index, item)| each_object(item, &format!("{place}/{index}"), see));
    }
}

fn host_at(countries: &[&str], now: &str) -> Host {
    let host = Host::of(countries);
    let now: Timestamp = now.parse().unwrap();
    host.clock.shift_wall(now.duration_since(Timestamp::now()));
    host
}

#[test]
fn every_example_fits_its_own_schema() {
    let document = Document::of(&Host::of(&["cl", "pe", "xx"]));
    let mut seen = 0;
    each_object(&document.0, "", &mut |place, members| {
        for example in members.get("examples").and_then(Value::as_array).into_iter().flatten() {
            let found = document.violations(&members.clone().into(), example);
            assert!(found.is_empty(), "{place}: {example}: {found:?}");
            seen += 1;
        }
    });
    assert!(seen > 80, "{seen} examples");
}

#[test]
fn every_example_of_a_request_books_and_of_an_action_acts_on_any_day() {
    // Before a weekend, before Chile's September holidays, before Easter, and while it is tomorrow in UTC.
    for now in ["2026-12-31T18:00:00Z", "2026-09-16T13:00:00Z", "2027-03-24T20:00:00Z", "2026-11-25T03:30:00Z"] {
        let host = host_at(&["cl", "pe"], now);
        let document = Document::of(&host);
        for (country, prefix) in [("pe", "Pe"), ("cl", "Cl")] {
            let examples = |of: &str| document.examples(&format!("{prefix}{of}"));
            let ana = host.patient("ana");
            let act = |client: &Client, booked: &Value, action: &str, input: &Value| {
                let path = format!("/v1/{country}/appointments/{}/{action}", booked["id"].as_str().unwrap());
                client.post(&path, input).expect(200).json()
            };
            for request in examples("Request") {
                for cancel in examples("CancelInput") {
                    let booked = ana.booked(country, request);
                    for reschedule in examples("RescheduleInput") {
                        let moved = act(&ana, &booked, "reschedule", reschedule);
                        assert_ne!(moved["date"], booked["date"], "{now}: {country}");
                    }
                    act(&ana, &booked, "cancel", cancel);
                }
                let booked = ana.booked(country, request);
                let starts_at: Timestamp = booked["startsAt"].as_str().unwrap().parse().unwrap();
                let passes = starts_at.duration_since(host.clock.now()) + SignedDuration::from_hours(1);
                host.clock.shift_wall(passes);
                let [no_show] = examples("NoShowInput") else { panic!("one example") };
                act(&host.staff(country), &booked, "no-show", no_show);
                host.clock.shift_wall(-passes);
            }
        }
    }
}

#[test]
fn no_date_of_the_document_is_fixed() {
    let host = host_at(&["cl", "pe"], "2027-06-07T15:00:00Z");
    let document = host.with_token(None).get("/openapi.json").expect(200).text;
    assert!(document.contains("2027-06-") && !document.contains("2026-"), "{document}");
}

#[test]
fn the_document_stays_within_an_hour_and_changes_within_a_day() {
    let host = host_at(&["cl", "pe"], "2026-11-24T15:00:00Z");
    let tag = || host.with_token(None).get("/openapi.json").expect(200).header("etag").to_owned();
    let first = tag();
    host.clock.advance(Duration::from_mins(50));
    assert_eq!(tag(), first);
    host.clock.advance(Duration::from_hours(24));
    assert_ne!(tag(), first);
}

/// Checks that the document and the host agree on a request. Each one that is allowed needs a doctor of its own.
fn assert_agreed(document: &Document, client: &Client, country: &str, request: &Value, allowed: bool) {
    let name = format!("{}{}Request", country[..1].to_uppercase(), &country[1..]);
    let found = document.violations(&document.schemas()[&name], request);
    assert_eq!(found.is_empty(), allowed, "{request}: {found:?}");
    client.book(country, request).expect(if allowed { 201 } else { 422 });
}

#[test]
fn a_request_names_exactly_one_identity_in_the_document_as_in_the_rules() {
    let host = Host::of(&["cl", "pe"]);
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    let passport = json!({ "document": { "type": "passport", "number": "AB123456", "country": "VEN" } });
    for (country, name, number) in [("pe", "PeRequest", "dni"), ("cl", "ClRequest", "run")] {
        let with_number = document.example(name);
        let mut with_neither = with_number.clone();
        with_neither.as_object_mut().unwrap().remove(number);
        let with_both = with(&with_number, passport.clone());
        let with_passport = with(&with_neither, with(&passport, json!({ "doctor": "61002" })));
        for (request, allowed) in
            [(with_neither, false), (with_both, false), (with_number, true), (with_passport, true)]
        {
            assert_agreed(&document, &ana, country, &request, allowed);
        }
    }
}

#[test]
fn an_emergency_needs_no_identity_in_the_document_as_in_the_rules() {
    let host = Host::of(&["pe"]);
    let document = Document::of(&host);
    let mut request = document.example("PeRequest");
    for member in ["dni", "email"] {
        request.as_object_mut().unwrap().remove(member);
        for (emergency, allowed) in [(false, false), (true, true)] {
            let doctor = if member == "dni" { "61003" } else { "61004" };
            let request = with(&request, json!({ "emergency": emergency, "doctor": doctor }));
            assert_agreed(&document, &host.staff("pe"), "pe", &request, allowed);
        }
    }
}

#[test]
fn each_document_has_its_issuer_in_the_document_as_in_the_rules() {
    let host = Host::of(&["cl", "pe"]);
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    for (country, kind, number, issuer, allowed) in [
        ("pe", "ce", "000123456", None, true),
        ("pe", "ce", "000123457", Some("PER"), true),
        ("pe", "ce", "000123458", Some("VEN"), false),
        ("pe", "ce", "12345", None, false),
        ("pe", "passport", "AB123", Some("VEN"), true),
        ("pe", "passport", "AB123", None, false),
        ("cl", "ipe", "100123456", None, true),
        ("cl", "ipa", "100123457", Some("VEN"), false),
        ("cl", "foreign-id", "AB123", Some("VEN"), true),
        ("cl", "passport", "AB123", None, false),
    ] {
        let name = if country == "pe" { "PeRequest" } else { "ClRequest" };
        let mut request = document.example(name);
        request.as_object_mut().unwrap().retain(|member, _| member != "dni" && member != "run");
        request["doctor"] = number.bytes().map(u32::from).sum::<u32>().to_string().into();
        request["document"] = json!({ "type": kind, "number": number });
        if let Some(issuer) = issuer {
            request["document"]["country"] = issuer.into();
        }
        assert_agreed(&document, &ana, country, &request, allowed);
    }
}

#[test]
fn each_insurance_has_its_own_members_in_the_document_as_in_the_rules() {
    let host = Host::of(&["cl"]);
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    let request = document.example("ClRequest");
    for (number, (allowed, insurance)) in [
        (true, json!({ "system": "fonasa", "tramo": "B", "care": "mle" })),
        (true, json!({ "system": "isapre", "plan": "PLENO-100" })),
        (true, json!({ "system": "dipreca" })),
        (false, json!({ "system": "fonasa" })),
        (false, json!({ "system": "isapre", "plan": "PLENO-100", "tramo": "B" })),
        (false, json!({ "system": "none", "plan": "PLENO-100" })),
    ]
    .into_iter()
    .enumerate()
    {
        let run = ["7.654.321-6", "12.345.678-5", "11.111.111-1"][number % 3];
        let own = json!({ "doctor": (62_001 + number).to_string(), "run": run, "prevision": insurance });
        assert_agreed(&document, &ana, "cl", &with(&request, own), allowed);
    }
}

#[test]
fn each_specialty_has_its_own_members_in_the_document_as_in_the_rules() {
    let host = host_at(&["co"], "2027-02-01T15:00:00Z");
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    let example = document.example("CoRequest");
    let timed = json!({ "hospital": "110010000101", "date": "2027-02-02", "time": "09:00" });
    for (number, (allowed, own)) in [
        (true, json!({})),
        (true, json!({ "email": null, "phone": "+573001234567" })),
        (true, json!({ "phone": "+573001234567" })),
        (false, json!({ "email": null })),
        (false, timed.clone()),
        (true, json!({ "specialty": "pediatria" })),
        (true, json!({ "specialty": "odontologia", "authorisation": "A-102030" })),
        (false, json!({ "specialty": "cardiologia" })),
        (true, json!({ "specialty": "cardiologia", "authorisation": "A-102030" })),
        (true, json!({ "specialty": "terapia", "authorisation": "A-102030", "email": null, "phone": "3001234567" })),
        (false, json!({ "specialty": "vacunacion" })),
        (true, with(&timed, json!({ "specialty": "vacunacion" }))),
    ]
    .into_iter()
    .enumerate()
    {
        let own = with(&own, json!({ "document": { "type": "CE", "number": (1_000 + number).to_string() } }));
        assert_agreed(&document, &ana, "co", &with(&example, own), allowed);
    }
}

#[test]
fn answers_fit_the_schemas_that_the_document_names() {
    let host = Host::of(&["cl", "pe"]);
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    let fits = |name: &str, value: &Value| {
        let found = document.violations(&document.schemas()[name], value);
        assert!(found.is_empty(), "{name}: {value}: {found:?}");
    };
    let request = document.example("PeRequest");
    let booked = ana.booked("pe", &request);
    let one = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    fits("PeAppointment", &booked);
    fits("PePage", &ana.get("/v1/pe/appointments?limit=1").json());
    fits("PeHistory", &ana.get(&format!("{one}/history")).json());
    fits("Problem", &ana.book("pe", &request).expect(409).json());
    fits("Problem", &ana.book("pe", &json!({})).expect(422).json());
    fits("Countries", &ana.get("/v1/countries").json());
    fits("CountrySchemas", &ana.get("/v1/cl/schema").json());
    fits("RulesStatus", &host.platform_team().get("/v1/cl/rules").json());
    fits("Readiness", &ana.get("/readyz").json());
    fits("Health", &ana.get("/healthz").json());
}

#[test]
fn each_schema_has_a_name_of_its_own_and_each_reference_leads_to_one() {
    let document = Document::of(&Host::of(&["cl", "pe", "xx"]));
    let mut titles = BTreeMap::<&str, usize>::new();
    for (name, schema) in document.schemas() {
        assert_eq!(schema["title"], name.as_str());
        *titles.entry(schema["title"].as_str().unwrap()).or_default() += 1;
    }
    assert!(titles.values().all(|count| *count == 1), "{titles:?}");
    for name in ["PeRequest", "PeAppointment", "PeCancelInput", "ClRescheduleInput", "Phase", "RulesVersion"] {
        assert!(titles.contains_key(name), "{name}");
    }
    each_object(&document.0, "", &mut |place, members| {
        if let Some(to) = members.get("$ref").and_then(Value::as_str) {
            assert!(document.0.pointer(&to[1..]).is_some(), "{place}: {to}");
        }
    });
}

#[test]
fn a_schema_requires_only_members_that_it_describes_and_has_no_default() {
    let document = Document::of(&Host::of(&["cl", "pe"]));
    each_object(&document.0["components"]["schemas"], "", &mut |place, members| {
        assert!(!members.contains_key("default"), "{place}: generators make a member with a default mandatory");
        for name in members.get("required").and_then(Value::as_array).into_iter().flatten() {
            let described =
                members.get("properties").is_some_and(|properties| properties.get(name.as_str().unwrap()).is_some());
            assert!(described, "{place}: {name}");
        }
    });
    let phases =
        ["PeAppointment", "ClAppointment"].map(|name| &document.schemas()[name]["properties"]["phase"]["$ref"]);
    assert_eq!(phases, ["#/components/schemas/Phase"; 2]);
}

#[test]
fn an_operation_has_an_id_of_its_own_and_says_what_it_requires() {
    let document = Document::of(&Host::of(&["cl", "pe"]));
    let operations = document.operations();
    let ids: BTreeSet<&str> =
        operations.iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
    for (place, operation) in &operations {
        let parts = [
            "/appointments",
            "/agendas",
            "/holds",
            "/links",
            "/patient-links",
            "/privacy-requests",
            "/read-log",
            "/rules",
            "/slots",
        ];
        let needs_token = parts.iter().any(|part| place.contains(part));
        let scopes = operation["security"].as_array().unwrap_or_else(|| panic!("{place} has no `security`"));
        assert_eq!(!scopes.is_empty(), needs_token, "{place}");
        assert!(operation["summary"].is_string() && operation["description"].is_string(), "{place}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = response["$ref"].as_str().map_or(response, |to| document.0.pointer(&to[1..]).unwrap());
            assert!(response["headers"]["X-Request-Id"].is_object(), "{place}: {status}");
        }
    }
    let required = |id: &str| {
        let (_, operation) = operations.iter().find(|(_, operation)| operation["operationId"] == id).unwrap();
        operation["requestBody"]["required"].as_bool().unwrap()
    };
    let bodies = ["peBook", "peReschedule", "peCancel", "peNoShow", "clCancel"].map(required);
    assert_eq!(bodies, [true, true, false, false, true]);
}

#[test]
fn a_body_may_have_a_slot_where_an_operation_takes_one() {
    let document = Document::of(&Host::of(&["co", "pe", "ut"]));
    let mut operations = document.operations();
    let named = ["SlotRequest", "HeldRequest"].map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    operations.retain(|(_, operation)| {
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        body["anyOf"].as_array().is_some_and(|choices| named.iter().all(|schema| choices.contains(schema)))
    });
    let ids: BTreeSet<&str> = operations.iter().map(|(_, it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(["coAssign", "coBook", "coReschedule", "peBook", "peReschedule"]));
}

#[test]
fn an_answer_has_only_headers_that_the_document_declares() {
    let host = Host::set_up(&["pe"], |options| options.rate_limit = 40);
    let (document, ana) = (Document::of(&host), host.patient("ana"));
    let declared = |path: &str, method: &str, answer: &Answer| {
        let response = &document.0["paths"][path][method]["responses"][&answer.status.to_string()];
        let response = response["$ref"].as_str().map_or(response, |to| document.0.pointer(&to[1..]).unwrap());
        for name in answer.headers.keys().map(HeaderName::as_str).filter(|name| !TRANSPORT.contains(name)) {
            let headers = response["headers"].as_object().unwrap();
            let is_declared = headers.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert!(is_declared, "{method} {path}: {}: {name}", answer.status);
        }
    };
    let (all, one) = ("/v1/pe/appointments", "/v1/pe/appointments/{id}");
    let request = document.example("PeRequest");
    let booked = ana.book("pe", &request).expect(201);
    let id = booked.json()["id"].as_str().unwrap().to_owned();
    let own = format!("{all}/{id}");
    declared(all, "post", &booked);
    declared(all, "post", &ana.book("pe", &request).expect(409));
    declared(all, "post", &ana.book("pe", &json!({})).expect(422));
    let packed = ana.request("POST", all).header("Content-Encoding", "gzip").json(&request);
    declared(all, "post", &packed.send().expect(415));
    declared(all, "get", &ana.request("GET", all).header("Authorization", "Bearer x").send().expect(400));
    ana.booked("pe", &with(&request, json!({ "doctor": "61005", "time": "11:00" })));
    declared(all, "get", &ana.get(&format!("{all}?limit=1")).expect(200));
    declared(all, "get", &ana.get(&format!("{all}?phase=none")).expect(400));
    declared(all, "get", &host.with_token(None).get(all).expect(401));
    declared(one, "get", &ana.get(&own).expect(200));
    declared(one, "get", &ana.request("GET", &own).header("If-None-Match", "\"1\"").send().expect(304));
    declared(one, "get", &host.patient("bea").get(&own).expect(404));
    let cancel = ana.request("POST", &format!("{own}/cancel")).header("If-Match", "\"9\"");
    declared(&format!("{one}/cancel"), "post", &cancel.send().expect(412));
    declared(&format!("{one}/history"), "get", &ana.get(&format!("{own}/history?limit=1")).expect(200));
    declared("/v1/pe/rules", "get", &ana.get("/v1/pe/rules").expect(403));
    for path in ["/v1/pe/schema", "/v1/countries", "/openapi.json"] {
        let answer = ana.get(path).expect(200);
        declared(path, "get", &answer);
        let again = ana.request("GET", path).header("If-None-Match", answer.header("etag")).send().expect(304);
        declared(path, "get", &again);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"] {
        declared(path, "get", &ana.get(path).expect(200));
        declared(path, "get", &ana.request("DELETE", path).send().expect(405));
    }
    let slowed = (0..100).map(|_| ana.get(all)).find(|answer| answer.status == 429);
    declared(all, "get", &slowed.expect("a limit of 40 requests"));
}

#[test]
fn a_problem_declares_the_headers_that_a_client_needs() {
    let document = Document::of(&Host::of(&["pe"]));
    let declared =
        |status: &str, header: &str| document.0["components"]["responses"][status]["headers"][header].is_object();
    for (status, header) in [
        ("Problem401", "WWW-Authenticate"),
        ("Problem403", "WWW-Authenticate"),
        ("Problem405", "Allow"),
        ("Problem422", "Content-Language"),
        ("Problem429", "RateLimit"),
        ("Problem429", "Retry-After"),
        ("Problem503", "Retry-After"),
    ] {
        assert!(declared(status, header), "{status}: {header}");
    }
}
