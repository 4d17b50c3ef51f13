//! Links of accounts to patients: staff make them, accounts ask for them, and each party may end them.

use citas_core::ports::Clock as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, form, with};
use crate::support::requests::pe;

const LINK: &str = "/v1/pe/patients/dni:10117410/links/ana";

/// Returns the terms of a carer's link.
fn carer() -> Value {
    json!({ "relation": "carer", "reason": "Power of attorney shown at the desk" })
}

fn put(client: &Client, path: &str, condition: (&'static str, &str), terms: &Value) -> Answer {
    client.request("PUT", path).header(condition.0, condition.1).header("Accept-Language", "en").json(terms).send()
}

/// Makes the first link of an account to a patient.
fn made(staff: &Client, path: &str, terms: &Value) -> Value {
    put(staff, path, ("If-None-Match", "*"), terms).expect(201).json()
}

/// Returns the links of the caller's account.
fn own(client: &Client) -> Vec<Value> {
    client.get("/v1/pe/links").expect(200).json()["items"].as_array().unwrap().clone()
}

fn items(answer: Answer) -> Vec<Value> {
    answer.expect(200).json()["items"].as_array().unwrap().clone()
}

/// Returns the day in Peru.
fn today(host: &Host) -> Date {
    TimeZone::get("America/Lima").unwrap().to_datetime(host.clock.now()).date()
}

#[test]
fn staff_make_replace_and_end_a_link_and_each_takes_effect_at_once() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    staff.get(LINK).expect_problem(404, "not-found");
    staff.delete(LINK).expect_problem(404, "not-found");
    let first = put(&staff, LINK, ("If-None-Match", "*"), &carer()).expect(201);
    assert_eq!((first.header("etag"), first.header("cache-control")), ("\"1\"", "private, no-cache"));
    assert_eq!(staff.get(first.header("location")).expect(200).json(), first.json());
    let expected = json!({
        "patient": "dni:10117410", "subject": "ana", "state": "active", "valid": true, "relation": "carer",
        "reason": "Power of attorney shown at the desk", "revision": 1, "by": { "subject": "staff", "role": "staff" },
    });
    assert_eq!(with(&first.json(), json!({ "updatedAt": null, "requestId": null })), expected);
    let seen = own(&ana);
    assert_eq!(seen, [with(&first.json(), json!({ "by": { "role": "staff" } }))], "but who of the staff made it");

    let until = json!({ "until": today(&host) + 30.days() });
    put(&staff, LINK, ("If-Match", "\"1\""), &with(&carer(), until.clone())).expect(200);
    assert_eq!((own(&ana)[0]["until"].clone(), own(&ana)[0]["revision"].clone()), (until["until"].clone(), json!(2)));
    staff.request("DELETE", LINK).header("If-Match", "\"1\"").send().expect_problem(412, "stale");
    staff.request("DELETE", LINK).header("If-Match", "\"2\"").send().expect(204);
    assert_eq!(own(&ana), Vec::<Value>::new());
    staff.delete(LINK).expect(204);
    let ended = staff.get(LINK).expect(200).json();
    assert_eq!((&ended["state"], &ended["valid"], &ended["revision"]), (&json!("ended"), &json!(false), &json!(3)));
    put(&staff, LINK, ("If-Match", "\"3\""), &carer()).expect(200);
    assert_eq!(own(&ana).len(), 1);

    let history = items(staff.get(&format!("{LINK}/history")));
    let states: Vec<_> = history.iter().map(|link| link["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["active", "active", "ended", "active"]);
    let page = staff.get(&format!("{LINK}/history?limit=3")).expect(200).json();
    let rest = staff.get(&format!("{LINK}/history?limit=3&cursor={}", page["nextCursor"].as_str().unwrap()));
    assert_eq!(items(rest), history[3..]);
}

#[test]
fn a_link_is_replaced_by_whoever_has_seen_it() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    staff.request("PUT", LINK).json(&carer()).send().expect_problem(428, "precondition-required");
    put(&staff, LINK, ("If-Match", "*"), &carer()).expect_problem(412, "stale");
    made(&staff, LINK, &carer());
    put(&staff, LINK, ("If-None-Match", "*"), &carer()).expect_problem(412, "stale");
    put(&staff, LINK, ("If-Match", "\"2\""), &carer()).expect_problem(412, "stale");
    put(&staff, LINK, ("If-Match", "W/\"1\""), &carer()).expect_problem(412, "stale");
    put(&staff, LINK, ("If-None-Match", "\"1\""), &carer()).expect_problem(400, "malformed-request");
    put(&staff, LINK, ("If-Match", "*"), &carer()).expect(200);
    staff.request("GET", LINK).header("If-None-Match", "\"2\"").send().expect(304);
    staff.request("GET", LINK).header("If-Match", "\"1\"").send().expect_problem(412, "stale");
}

#[test]
fn every_spelling_of_a_patient_is_one_link_and_a_key_that_nobody_has_is_refused() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    made(&staff, "/v1/pe/patients/10117410-2/links/ana", &carer());
    assert_eq!(staff.get(LINK).expect(200).json()["patient"], "dni:10117410");
    let wrong = "/v1/pe/patients/10117410-3/links";
    for (client, method, path) in [(&staff, "PUT", format!("{wrong}/ana")), (&ana, "POST", wrong.to_owned())] {
        let refused = |language: &str| {
            let request =
                client.request(method, &path).header("If-None-Match", "*").header("Accept-Language", language);
            let refused = request.json(&carer()).send();
            assert_eq!(refused.clone().expect(422).violations(), [(String::new(), "patient-link.patient".to_owned())]);
            refused.json()["violations"][0]["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(refused("en"), "no patient can have this key");
        assert_eq!(refused("es"), "ningún paciente puede tener esta clave");
    }
    staff.get(&format!("{wrong}/ana")).expect_problem(404, "not-found");
    staff.get(wrong).expect_problem(404, "not-found");
    staff.get(&format!("/v1/pe/patients/{}/links", "1".repeat(600))).expect_problem(404, "not-found");
    staff.get(&format!("{wrong}/{}", "a".repeat(256))).expect_problem(404, "not-found");
}

#[test]
fn a_subject_of_any_characters_has_links() {
    let host = Host::of(&["pe"]);
    let (staff, subject) = (host.staff("pe"), "auth0|7/ñ#%");
    let path = "/v1/pe/patients/dni:10117410/links/auth0%7C7%2F%C3%B1%23%25";
    let first = put(&staff, path, ("If-None-Match", "*"), &carer()).expect(201);
    assert_eq!(first.json()["subject"], subject);
    assert_eq!(staff.get(first.header("location")).expect(200).json(), first.json());
    assert_eq!(own(&host.patient(subject)).len(), 1);
    host.patient(subject).delete(path).expect(204);
    assert_eq!(items(staff.get(&format!("{path}/history"))).len(), 2);
}

#[test]
fn whoever_is_no_party_to_a_link_learns_nothing_of_it() {
    let host = Host::of(&["pe", "cl"]);
    let (staff, luis) = (host.staff("pe"), host.patient("luis"));
    made(&staff, LINK, &carer());
    let absent = "/v1/pe/patients/dni:10117411/links/ana";
    let ask = |method: &str, path: &str| luis.request(method, path).send().expect_problem(404, "not-found");
    for (method, rest) in [("GET", ""), ("GET", "/history"), ("DELETE", "")] {
        let [theirs, none] = [LINK, absent].map(|path| form(&ask(method, &format!("{path}{rest}"))));
        assert_eq!(theirs, none, "{method} {rest}");
    }
    let [theirs, none] =
        ["10117410", "10117411"].map(|dni| form(&ask("GET", &format!("/v1/pe/patients/dni:{dni}/links"))));
    assert_eq!(theirs, none);
    put(&luis, LINK, ("If-Match", "\"1\""), &carer()).expect_problem(403, "forbidden");
    put(&luis, absent, ("If-None-Match", "*"), &carer()).expect_problem(403, "forbidden");
    luis.get("/v1/pe/patient-links").expect_problem(403, "forbidden");
    assert_eq!(own(&luis), Vec::<Value>::new());

    let abroad = host.client("eva", &["cl:staff"], &["appointments/read", "appointments/write"]);
    for (method, path) in [("GET", LINK), ("DELETE", LINK), ("GET", "/v1/pe/patient-links"), ("GET", "/v1/pe/links")] {
        abroad.request(method, path).send().expect_problem(403, "forbidden");
    }
    put(&abroad, LINK, ("If-Match", "\"1\""), &carer()).expect_problem(403, "forbidden");
    let reader = host.client("ana", &[], &["appointments/read"]);
    reader.delete(LINK).expect_problem(403, "forbidden");
    reader.post("/v1/pe/patients/dni:10117410/links", &carer()).expect_problem(403, "forbidden");
    host.client("ana", &[], &["appointments/write"]).get("/v1/pe/links").expect_problem(403, "forbidden");
    host.with_token(None).get(LINK).expect_problem(401, "unauthenticated");
    staff.get("/v1/uy/links").expect_problem(404, "not-found");
    assert_eq!(staff.get(LINK).expect(200).json()["revision"], 1, "nothing has changed");
}

#[test]
fn the_patient_sees_who_is_linked_and_ends_what_staff_have_made() {
    let host = Host::of(&["pe"]);
    let (staff, rosa) = (host.staff("pe"), host.patient("rosa"));
    let (all, of_rosa) = ("/v1/pe/patients/dni:10117410/links", "/v1/pe/patients/dni:10117410/links/rosa");
    made(&staff, LINK, &carer());
    rosa.get(all).expect_problem(404, "not-found");
    made(&staff, of_rosa, &json!({ "relation": "self", "reason": "DNI shown" }));
    let subjects = |client: &Client| -> Vec<String> {
        items(client.get(all)).iter().map(|link| link["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(subjects(&rosa), ["ana", "rosa"]);
    assert_eq!(subjects(&staff), ["ana", "rosa"]);
    host.patient("ana").get(all).expect_problem(404, "not-found");
    let page = rosa.get(&format!("{all}?limit=1")).expect(200).json();
    let rest = rosa.get(&format!("{all}?limit=1&cursor={}", page["nextCursor"].as_str().unwrap()));
    assert_eq!(items(rest)[0]["subject"], "rosa");
    assert_eq!(items(rosa.get(&format!("{LINK}/history"))).len(), 1);
    rosa.delete(LINK).expect(204);
    assert_eq!(own(&host.patient("ana")), Vec::<Value>::new());
    let ended = items(rosa.get(&format!("{LINK}/history"))).remove(1);
    assert_eq!(ended["by"], json!({ "subject": "rosa", "role": "patient" }));
    assert_eq!(items(host.patient("ana").get(&format!("{LINK}/history")))[1]["by"], json!({ "role": "patient" }));

    // Without the link, the account is no party to the others.
    host.platform_team().delete(of_rosa).expect(204);
    rosa.get(all).expect_problem(404, "not-found");
    rosa.get(LINK).expect_problem(404, "not-found");
}

#[test]
fn a_request_is_answered_alike_whether_or_not_there_is_such_a_patient() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    host.patient("rosa").booked("pe", &pe(1));
    let (known, unknown) = ("/v1/pe/patients/00000002/links", "/v1/pe/patients/00000003/links");
    let mother = json!({ "relation": "parent", "reason": "I am her mother", "birthDate": "2020-05-17" });
    let [first, second] = [known, unknown].map(|path| ana.post(path, &mother).expect(202));
    let plain =
        |answer: &Answer| with(&answer.json(), json!({ "patient": null, "updatedAt": null, "requestId": null }));
    assert_eq!(plain(&first), plain(&second));
    let names = |answer: &Answer| answer.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    assert_eq!((&first.json()["state"], &first.json()["valid"]), (&json!("requested"), &json!(false)));
    assert_eq!(own(&ana).len(), 2);
    let again = ana.post(known, &carer()).expect(202).json();
    assert_eq!(again, first.json(), "an open request stays as it is");

    let requested = items(staff.get("/v1/pe/patient-links?state=requested"));
    let patients: Vec<_> = requested.iter().map(|link| link["patient"].as_str().unwrap()).collect();
    assert_eq!(patients, ["dni:00000002", "dni:00000003"]);
    let page = staff.get("/v1/pe/patient-links?limit=1").expect(200).json();
    let rest = staff.get(&format!("/v1/pe/patient-links?limit=1&cursor={}", page["nextCursor"].as_str().unwrap()));
    assert_eq!(items(rest), requested[1..]);
    staff.get("/v1/pe/patient-links?state=ended").expect_problem(400, "malformed-request");

    // Staff accept one of them and refuse the other.
    put(&staff, first.header("location"), ("If-Match", "\"1\""), &mother).expect(200);
    staff.delete(second.header("location")).expect(204);
    assert_eq!(items(staff.get("/v1/pe/patient-links")), Vec::<Value>::new());
    let mine = own(&ana);
    assert_eq!((mine.len(), &mine[0]["state"], &mine[0]["valid"]), (1, &json!("active"), &json!(true)));
    assert_eq!(ana.post(known, &mother).expect(202).json()["state"], "active", "a link stays as it is");
    assert_eq!(ana.post(unknown, &mother).expect(202).json()["state"], "requested", "it may ask again");
    ana.delete(second.header("location")).expect(204);
    assert_eq!(items(staff.get("/v1/pe/patient-links")), Vec::<Value>::new(), "and withdraw what it asked for");
    staff.post(known, &mother).expect_problem(403, "forbidden");
}

#[test]
fn an_account_has_few_open_requests_and_acts_for_few_patients() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    let links = |number: usize| format!("/v1/pe/patients/{number:08}/links");
    for number in 1..=5 {
        ana.post(&links(number), &carer()).expect(202);
    }
    let full = ana.post(&links(6), &carer()).expect_problem(409, "link-limit");
    assert!(full["detail"].as_str().unwrap().contains("5 open requests"), "{full}");
    ana.post(&links(5), &carer()).expect(202);
    staff.delete(&format!("{}/ana", links(5))).expect(204);
    ana.post(&links(6), &carer()).expect(202);

    for number in 11..=30 {
        made(&staff, &format!("{}/ana", links(number)), &carer());
    }
    let next = format!("{}/ana", links(31));
    let full = put(&staff, &next, ("If-None-Match", "*"), &carer()).expect_problem(409, "link-limit");
    assert!(full["detail"].as_str().unwrap().contains("20 patients"), "{full}");
    put(&staff, &format!("{}/ana", links(11)), ("If-Match", "*"), &carer()).expect(200);
    staff.delete(&format!("{}/ana", links(11))).expect(204);
    made(&staff, &next, &carer());
    assert_eq!(own(&ana).len(), 25);
    made(&staff, &format!("{}/bea", links(11)), &carer());
}

#[test]
fn terms_that_make_no_sense_are_refused_with_every_reason() {
    let host = Host::of(&["pe"]);
    let (staff, today) = (host.staff("pe"), today(&host));
    let parent = json!({ "relation": "parent", "birthDate": "2020-05-17" });
    for (changes, expected) in [
        (json!({ "relation": "friend" }), vec![("/relation", "schema.enum")]),
        (json!({ "reason": null }), vec![("/reason", "schema.required")]),
        (json!({ "reason": " " }), vec![("/reason", "schema.pattern")]),
        (json!({ "role": "carer" }), vec![("/role", "schema.additionalProperties")]),
        (json!({ "relation": "parent" }), vec![("/birthDate", "schema.required")]),
        (json!({ "birthDate": "2020-05-17" }), vec![("/birthDate", "schema.falseSchema")]),
        (with(&parent, json!({ "birthDate": "2020-02-30" })), vec![("/birthDate", "schema.format")]),
        (with(&parent, json!({ "birthDate": today + 1.day() })), vec![("/birthDate", "patient-link.future")]),
        (with(&parent, json!({ "birthDate": today - 18.years() })), vec![("/birthDate", "patient-link.adult")]),
        (
            json!({ "from": today, "until": today - 1.day() }),
            vec![("/until", "patient-link.past"), ("/until", "patient-link.order")],
        ),
        (json!({ "from": today + 2.days(), "until": today + 1.day() }), vec![("/until", "patient-link.order")]),
    ] {
        let terms = with(&carer(), changes);
        let refused = put(&staff, LINK, ("If-None-Match", "*"), &terms).expect(422);
        let expected: Vec<_> = expected.into_iter().map(|(at, code)| (at.to_owned(), code.to_owned())).collect();
        assert_eq!(refused.violations(), expected, "{terms}");
        let messages = refused.json()["violations"].to_string();
        assert!(!messages.contains("is not allowed ("), "each code has a text: {messages}");
    }
    staff.get(LINK).expect_problem(404, "not-found");
    put(&staff, LINK, ("If-None-Match", "*"), &json!([])).expect(422);
}

#[test]
fn a_link_is_valid_on_its_days_and_a_parents_until_the_patient_is_of_age() {
    let host = Host::of(&["pe"]);
    let (staff, today) = (host.staff("pe"), today(&host));
    let days = json!({ "from": today + 2.days(), "until": today + 3.days() });
    made(&staff, LINK, &with(&carer(), days));
    let child =
        json!({ "relation": "parent", "reason": "Birth certificate", "birthDate": today + 2.days() - 18.years() });
    made(&staff, "/v1/pe/patients/dni:10117411/links/ana", &child);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let links = own(&host.patient("ana"));
        let valid = |dni: &str| links.iter().find(|link| link["patient"] == dni).map(|link| link["valid"] == true);
        seen.push((valid("dni:10117410"), valid("dni:10117411")));
        host.clock.shift_wall(SignedDuration::from_hours(24));
    }
    let before = (Some(false), Some(true));
    assert_eq!(seen, [before, before, (Some(true), None), (Some(true), None), (None, None)]);
    let over = host.staff("pe").get(LINK).expect(200).json();
    assert_eq!((&over["state"], &over["valid"]), (&json!("active"), &json!(false)));
}

#[test]
fn however_many_are_made_or_asked_for_at_once_the_limits_hold() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    let at_once = |count: usize, ask: &(dyn Fn(usize) -> Answer + Sync)| -> Vec<u16> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..count).map(|number| scope.spawn(move || ask(number).status)).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    };
    let links = |number: usize| format!("/v1/pe/patients/{number:08}/links");
    let requested = at_once(30, &|number| ana.post(&links(number), &carer()));
    let made =
        at_once(40, &|number| put(&staff, &format!("{}/ana", links(100 + number)), ("If-None-Match", "*"), &carer()));
    let seen = own(&ana);
    let count = |state: &str| seen.iter().filter(|link| link["state"] == state).count();
    let stored = |statuses: &[u16], status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count("requested"), count("active")), (stored(&requested, 202), stored(&made, 201)));
    assert!(count("requested") <= 5 && count("active") <= 20, "{seen:?}");
    // Whoever was refused, because others came first too often, may try again.
    let refused = |status: &u16| [202, 201, 409, 412].contains(status);
    assert!(requested.iter().chain(&made).all(refused), "{requested:?} {made:?}");
    let more =
        (200..220).map(|number| put(&staff, &format!("{}/ana", links(number)), ("If-None-Match", "*"), &carer()));
    more.for_each(drop);
    assert_eq!(own(&ana).iter().filter(|link| link["state"] == "active").count(), 20);
}

