//! Properties of the countries' rules over all members of their schemas, in the real engine.

use std::collections::BTreeSet;

use citas_core::model::json::flatten;
use citas_core::model::{Appointment, Limits, Role, Slot, Step};
use citas_core::rules::schema::{validator, violations};
use citas_core::rules::{DecisionRequest, LoadedRules, Planned, decide};
use serde_json::{Map, Value, json};

use crate::support::appointments::{at, booked_at, id};
use crate::support::chance::Chance;
use crate::support::components::{component, engine};
use crate::support::host::Host;
use crate::support::http::with;
use crate::support::requests::{cl, pe};

/// Number of random requests of each country.
const REQUESTS: usize = 600;

/// Data that 1.0 stored and these rules would refuse: changes of the country's example.
fn stored_by_1_0(country: &str) -> Vec<Value> {
    match country {
        "pe" => vec![
            json!({ "dni": null, "document": { "type": "ce", "number": "020645691", "country": "VEN" } }),
            json!({ "dni": null, "document": { "type": "passport", "number": "AB12345", "country": "ZZZ" } }),
            json!({ "dni": null, "emergency": true, "time": "23:45" }),
        ],
        _ => vec![
            json!({ "run": null, "document": { "type": "ipe", "number": "ABC-1", "country": "HTI" } }),
            json!({ "run": null, "document": { "type": "foreign-id", "number": "12345678", "country": "CHL" } }),
            json!({ "prevision": { "system": "none", "tramo": "A", "plan": "X", "care": "mle" } }),
        ],
    }
}

fn load(country: &str) -> LoadedRules {
    LoadedRules::load(engine(), component(country), &Limits::default()).unwrap()
}

/// Returns values that each member may have; null leaves it out. Any combination is allowed that names one identity.
fn allowed(country: &str) -> Value {
    let shared = json!({
        "date": ["2026-12-01", "2026-12-02", "2027-02-05"],
        "time": ["09:00", "11:00", "18:00"],
        "email": ["ana@example.com", "r&d@example.com", "A.b+c!#$%'*/=?^_`{|}~-@Sub-1.Example.COM", "x@xn--per-zma.example"],
    });
    let own = match country {
        "pe" => json!({
            "doctor": ["45678", "045678", "000123", "123", "1", "999999"],
            "hospital": ["00006219", "12345678"],
            "dni": ["10117410", "10117410-2", "101174102", "10117410G", "10117410-g", "00000001"],
            "document": [
                { "type": "ce", "number": "020645691" }, { "type": "ce", "number": "000020645691", "country": "PER" },
                { "type": "ce", "number": "o2o 645-69i" }, { "type": "ce", "number": "A12345678901" },
                { "type": "passport", "number": "ab 123-45", "country": "VEN" },
                { "type": "passport", "number": "0A.1", "country": "PER" },
                { "type": "passport", "number": "ABCDEFGHIJ0123456789", "country": "FRA" },
            ],
            "district": ["150122", "040101"],
            "phone": [null, "+51987654321", "987654321", "12345678", "+5112345678"],
            "coverage": [null, "sis", "essalud", "eps", "private", "self"],
            "emergency": [null, false, true],
            "reason": [null, "Control anual", " ¿Sí? \n\u{1F600}"],
        }),
        _ => json!({
            "doctor": ["123456", "0000123456", "1", "9999999999"],
            "hospital": ["109100", "000001"],
            "run": ["12.345.678-5", "123456785", "2280782k", "2.280.782-K", "123.456-0", "1234560"],
            "document": [
                { "type": "ipe", "number": "100.123.456-7" }, { "type": "ipa", "number": "0100123456k", "country": "CHL" },
                { "type": "passport", "number": "a", "country": "CHL" },
                { "type": "passport", "number": "ab 123-45", "country": "VEN" },
                { "type": "foreign-id", "number": "1.020.304.050", "country": "COL" },
            ],
            "comuna": ["13101", "05201", "11101", "12101"],
            "phone": [null, "+56912345678", "912345678"],
            "prevision": [
                { "system": "fonasa", "tramo": "A" }, { "system": "fonasa", "tramo": "A", "care": "mai" },
                { "system": "fonasa", "tramo": "D", "care": "mle" }, { "system": "isapre", "plan": " PLENO 100" },
                { "system": "capredena" }, { "system": "dipreca" }, { "system": "sisa" }, { "system": "none" },
            ],
            "modality": ["presencial", "remota", "telemedicina"],
        }),
    };
    with(&shared, own)
}

/// Returns a request of allowed values with one identity.
fn request(country: &str, chance: &mut Chance) -> Value {
    let mut picked = Map::new();
    for (member, values) in allowed(country).as_object().unwrap() {
        picked.insert(member.clone(), chance.pick(values.as_array().unwrap()).clone());
    }
    let number = if country == "pe" { "dni" } else { "run" };
    picked.remove(*chance.pick(&[number, "document"]));
    if picked.get("emergency") == Some(&true.into()) && chance.once_in(2) {
        picked.retain(|member, _| ![number, "document", "email"].contains(&member.as_str()));
    }
    picked.retain(|_, value| !value.is_null());
    picked.into()
}

