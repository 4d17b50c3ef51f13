//! Malformed requests, and the problems that clients get.

use serde_json::json;

use crate::support::host::Host;
use crate::support::http::with;
use crate::support::requests::pe;

const APPOINTMENTS: &str = "/v1/pe/appointments";

fn json_of(length: usize) -> Vec<u8> {
    let mut body = br#"{"reason":""#.to_vec();
    body.resize(length - 2, b'x');
    body.extend(b"\"}");
    body
}

#[test]
fn a_body_that_is_not_json_is_malformed() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    for body in ["{", "nothing", "{\"a\":1}x", "{\"doctor\":\"1\",\"doctor\":\"2\"}", "{\"a\":{\"b\":1,\"b\":1}}"] {
        let request = ana.request("POST", APPOINTMENTS).header("Content-Type", "application/json");
        let answer = request.body(body.as_bytes().to_vec()).send();
        answer.expect_problem(400, "malformed-request");
    }
    let invalid = ana.request("POST", APPOINTMENTS).header("Content-Type", "application/json");
    invalid.body(b"{\"a\":\"\xff\"}".to_vec()).send().expect_problem(400, "malformed-request");
}

#[test]
fn a_body_may_have_64_kib_and_no_byte_more() {
    let host = Host::of(&["pe"]);
    let send = |length| {
        let request = host.patient("ana").request("POST", APPOINTMENTS).header("Content-Type", "application/json");
        request.body(json_of(length)).send()
    };
    send(64 * 1024).expect_problem(422, "rules-violated");
    send(64 * 1024 + 1).expect_problem(413, "too-large");
}

#[test]
fn a_body_of_another_type_is_not_read() {
    let host = Host::of(&["pe"]);
    let send = |kind| {
        let request = host.patient("ana").request("POST", APPOINTMENTS).header("Content-Type", kind);
        request.body(pe(1).to_string().into_bytes()).send()
    };
    send("text/plain").expect_problem(415, "unsupported-media-type");
    send("application/x-www-form-urlencoded").expect_problem(415, "unsupported-media-type");
    send("Application/JSON; charset=utf-8").expect(201);
    let untyped = host.patient("ana").request("POST", APPOINTMENTS).body(b"{}".to_vec()).send();
    untyped.expect_problem(415, "unsupported-media-type");
}

#[test]
fn what_is_no_object_breaks_the_schema() {
    let host = Host::of(&["pe"]);
    for body in [json!([]), json!("text"), json!(7), json!(null)] {
        host.patient("ana").book("pe", &body).expect_problem(422, "rules-violated");
    }
}

#[test]
fn a_body_of_thousands_of_errors_is_told_that_it_is_too_large() {
    let host = Host::of(&["pe"]);
    let body = json!({ "errors": vec![1; 30_000] });
    let problem = host.patient("ana").book("pe", &body).expect_problem(422, "rules-violated");
    let told = json!([{ "pointer": "", "code": "schema.maxValues", "message": "debe tener como máximo 2000 valores" }]);
    assert_eq!(problem["violations"], told);
}

#[test]
fn an_unknown_place_is_not_found_whatever_it_looks_like() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    for path in [
        "/",
        "/v1",
        "/v2/pe/appointments",
        "/v1/br/appointments",
        "/v1/PE/appointments",
        "/v1/peru/appointments",
        "/v1/pe/appointments/7",
        "/v1/pe/appointments/%2e%2e",
        "/v1/pe/doctors",
        "/v1/pe/appointments/01935f00-0000-7000-8000-000000000000/history/more",
    ] {
        ana.get(path).expect_problem(404, "not-found");
    }
    let booked = ana.booked("pe", &pe(1));
    let action = format!("{APPOINTMENTS}/{}/postpone", booked["id"].as_str().unwrap());
    ana.post(&action, &json!({})).expect_problem(404, "not-found");
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let one = format!("{APPOINTMENTS}/01935f00-0000-7000-8000-000000000000");
    for (method, path, allowed) in [
        ("DELETE", APPOINTMENTS, ["GET", "POST"].as_slice()),
        ("PUT", &one, &["GET"]),
        ("GET", &format!("{one}/cancel"), &["POST"]),
        ("POST", &format!("{one}/history"), &["GET"]),
        ("POST", "/v1/countries", &["GET"]),
    ] {
        let answer = ana.request(method, path).send();
        let allow = answer.header("allow").to_owned();
        assert!(allowed.iter().all(|method| allow.split(',').any(|it| it.trim() == *method)), "{path}: `{allow}`");
        answer.expect_problem(405, "method-not-allowed");
    }
}

#[test]
fn a_request_keeps_the_id_that_it_came_with_if_it_is_plain() {
    let host = Host::of(&["pe"]);
    let ask = |id: &str| host.patient("ana").request("GET", "/v1/pe/nothing").header("X-Request-Id", id).send();
    assert_eq!(ask("call-centre.7_b").json()["requestId"], "call-centre.7_b");
    for strange in ["a b", "<script>", &"x".repeat(65)] {
        assert_ne!(ask(strange).header("x-request-id"), strange);
    }
}

#[test]
fn a_bad_filter_or_cursor_is_malformed() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let long = "x".repeat(129);
    for query in [
        "cursor=made-up",
        "limit=0",
        "limit=101",
        "limit=ten",
        "limit=-1",
        "from=yesterday",
        "to=2026-12-01",
        "phase=lost",
        "doctor=",
        &format!("patient={long}"),
        "owner=ana",
        "limit=1&limit=2",
    ] {
        ana.get(&format!("{APPOINTMENTS}?{query}")).expect_problem(400, "malformed-request");
    }
}

#[test]
fn a_subject_that_asks_too_much_is_told_when_to_come_again() {
    let host = Host::set_up(&["pe"], |options| options.rate_limit = 3);
    let ana = host.patient("ana");
    let answers: Vec<_> = (0..20).map(|_| ana.get(APPOINTMENTS)).collect();
    let refused = answers.into_iter().find(|answer| answer.status == 429).expect("one of twenty is too much");
    assert_eq!(refused.header("ratelimit-policy"), "\"subject\";q=3;w=1");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    refused.expect_problem(429, "slow-down");
    host.patient("luis").get(APPOINTMENTS).expect(200);
}

#[test]
fn an_emergency_waits_for_no_office_hour() {
    let host = Host::of(&["pe"]);
    let night = with(&pe(1), json!({ "time": "03:15", "dni": null }));
    host.patient("ana").book("pe", &night).expect_problem(422, "rules-violated");
    host.patient("ana").booked("pe", &with(&night, json!({ "emergency": true })));
}
