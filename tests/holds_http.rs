//! Holds: a slot that is held is kept for its holder until it ends, and is booked with the hold.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::{cl, day, pe};

const MINUTE: Duration = Duration::from_mins(1);

/// Returns the slots of a doctor of Peru on the first day that can be booked.
fn slots(client: &Client, doctor: &str) -> Vec<Value> {
    let path = format!("/v1/pe/slots?doctor={doctor}&hospital=00006219&district=150122&from={}&days=1", day("pe", 0));
    client.get(&path).expect(200).json()["items"].as_array().unwrap().clone()
}

fn hold(client: &Client, slot: &Value) -> Value {
    client.post("/v1/pe/holds", &json!({ "slot": slot["slot"] })).expect(201).json()
}

/// Returns a request without the members that a slot stands for.
fn without_slot(number: usize) -> Value {
    let mut request = pe(number);
    for member in ["date", "time", "doctor", "hospital"] {
        request.as_object_mut().unwrap().remove(member);
    }
    request
}

fn book_with(client: &Client, number: usize, hold: &Value) -> Answer {
    client.post("/v1/pe/appointments", &with(&without_slot(number), json!({ "hold": hold["id"] })))
}

fn kind(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().trim_start_matches("/problems/")
}

#[test]
fn a_held_slot_is_its_holders_until_it_is_booked() {
    let host = Host::of(&["pe"]);
    let (ana, bea) = (host.patient("ana"), host.patient("bea"));
    let slot = slots(&ana, "45678")[3].clone();
    let answer = ana.post("/v1/pe/holds", &json!({ "slot": slot["slot"] })).expect(201);
    let held = answer.json();
    assert_eq!(answer.header("location"), format!("/v1/pe/holds/{}", held["id"].as_str().unwrap()));
    for (member, value) in slot.as_object().unwrap() {
        assert_eq!(held[member], *value, "{member}");
    }
    let expires_at: Timestamp = held["expiresAt"].as_str().unwrap().parse().unwrap();
    let lasts = expires_at.duration_since(Timestamp::now());
    assert!((lasts - SignedDuration::from_mins(5)).abs() < SignedDuration::from_mins(1), "{lasts}");
    let place = answer.header("location").to_owned();
    assert_eq!(ana.get(&place).expect(200).json(), held);

    // For everybody else the slot is taken, and does not exist for search.
    assert!(slots(&bea, "45678").iter().all(|other| other["startsAt"] != slot["startsAt"]));
    assert_eq!(bea.get(&place).expect(404).json()["type"], "/problems/not-found");
    bea.delete(&place).expect(404);
    let refused = bea.post("/v1/pe/holds", &json!({ "slot": slot["slot"] })).expect(409).json();
    assert!(kind(&refused) == "slot-taken" && refused["freeSlots"].as_array().unwrap().len() == 3, "{refused}");
    let request = with(&without_slot(1), json!({ "slot": slot["slot"] }));
    let refused = bea.post("/v1/pe/appointments", &request).expect(409).json();
    assert!(kind(&refused) == "slot-taken" && !refused["freeSlots"].as_array().unwrap().is_empty(), "{refused}");
    assert_eq!(book_with(&bea, 2, &held).expect(404).json()["type"], "/problems/not-found");

    let booked = book_with(&ana, 3, &held).expect(201).json();
    assert_eq!((&booked["startsAt"], &booked["doctor"]), (&slot["startsAt"], &json!("45678")));
    ana.get(&place).expect(404);
    book_with(&ana, 4, &held).expect(404);
    host.clock.advance(6 * MINUTE);
    assert!(slots(&bea, "45678").iter().all(|other| other["startsAt"] != slot["startsAt"]), "it does not expire");
}

#[test]
fn a_hold_that_is_given_up_or_has_ended_blocks_nobody() {
    let host = Host::of(&["pe"]);
    let (ana, bea) = (host.patient("ana"), host.patient("bea"));
    let free = slots(&ana, "45678");
    let (given_up, ended) = (hold(&ana, &free[0]), hold(&ana, &free[1]));
    let place = format!("/v1/pe/holds/{}", given_up["id"].as_str().unwrap());
    ana.delete(&place).expect(204);
    assert_eq!(ana.delete(&place).expect(404).json()["type"], "/problems/not-found");
    assert_eq!(slots(&bea, "45678").len(), free.len() - 1);
    host.clock.advance(5 * MINUTE);
    assert_eq!(slots(&bea, "45678"), free);
    ana.get(&format!("/v1/pe/holds/{}", ended["id"].as_str().unwrap())).expect(404);

    // The slot is still free: the hold books it, late as it is.
    book_with(&ana, 1, &ended).expect(201);
    // Another has taken the slot since.
    let again = hold(&bea, &free[0]);
    host.clock.advance(5 * MINUTE);
    let booked = with(&without_slot(2), json!({ "slot": free[0]["slot"] }));
    ana.post("/v1/pe/appointments", &booked).expect(201);
    let refused = book_with(&bea, 3, &again).expect(409).json();
    assert_eq!(kind(&refused), "hold-expired");
    assert_eq!(refused["freeSlots"].as_array().unwrap().len(), 3);
    assert!(refused["detail"].as_str().unwrap().starts_with("the hold has ended"), "{refused}");
}

