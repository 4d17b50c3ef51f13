//! The read log: who was shown which patients is recorded, and staff and the patient can search it.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::Client;
use crate::support::requests::{cl, pe};

const LOG: &str = "/v1/pe/read-log";

/// Returns the subject, the operation and the reasons of each reading.
fn entries(page: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let reasons = |reading: &Value| {
        let patients = reading["patients"].as_array().unwrap().iter();
        patients.map(|patient| text(&patient["reason"])).collect()
    };
    let readings = page["items"].as_array().unwrap().iter();
    readings.map(|reading| (text(&reading["by"]["subject"]), text(&reading["operation"]), reasons(reading))).collect()
}

#[test]
fn who_was_shown_a_patient_is_found_by_patient_and_by_actor() {
    let host = Host::of(&["pe", "cl"]);
    let (ana, staff, platform) = (host.patient("ana"), host.staff("pe"), host.platform_team());
    let first = ana.booked("pe", &pe(1));
    ana.booked("pe", &pe(2));
    let place = format!("/v1/pe/appointments/{}", first["id"].as_str().unwrap());
    ana.get(&place).expect(200);
    ana.get("/v1/pe/appointments").expect(200);
    staff.get(&format!("{place}/history")).expect(200);
    host.patient("luis").get(&place).expect(404);
    host.client("bea", &["cl:staff"], &["appointments/read"]).get(&place).expect(403);

    let patient = format!("{LOG}?patient=dni:00000002");
    let found = staff.get(&patient).expect(200).json();
    let entry = |subject: &str, operation: &str, reason: &str| {
        (subject.to_owned(), operation.to_owned(), vec![reason.to_owned()])
    };
    let shown = [entry("staff", "history", "staff"), entry("ana", "list", "owner"), entry("ana", "get", "owner")];
    assert_eq!(entries(&found), shown);
    let history = &found["items"][0];
    assert_eq!(history["by"], json!({ "subject": "staff", "role": "staff" }));
    assert_eq!(history["patients"][0]["appointments"], json!([first["id"]]));
    assert!(!history["requestId"].as_str().unwrap().is_empty() && history["at"].as_str().unwrap().ends_with('Z'));
    assert!(!found.to_string().contains("00000002"), "a patient has an opaque id: {found}");

    let list = staff.get(&format!("{LOG}?actor=ana")).expect(200).json();
    assert_eq!(list["items"][0]["patients"].as_array().unwrap().len(), 2, "one reading of two patients: {list}");
    let both = platform.get(&format!("{patient}&actor=ana&limit=1")).expect(200).json();
    assert_eq!(entries(&both), shown[1..2]);
    let rest = format!("{patient}&actor=ana&limit=1&cursor={}", both["nextCursor"].as_str().unwrap());
    assert_eq!(entries(&platform.get(&rest).expect(200).json()), shown[2..]);

    // A search is a reading, too.
    let searches = staff.get(&format!("{patient}&actor=platform")).expect(200).json();
    assert_eq!(entries(&searches)[0], entry("platform", "read-log", "platform"));
    let since = history["at"].as_str().unwrap();
    let before = staff.get(&format!("{patient}&to={since}")).expect(200).json();
    assert_eq!(entries(&before), shown[1..]);
    let other = staff.get(&format!("{LOG}?patient=dni:00000099")).expect(200).json();
    assert_eq!(other["items"], json!([]));
}

