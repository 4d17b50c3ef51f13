//! A country under heavy load, within its budget or beyond its capacity, delays no other country, and every request
//! gets an answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citas_core::model::Limits;
use citas_core::rules::LoadedRules;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::components::{chaos_with, engine};
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::{pe, xx};

/// Maximum delay of Peru, on a machine that other tests share. `cargo bench -p citas -- crowd` has the real bound.
const NEIGHBOUR_WITHIN: Duration = Duration::from_secs(1);

/// Starts a host with Peru and, as `xx` and as `yy`, the chaos country.
fn host() -> Host {
    let host = Host::of(&["pe", "xx"]);
    let yy = LoadedRules::load(engine(), &chaos_with(&["country"]), &Limits::default()).unwrap();
    host.platform.catalogue.install(yy, Timestamp::now());
    host
}

fn mode(number: usize, mode: &str) -> Value {
    with(&xx(number), json!({ "mode": mode }))
}

fn book_heavy(client: &Client, country: &str, appointments: usize) {
    for number in 0..appointments {
        client.booked(country, &mode(number, "heavy"));
    }
}

#[test]
fn lists_of_two_countries_at_the_edge_of_their_budgets_keep_no_other_country_waiting() {
    let host = host();
    let over = AtomicBool::new(false);
    for country in ["xx", "yy"] {
        book_heavy(&host.patient("luis"), country, 30);
    }
    let mut times = std::thread::scope(|scope| {
        for country in ["xx", "xx", "yy", "yy"] {
            let (luis, over) = (host.patient("luis"), &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let list = luis.get(&format!("/v1/{country}/appointments?limit=100"));
                    assert!([200, 503].contains(&list.status), "{}", list.text);
                }
            });
        }
        let ana = host.patient("ana");
        let times: Vec<Duration> = (0..60)
            .map(|number| {
                let booked = ana.book("pe", &pe(number)).expect(201);
                let place = format!("/v1/pe/appointments/{}", booked.json()["id"].as_str().unwrap());
                booked.took.max(ana.get(&place).expect(200).took)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        times
    });
    times.sort_unstable();
    println!("Peru: median {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() - 1] < NEIGHBOUR_WITHIN, "Peru took {:?}", times[times.len() - 1]);
}

#[test]
fn a_list_that_is_too_much_for_its_calls_ends_early_and_every_appointment_can_be_listed() {
    let host = Host::of(&["xx"]);
    let luis = host.patient("luis");
    book_heavy(&luis, "xx", 60);
    let (mut ids, mut pages, mut cursor) = (BTreeSet::new(), 0, String::new());
    loop {
        let page = luis.get(&format!("/v1/xx/appointments?limit=100&cursor={cursor}")).expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty());
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids.len(), 60);
    assert!(pages > 1, "one call presents a few of them, and a list makes ten calls");
    let told = host.platform_team().get("/v1/xx/rules").expect(200).json();
    assert_eq!(told["calls"]["faults"], 0, "a batch that is split is no fault: {told}");
}

/// Books from `clients` clients at once for three seconds, with requests that take most of a call's budget. Returns the
/// bookings per second and the answers.
fn booked_by(host: &Host, clients: usize, first: usize) -> (f64, Vec<Answer>) {
    let started = Instant::now();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                let luis = host.patient(&format!("luis-{client}"));
                scope.spawn(move || {
                    let numbers = (0..).map(|turn| first + turn * 1_000 + client);
                    let during = numbers.take_while(|_| started.elapsed() < Duration::from_secs(3));
                    during.map(|number| luis.book("xx", &mode(number, "work"))).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let booked = answers.iter().filter(|answer| answer.status == 201).count();
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let rate = booked as f64 / started.elapsed().as_secs_f64();
    (rate, answers)
}

#[test]
fn a_crowd_beyond_capacity_is_told_at_once_to_come_again_and_the_others_are_served() {
    let host = Host::of(&["xx"]);
    let (alone, _) = booked_by(&host, 1, 0);
    let (crowded, answers) = booked_by(&host, 100, 1_000_000);
    println!("{alone:.0} bookings a second for one client, {crowded:.0} for a hundred");
    // The clients of this test take part of the machine.
    assert!(crowded > alone / 2.0, "{crowded} bookings a second; one client alone has {alone}");
    let refused: Vec<_> = answers.into_iter().filter(|answer| answer.status != 201).collect();
    assert!(!refused.is_empty());
    for answer in refused {
        let problem = answer.expect_problem(503, "rules-unavailable");
        assert!(problem["detail"].as_str().unwrap().contains("too many calls"), "{problem}");
    }
}

#[test]
fn a_fault_of_offers_is_counted_although_the_conflict_is_answered() {
    let host = Host::of(&["xx"]);
    let luis = host.patient("luis");
    luis.booked("xx", &mode(1, "nowhere"));
    let problem = luis.book("xx", &mode(1, "nowhere")).expect_problem(409, "slot-taken");
    assert_eq!(problem["freeSlots"], json!([]));
    let told = host.platform_team().get("/v1/xx/rules").expect(200).json();
    assert_eq!(told["calls"]["faults"], 1, "{told}");
}