/// Books the request, and returns the plan and the appointment as clients see it.
fn book(rules: &LoadedRules, request: &Value) -> (Planned, Value) {
    let context = rules.context(at("2026-11-24T15:00:00Z"), Role::Staff);
    let asked = DecisionRequest { context: &context, document: request, action: None };
    let planned = decide(rules, &asked).unwrap_or_else(|error| panic!("{error}: {request}"));
    let planned = planned.unwrap_or_else(|refused| panic!("{refused:?}: {request}"));
    let shown = show(rules, &stored(&planned));
    (planned, shown)
}

fn stored(planned: &Planned) -> Appointment {
    let step = Step { action: "book".into(), role: Role::Staff, at: at("2026-11-24T15:00:00Z") };
    planned.appointment(id(1), None, step, &Role::Staff.into())
}

fn show(rules: &LoadedRules, appointment: &Appointment) -> Value {
    Value::Object((*rules.present(Role::Patient, appointment).unwrap()).clone())
}

#[test]
fn what_an_appointment_shows_can_be_booked_again_and_comes_back_the_same() {
    for country in ["pe", "cl"] {
        let rules = load(country);
        let members: BTreeSet<_> = rules.request_schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(members, allowed(country).as_object().unwrap().keys().collect(), "a value for each member");
        let fits = validator("appointment-schema", &rules.appointment_schema).unwrap();
        let mut chance = Chance::seeded(12);
        for _ in 0..REQUESTS {
            let first = request(country, &mut chance);
            let (planned, shown) = book(&rules, &first);
            assert_eq!(violations(&fits, &shown), [], "{shown}");

            let mut again = shown.clone();
            again.as_object_mut().unwrap().retain(|member, _| members.contains(member));
            again["time"] = "10:00".into();
            let (replanned, reshown) = book(&rules, &again);
            assert_eq!(reshown, with(&shown, json!({ "time": "10:00" })), "{first}");
            // Nobody known is found by the doctor and the start, which is another one now.
            let found = |planned: &Planned| planned.plan.patient.split('/').next().unwrap().to_owned();
            assert_eq!(found(&replanned), found(&planned), "{first}");
            assert_eq!(replanned.plan.doctor, planned.plan.doctor, "{first}");
        }
    }
}

#[test]
fn what_1_0_stored_is_shown_moved_and_cancelled() {
    for country in ["pe", "cl"] {
        let rules = load(country);
        let context = rules.context(at("2026-11-24T15:00:00Z"), Role::Patient);
        let fits = validator("appointment-schema", &rules.appointment_schema).unwrap();
        let derived = json!({ "status": null, "districtName": null, "comunaName": null });
        let example = with(&rules.appointment_schema["examples"][0], derived);
        for changed in stored_by_1_0(country) {
            let attributes = with(&example, changed);
            let zone = rules.descriptor.zones[0].clone();
            let slot = Some(Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone });
            let attributes = flatten(&attributes).unwrap();
            let current = booked_at(slot, attributes);
            assert_eq!(violations(&fits, &show(&rules, &current)), []);

            for (action, input) in [
                ("reschedule", json!({ "date": "2026-12-02", "time": "10:00" })),
                ("cancel", json!({ "reason": "other" })),
            ] {
                let asked = DecisionRequest { context: &context, document: &input, action: Some((action, &current)) };
                let decided = decide(&rules, &asked).unwrap_or_else(|error| panic!("{action}: {error}"));
                let planned = decided.unwrap_or_else(|refused| panic!("{action}: {refused:?}"));
                assert_eq!(violations(&fits, &show(&rules, &stored(&planned))), [], "{action}");
            }
        }
    }
}

#[test]
fn each_member_has_a_title_of_its_own_and_examples_that_fit() {
    for country in ["pe", "cl", "co"] {
        let rules = load(country);
        let inputs = rules.actions.values().map(|action| &action.schema);
        for schema in [&rules.request_schema, &rules.appointment_schema].into_iter().chain(inputs) {
            let mut titles = BTreeSet::new();
            check_members(country, schema, &mut titles);
        }
    }
}

/// Checks the titles and examples of an object's members, at every level.
fn check_members(country: &str, schema: &Value, titles: &mut BTreeSet<String>) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let title = member["title"].as_str().unwrap_or_else(|| panic!("{country}: {name} has no title"));
        let fits = validator("member", member).unwrap();
        let examples = member["examples"].as_array();
        assert!(titles.insert(title.to_owned()), "{country}: `{title}` is the title of two members");
        assert!(examples.is_some_and(|examples| !examples.is_empty()), "{country}: {name} has no example");
        for example in examples.into_iter().flatten() {
            assert_eq!(violations(&fits, example), [], "{country}: {name}");
        }
        check_members(country, member, titles);
    }
}

