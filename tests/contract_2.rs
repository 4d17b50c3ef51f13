//! Tests the additions of contract 2.0.0 through HTTP: places, choices, wakes, facts, keys, words; and both contracts in one
//! country.
//! The country is `contract_2/`, which follows `contract_1/`.

use std::fs;
use std::time::Duration;

use citas::local::registry::FolderRegistry;
use citas_core::model::Limits;
use citas_core::ports::{Clock as _, Registry as _};
use citas_core::rules::{LoadedRules, cases};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::registry_contract::{artifact, with_cases};
use crate::support::components::{SharedEngine, built_with, component, engine, folder};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::process::{Process, run, token};

const WITHIN: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_hours(1);

/// Returns the request of a patient at nine and a half on a day of December 2027.
fn request(patient: usize, kind: &str, day: u8) -> Value {
    json!({
        "patient": patient.to_string(), "doctor": "45678", "date": format!("2027-12-{day:02}"), "time": "09:30",
        "kind": kind, "email": format!("p{patient}@example.com"),
    })
}

/// Returns a request for a visit in some days, counted from the host's clock.
fn visit_in(host: &Host, days: i64) -> Value {
    let day = host.clock.now() + SignedDuration::from_hours(24 * days);
    let date = Offset::UTC.to_datetime(day).date().to_string();
    json!({ "patient": "1", "doctor": "45678", "date": date, "time": "09:30", "email": "p1@example.com" })
}

fn place(appointment: &Value) -> String {
    format!("/v1/ut/appointments/{}", appointment["id"].as_str().unwrap())
}

/// Asserts that the answer is a problem with this one violation, and returns it.
#[track_caller]
fn refused(answer: Answer, status: u16, problem: &str, code: &str) -> Value {
    let problem = answer.expect_problem(status, problem);
    assert_eq!(problem["violations"][0]["code"], code, "{problem}");
    problem
}

#[track_caller]
fn full(answer: Answer, code: &str) -> Value {
    refused(answer, 409, "slot-taken", code)
}

/// Waits until the appointment is at a revision, and returns it.
fn at_revision(client: &Client, appointment: &Value, revision: u32) -> Value {
    eventually("the scheduled action", WITHIN, || {
        let found = client.get(&place(appointment)).expect(200).json();
        (found["revision"] == revision).then_some(found)
    })
}

#[test]
fn an_error_of_describe_is_reported_with_its_text() {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("ut.wasm");
    fs::write(&file, built_with(&folder("ut2"), &["undescribed"])).unwrap();
    let told = run(&["rules", "check", file.to_str().unwrap()]).expect(1).out;
    let words = "no: `describe` gave no answer: the rules failed: there is no calendar for this year";
    assert!(told.starts_with(words), "{told}");
}

/// Puts the version of the other contract into force.
fn install(host: &Host, country: &str) {
    let rules = LoadedRules::load(&SharedEngine, component(country), &Limits::default()).unwrap();
    host.platform.catalogue.install(rules, Timestamp::now());
}

#[test]
fn the_country_passes_its_cases_and_names_its_contract() {
    let rules = LoadedRules::load(engine(), component("ut2"), &Limits::default()).unwrap();
    assert_eq!(rules.contract(), "2.0.0");
    let cases = citas::toolkit::CountryFolder::open(&folder("ut2")).unwrap().cases().unwrap();
    let cases = cases::read(&cases).unwrap();
    let failures: Vec<_> = cases::run(&rules, &cases).into_iter().filter_map(|outcome| outcome.failure).collect();
    assert!(failures.is_empty() && cases.len() == 5, "{failures:?}");
}

