//! Behaviour that operators rely on: the log, the metrics, and the clean stop.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use citas_core::model::{Candidate, Limits};
use citas_core::release::OnTrial;
use citas_core::rules::LoadedRules;
use serde_json::{Value, json};

use crate::support::components::{SharedEngine, chaos_with};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::with;
use crate::support::mail::MailServer;
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
    stop(&mut process);
    let again = Process::start(&serve);
    let listed = again.client(&bearer).get("/v1/pe/appointments").expect(200);
    assert_eq!(listed.json()["items"], json!([booked]));
}

/// Stops the process with SIGTERM. Returns the time until its end.
fn stop(process: &mut Process) -> Duration {
    let told = Instant::now();
    process.terminate();
    let status = eventually("its end", Duration::from_secs(30), || process.ended());
    assert!(status.success(), "{status}: {}", process.log());
    told.elapsed()
}

/// Starts a host with Peru that sends its mail to this server.
fn serve_with_mail_to(server: &MailServer, data: &Path) -> Process {
    let (folder, url) = (data.to_str().unwrap(), server.url());
    Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--smtp", &url, "--log", "warn"])
}

/// Returns the number of events in Peru's outbox.
fn outbox(data: &Path) -> u32 {
    let file = rusqlite::Connection::open(data.join("pe.db")).unwrap();
    file.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_stop_waits_for_the_mail_under_way_and_does_not_repeat_it() {
    let (data, server) = (tempfile::tempdir().unwrap(), MailServer::slow(Duration::from_secs(2)));
    publish(&data.path().join("registry"), &["pe"]);
    let mut process = serve_with_mail_to(&server, data.path());
    let ana = process.client(&token(data.path(), &[]));
    for number in 1..=3 {
        ana.booked("pe", &pe(number));
    }
    eventually("a mail under way", Duration::from_secs(20), || (server.begun() > 0).then_some(()));
    stop(&mut process);
    assert_eq!(outbox(data.path()), 0, "what was due went out before the end");
    assert_eq!(server.copies().into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_mail_server_that_does_not_answer_holds_a_stop_up_for_ten_seconds_and_loses_nothing() {
    let (data, silent) = (tempfile::tempdir().unwrap(), MailServer::slow(Duration::from_hours(1)));
    publish(&data.path().join("registry"), &["pe"]);
    let mut process = serve_with_mail_to(&silent, data.path());
    process.client(&token(data.path(), &[])).booked("pe", &pe(1));
    eventually("a mail under way", Duration::from_secs(20), || (silent.begun() > 0).then_some(()));
    let took = stop(&mut process);
    assert!((Duration::from_secs(5)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert!(process.log().contains("stopped with mail under way, which may go out twice"), "{}", process.log());

    let server = MailServer::up();
    let _again = serve_with_mail_to(&server, data.path());
    eventually("the mail", Duration::from_secs(20), || (server.taken().len() == 1).then_some(()));
}

#[test]
fn a_mail_server_that_is_down_holds_no_stop_up() {
    let (data, server) = (tempfile::tempdir().unwrap(), MailServer::down());
    publish(&data.path().join("registry"), &["pe"]);
    let mut process = serve_with_mail_to(&server, data.path());
    process.client(&token(data.path(), &[])).booked("pe", &pe(1));
    eventually("a mail turned away", Duration::from_secs(20), || (server.turned_away() > 0).then_some(()));
    let took = stop(&mut process);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(outbox(data.path()), 1);
}

#[test]
fn a_notice_that_went_out_is_not_repeated_because_another_one_of_its_event_did_not() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["xx"]);
    let server = MailServer::refusing("second.");
    let mut process = serve_with_mail_to(&server, data.path());
    let ana = process.client(&token(data.path(), &[]));
    ana.booked("xx", &with(&xx(1), json!({ "mode": "two-notices" })));
    eventually("the second is put off", Duration::from_secs(20), || (server.turned_away() > 0).then_some(()));
    stop(&mut process);
    server.come_up();
    let _again = serve_with_mail_to(&server, data.path());
    let copies = eventually("both", Duration::from_secs(20), || {
        let copies = server.copies();
        (copies.len() == 2).then_some(copies)
    });
    assert_eq!(copies.into_values().collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_a_trial_has_compared_outlives_a_stop() {
    let data = tempfile::tempdir().unwrap();
    let host = Host::in_folder(&["xx"], data.path());
    let candidate = LoadedRules::load(&SharedEngine, &chaos_with(&["later"]), &Limits::default()).unwrap();
    let terms = Candidate { version: "1.1.0".parse().unwrap(), trial: 7, canary: None };
    host.platform.catalogue.try_out("xx".parse().unwrap(), Some(OnTrial::new(Arc::new(candidate), terms)));
    let ana = host.patient("ana");
    for number in 1..=20 {
        ana.booked("xx", &xx(number));
    }
    drop(host);
    let found = std::fs::read_to_string(data.path().join("trials/xx-7.json")).unwrap();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["compared"], &found["differed"]), (&json!(20), &json!(20)), "{found}");
}
