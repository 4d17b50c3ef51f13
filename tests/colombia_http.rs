//! Colombia's journey, from a request without a date to the visit, with a clock that the tests move. It begins on Monday,
//! 1 February 2027, at ten in Bogotá.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::with;

/// Maximum time in which a running host does a due action.
const DONE_WITHIN: Duration = Duration::from_secs(30);

fn colombia() -> Host {
    let host = Host::of(&["co"]);
    let monday: Timestamp = "2027-02-01T15:00:00Z".parse().unwrap();
    host.clock.shift_wall(monday.duration_since(Timestamp::now()));
    host
}

/// Returns the request of patient `number`.
fn request(number: usize, changes: Value) -> Value {
    let request = json!({
        "specialty": "medicina-general", "document": { "type": "CC", "number": (1_000_000 + number).to_string() },
        "municipality": "05001", "eps": "EPS001", "email": format!("patient{number}@example.com"),
    });
    with(&request, changes)
}

fn vaccination(number: usize, time: &str) -> Value {
    let timed = json!({ "specialty": "vacunacion", "hospital": "050010000101", "date": "2027-02-02", "time": time });
    request(number, timed)
}

/// Returns the input that assigns a doctor on a day at nine.
fn at_nine(doctor: usize, date: &str) -> Value {
    json!({ "doctor": doctor.to_string(), "hospital": "050010000101", "date": date, "time": "09:00" })
}

fn place(appointment: &Value) -> String {
    format!("/v1/co/appointments/{}", appointment["id"].as_str().unwrap())
}

/// Does an action as staff.
fn done(host: &Host, appointment: &Value, action: &str, input: &Value) -> Value {
    host.staff("co").post(&format!("{}/{action}", place(appointment)), input).expect(200).json()
}

/// Waits until the appointment has this status, and returns it.
fn becomes(host: &Host, appointment: &Value, status: &str) -> Value {
    eventually(status, DONE_WITHIN, || {
        let now = host.staff("co").get(&place(appointment)).expect(200).json();
        (now["status"] == status).then_some(now)
    })
}

#[test]
fn a_specialist_s_request_becomes_a_visit() {
    let host = colombia();
    let special = json!({ "specialty": "cardiologia", "authorisation": "A-102030" });
    let requested = host.patient("ana").booked("co", &request(1, special));
    assert_eq!((&requested["phase"], &requested["due"]), (&json!("requested"), &json!("2027-02-08")));
    assert_eq!(done(&host, &requested, "authorise", &json!({}))["status"], "autorizada");
    let assigned = done(&host, &requested, "assign", &at_nine(7, "2027-02-10"));
    assert_eq!(assigned["confirmBy"], "2027-02-03 10:00");
    let confirmed = host.patient("ana").post(&format!("{}/confirm", place(&requested)), &json!({})).expect(200).json();
    assert_eq!((&confirmed["phase"], &confirmed["startsAt"]), (&json!("booked"), &json!("2027-02-10T14:00:00Z")));
    let mails = |count: usize| -> BTreeSet<String> {
        let letters = host.spool().wait_for(count).into_iter();
        letters.map(|letter| letter.subject.split(':').next().unwrap().to_owned()).collect()
    };
    let expected = [
        "Recibimos su solicitud de cita",
        "Su solicitud de cita está autorizada",
        "Confirme su cita médica",
        "Su cita médica está confirmada",
    ];
    assert_eq!(mails(4), expected.map(String::from).into());

    host.clock.shift_wall(SignedDuration::from_hours(8 * 24));
    assert!(mails(5).contains("Recordatorio de su cita médica"));
    host.clock.shift_wall(SignedDuration::from_hours(23));
    assert_eq!(done(&host, &requested, "arrive", &json!({}))["status"], "en-espera");
    assert_eq!(done(&host, &requested, "complete", &json!({}))["status"], "atendida");
    let history = host.staff("co").get(&format!("{}/history", place(&requested))).expect(200).json();
    let actions: Vec<_> = history["items"].as_array().unwrap().iter().map(|step| step["action"].clone()).collect();
    assert_eq!(json!(actions), json!(["book", "authorise", "assign", "confirm", "remind", "arrive", "complete"]));
}