#[test]
fn a_visit_lapses_unless_it_is_confirmed_and_its_time_is_free_again() {
    let host = Host::of(&["ut2"]);
    let ana = host.patient("ana");
    let booked = ana.booked("ut", &visit_in(&host, 20));
    assert_eq!(booked["phase"], "pending");
    ana.book("ut", &visit_in(&host, 20)).expect_problem(409, "slot-taken");
    host.clock.advance(47 * HOUR);
    assert_eq!(host.patient("ana").get(&place(&booked)).expect(200).json()["phase"], "pending");
    host.clock.advance(2 * HOUR);
    let ana = host.patient("ana");
    let lapsed = at_revision(&ana, &booked, 2);
    assert_eq!(lapsed["phase"], "cancelled");
    let history = ana.get(&format!("{}/history", place(&booked))).expect(200).json();
    let last = &history["items"][1];
    assert_eq!((&last["action"], &last["by"]["role"]), (&json!("lapse"), &json!("clock")), "{history}");
    ana.booked("ut", &visit_in(&host, 20));
}

#[test]
fn a_reminder_is_a_revision_with_a_mail_and_is_done_once() {
    let host = Host::of(&["ut2"]);
    let ana = host.patient("ana");
    let booked = ana.booked("ut", &visit_in(&host, 20));
    let confirm = format!("{}/confirm", place(&booked));
    assert_eq!(ana.post(&confirm, &json!({})).expect(200).json()["phase"], "booked");
    host.clock.advance(21 * 24 * HOUR);
    let ana = host.patient("ana");
    let reminded = at_revision(&ana, &booked, 3);
    assert_eq!(reminded["phase"], "booked");
    let cancel = ana.request("POST", &format!("{}/cancel", place(&booked)));
    cancel.header("if-match", "\"2\"").json(&json!({})).send().expect_problem(412, "stale");
    let reminders = || host.spool().letters().iter().filter(|letter| letter.subject == "reminder").count();
    eventually("the mail", WITHIN, || (reminders() > 0).then_some(()));
    // Due actions are done in order: once that of another appointment is done, this one has none left.
    let other = ana.booked("ut", &with(&visit_in(&host, 20), json!({ "patient": "2" })));
    host.clock.advance(49 * HOUR);
    let ana = host.patient("ana");
    at_revision(&ana, &other, 2);
    assert_eq!((reminders(), &at_revision(&ana, &booked, 3)["revision"]), (1, &json!(3)));
}

#[test]
fn only_time_does_a_scheduled_action() {
    let host = Host::of(&["ut2"]);
    let ana = host.patient("ana");
    let booked = ana.booked("ut", &visit_in(&host, 20));
    for client in [&ana, &host.staff("ut"), &host.platform_team()] {
        client.post(&format!("{}/lapse", place(&booked)), &json!({})).expect_problem(404, "not-found");
    }
    let schema = ana.get("/v1/ut/schema").expect(200).json();
    let actions: Vec<&String> = schema["actions"].as_object().unwrap().keys().collect();
    assert_eq!(actions, ["cancel", "confirm", "no-show", "reschedule", "wait"]);
    let openapi = ana.get("/openapi.json").expect(200).json().to_string();
    assert!(!openapi.contains("/lapse"), "it is described");
}

#[test]
fn a_session_has_three_places_and_a_place_that_is_given_up_can_be_taken() {
    let host = Host::of(&["ut2"]);
    let staff = host.staff("ut");
    let booked: Vec<Value> = (1..4).map(|patient| staff.booked("ut", &request(patient, "session", 1))).collect();
    let refused = full(staff.book("ut", &request(4, "session", 1)), "ut.session.full");
    assert_eq!(refused["violations"][0]["message"], "The session is full.");
    staff.post(&format!("{}/cancel", place(&booked[1])), &json!({})).expect(200);
    staff.booked("ut", &request(4, "session", 1));
    staff.book("ut", &request(5, "session", 1)).expect_problem(409, "slot-taken");
}

#[test]
fn each_appointment_gets_the_first_room_that_is_free() {
    let host = Host::of(&["ut2"]);
    let staff = host.staff("ut");
    let rooms = [1, 2].map(|patient| staff.booked("ut", &request(patient, "room", 1)));
    assert_eq!((&rooms[0]["room"], &rooms[1]["room"]), (&json!("1"), &json!("2")));
    staff.book("ut", &request(3, "room", 1)).expect_problem(409, "slot-taken");
    staff.post(&format!("{}/cancel", place(&rooms[0])), &json!({})).expect(200);
    assert_eq!(staff.booked("ut", &request(3, "room", 1))["room"], "1");
    let again = staff.get(&place(&rooms[1])).expect(200).json();
    assert_eq!(again["room"], "2");
}