#[test]
fn an_account_holds_three_slots_at_once() {
    let host = Host::of(&["pe"]);
    let (ana, bea) = (host.patient("ana"), host.patient("bea"));
    let free = slots(&ana, "45678");
    let holds: Vec<Value> = free[..3].iter().map(|slot| hold(&ana, slot)).collect();
    let fourth = |client: &Client| client.post("/v1/pe/holds", &json!({ "slot": free[3]["slot"] }));
    let refused = fourth(&ana).expect(409).json();
    assert!(kind(&refused) == "hold-limit" && refused["detail"].as_str().unwrap().contains("at most 3"), "{refused}");
    book_with(&ana, 1, &holds[0]).expect(201);
    let place = |hold: &Value| format!("/v1/pe/holds/{}", hold["id"].as_str().unwrap());
    fourth(&ana).expect(201);
    fourth(&bea).expect(409);
    ana.delete(&place(&holds[1])).expect(204);
    hold(&ana, &free[4]);
    ana.post("/v1/pe/holds", &json!({ "slot": free[5]["slot"] })).expect(409);
    host.clock.advance(5 * MINUTE);
    hold(&ana, &free[5]);
    assert_eq!(hold(&bea, &free[6])["startsAt"], free[6]["startsAt"]);
}

#[test]
fn of_twenty_holds_of_one_account_at_once_three_are_made_and_of_twenty_accounts_one_has_a_slot() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    let free = slots(&staff, "45678");
    let at_once = |number: usize, call: &(dyn Fn(usize) -> u16 + Sync)| {
        let start = Barrier::new(number);
        let (call, start) = (&call, &start);
        std::thread::scope(|scope| {
            let calls = (0..number).map(|number| {
                scope.spawn(move || {
                    start.wait();
                    call(number)
                })
            });
            let calls: Vec<_> = calls.collect();
            calls.into_iter().map(|call| call.join().unwrap()).filter(|status| *status == 201).count()
        })
    };
    let own = host.patient("ana");
    let mine = |number: usize| own.post("/v1/pe/holds", &json!({ "slot": free[number]["slot"] })).status;
    assert_eq!(at_once(20, &mine), 3);
    let clients: Vec<Client> = (0..20).map(|number| host.patient(&format!("patient-{number}"))).collect();
    let last = free.last().unwrap();
    let holds_or_books = |number: usize| {
        if number.is_multiple_of(2) {
            return clients[number].post("/v1/pe/holds", &json!({ "slot": last["slot"] })).status;
        }
        let request = with(&without_slot(number), json!({ "slot": last["slot"] }));
        clients[number].post("/v1/pe/appointments", &request).status
    };
    assert_eq!(at_once(20, &holds_or_books), 1);
}

#[test]
fn an_appointment_moves_to_a_held_slot() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let free = slots(&ana, "45678");
    let first = hold(&ana, &free[0]);
    let booked = book_with(&ana, 1, &first).expect(201).json();
    let id = booked["id"].as_str().unwrap();
    // A slot to which the appointment can be moved stands for fewer members.
    let path = format!("/v1/pe/slots?appointment={id}&from={}&days=1", day("pe", 0));
    let target = ana.get(&path).expect(200).json()["items"][8].clone();
    let second = hold(&ana, &target);
    let moved = ana.post(&format!("/v1/pe/appointments/{id}/reschedule"), &json!({ "hold": second["id"] }));
    let moved = moved.expect(200).json();
    assert_eq!((&moved["startsAt"], &moved["revision"]), (&target["startsAt"], &json!(2)));
    ana.get(&format!("/v1/pe/holds/{}", second["id"].as_str().unwrap())).expect(404);
    let now_free: BTreeSet<String> =
        slots(&ana, "45678").iter().map(|slot| slot["startsAt"].as_str().unwrap().to_owned()).collect();
    assert!(now_free.contains(booked["startsAt"].as_str().unwrap()), "its former time is free");
    // An action that sets no time has no slot.
    let third = hold(&ana, &free[1]);
    let cancel = ana.post(&format!("/v1/pe/appointments/{id}/cancel"), &json!({ "hold": third["id"] }));
    let refused = cancel.expect(422).json();
    assert_eq!(refused["violations"][0]["pointer"], "/hold");
    ana.get(&format!("/v1/pe/holds/{}", third["id"].as_str().unwrap())).expect(200);
}

