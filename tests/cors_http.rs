//! Pages of other origins that call the API from a browser.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use citas::api::{Limits, Origin, cors};
use serde_json::json;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::support::host::Host;
use crate::support::http::{Answer, Client};
use crate::support::process::{Process, run};
use crate::support::requests::pe;
use crate::time_limit::Platform;

const APPOINTMENTS: &str = "/v1/pe/appointments";
const APP: &str = "https://app.example.com";

fn host(origins: &[&str]) -> Host {
    let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    Host::set_up(&["pe"], |options| options.cors_origin = origins)
}

/// Sends the request that a browser sends first to ask whether a page may.
fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let request = client.request("OPTIONS", path).header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    request.header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key").send()
}

/// Returns the names in a header, in lower case.
fn names(answer: &Answer, header: &str) -> Vec<String> {
    answer.header(header).split(',').map(|name| name.trim().to_lowercase()).collect()
}

#[track_caller]
fn assert_lists(answer: &Answer, header: &str, expected: &[&str]) {
    let names = names(answer, header);
    let missing: Vec<_> = expected.iter().filter(|name| !names.contains(&name.to_lowercase())).collect();
    assert!(missing.is_empty(), "{header} lacks {missing:?}: {names:?}");
}

#[test]
fn a_preflight_needs_no_token_and_tells_what_a_page_may_send() {
    let host = host(&[APP, "http://localhost:5173"]);
    for (path, origin) in [(APPOINTMENTS, APP), (APPOINTMENTS, "http://localhost:5173"), ("/v1/countries", APP)] {
        let answer = preflight(&host.with_token(None), path, origin).expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
        assert_lists(&answer, "access-control-allow-methods", &["DELETE", "GET", "HEAD", "POST"]);
        let sent = ["Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Accept-Language"];
        assert_lists(&answer, "access-control-allow-headers", &sent);
        assert_eq!((answer.header("access-control-max-age"), answer.header("vary")), ("7200", "origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[test]
fn a_page_reads_answers_and_refusals_with_their_headers() {
    let host = host(&[APP]);
    let empty = Host::set_up(&[], |options| options.cors_origin = vec![APP.parse().unwrap()]);
    let ana = host.patient("ana");
    let booked = ana.request("POST", APPOINTMENTS).header("Origin", APP).json(&pe(1)).send().expect(201);
    let exposed = [
        "ETag",
        "Location",
        "Link",
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
        "X-Request-Id",
        "Content-Language",
        "WWW-Authenticate",
        "Allow",
    ];
    assert_lists(&booked, "access-control-expose-headers", &exposed);
    let refusals = [
        (host.with_token(None).request("GET", APPOINTMENTS), 401),
        (ana.request("GET", "/v1/pe/nothing"), 404),
        (ana.request("DELETE", APPOINTMENTS), 405),
        (ana.request("POST", APPOINTMENTS).json(&json!("x".repeat(70_000))), 413),
        (ana.request("POST", APPOINTMENTS).json(&json!({})), 422),
        (empty.with_token(None).request("GET", "/readyz"), 503),
    ];
    for (request, status) in refusals {
        let answer = request.header("Origin", APP).send().expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), APP, "{status}");
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "origin"), "{:?}", answer.headers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_reads_that_it_is_too_fast_or_too_slow() {
    let ask = async |platform: &Platform, body: Body| {
        let request = Request::post(APPOINTMENTS).header("host", "x").header("origin", APP);
        let request = request.header("authorization", format!("Bearer {}", platform.token));
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let answer = platform.router.clone().oneshot(request).await.unwrap();
        (answer.status(), answer.headers().clone())
    };
    let allowed = |headers: &HeaderMap| headers["access-control-allow-origin"] == APP;
    let origins = [APP.parse().unwrap()];
    let folder = TempDir::new().unwrap();
    let platform = Platform::open_with(folder.path(), |api| {
        api.cors = cors(&origins);
        api.limits = Limits::per_second(1);
    });
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, headers) = ask(&platform, never).await;
    assert!(status == StatusCode::REQUEST_TIMEOUT && allowed(&headers), "{status} {headers:?}");
    let both = [ask(&platform, Body::empty()).await, ask(&platform, Body::empty()).await];
    let (status, headers) = both.iter().find(|(status, _)| *status == StatusCode::TOO_MANY_REQUESTS).unwrap();
    assert!(allowed(headers), "{status} {headers:?}");
}

#[test]
fn other_origins_learn_nothing() {
    let host = host(&[APP]);
    for origin in ["https://app.example.com.evil.example", "http://app.example.com", "null"] {
        let answer = preflight(&host.with_token(None), APPOINTMENTS, origin);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        let answer = host.patient("ana").request("GET", APPOINTMENTS).header("Origin", origin).send().expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[test]
fn every_origin_may_call_if_the_operator_says_so() {
    let host = host(&["*"]);
    let answer = preflight(&host.with_token(None), APPOINTMENTS, "https://anywhere.example").expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[test]
fn without_origins_no_page_may_call_and_options_names_the_methods() {
    let host = host(&[]);
    let answer = preflight(&host.with_token(None), APPOINTMENTS, APP).expect(204);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", ""));
    assert_lists(&answer, "allow", &["GET", "HEAD", "POST"]);
    assert_lists(&preflight(&host.with_token(None), "/docs", APP).expect(204), "allow", &["GET", "HEAD"]);
    host.with_token(None).request("OPTIONS", "/nothing").send().expect_problem(404, "not-found");
}

#[test]
fn a_preflight_counts_for_no_country() {
    let host = host(&[APP]);
    preflight(&host.with_token(None), APPOINTMENTS, APP).expect(200);
    let metrics = host.with_token(None).get("/metrics").expect(200).text;
    let mut preflights =
        metrics.lines().filter(|line| line.starts_with("citas_requests_total") && line.contains("other"));
    assert!(!preflights.any(|line| line.contains("country=\"pe\"") && line.contains("status=\"200\"")), "{metrics}");
}

#[test]
fn an_origin_that_is_none_is_named_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let told = run(&["serve", "--data", data, "--cors-origin", "https://app.example.com/"]).expect(2).err;
    assert!(told.contains("`https://app.example.com/` is no origin") && told.contains("--cors-origin"), "{told}");
}

#[test]
fn origins_come_from_the_environment_too() {
    let data = tempfile::tempdir().unwrap();
    let mut command = crate::support::process::citas(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(data.path()).env("CITAS_CORS_ORIGIN", "https://a.example,https://b.example");
    let process = Process::spawn(&mut command);
    for origin in ["https://a.example", "https://b.example"] {
        let answer = preflight(&Client::new(&process.base, None), "/v1/countries", origin);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
    }
}

#[test]
fn pages_of_the_same_machine_may_call_a_host_for_development() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let countries = folder.path().to_str().unwrap();
    let process = Process::start(&["dev", "--port", "0", "--countries", countries, "--data", data.to_str().unwrap()]);
    let client = Client::new(&process.base, None);
    for (origin, allowed) in [
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        (APP, ""),
    ] {
        let answer = preflight(&client, "/v1/countries", origin);
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
    }
}
