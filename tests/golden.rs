//! The API's description and one problem document of each kind, beside the files in `golden/`. A change of a file is a change
//! that clients see.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::golden::{accepts, assert_golden, path};
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::time_limit::{Lock, Platform};

/// The time at which problems happen, so that dates in them stay.
const NOW: &str = "2026-11-24T15:00:00Z";

/// No appointment has it.
const UNKNOWN_ID: &str = "01935f00-0000-7000-8000-000000000000";

const APPOINTMENTS: &str = "/v1/pe/appointments";

/// Every kind of problem. The test of the folder fails for a kind that is missing here.
const KINDS: [&str; 23] = [
    "forbidden",
    "header-too-large",
    "hold-expired",
    "hold-limit",
    "in-progress",
    "internal",
    "key-reused",
    "link-limit",
    "malformed-request",
    "method-not-allowed",
    "not-allowed-now",
    "not-found",
    "precondition-required",
    "rules-unavailable",
    "rules-violated",
    "slot-taken",
    "slow-down",
    "stale",
    "too-large",
    "too-slow",
    "unauthenticated",
    "unavailable",
    "unsupported-media-type",
];

/// Peru's request `number` at the time of these tests.
fn request(number: usize) -> Value {
    json!({
        "doctor": (10_000 + number).to_string(), "hospital": "00006219", "date": "2026-11-25", "time": "09:30",
        "dni": format!("{:08}", number + 1), "district": "150122", "email": format!("patient{number}@example.com"),
    })
}

fn host() -> Host {
    at_that_time(Host::of(&["pe", "xx"]))
}

fn at_that_time(host: Host) -> Host {
    let now: Timestamp = NOW.parse().unwrap();
    host.clock.shift_wall(now.duration_since(Timestamp::now()));
    host
}

/// Compares a problem document with its golden file, without what differs from one request or build to the next.
#[track_caller]
fn assert_problem(kind: &str, mut problem: Value) {
    assert!(KINDS.contains(&kind), "list `{kind}` in KINDS");
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
    problem["requestId"] = "…".into();
    if problem["rules"]["digest"].is_string() {
        problem["rules"]["digest"] = "sha256:…".into();
    }
    let instance =
        problem["instance"].as_str().unwrap().split('/').map(|part| if part.len() == 36 { "…" } else { part });
    problem["instance"] = instance.collect::<Vec<_>>().join("/").into();
    assert_golden(&format!("problems/{kind}.json"), &pretty(&problem));
}

fn pretty(document: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(document).unwrap())
}

fn post(client: &Client, kind: &'static str, body: &[u8]) -> Answer {
    client.request("POST", APPOINTMENTS).header("Content-Type", kind).body(body.to_vec()).send()
}

#[test]
fn golden_api_description() {
    let host = at_that_time(Host::of(&["cl", "pe"]));
    let description = host.with_token(None).get("/openapi.json").expect(200).json();
    assert_golden("openapi.json", &pretty(&description));
}

#[test]
fn golden_problems_are_those_that_there_are() {
    if accepts() {
        // Other tests are writing them.
        return;
    }
    let files = fs::read_dir(path("problems")).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(files, KINDS.map(|kind| format!("{kind}.json")).into());
    // The source names each kind once, as `(StatusCode::…, "kind", "title")`.
    let source = fs::read_to_string(crate::support::components::root().join("host/src/api/problem.rs")).unwrap();
    let (_, parts) = source.split_once("pub fn parts").unwrap();
    let (parts, _) = parts.split_once("\n    }").unwrap();
    let names: BTreeSet<&str> = parts.split("StatusCode::").skip(1).filter_map(|part| part.split('"').nth(1)).collect();
    assert_eq!(names, KINDS.into(), "each kind has a golden file");
}

#[test]
fn golden_problems_of_requests() {
    let host = host();
    let ana = host.patient("ana");
    let json = "application/json";
    assert_problem("malformed-request", post(&ana, json, b"{\"doctor\":\"1\",\"doctor\":\"2\"}").json());
    assert_problem("unsupported-media-type", post(&ana, "text/plain", b"{}").json());
    assert_problem("too-large", post(&ana, json, &vec![b' '; 64 * 1024 + 1]).json());
    let long = ana.request("GET", APPOINTMENTS).header("X-Long", &"x".repeat(16 << 10));
    assert_problem("header-too-large", long.send().json());
    assert_problem("unauthenticated", host.with_token(None).get(APPOINTMENTS).json());
    let reader = host.client("ana", &[], &["appointments/read"]);
    assert_problem("forbidden", reader.book("pe", &request(1)).json());
    assert_problem("not-found", ana.get(&format!("{APPOINTMENTS}/{UNKNOWN_ID}")).json());
    let staff = host.staff("pe");
    let unconditional = staff.request("PUT", "/v1/pe/agendas/45678").json(&json!({ "weekly": [] }));
    assert_problem("precondition-required", unconditional.send().json());
    assert_problem("method-not-allowed", ana.request("DELETE", APPOINTMENTS).send().json());
    let request_link = |number: usize| {
        let terms = json!({ "relation": "carer", "reason": "Neighbour" });
        ana.post(&format!("/v1/pe/patients/{number:08}/links"), &terms).json()
    };
    let refused = (1..=6).map(request_link).find(|answer| answer["status"] == 409);
    assert_problem("link-limit", refused.unwrap());
}