#[test]
fn a_time_that_nobody_confirms_is_free_again_and_the_request_waits_once_more() {
    let host = colombia();
    let requested = host.patient("ana").booked("co", &request(1, json!({})));
    let other = host.patient("eva").booked("co", &request(2, json!({})));
    done(&host, &requested, "assign", &at_nine(7, "2027-02-04"));
    let assign = format!("{}/assign", place(&other));
    let taken = host.staff("co").post(&assign, &at_nine(7, "2027-02-04")).expect_problem(409, "slot-taken");
    assert_eq!(taken["violations"][0]["code"], "co.doctor.taken");

    host.clock.shift_wall(SignedDuration::from_hours(48));
    let again = becomes(&host, &requested, "solicitada");
    assert_eq!((&again["lapses"], again.get("startsAt")), (&json!(1), None));
    done(&host, &other, "assign", &at_nine(7, "2027-02-04"));
    done(&host, &requested, "assign", &at_nine(8, "2027-02-04"));
    host.clock.shift_wall(SignedDuration::from_hours(21));
    becomes(&host, &requested, "cancelada");
    let open = host.patient("ana").book("co", &request(1, json!({}))).expect(201).json();
    host.patient("ana").book("co", &request(1, json!({}))).expect_problem(409, "slot-taken");
    host.patient("ana").post(&format!("{}/cancel", place(&open)), &json!({})).expect(200);
}

#[test]
fn a_missed_deadline_of_staff_is_recorded_and_the_request_stays() {
    let host = colombia();
    let requested = host.patient("ana").booked("co", &request(1, json!({})));
    host.clock.shift_wall(SignedDuration::from_hours(4 * 24));
    let late = eventually("the term", DONE_WITHIN, || {
        let history = host.staff("co").get(&format!("{}/history", place(&requested))).expect(200).json();
        history["items"].get(1).cloned()
    });
    assert_eq!(late["action"], "overdue");
    let refused = host.staff("co").post(&format!("{}/assign", place(&requested)), &at_nine(7, "2027-02-08"));
    assert_eq!(refused.violations(), [("/reason".to_owned(), "co.assign.reason-missing".to_owned())]);
    let explained = with(&at_nine(7, "2027-02-08"), json!({ "reason": "agenda completa" }));
    assert_eq!(done(&host, &requested, "assign", &explained)["status"], "por-confirmar");
}

#[test]
fn a_patient_who_missed_two_appointments_in_half_a_year_is_asked_to_call() {
    let host = colombia();
    let missed: Vec<_> = ["09:00", "15:00"].map(|time| host.patient("ana").booked("co", &vaccination(1, time))).into();
    host.clock.shift_wall(SignedDuration::from_hours(30));
    for appointment in &missed {
        assert_eq!(done(&host, appointment, "no-show", &json!({}))["status"], "no-asistio");
    }
    let asked = request(1, json!({}));
    let refused = host.patient("ana").book("co", &asked).expect_problem(422, "rules-violated");
    assert_eq!(refused["violations"][0]["code"], "co.patient.call-us");
    assert!(refused["violations"][0]["message"].as_str().unwrap().contains("Por favor llámenos"));
    let by_staff = host.staff("co").booked("co", &asked);
    done(&host, &by_staff, "cancel", &json!({}));
    host.clock.shift_wall(SignedDuration::from_hours(180 * 24));
    host.patient("ana").booked("co", &asked);
}

#[test]
fn a_session_has_ten_places_and_a_hospital_three_rooms() {
    let host = colombia();
    for number in 0..10 {
        host.patient("ana").booked("co", &vaccination(number, "09:00"));
    }
    let full = host.patient("ana").book("co", &vaccination(10, "09:00")).expect_problem(409, "slot-taken");
    assert_eq!(full["violations"][0]["code"], "co.session.full");
    assert_eq!(full["freeSlots"].as_array().unwrap().len(), 3);

    let therapy = json!({ "specialty": "terapia", "authorisation": "A-102030" });
    let requests: Vec<_> =
        (20..24).map(|number| host.staff("co").booked("co", &request(number, therapy.clone()))).collect();
    let assigned = requests.iter().enumerate().map(|(doctor, requested)| {
        done(&host, requested, "authorise", &json!({}));
        host.staff("co").post(&format!("{}/assign", place(requested)), &at_nine(doctor + 1, "2027-02-03"))
    });
    let assigned: Vec<_> = assigned.map(|answer| answer.json()).collect();
    let rooms: Vec<_> = assigned[..3].iter().map(|appointment| appointment["room"].clone()).collect();
    assert_eq!(json!(rooms), json!(["1", "2", "3"]));
    assert_eq!(assigned[3]["violations"][0]["code"], "co.room.taken");
}