/// Returns the places of a schema that have a pattern.
fn patterned(schema: &Value, place: &str) -> BTreeSet<String> {
    let own = schema.get("pattern").map(|_| place.to_owned());
    let members = schema["properties"].as_object().into_iter().flatten();
    own.into_iter().chain(members.flat_map(|(name, member)| patterned(member, &format!("{place}/{name}")))).collect()
}

#[test]
fn every_pattern_has_words_for_people() {
    for country in ["pe", "cl", "co"] {
        let rules = load(country);
        let inputs = rules.actions.values().map(|action| &action.schema);
        let places: BTreeSet<String> =
            inputs.chain([&rules.request_schema]).flat_map(|schema| patterned(schema, "")).collect();
        assert!(places.contains("/document/number"), "{places:?}");
        for place in places {
            let said = |locale: &str| {
                let code = format!("schema.pattern:{place}");
                rules.descriptor.messages.iter().any(|message| message.code == code && message.locale == locale)
            };
            let wordless: Vec<_> = rules.descriptor.locales.iter().filter(|locale| !said(locale)).collect();
            assert!(wordless.is_empty(), "{country}: {place} has no words in {wordless:?}");
        }
    }
}

#[test]
fn mail_can_be_sent_to_every_address_that_the_rules_accept() {
    let longest = format!("{}@{}.example", "a".repeat(64), "b".repeat(63));
    let accepted = [
        "r&d@example.com",
        "o'brien@example.com",
        "{x}|y~z`^?=/#!$%*@example.com",
        "a-b+c_d.e@example.com",
        "ana%41@example.com",
        "1@1.example",
        "A@EXAMPLE.COM",
        "x@xn--per-zma.example",
        "x@a.xn--p1ai",
        &longest,
    ];
    let host = Host::of(&["pe", "cl"]);
    let ana = host.patient("ana");
    for (number, address) in accepted.iter().enumerate() {
        ana.booked("cl", &with(&cl(number), json!({ "email": address })));
        let booked = ana.booked("pe", &with(&pe(number), json!({ "email": address })));
        assert_eq!(booked["email"], *address);
    }
    let letters = host.spool().wait_for(accepted.len());
    let told: BTreeSet<_> = letters.iter().map(|letter| letter.to.as_str()).collect();
    assert_eq!(told, accepted.into_iter().collect());

    let (too_long, label) = (format!("a{longest}"), format!("a@{}.example", "b".repeat(64)));
    for refused in [
        "",
        "@",
        "a@",
        "@example.com",
        "ana",
        "ana@example",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a b@example.com",
        "a,b@example.com",
        "a@b@example.com",
        "Ana <ana@example.com>",
        "\"a b\"@example.com",
        "\"a\"@example.com",
        "a(b)@example.com",
        "a\\b@example.com",
        "a:b;@example.com",
        "[a]@example.com",
        "ana@[192.0.2.1]",
        "ana@192.0.2.1",
        "ana@-a.example",
        "ana@a-.example",
        "ana@a..example",
        "ana@example.com.",
        "ana@exa_mple.com",
        "ñu@example.com",
        "ana@perú.example",
        "ana@example.com\n",
        "ana@example.com\u{200b}",
        "ana@example.com ",
        "ａna@example.com",
        &too_long,
        &label,
    ] {
        for (country, request) in [("pe", pe(900)), ("cl", cl(900))] {
            let problem =
                ana.book(country, &with(&request, json!({ "email": refused }))).expect_problem(422, "rules-violated");
            let found = problem["violations"].as_array().unwrap();
            assert!(found.iter().all(|violation| violation["pointer"] == "/email"), "{refused}: {problem}");
        }
    }
}

#[test]
fn staff_record_an_emergency_of_nobody_known_and_nobody_gets_mail() {
    let host = Host::of(&["pe"]);
    let emergency = with(&pe(1), json!({ "time": "03:15", "dni": null, "email": null, "emergency": true }));
    let problem = host.patient("ana").book("pe", &emergency).expect_problem(422, "rules-violated");
    let codes: Vec<_> = problem["violations"].as_array().unwrap().iter().map(|violation| &violation["code"]).collect();
    assert_eq!(codes, ["pe.patient.missing", "pe.emergency.staff-only", "pe.time.closed"]);

    let staff = host.staff("pe");
    let booked = staff.booked("pe", &emergency);
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    staff.post(&format!("{place}/reschedule"), &json!({ "date": booked["date"], "time": "03:45" })).expect(200);
    let listed = staff.get("/v1/pe/appointments?doctor=10001").expect(200).json();
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["time"]), (&booked["id"], &json!("03:45")));
    staff.post(&format!("{place}/cancel"), &json!({})).expect(200);
    let history = staff.get(&format!("{place}/history")).expect(200).json();
    assert_eq!(history["items"].as_array().unwrap().len(), 3);

    // Mail about a booking after it is written after any mail about the emergency.
    host.patient("ana").booked("pe", &pe(2));
    assert_eq!(host.spool().wait_for(1)[0].to, "patient2@example.com");
}