#[test]
fn the_log_is_for_staff_and_for_patients_with_an_identity() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    for place in [format!("{LOG}?patient=dni:00000002"), format!("{LOG}?actor=ana"), LOG.to_owned()] {
        host.patient("ana").get(&place).expect_problem(403, "forbidden");
    }
    host.client("bea", &["cl:staff"], &["appointments/read"])
        .get(&format!("{LOG}?actor=ana"))
        .expect_problem(403, "forbidden");
    host.client("staff", &["pe:staff"], &["appointments/write"])
        .get(&format!("{LOG}?actor=ana"))
        .expect_problem(403, "forbidden");
    let detail = |place: &str| {
        let problem = staff.get(place).expect_problem(400, "malformed-request");
        problem["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail(LOG).contains("`patient`, an `actor`"));
    assert!(detail(&format!("{LOG}?patient=nobody")).contains("no appointment can have this `patient`"));
    assert!(detail(&format!("{LOG}?actor=ana&doctor=1")).contains("no parameter `doctor`"));
    let period = "from=2026-12-02T00:00:00Z&to=2026-12-01T00:00:00Z";
    assert!(detail(&format!("{LOG}?actor=ana&{period}")).contains("`from` must be before `to`"));
    staff.get("/v1/br/read-log?actor=ana").expect_problem(404, "not-found");
}

#[test]
fn a_log_that_cannot_be_written_stops_the_lists_of_staff_alone_and_loses_nothing() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let booked = ana.booked("pe", &pe(1));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let file = Connection::open(host.data().join("reads.db")).unwrap();
    file.execute_batch("CREATE TRIGGER full BEFORE INSERT ON reading BEGIN SELECT RAISE(ABORT, 'full'); END").unwrap();
    ana.get(&place).expect(200);
    let list = || staff.get("/v1/pe/appointments");
    let refused =
        eventually("staff get no list", Duration::from_secs(20), || Some(list()).filter(|list| list.status != 200));
    let problem = refused.expect_problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("the read log is unavailable"), "{problem}");
    ana.get("/v1/pe/appointments").expect(200);
    staff.get(&place).expect(200);
    staff.get(&format!("{LOG}?actor=ana")).expect_problem(503, "unavailable");

    file.execute_batch("DROP TRIGGER full").unwrap();
    eventually("staff get a list", Duration::from_secs(20), || Some(list()).filter(|list| list.status == 200));
    let found = entries(&staff.get(&format!("{LOG}?patient=dni:00000002&actor=ana")).expect(200).json());
    assert_eq!(found.iter().map(|(_, operation, _)| operation.as_str()).collect::<Vec<_>>(), ["list", "get"]);
}

#[test]
fn readings_of_one_country_are_not_found_in_another() {
    let host = Host::of(&["pe", "cl"]);
    let ana = host.patient("ana");
    for (country, request) in [("pe", pe(1)), ("cl", cl(1))] {
        let booked = ana.booked(country, &request);
        ana.get(&format!("/v1/{country}/appointments/{}", booked["id"].as_str().unwrap())).expect(200);
    }
    for country in ["pe", "cl"] {
        let found = host.staff(country).get(&format!("/v1/{country}/read-log?actor=ana")).expect(200).json();
        assert_eq!(entries(&found).len(), 1, "{found}");
    }
}

#[test]
fn a_verified_patient_sees_who_read_their_data_without_the_names_of_staff() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let link = |client: &Client, patient: &str, terms: Value| {
        let place = format!("/v1/pe/patients/{patient}/links/ana");
        client.request("PUT", &place).header("If-None-Match", "*").json(&terms).send().expect(201)
    };
    link(&staff, "dni:00000009", json!({ "relation": "carer", "reason": "seen at the desk" }));
    ana.get(LOG).expect_problem(403, "forbidden");
    link(&staff, "dni:00000002", json!({ "relation": "self", "reason": "passport seen at the desk" }));
    let booked = ana.booked("pe", &pe(1));
    staff.get(&format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap())).expect(200);
    staff.get("/v1/pe/patients/dni:00000002/links").expect(200);

    let readings = ana.get(LOG).expect(200).json();
    let records: Vec<_> =
        readings["items"].as_array().unwrap().iter().map(|item| (&item["by"], &item["operation"])).collect();
    let (staffs, [links, get]) = (json!({ "role": "staff" }), [json!("patient-links"), json!("get")]);
    assert_eq!(records, [(&staffs, &links), (&staffs, &get)]);
    let again = ana.get(&format!("{LOG}?patient=2")).status;
    assert_eq!(again, 400, "it is no key");
    let search = ana.get(&format!("{LOG}?patient=dni:00000002&actor=ana")).expect(200).json();
    assert_eq!(search["items"][0]["operation"], "read-log");
    for hidden in ["patient=dni:00000009", "actor=staff"] {
        ana.get(&format!("{LOG}?{hidden}")).expect_problem(403, "forbidden");
    }
}
