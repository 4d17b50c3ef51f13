//! Requests of patients about their personal data: who files, who answers, and by when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::run;

const PLACE: &str = "/v1/pe/privacy-requests";

fn file(client: &Client, input: &Value) -> Answer {
    client.request("POST", PLACE).header("Accept-Language", "en").json(input).send()
}

fn of(patient: usize) -> Value {
    json!({ "demand": "access", "patient": format!("dni:{patient:08}"), "details": "Which of my data do you have?" })
}

fn one(request: &Value) -> String {
    format!("{PLACE}/{}", request["id"].as_str().unwrap())
}

fn time(request: &Value, name: &str) -> Timestamp {
    request[name].as_str().unwrap().parse().unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[test]
fn a_request_is_filed_extended_and_answered() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let answer = file(&ana, &of(1)).expect(201);
    let filed = answer.json();
    assert_eq!((answer.header("location"), answer.header("etag")), (one(&filed).as_str(), "\"1\""));
    assert_eq!(
        (&filed["state"], &filed["verified"], &filed["patient"]),
        (&json!("open"), &json!(false), &json!("dni:00000001"))
    );
    assert_eq!(filed["steps"][0]["by"], json!({ "subject": "ana", "role": "patient" }));
    assert!(
        time(&filed, "dueAt") - time(&filed, "receivedAt") > SignedDuration::from_hours(24 * 27),
        "20 business days"
    );
    assert_eq!(ana.get(&one(&filed)).expect(200).json(), filed);
    assert_eq!(staff.get(&one(&filed)).expect(200).json(), filed);

    // The same demand is filed once.
    let again = file(&ana, &of(1)).expect(200).json();
    assert_eq!(again, filed);
    file(&ana, &with(&of(1), json!({ "demand": "erasure" }))).expect(201);
    file(&host.patient("bea"), &of(1)).expect(201);

    let extend = format!("{}/extend", one(&filed));
    let reason = json!({ "reason": "the archive is on paper" });
    ana.post(&extend, &reason).expect_problem(403, "forbidden");
    staff.request("POST", &extend).header("If-Match", "\"7\"").json(&reason).send().expect_problem(412, "stale");
    let extended = staff.request("POST", &extend).header("If-Match", "\"1\"").json(&reason).send().expect(200).json();
    assert_eq!(extended["extension"], json!({ "from": filed["dueAt"], "reason": "the archive is on paper" }));
    assert!(time(&extended, "dueAt") > time(&filed, "dueAt"));
    let twice = staff.post(&extend, &reason).expect_problem(409, "not-allowed-now");
    assert!(twice["detail"].as_str().unwrap().contains("extended already"), "{twice}");

    let close = format!("{}/close", one(&filed));
    let given = json!({ "outcome": "granted", "answer": "Enclosed.", "proof": "letter 12/2026" });
    let missing = staff.post(&close, &json!({ "outcome": "granted", "answer": "Enclosed." })).expect(422);
    assert_eq!(missing.violations(), [("/proof".to_owned(), "schema.required".to_owned())]);
    let closed = staff.post(&close, &given).expect(200).json();
    assert_eq!(closed["answer"], json!({ "outcome": "granted", "text": "Enclosed.", "proof": "letter 12/2026" }));
    assert_eq!((&closed["state"], &closed["revision"]), (&json!("closed"), &json!(3)));
    staff.post(&close, &given).expect_problem(409, "not-allowed-now");
    let seen = ana.get(&one(&filed)).expect(200).json();
    assert_eq!(seen["steps"][2]["by"], json!({ "role": "staff" }), "a patient does not learn who answered");
    assert_eq!(staff.request("GET", &one(&filed)).header("If-None-Match", "\"3\"").send().status, 304);
}

#[test]
fn somebody_elses_request_looks_like_none_and_lists_are_narrow() {
    let host = Host::of(&["pe"]);
    let (ana, bea, staff) = (host.patient("ana"), host.patient("bea"), host.staff("pe"));
    let [first, second] = [(&ana, 1), (&bea, 2)].map(|(client, patient)| file(client, &of(patient)).expect(201).json());
    let none = format!("{PLACE}/01935f00-0000-7000-8000-000000000000");
    for place in [one(&first), none] {
        bea.get(&place).expect_problem(404, "not-found");
        bea.post(&format!("{place}/withdraw"), &json!({})).expect_problem(404, "not-found");
    }
    let [of_first, of_second] = [&first, &second].map(|request| request["id"].as_str().unwrap());
    assert_eq!(ids(&ana.get(PLACE).expect(200).json()), [of_first]);
    assert_eq!(ids(&bea.get(&format!("{PLACE}?state=open")).expect(200).json()), [of_second]);
    assert_eq!(ids(&bea.get(&format!("{PLACE}?patient=dni:00000001")).expect(200).json()), [] as [&str; 0]);
    assert_eq!(ids(&staff.get(&format!("{PLACE}?patient=dni:00000001")).expect(200).json()), [of_first]);
    let page = staff.get(&format!("{PLACE}?limit=1")).expect(200).json();
    let rest =
        staff.get(&format!("{PLACE}?limit=1&cursor={}", page["nextCursor"].as_str().unwrap())).expect(200).json();
    let mut walked = [ids(&page), ids(&rest)].concat();
    walked.sort_unstable();
    let mut all = [of_first, of_second];
    all.sort_unstable();
    assert_eq!((walked, rest.get("nextCursor")), (all.to_vec(), None));
    let due = first["dueAt"].as_str().unwrap();
    assert_eq!(ids(&staff.get(&format!("{PLACE}?state=open&due-before={due}")).expect(200).json()), [] as [&str; 0]);

    let withdrawn = ana.post(&format!("{}/withdraw", one(&first)), &json!({})).expect(200).json();
    assert_eq!(withdrawn["answer"], json!({ "outcome": "withdrawn" }));
    staff.post(&format!("{}/withdraw", one(&second)), &json!({})).expect_problem(403, "forbidden");
    assert_eq!(ids(&staff.get(&format!("{PLACE}?state=closed")).expect(200).json()), [of_first]);
    assert_eq!(ids(&staff.get(&format!("{PLACE}?state=open")).expect(200).json()), [of_second]);

    // Whoever reads them is in the read log.
    let log = staff.get("/v1/pe/read-log?patient=dni:00000002").expect(200).json();
    assert_eq!(log["items"][0]["operation"], "privacy-requests", "{log}");
    assert!(log["items"].as_array().unwrap().iter().any(|reading| reading["by"]["subject"] == "bea"), "{log}");
}