#[test]
fn an_account_has_two_live_appointments_and_staff_any_number() {
    let host = Host::of(&["ut2"]);
    let ana = host.patient("ana");
    let booked: Vec<Value> = (1..3).map(|day| ana.booked("ut", &request(1, "session", day))).collect();
    let third = full(ana.book("ut", &request(1, "session", 3)), "ut.account.limit");
    assert_eq!(third["freeSlots"], json!([]));
    host.patient("bea").booked("ut", &request(2, "session", 3));
    let staff = host.staff("ut");
    for day in 4..8 {
        staff.booked("ut", &request(1, "session", day));
    }
    ana.post(&format!("{}/cancel", place(&booked[0])), &json!({})).expect(200);
    ana.booked("ut", &request(1, "session", 3));
}

#[test]
fn a_patient_who_missed_two_appointments_is_asked_to_call() {
    let host = Host::of(&["ut2"]);
    let staff = host.staff("ut");
    for day in 1..3 {
        let booked = staff.booked("ut", &request(1, "session", day));
        staff.post(&format!("{}/no-show", place(&booked)), &json!({})).expect(200);
    }
    refused(staff.book("ut", &request(1, "session", 3)), 422, "rules-violated", "ut.call-us");
    staff.booked("ut", &request(2, "session", 3));
}

#[test]
fn a_filter_takes_the_spellings_that_a_booking_takes() {
    let host = Host::of(&["ut2"]);
    let staff = host.staff("ut");
    staff.booked("ut", &request(12_345_678, "session", 1));
    staff.booked("ut", &request(87_654_321, "session", 1));
    for spelling in ["12.345.678", "12345678", "id:12345678"] {
        let found = staff.get(&format!("/v1/ut/appointments?patient={spelling}")).expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{spelling}");
    }
    let nobody = staff.get("/v1/ut/appointments?patient=ana").expect_problem(400, "malformed-request");
    assert!(nobody["detail"].as_str().unwrap().contains("id:12345678"), "{nobody}");
    staff.get("/v1/ut/appointments?hospital=1").expect_problem(400, "malformed-request");
}

#[test]
fn each_role_has_a_view_of_its_own() {
    let host = Host::of(&["ut2"]);
    let (ana, staff) = (host.patient("ana"), host.staff("ut"));
    let booked = ana.booked("ut", &request(1, "session", 1));
    assert_eq!(booked["viewer"], "patient");
    for _ in 0..2 {
        assert_eq!(staff.get(&place(&booked)).expect(200).json()["viewer"], "staff");
        assert_eq!(ana.get(&place(&booked)).expect(200).json()["viewer"], "patient");
    }
    assert_eq!(booked.get("account"), None, "the rules do not show it");
}

#[test]
fn the_words_of_a_failure_are_for_the_team_and_not_for_clients() {
    let host = Host::of(&["ut2"]);
    let mut failing = request(1, "session", 1);
    failing["email"] = "panic@example.com".into();
    let failed = host.patient("ana").book("ut", &failing).expect_problem(503, "rules-unavailable");
    assert!(!failed.to_string().contains("it was told to fail"), "{failed}");
}

