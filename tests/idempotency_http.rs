//! `Idempotency-Key`: a repeated request takes effect once and gets the same answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::pe;

fn book(client: &Client, request: &Value, key: &str) -> Answer {
    client.request("POST", "/v1/pe/appointments").key(key).json(request).send()
}

/// Returns the parts of an answer that clients rely on.
fn essence(answer: &Answer) -> (u16, &str, &str, Value) {
    (answer.status, answer.header("etag"), answer.header("location"), answer.json())
}

#[test]
fn a_repeated_booking_gets_the_answer_of_the_first() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let first = book(&ana, &pe(1), "k-1").expect(201);
    assert_eq!(essence(&book(&ana, &pe(1), "k-1")), essence(&first));
    assert_eq!(essence(&book(&ana, &pe(1), "\"k-1\"")), essence(&first), "quotes are the draft's spelling");
    let place = first.header("location").to_owned();
    ana.post(&format!("{place}/cancel"), &json!({})).expect(200);
    assert_eq!(essence(&book(&ana, &pe(1), "k-1")), essence(&first), "also after it has changed");
    assert_eq!(ana.get("/v1/pe/appointments").json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_repeated_action_gets_the_answer_of_the_first() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let cancel = || ana.request("POST", &format!("{place}/cancel")).key("k-1").json(&json!({})).send();
    let first = cancel().expect(200);
    assert_eq!(essence(&cancel()), essence(&first));
    assert_eq!(ana.get(&place).json()["revision"], 2);
}

#[test]
fn a_key_is_for_one_request_of_one_caller() {
    let host = Host::of(&["pe"]);
    let (ana, luis) = (host.patient("ana"), host.patient("luis"));
    book(&ana, &pe(1), "k-1").expect(201);
    book(&ana, &pe(2), "k-1").expect_problem(422, "key-reused");
    book(&luis, &pe(2), "k-1").expect(201);
    for bad in ["", "\"\"", &"k".repeat(256)] {
        book(&ana, &pe(3), bad).expect_problem(400, "malformed-request");
    }
}

#[test]
fn a_request_that_was_refused_leaves_its_key_free() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let wrong = with(&pe(1), json!({ "time": "09:31" }));
    book(&ana, &wrong, "k-1").expect_problem(422, "rules-violated");
    book(&ana, &pe(1), "k-1").expect(201);
}

#[test]
fn many_at_once_with_one_key_bring_about_one_appointment() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    for round in 0..5 {
        let (request, key) = (pe(round), format!("k-{round}"));
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..20).map(|_| scope.spawn(|| book(&ana, &request, &key))).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let mut ids = BTreeSet::new();
        for answer in answers {
            if answer.status == 201 {
                ids.insert(answer.json()["id"].to_string());
            } else {
                answer.expect_problem(409, "in-progress");
            }
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
    assert_eq!(ana.get("/v1/pe/appointments").json()["items"].as_array().unwrap().len(), 5);
}

#[test]
fn a_key_is_remembered_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let first = {
        let host = Host::in_folder(&["pe"], data.path());
        book(&host.patient("ana"), &pe(1), "k-1").expect(201)
    };
    let host = Host::in_folder(&["pe"], data.path());
    let ana = host.patient("ana");
    assert_eq!(essence(&book(&ana, &pe(1), "k-1")), essence(&first));
    book(&ana, &pe(2), "k-1").expect_problem(422, "key-reused");
    ana.book("pe", &pe(1)).expect_problem(409, "slot-taken");
}
