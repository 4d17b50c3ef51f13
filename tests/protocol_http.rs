//! Malformed requests, and the problems that clients get.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::support::host::Host;
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
    let told = json!([{
        "pointer": "", "code": "schema.maxValues", "params": { "expected": "2000" },
        "message": "debe tener como máximo 2000 valores",
    }]);
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

/// Sends bytes over a connection and returns the response's status line and body.
fn raw(host: &Host, request: &str) -> String {
    let address = host.address();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_request_of_http_1_1_has_exactly_one_host() {
    let host = Host::of(&["pe"]);
    let get = |lines: &str| raw(&host, &format!("GET /v1/countries HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"));
    assert!(get("Host: example.com\r\n").starts_with("HTTP/1.1 200"));
    for lines in ["", "Host: a.example\r\nHost: b.example\r\n"] {
        let answer = get(lines);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("/problems/malformed-request"), "{answer}");
    }
    let old = raw(&host, "GET /v1/countries HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[test]
fn an_idempotency_key_stands_in_one_line() {
    let host = Host::of(&["pe"]);
    let request = host.patient("ana").request("POST", APPOINTMENTS);
    let request = request.header("Idempotency-Key", "k-1").header("Idempotency-Key", "k-2");
    request.json(&pe(1)).send().expect_problem(400, "malformed-request");
}

#[test]
fn an_instant_in_a_query_is_as_rfc_3339_writes_it() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    for good in ["9999-12-31T23:59:59Z", "2026-12-01T00:00:00.123-05:00", "2026-12-01t00:00:00z"] {
        ana.get(&format!("{APPOINTMENTS}?to={good}")).expect(200);
    }
    for bad in ["20261201T000000Z", "2026-12-01", "2026-12-01T00:00Z", "2026-12-01T00:00:00", "2026-02-30T00:00:00Z"] {
        ana.get(&format!("{APPOINTMENTS}?to={bad}")).expect_problem(400, "malformed-request");
    }
}

#[test]
fn documents_for_everybody_are_revalidated_and_compressed() {
    let host = Host::of(&["pe"]);
    let client = host.with_token(None);
    for path in ["/openapi.json", "/v1/countries", "/v1/pe/schema"] {
        let whole = client.get(path).expect(200);
        let tag = whole.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && whole.header("cache-control") == "no-cache", "{path}: {tag}");
        let seen = client.request("GET", path).header("If-None-Match", &tag).send();
        assert_eq!((seen.status, seen.text.as_str(), seen.header("etag")), (304, "", tag.as_str()), "{path}");
        client.request("GET", path).header("If-None-Match", "\"other\"").send().expect(200);
        let packed = raw(
            &host,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"),
        );
        let head = packed.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{path}: {head}");
        let is_smaller = packed.len() < whole.text.len();
        assert!(is_smaller || whole.text.len() < 1_000, "{path}: {} of {} bytes", packed.len(), whole.text.len());
    }
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let place = format!("{APPOINTMENTS}/{}", booked["id"].as_str().unwrap());
    let plain = ana.request("GET", &place).header("Accept-Encoding", "gzip").send();
    assert_eq!((plain.header("content-encoding"), plain.header("etag")), ("", "\"1\""), "its tag names these bytes");
}

#[test]
fn the_type_of_a_problem_leads_to_a_page() {
    let host = Host::of(&["pe"]);
    let client = host.with_token(None);
    let problem = client.get("/v1/pe/appointments").json();
    let page = client.get(problem["type"].as_str().unwrap()).expect(200);
    assert!(
        page.header("content-type").starts_with("text/html") && page.text.contains("Get a new one"),
        "{}",
        page.text
    );
    client.get("/problems/unheard-of").expect_problem(404, "not-found");
}

#[test]
fn the_api_s_own_pages_are_found_with_and_without_a_slash() {
    let host = Host::of(&["pe"]);
    let client = host.with_token(None);
    assert!(client.get("/docs").expect(200).text.contains("swagger"));
    let slash = raw(&host, "GET /docs/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(slash.starts_with("HTTP/1.1 308") && slash.contains("location: /docs\r\n"), "{slash}");
    let posted = client.post("/docs", &json!({}));
    assert_eq!(posted.header("allow"), "GET,HEAD");
    posted.expect_problem(405, "method-not-allowed");
}