#[test]
fn whoever_is_shown_links_to_a_patient_is_in_the_read_log() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    made(&staff, LINK, &carer());
    staff.get(LINK).expect(200);
    made(&staff, "/v1/pe/patients/dni:10117410/links/bea", &carer());
    staff.get("/v1/pe/patients/dni:10117410/links?limit=1").expect(200);
    ana.get(&format!("{LINK}/history")).expect(200);
    ana.post("/v1/pe/patients/00000001/links", &carer()).expect(202);
    ana.post("/v1/pe/patients/00000002/links", &carer()).expect(202);
    staff.get("/v1/pe/patient-links?limit=1").expect(200);
    let readers = |patient: &str| -> Vec<(Value, Value)> {
        let found = items(staff.get(&format!("/v1/pe/read-log?patient={patient}")));
        let of_links = found.iter().filter(|reading| reading["operation"] == "patient-links");
        of_links.map(|reading| (reading["by"]["subject"].clone(), reading["patients"][0]["reason"].clone())).collect()
    };
    let (by_staff, by_ana) = ((json!("staff"), json!("staff")), (json!("ana"), json!("carer")));
    assert_eq!(readers("dni:10117410"), [by_ana, by_staff.clone(), by_staff.clone()]);
    assert_eq!(readers("dni:00000001"), [by_staff]);
    assert_eq!(readers("dni:00000002"), [], "it was on the next page");
}

