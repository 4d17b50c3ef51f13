//! What those who run the program rely on: its log, its metrics, and how it stops.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::http::with;
use crate::support::process::{Process, publish, token};
use crate::support::requests::{pe, xx};

#[test]
fn the_log_tells_each_request_and_nothing_of_a_patient() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["pe", "xx"]);
    let folder = data.path().to_str().unwrap();
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--log", "info,citas=trace"]);
    let ana = process.client(&token(data.path(), &["--subject", "subject-of-ana"]));
    let personal = json!({
        "dni": "70000007", "email": "secret.address@example.com", "phone": "+51987654321", "reason": "dolor de rodilla",
    });
    let request = with(&pe(1), personal);
    let booked = ana.booked("pe", &request);
    ana.book("pe", &request).expect_problem(409, "slot-taken");
    ana.book("pe", &with(&request, json!({ "time": "09:31" }))).expect_problem(422, "rules-violated");
    ana.get("/v1/pe/appointments?patient=dni:70000007").expect(200);
    ana.book("xx", &with(&xx(1), json!({ "mode": "panic", "email": "secret.address@example.com" }))).expect(503);
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let cancelled = ana.post(&format!("{place}/cancel"), &json!({ "reason": "dolor de rodilla" })).expect(200);

    let last = cancelled.header("x-request-id");
    let log = eventually("the last request's line", Duration::from_secs(10), || {
        let log = process.log();
        log.contains(last).then_some(log)
    });
    for secret in ["70000007", "secret.address", "987654321", "rodilla", "subject-of-ana", "patient=", &place] {
        assert!(!log.contains(secret), "`{secret}` is in {log}");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_requests: Vec<_> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(of_requests.len(), 6, "one line for each request: {log}");
    assert!(of_requests.iter().all(|line| line["request_id"].is_string() && line["micros"].is_u64()), "{log}");
    let routes: Vec<_> = of_requests.iter().map(|line| line["route"].as_str().unwrap()).collect();
    assert_eq!(routes.last(), Some(&"/v1/{country}/appointments/{id}/{action}"));
    assert!(lines.iter().any(|line| line["message"] == "the rules gave no answer" && line["country"] == "xx"), "{log}");
}

#[test]
fn the_metrics_count_requests_calls_mails_and_faults_by_country() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["pe", "xx"]);
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()]);
    let ana = process.client(&token(data.path(), &[]));
    ana.booked("pe", &pe(1));
    ana.book("xx", &with(&xx(1), json!({ "mode": "loop" }))).expect(503);
    let has = |line: &str| {
        eventually(line, Duration::from_secs(20), || {
            ana.get("/metrics").expect(200).text.lines().any(|found| found == line).then_some(())
        });
    };
    has(r#"citas_requests_total{country="pe",method="POST",route="/v1/{country}/appointments",status="201"} 1"#);
    has(r#"citas_rules_calls_total{country="pe",call="book",outcome="answered"} 1"#);
    has(r#"citas_rules_calls_total{country="xx",call="book",outcome="over-budget"} 1"#);
    has(r#"citas_rules_swaps_total{country="xx",outcome="in-force"} 1"#);
    has(r#"citas_mails_total{country="pe",outcome="sent"} 1"#);
    has(r#"citas_outbox_oldest_seconds{country="pe"} 0"#);
}

#[test]
fn told_to_stop_it_ends_well_and_what_it_has_stays() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["pe"]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()];
    let mut process = Process::start(&serve);
    let bearer = token(data.path(), &[]);
    let booked = process.client(&bearer).booked("pe", &pe(1));
    let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(told.success());
    let status = eventually("its end", Duration::from_secs(10), || process.ended());
    assert!(status.success(), "{status}");
    let again = Process::start(&serve);
    let listed = again.client(&bearer).get("/v1/pe/appointments").expect(200);
    assert_eq!(listed.json()["items"], json!([booked]));
}