#[test]
fn a_slot_of_a_place_is_held_where_it_was_found() {
    let host = Host::of(&["cl"]);
    let staff = host.staff("cl");
    // The clocks of Easter Island are two hours behind those of the capital.
    let path = format!("/v1/cl/slots?doctor=123456&comuna=05201&modality=remota&from={}&days=1", day("cl", 0));
    let slot = staff.get(&path).expect(200).json()["items"][0].clone();
    assert_eq!(slot["zone"], "Pacific/Easter");
    let held = staff.post("/v1/cl/holds", &json!({ "slot": slot["slot"] })).expect(201).json();
    assert_eq!((&held["start"], &held["zone"]), (&slot["start"], &slot["zone"]));
    let mut request = with(&cl(1), json!({ "comuna": "05201", "modality": "remota", "hold": held["id"] }));
    for member in ["date", "time", "doctor"] {
        request.as_object_mut().unwrap().remove(member);
    }
    let booked = staff.post("/v1/cl/appointments", &request).expect(201).json();
    assert_eq!(booked["startsAt"], slot["startsAt"]);
}

#[test]
fn a_request_that_cannot_be_a_hold_is_refused() {
    let host = Host::of(&["pe", "cl", "ut"]);
    let ana = host.patient("ana");
    let slot = slots(&ana, "45678")[0].clone();
    let held = hold(&ana, &slot);
    let both = json!({ "slot": slot["slot"], "hold": held["id"] });
    for (body, named) in [
        (json!({}), "`slot` alone"),
        (json!({ "slot": 7 }), "`slot` alone"),
        (json!({ "slot": slot["slot"], "minutes": 60 }), "`slot` alone"),
        (json!({ "slot": "a.b" }), "`slot` is not a token"),
        (json!([]), "`slot` alone"),
    ] {
        let refused = ana.post("/v1/pe/holds", &body).expect(400).json();
        assert!(refused["detail"].as_str().unwrap().contains(named), "{refused}");
    }
    ana.post("/v1/cl/holds", &json!({ "slot": slot["slot"] })).expect(400);
    ana.post("/v1/ut/holds", &json!({ "slot": slot["slot"] })).expect(400);
    ana.get("/v1/pe/holds/1").expect(404);
    ana.get(&format!("/v1/cl/holds/{}", held["id"].as_str().unwrap())).expect(404);
    for (members, status, named) in [
        (both, 400, "leave one of the two out"),
        (json!({ "hold": 7 }), 400, "`hold` is the id of a hold"),
        (json!({ "hold": "7" }), 400, "`hold` is the id of a hold"),
        (json!({ "hold": "01935f00-0000-7000-8000-000000000000" }), 404, "no such hold"),
        (json!({ "hold": held["id"], "time": "23:30" }), 400, "`/time`"),
    ] {
        let refused = ana.post("/v1/pe/appointments", &with(&without_slot(1), members)).expect(status).json();
        assert!(refused["detail"].as_str().unwrap().contains(named), "{refused}");
    }
    let reader = host.client("ana", &[], &["appointments/read"]);
    reader.post("/v1/pe/holds", &json!({ "slot": slot["slot"] })).expect(403);
    assert_eq!(ana.get(&format!("/v1/pe/holds/{}", held["id"].as_str().unwrap())).expect(200).json(), held);
}

#[test]
fn a_slot_that_the_country_does_not_offer_any_more_is_not_held() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let slot = slots(&ana, "45678")[0].clone();
    let start: Timestamp = slot["startsAt"].as_str().unwrap().parse().unwrap();
    host.clock.advance(start.duration_since(Timestamp::now()).unsigned_abs());
    let ana = host.patient("ana");
    let refused =
        ana.request("POST", "/v1/pe/holds").header("Accept-Language", "es").json(&json!({ "slot": slot["slot"] }));
    let refused = refused.send().expect(422).json();
    assert!(refused["violations"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{refused}");
}

#[test]
fn a_repeated_request_for_a_hold_has_the_same_hold() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let free = slots(&ana, "45678");
    let put = |slot: &Value| {
        let request = ana.request("POST", "/v1/pe/holds").header("Idempotency-Key", "one");
        request.json(&json!({ "slot": slot["slot"] })).send()
    };
    let first = put(&free[0]).expect(201).json();
    assert_eq!(put(&free[0]).expect(201).json(), first);
    assert_eq!(kind(&put(&free[1]).expect(422).json()), "key-reused");
    let book = |number: usize| {
        let request = ana.request("POST", "/v1/pe/appointments").header("Idempotency-Key", "two");
        request.json(&with(&without_slot(number), json!({ "hold": first["id"] }))).send()
    };
    let booked = book(1).expect(201).json();
    // The hold has ended with the booking, and the repeated request has the same response.
    assert_eq!(book(1).expect(201).json(), booked);
    assert_eq!(kind(&book(2).expect(422).json()), "key-reused");
    put(&free[0]).expect(404);
}