#[test]
fn staff_of_single_hospitals_neither_make_nor_see_links() {
    let host = Host::of(&["pe"]);
    made(&host.staff("pe"), LINK, &carer());
    let nurse = host.client("eva", &["pe:staff:00006219"], &["appointments/read", "appointments/write"]);
    put(&nurse, LINK, ("If-Match", "\"1\""), &carer()).expect_problem(403, "forbidden");
    nurse.get("/v1/pe/patient-links").expect_problem(403, "forbidden");
    for (method, path) in [("GET", LINK), ("DELETE", LINK), ("GET", "/v1/pe/patients/dni:10117410/links")] {
        nurse.request(method, path).send().expect_problem(404, "not-found");
    }
    nurse.post("/v1/pe/patients/dni:10117410/links", &carer()).expect_problem(403, "forbidden");
}

#[test]
fn an_account_acts_for_a_patient_until_the_link_ends() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    let of_child = |number: usize, time: &str| with(&pe(number), json!({ "dni": "10117410", "time": time }));
    let booked = staff.booked("pe", &of_child(1, "09:30"));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let listed = || items(ana.get("/v1/pe/appointments")).len();
    ana.get(&place).expect_problem(404, "not-found");
    assert_eq!(listed(), 0);

    made(&staff, LINK, &carer());
    assert_eq!(ana.get(&place).expect(200).json()["id"], booked["id"]);
    let own = ana.booked("pe", &of_child(2, "11:00"));
    assert_eq!(listed(), 2);
    ana.post(&format!("{place}/cancel"), &json!({})).expect(200);

    ana.delete(LINK).expect(204);
    ana.get(&place).expect_problem(404, "not-found");
    ana.get(&format!("/v1/pe/appointments/{}", own["id"].as_str().unwrap())).expect_problem(404, "not-found");
    assert_eq!(listed(), 0, "what it booked for the patient is the patient's");
    assert_eq!(items(staff.get("/v1/pe/appointments?patient=dni:10117410")).len(), 2);
}
