//! Malformed requests, and the problems that clients get.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use citas_core::model::Scope;
use jiff::Timestamp;
use serde_json::json;

use crate::support::host::{Host, token};
use crate::support::http::Answer;
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
fn a_body_that_is_nested_too_deeply_is_malformed() {
    let host = Host::of(&["pe"]);
    let nested = |depth: usize| ["{\"a\":".repeat(depth), "1".into(), "}".repeat(depth)].concat();
    let send = |path: &str, depth| {
        let request = host.staff("pe").request("POST", path).header("Content-Type", "application/json");
        request.body(nested(depth).into_bytes()).send()
    };
    for path in [APPOINTMENTS, "/v1/pe/holds"] {
        send(path, 8_000).expect_problem(400, "malformed-request");
    }
    send(APPOINTMENTS, 100).expect_problem(422, "rules-violated");
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

/// Asserts that an answer is this status with a problem document of this kind, and nothing behind it.
#[track_caller]
fn assert_refused(answer: &str, status: u16, kind: &str, request: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json"), "{request:?}: {answer}");
    assert!(head.contains("\r\nx-request-id: "), "{request:?}: {answer}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|bad| panic!("{bad}: {answer}"));
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{request:?}");
}

#[test]
fn a_request_of_http_1_1_has_one_valid_host() {
    let host = Host::of(&["pe"]);
    let get = |lines: &str| raw(&host, &format!("GET /v1/countries HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"));
    for good in ["example.com", "EXAMPLE.com:8080", "example.com:", "127.0.0.1", "[::1]:8080", ""] {
        assert!(get(&format!("Host: {good}\r\n")).starts_with("HTTP/1.1 200"), "{good}");
    }
    assert_refused(&get(""), 400, "malformed-request", "no Host");
    assert_refused(&get("Host: a.example\r\nHost: a.example\r\n"), 400, "malformed-request", "two");
    for bad in
        ["a b", "a.example, b.example", "<a>", "ana@a.example", "a.example:http", "a.example:99999", "a/b", "[::1"]
    {
        assert_refused(&get(&format!("Host: {bad}\r\n")), 400, "malformed-request", bad);
    }
    let old = raw(&host, "GET /v1/countries HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
    let whole =
        raw(&host, "GET http://x.example/v1/countries HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n");
    assert!(whole.starts_with("HTTP/1.1 200"), "a target may be a whole address: {whole}");
}

#[test]
fn what_is_no_request_is_refused_with_a_problem_document_too() {
    let host = Host::of(&["pe"]);
    for request in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: one\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        assert_refused(&raw(&host, request), 400, "malformed-request", request);
        // The refusal comes after the answer to a request before it on the same connection.
        let both = raw(&host, &format!("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n{request}"));
        let (first, second) = both.split_at(both.rfind("HTTP/1.1 ").unwrap());
        assert!(first.starts_with("HTTP/1.1 200") && first.ends_with('}'), "{both}");
        assert_refused(second, 400, "malformed-request", request);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(16 << 10));
    assert_refused(&raw(&host, &long), 431, "header-too-large", "a long target");
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(101));
    assert_refused(&raw(&host, &many), 431, "header-too-large", "many lines");
    assert_eq!(raw(&host, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "", "a connection of HTTP/2 is closed");
    let metrics = host.with_token(None).get("/metrics").expect(200).text;
    let counted = |line: &str| line.starts_with("citas_requests_total") && line.contains("status=\"431\"");
    assert!(metrics.lines().any(counted), "{metrics}");
}

#[test]
fn a_body_with_two_lengths_ends_where_its_chunks_do() {
    let host = Host::of(&["pe"]);
    let both =
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = raw(&host, &format!("POST {APPOINTMENTS} HTTP/1.1\r\nHost: x\r\n{both}"));
    assert_refused(&answer, 401, "unauthenticated", "what follows is not taken for a request");
}

#[test]
fn no_method_and_no_path_is_without_a_problem_document() {
    let host = Host::of(&["pe"]);
    let one = format!("{APPOINTMENTS}/01935f00-0000-7000-8000-000000000000");
    for (method, target, status) in [
        ("TRACE", "/v1/countries", 405),
        ("BREW", "/v1/countries", 405),
        ("get", "/v1/countries", 405),
        ("PATCH", "/openapi.json", 405),
        ("PUT", "/docs/swagger-ui.css", 405),
        ("DELETE", "/problems/stale", 405),
        ("DELETE", "/healthz", 405),
        ("CONNECT", "x.example:443", 404),
        ("GET", "/docs/nothing", 404),
        ("GET", "/docs/%2e%2e/healthz", 404),
        ("GET", "/problems/%ff", 404),
        ("GET", "/v1/%ff/schema", 404),
        ("GET", "/v1/pe/appointments/%zz", 404),
        ("GET", "//v1/countries", 404),
        ("GET", "*", 404),
        ("POST", &format!("{one}/%ff"), 404),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let kind = if status == 405 { "method-not-allowed" } else { "not-found" };
        let answer = raw(&host, &request);
        assert_refused(&answer, status, kind, &request);
        assert_eq!(answer.contains("\r\nallow: "), status == 405, "{answer}");
    }
    let head = raw(&host, "HEAD /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("application/problem+json"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a response to HEAD has no body: {head}");
    host.patient("ana").get(&format!("{APPOINTMENTS}?doctor=%ff")).expect_problem(400, "malformed-request");
}

#[test]
fn a_header_that_stands_for_one_value_comes_once() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let twice = ana.request("POST", APPOINTMENTS).header("Content-Type", "text/plain").json(&pe(1)).send();
    twice.expect_problem(415, "unsupported-media-type");
    let packed = ana.request("POST", APPOINTMENTS).header("Content-Encoding", "gzip").json(&pe(1)).send();
    assert_eq!(packed.header("accept-encoding"), "identity");
    packed.expect_problem(415, "unsupported-media-type");
    ana.request("POST", APPOINTMENTS).header("Content-Encoding", "identity").json(&pe(1)).send().expect(201);
    let both = ana.request("GET", APPOINTMENTS).header("Authorization", "Bearer x").send();
    assert_eq!(both.header("www-authenticate"), r#"Bearer realm="citas", error="invalid_request""#);
    both.expect_problem(400, "malformed-request");
}

#[test]
fn a_condition_holds_for_what_is_read_too() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let place = format!("{APPOINTMENTS}/{}", ana.booked("pe", &pe(1))["id"].as_str().unwrap());
    let get = |name, condition: &str| ana.request("GET", &place).header(name, condition).send();
    for good in ["\"1\"", "*", "\"7\", \"1\""] {
        get("If-Match", good).expect(200);
    }
    for stale in ["\"2\"", "W/\"1\""] {
        get("If-Match", stale).expect_problem(412, "stale");
    }
    let lines = ana.request("GET", &place).header("If-None-Match", "\"7\"").header("If-None-Match", "W/\"1\"").send();
    assert_eq!(
        (lines.status, lines.header("etag"), lines.header("cache-control")),
        (304, "\"1\"", "private, no-cache")
    );
    get("If-None-Match", "1").expect_problem(400, "malformed-request");
    let stale = ana.request("GET", &place).header("If-Match", "\"7\"").header("If-None-Match", "1").send();
    stale.expect_problem(400, "malformed-request");
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
    for good in [
        "9999-12-31T23:59:59Z",
        "2026-12-01T00:00:00.123-05:00",
        "2026-12-01T00:00:00%2B05:00",
        "2026-12-01t00:00:00z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
    ] {
        ana.get(&format!("{APPOINTMENTS}?to={good}")).expect(200);
    }
    let plus = ana.get(&format!("{APPOINTMENTS}?to=2026-12-01T00:00:00+05:00"));
    assert!(plus.text.contains("%2B"), "a plus is a space in a query: {}", plus.text);
    plus.expect_problem(400, "malformed-request");
    for bad in ["20261201T000000Z", "2026-12-01", "2026-12-01T00:00Z", "2026-12-01T00:00:00", "2026-02-30T00:00:00Z"] {
        ana.get(&format!("{APPOINTMENTS}?to={bad}")).expect_problem(400, "malformed-request");
    }
}

/// Sends a request with this header, and returns the response's head in lower case and the size of its body.
fn coded(host: &Host, method: &str, path: &str, header: &str) -> (String, usize) {
    let answer = raw(host, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.len())
}

#[test]
fn documents_for_everybody_are_revalidated_and_compressed() {
    let host = Host::of(&["pe"]);
    let client = host.with_token(None);
    for path in ["/openapi.json", "/v1/countries", "/v1/pe/schema", "/docs", "/docs/swagger-ui.css", "/problems/stale"]
    {
        let (head, _) = coded(&host, "HEAD", path, "Accept-Encoding: gzip");
        assert!(head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"), "{path}: {head}");
        let whole = client.get(path).expect(200);
        let caching = |answer: &Answer| ["etag", "cache-control", "vary"].map(|name| answer.header(name).to_owned());
        let [tag, control, vary] = caching(&whole);
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
        assert_eq!((control.as_str(), vary.as_str()), ("no-cache", "accept-encoding"), "{path}");
        let seen = client.request("GET", path).header("If-None-Match", &tag).send();
        assert_eq!((seen.status, seen.text.as_str(), caching(&seen)), (304, "", caching(&whole)), "{path}");
        client.request("GET", path).header("If-None-Match", "\"other\"").send().expect(200);
        let (head, size) = coded(&host, "GET", path, "Accept-Encoding: gzip");
        assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{path}: {head}");
        assert!(head.contains("content-length: "), "{path} was compressed before: {head}");
        assert!(size < whole.text.len() || whole.text.len() < 1_000, "{path}: {size} of {} bytes", whole.text.len());
        let (head, size) = coded(&host, "HEAD", path, "Accept: */*");
        assert!(head.contains(&format!("content-length: {}", whole.text.len())) && size == 0, "{path}: {head}");
    }
}

#[test]
fn lists_are_compressed_and_what_has_a_strong_tag_is_not() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let place = format!("{APPOINTMENTS}/{}", booked["id"].as_str().unwrap());
    let token = token(host.issuer(), "ana", &[], &Scope::ALL.map(Scope::as_str), Timestamp::now());
    let coded = |path: &str, coding: &str| {
        coded(&host, "GET", path, &format!("Authorization: Bearer {token}\r\nAccept-Encoding: {coding}")).0
    };
    for path in [APPOINTMENTS.to_owned(), format!("{place}/history")] {
        let head = coded(&path, "gzip");
        assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{path}: {head}");
        let head = coded(&path, "gzip;q=0");
        assert!(!head.contains("content-encoding") && head.contains("vary: accept-encoding"), "{path}: {head}");
    }
    let head = coded(&place, "gzip");
    assert!(head.contains("etag: \"1\"") && !head.contains("content-encoding"), "its tag names these bytes: {head}");
}

#[test]
fn a_client_that_accepts_no_coding_is_answered_all_the_same() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    for (number, coding) in ["identity;q=0", "*;q=0", "br, identity;q=0"].into_iter().enumerate() {
        let booked = ana.request("POST", APPOINTMENTS).header("Accept-Encoding", coding).json(&pe(number)).send();
        booked.expect(201);
        ana.request("GET", APPOINTMENTS).header("Accept-Encoding", coding).send().expect(200);
    }
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
    assert!(page.header("content-security-policy").contains("default-src 'none'"), "{:?}", page.headers);
    client.get("/problems/unheard-of").expect_problem(404, "not-found");
}

#[test]
fn the_api_s_own_pages_are_found_with_and_without_a_slash() {
    let host = Host::of(&["pe"]);
    let client = host.with_token(None);
    let slash = raw(&host, "GET /docs/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(slash.starts_with("HTTP/1.1 308") && slash.contains("location: /docs\r\n"), "{slash}");
    for page in ["/docs?lang=en", "/docs"] {
        let text = client.get(page).expect(200).text;
        assert!(text.contains("\"/docs/swagger-ui.css\""), "a query is no part of its files' names: {text}");
    }
    let posted = client.post("/docs", &json!({}));
    assert_eq!(posted.header("allow"), "GET,HEAD");
    posted.expect_problem(405, "method-not-allowed");
}
