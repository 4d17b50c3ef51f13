//! Many clients at once: no slot is booked twice, and no two appointments of a doctor or a patient overlap.

use std::collections::BTreeMap;
use std::sync::Barrier;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::{cl, day, pe, run};

/// Sends all requests at the same moment, each from a client of its own: `client` returns that of a request.
fn at_once(country: &str, requests: &[Value], client: impl Fn(usize) -> Client + Sync) -> Vec<Answer> {
    let start = Barrier::new(requests.len());
    let send = |number: usize, request: &Value| {
        let client = client(number);
        client.get("/healthz").expect(200);
        start.wait();
        // A crowd on a busy machine may get a 503 and try again.
        let mut answers = std::iter::repeat_with(|| client.book(country, request)).take(100);
        answers.find(|answer| answer.status != 503).expect("the host recovers")
    };
    std::thread::scope(|scope| {
        let send = &send;
        let clients: Vec<_> =
            requests.iter().enumerate().map(|(number, request)| scope.spawn(move || send(number, request))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry(answer.status).or_default() += 1;
    }
    counted
}

#[test]
fn of_two_hundred_clients_who_book_one_half_hour_one_gets_it() {
    let host = Host::of(&["pe"]);
    let requests: Vec<_> = (0..200).map(|number| with(&pe(number), json!({ "doctor": "45678" }))).collect();
    let answers = at_once("pe", &requests, |number| host.patient(&format!("patient-{number}")));
    assert_eq!(statuses(&answers), BTreeMap::from([(201, 1), (409, 199)]));
    for refused in answers.into_iter().filter(|answer| answer.status == 409) {
        refused.expect_problem(409, "slot-taken");
    }
    assert_eq!(host.staff("pe").get("/v1/pe/appointments").json()["items"].as_array().unwrap().len(), 1);
    host.spool().wait_for(1);
}

#[test]
fn of_twenty_bookings_for_one_patient_three_are_within_the_limit() {
    let host = Host::of(&["pe"]);
    let request = |number: usize| {
        let time = format!("{:02}:{:02}", 8 + number / 2, number % 2 * 30);
        with(&pe(number), json!({ "dni": "10117410", "time": time }))
    };
    let answers = at_once("pe", &(0..20).map(request).collect::<Vec<_>>(), |_| host.patient("ana"));
    assert_eq!(statuses(&answers), BTreeMap::from([(201, 3), (409, 17)]));
}

#[test]
fn of_two_hundred_bookings_of_one_account_ten_are_within_the_limit() {
    let host = Host::of(&["pe"]);
    let answers = at_once("pe", &(0..200).map(pe).collect::<Vec<_>>(), |_| host.patient("ana"));
    assert_eq!(statuses(&answers), BTreeMap::from([(201, 10), (409, 190)]));
}

/// Returns the start and the end of an appointment.
fn time_of(appointment: &Value) -> (Timestamp, Timestamp) {
    let start: Timestamp = appointment["startsAt"].as_str().unwrap().parse().unwrap();
    (start, start + SignedDuration::from_mins(appointment["minutes"].as_i64().unwrap()))
}

fn assert_apart(appointments: &[Value], whose: &str) {
    for (number, one) in appointments.iter().enumerate() {
        for other in &appointments[number + 1..] {
            let ((start, end), (other_start, other_end)) = (time_of(one), time_of(other));
            let overlap = one[whose] == other[whose] && start < other_end && other_start < end;
            assert!(!overlap, "{one} and {other} share the {whose}'s time");
        }
    }
}

#[test]
fn half_hours_and_thirds_of_an_hour_of_one_doctor_never_overlap() {
    let host = Host::of(&["cl"]);
    let mut chance = Chance::seeded(20_261_124);
    // A morning of two doctors: thirty patients ask for any time of it, in either length.
    let requests: Vec<_> = (0..240)
        .map(|number| {
            let (modality, minute) = match chance.below(3) {
                0 => ("presencial", chance.pick(&[0, 30])),
                1 => ("remota", chance.pick(&[0, 20, 40])),
                _ => ("telemedicina", chance.pick(&[0, 20, 40])),
            };
            let (hour, patient) = (8 + chance.below(5), chance.below(30));
            let doctor = if number % 5 == 0 { "654321" } else { "123456" };
            let time = format!("{hour:02}:{minute:02}");
            let patient = run(20_000_000 + patient);
            with(&cl(0), json!({ "doctor": doctor, "time": time, "modality": modality, "run": patient }))
        })
        .collect();
    // Staff book for the patients themselves.
    let counted = requests.chunks(80).map(|requests| statuses(&at_once("cl", requests, |_| host.staff("cl"))));
    let booked: usize = counted
        .map(|counted| {
            assert!(counted.keys().all(|status| [201, 409].contains(status)), "{counted:?}");
            counted.get(&201).copied().unwrap_or(0)
        })
        .sum();
    let listed = host.staff("cl").get("/v1/cl/appointments?limit=100").expect(200).json();
    let appointments = listed["items"].as_array().unwrap();
    assert_eq!(appointments.len(), booked, "what was answered is what is stored");
    for minutes in [20, 30] {
        assert!(appointments.iter().any(|appointment| appointment["minutes"] == minutes), "none of {minutes} minutes");
    }
    assert_apart(appointments, "doctor");
    assert_apart(appointments, "run");
}

#[test]
fn moving_and_cancelling_at_once_gives_no_slot_twice() {
    let host = Host::of(&["cl"]);
    let client = host.staff("cl");
    let times: Vec<String> = (9..13).flat_map(|hour| [format!("{hour:02}:00"), format!("{hour:02}:30")]).collect();
    let request = |number: usize| {
        let time = &times[number % times.len()];
        with(&cl(number), json!({ "doctor": "123456", "date": day("cl", number / times.len()), "time": time }))
    };
    let booked: Vec<Value> = (0..16).map(|number| client.booked("cl", &request(number))).collect();
    std::thread::scope(|scope| {
        for (thread, appointments) in booked.chunks(4).enumerate() {
            let (client, times) = (&client, &times);
            scope.spawn(move || {
                let mut chance = Chance::seeded(thread as u64 + 1);
                for _ in 0..10 {
                    let place = format!("/v1/cl/appointments/{}", chance.pick(appointments)["id"].as_str().unwrap());
                    let answer = if chance.once_in(12) {
                        client.post(&format!("{place}/cancel"), &json!({ "reason": "patient" }))
                    } else {
                        let to = json!({ "date": day("cl", chance.below(2)), "time": chance.pick(times) });
                        client.post(&format!("{place}/reschedule"), &to)
                    };
                    assert!([200, 409].contains(&answer.status), "{answer:?}");
                }
            });
        }
    });
    let listed = host.staff("cl").get("/v1/cl/appointments?phase=booked&limit=100").json();
    assert_apart(listed["items"].as_array().unwrap(), "doctor");
}