#[test]
fn golden_problems_of_bookings() {
    let host = host();
    let ana = host.patient("ana");
    let wrong = json!({ "date": "2026-12-25", "district": "999999", "dni": "10117410-3", "time": "21:07" });
    let english = ana.request("POST", APPOINTMENTS).header("Accept-Language", "en").json(&with(&request(1), wrong));
    assert_problem("rules-violated", english.send().json());
    let keyed = |number| ana.request("POST", APPOINTMENTS).key("k-1").json(&request(number)).send();
    let booked = keyed(1).expect(201).json();
    assert_problem("key-reused", keyed(2).json());
    assert_problem("slot-taken", ana.book("pe", &request(1)).json());
    let cancel = format!("{APPOINTMENTS}/{}/cancel", booked["id"].as_str().unwrap());
    assert_problem("stale", ana.request("POST", &cancel).header("If-Match", "\"7\"").send().json());
    ana.request("POST", &cancel).send().expect(200);
    assert_problem("not-allowed-now", ana.request("POST", &cancel).header("Accept-Language", "en").send().json());
}

#[test]
fn golden_problems_of_holds() {
    let host = host();
    let (ana, bea) = (host.patient("ana"), host.patient("bea"));
    let path = "/v1/pe/slots?doctor=45678&hospital=00006219&district=150122&from=2026-12-02&days=1";
    let slots = ana.get(path).expect(200).json();
    let token = |number: usize| &slots["items"][number]["slot"];
    let hold = |number: usize| ana.post("/v1/pe/holds", &json!({ "slot": token(number) }));
    let first = hold(0).expect(201).json();
    hold(1).expect(201);
    hold(2).expect(201);
    assert_problem("hold-limit", hold(3).json());
    host.clock.advance(Duration::from_mins(5));
    let of_slot = json!({ "date": null, "time": null, "doctor": null, "hospital": null });
    let (mine, others) = (with(&request(1), of_slot.clone()), with(&request(2), of_slot));
    bea.booked("pe", &with(&others, json!({ "slot": token(0) })));
    let late = ana.request("POST", APPOINTMENTS).header("Accept-Language", "en");
    assert_problem("hold-expired", late.json(&with(&mine, json!({ "hold": first["id"] }))).send().json());
}

#[test]
fn golden_problem_of_a_key_that_is_in_use() {
    let host = host();
    let ana = host.patient("ana");
    ana.booked("pe", &request(1));
    let lock = Lock::take(host.data());
    let (answers, first) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (ana, answers) = (ana.clone(), answers.clone());
            scope.spawn(move || {
                let answer = ana.request("POST", APPOINTMENTS).key("k-1").json(&request(2)).send();
                answers.send(answer).unwrap();
            });
        }
        // One of them waits for the lock.
        let refused = first.recv().unwrap();
        lock.release();
        assert_problem("in-progress", refused.json());
        first.recv().unwrap().expect(201);
    });
}

#[test]
fn golden_problem_of_a_subject_that_asks_too_much() {
    let host = Host::set_up(&["pe"], |options| options.rate_limit = 3);
    let ana = host.patient("ana");
    let mut answers = std::iter::repeat_with(|| ana.get(APPOINTMENTS)).take(100);
    assert_problem("slow-down", answers.find(|answer| answer.status == 429).unwrap().json());
}

#[test]
fn golden_problems_of_what_is_behind_the_api() {
    let host = host();
    let ana = host.patient("ana");
    let panicking = json!({
        "doctor": "301", "date": "2026-12-01", "time": "09:30", "email": "ana@example.com", "mode": "panic",
    });
    assert_problem("rules-unavailable", ana.book("xx", &panicking).json());

    let data = TempDir::new().unwrap();
    fs::write(data.path().join("pe.db"), "This is no database. ".repeat(100)).unwrap();
    let broken = Host::in_folder(&["pe"], data.path());
    assert_problem("unavailable", broken.patient("ana").get(APPOINTMENTS).json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_problem_of_a_body_that_does_not_come() {
    let data = TempDir::new().unwrap();
    let platform = Platform::open_with(data.path(), |api| api.request_timeout = Duration::from_secs(2));
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_problem("too-slow", platform.send("POST", never).await.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_problem_of_a_fault_of_the_host() {
    let data = TempDir::new().unwrap();
    let platform = Platform::open_with(data.path(), |api| api.metrics = Box::new(|| panic!("a test")));
    let request = Request::builder().uri("/metrics").header("host", "localhost").body(Body::empty()).unwrap();
    assert_problem("internal", platform.answer(request).await.1);
}