#[test]
fn a_country_goes_on_to_the_second_contract_and_back() {
    let host = Host::of(&["ut"]);
    let ana = host.patient("ana");
    let mut first = request(1, "visit", 1);
    first.as_object_mut().unwrap().retain(|name, _| !["kind", "email"].contains(&name.as_str()));
    let booked = ana.booked("ut", &first);
    let contract = |appointment: &Value| {
        let history = ana.get(&format!("{}/history", place(appointment))).expect(200).json();
        history["items"].as_array().unwrap().last().unwrap()["contract"].clone()
    };
    assert_eq!(contract(&booked), "1.0.0");

    install(&host, "ut2");
    assert_eq!(ana.get(&place(&booked)).expect(200).json()["viewer"], "patient", "the later version presents it");
    ana.book("ut", &request(2, "visit", 1)).expect_problem(409, "slot-taken");
    let session = ana.booked("ut", &request(1, "session", 2));
    let visit = ana.booked("ut", &request(1, "visit", 3));
    let waiting = host.staff("ut").booked("ut", &request(9, "visit", 9));
    let wait = host.staff("ut").post(&format!("{}/wait", place(&waiting)), &json!({})).expect(200).json();
    assert_eq!((contract(&session), &wait["phase"]), (json!("2.0.0"), &json!("waitlisted")));

    install(&host, "ut");
    let cancelled = ana.post(&format!("{}/cancel", place(&session)), &json!({})).expect(200).json();
    assert_eq!((&cancelled["phase"], contract(&session)), (&json!("cancelled"), json!("1.0.0")));
    // For the first contract neither a pending nor a waitlisted appointment is booked, so it cannot be cancelled.
    for other in [&visit, &waiting] {
        let cancel = host.staff("ut").post(&format!("{}/cancel", place(other)), &json!({}));
        refused(cancel, 409, "not-allowed-now", "ut.cancel.not-allowed-now");
    }
    // The first version has no action `lapse`, so the scheduled action waits.
    host.clock.advance(72 * HOUR);
    let ana = host.patient("ana");
    assert_eq!(ana.get(&place(&visit)).expect(200).json()["phase"], "pending");

    install(&host, "ut2");
    host.clock.advance(2 * HOUR);
    assert_eq!(at_revision(&host.patient("ana"), &visit, 2)["phase"], "cancelled");
}

#[test]
fn a_version_of_the_second_contract_is_the_canary_of_one_of_the_first() {
    let data = tempfile::tempdir().unwrap();
    let registry = FolderRegistry::new(&data.path().join("registry"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (version, component) in [("1.0.0", component("ut")), ("2.0.0", component("ut2"))] {
        let artifact = with_cases(artifact("ut".parse().unwrap(), version, component), "[]");
        runtime.block_on(registry.publish(&artifact)).unwrap();
    }
    let rules = |arguments: &[&str]| {
        let folder = ["--data", data.path().to_str().unwrap()];
        run(&[&["rules"], arguments, &folder, &["--why", "a test"]].concat()).expect(0);
    };
    rules(&["promote", "ut", "1.0.0"]);
    let folder = data.path().to_str().unwrap();
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--log", "warn"]);
    let ana = process.client(&token(data.path(), &[]));
    let versions = |client: &Client, day: u8| {
        let mut request = request(1, "visit", day);
        request.as_object_mut().unwrap().retain(|name, _| !["kind", "email"].contains(&name.as_str()));
        client.booked("ut", &request)["rules"]["version"].clone()
    };
    assert_eq!(versions(&ana, 1), "1.0.0");
    rules(&["canary", "ut", "2.0.0", "--share", "100"]);
    let platform = process.client(&token(data.path(), &["--group", "platform"]));
    let on_trial = |expected: bool| {
        eventually("the trial", WITHIN, || {
            let told = platform.get("/v1/ut/rules").expect(200).json();
            (told["candidate"].is_null() != expected).then_some(())
        });
    };
    on_trial(true);
    assert_eq!(versions(&ana, 2), "2.0.0");
    rules(&["withdraw", "ut"]);
    on_trial(false);
    assert_eq!(versions(&ana, 3), "1.0.0");
    rules(&["promote", "ut", "2.0.0"]);
    eventually("the second contract", WITHIN, || {
        let told = platform.get("/v1/ut/rules").expect(200).json();
        (told["rules"]["version"] == "2.0.0").then_some(())
    });
    rules(&["rollback", "ut"]);
    eventually("the first contract", WITHIN, || {
        let told = platform.get("/v1/ut/rules").expect(200).json();
        (told["rules"]["version"] == "1.0.0").then_some(())
    });
}