#[test]
fn a_filing_that_cannot_be_is_refused_with_its_reasons() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let refused = |client: &Client, input: &Value| file(client, input).expect(422).violations().remove(0);
    let violation = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(refused(&ana, &json!({ "patient": "dni:00000001" })), violation("/demand", "schema.required"));
    assert_eq!(refused(&ana, &json!({ "demand": "oblivion" })), violation("/demand", "schema.enum"));
    assert_eq!(refused(&ana, &json!({ "demand": "access" })), violation("/patient", "schema.required"));
    assert_eq!(refused(&ana, &with(&of(1), json!({ "patient": "nobody" }))), violation("/patient", "privacy.patient"));
    assert_eq!(refused(&ana, &with(&of(1), json!({ "more": 1 }))), violation("/more", "schema.additionalProperties"));
    let at = |days: i64| (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_string();
    let received = |days: i64| with(&of(1), json!({ "receivedAt": at(days) }));
    let wrong = violation("/receivedAt", "privacy.received");
    assert_eq!(refused(&ana, &received(-1)), wrong, "only staff say when it came");
    assert_eq!(refused(&staff, &received(1)), wrong);
    assert_eq!(refused(&staff, &received(-400)), wrong);
    let on_paper = file(&staff, &received(-9)).expect(201).json();
    assert_eq!(on_paper["verified"], true);
    assert!(time(&on_paper, "dueAt") - Timestamp::now() < SignedDuration::from_hours(24 * 28), "{on_paper}");
    let unknown = format!("{}/answer", one(&on_paper));
    staff.post(&unknown, &json!({})).expect_problem(404, "not-found");
    host.client("ana", &[], &["appointments/read"]).post(PLACE, &of(1)).expect_problem(403, "forbidden");
    host.client("bea", &["cl:staff"], &["appointments/read"]).get(PLACE).expect_problem(403, "forbidden");
}

#[test]
fn an_account_has_a_bounded_number_of_open_requests() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let filed: Vec<Value> = (0..10).map(|patient| file(&ana, &of(patient)).expect(201).json()).collect();
    let problem = file(&ana, &of(10)).expect_problem(409, "not-allowed-now");
    assert!(problem["detail"].as_str().unwrap().contains("at most 10 open"), "{problem}");
    file(&host.patient("bea"), &of(10)).expect(201);
    ana.post(&format!("{}/withdraw", one(&filed[3])), &json!({})).expect(200);
    file(&ana, &of(10)).expect(201);
}

#[test]
fn each_country_has_its_own_terms_and_a_late_answer_is_not_extended() {
    let host = Host::of(&["cl"]);
    let (ana, staff) = (host.patient("ana"), host.staff("cl"));
    let file = |demand: &str| {
        let input = json!({ "demand": demand, "patient": format!("run:{}", run(10_000_001)) });
        ana.post("/v1/cl/privacy-requests", &input).expect(201).json()
    };
    let (access, blocking) = (file("access"), file("blocking"));
    let days = |request: &Value| (time(request, "dueAt") - time(request, "receivedAt")).as_hours() / 24;
    assert_eq!(days(&access), 30);
    assert!(days(&blocking) < 8, "{blocking}");
    let extend = |request: &Value| {
        let place = format!("/v1/cl/privacy-requests/{}/extend", request["id"].as_str().unwrap());
        staff.post(&place, &json!({ "reason": "much to copy" })).expect_problem(409, "not-allowed-now")
    };
    assert!(extend(&blocking)["detail"].as_str().unwrap().contains("blocking cannot be extended"));
    host.clock.advance(Duration::from_hours(24 * 32));
    // Tokens do not last so long.
    let staff = host.staff("cl");
    let place = format!("/v1/cl/privacy-requests/{}/extend", access["id"].as_str().unwrap());
    let late = staff.post(&place, &json!({ "reason": "much to copy" })).expect_problem(409, "not-allowed-now");
    assert!(late["detail"].as_str().unwrap().contains("is over"), "{late}");
}
