//! A country under heavy load, within its budget or beyond its capacity, delays no other country, and every request
//! gets an answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use citas::wasm::limits::CEILING;
use citas_core::model::Limits;
use citas_core::rules::LoadedRules;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::components::{chaos_with, engine};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::{pe, xx};

/// Maximum delay of Peru, on a machine that other tests share. `cargo bench -p citas -- crowd` has the real bound.
const NEIGHBOUR_WITHIN: Duration = Duration::from_secs(1);

/// Starts a host with Peru and, as `xx` and as `yy`, the chaos country with all the fuel that a component may declare.
fn host() -> Host {
    let host = Host::of(&["pe"]);
    let limits = Limits { fuel: Some(CEILING.fuel), ..Limits::default() };
    for features in [&[][..], &["country"]] {
        let rules = LoadedRules::load(engine(), &chaos_with(features), &limits).unwrap();
        host.platform.catalogue.install(rules, Timestamp::now());
    }
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
        book_heavy(&host.patient("luis"), country, 100);
    }
    let (mut times, mut lists) = std::thread::scope(|scope| {
        let busy = ["xx", "xx", "yy", "yy"].map(|country| {
            let (luis, over) = (host.patient("luis"), &over);
            scope.spawn(move || {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let list = luis.get(&format!("/v1/{country}/appointments?limit=100"));
                    assert!([200, 503].contains(&list.status), "{}", list.text);
                    times.extend((list.status == 200).then_some(list.took));
                }
                times
            })
        });
        let staff = host.staff("pe");
        let times: Vec<Duration> = (0..60)
            .map(|number| {
                let booked = staff.book("pe", &pe(number)).expect(201);
                let place = format!("/v1/pe/appointments/{}", booked.json()["id"].as_str().unwrap());
                booked.took.max(staff.get(&place).expect(200).took)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        (times, busy.into_iter().flat_map(|busy| busy.join().unwrap()).collect::<Vec<_>>())
    });
    times.sort_unstable();
    lists.sort_unstable();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    let list = lists[lists.len() / 2];
    println!("Peru: median {median:?}, slowest {slowest:?}; a list: median {list:?}");
    assert!(slowest < NEIGHBOUR_WITHIN, "Peru took {slowest:?}");
    // Whatever else the machine does: who had to wait for a list would take about as long as one.
    assert!(median * 3 < list, "Peru took {median:?}, and a list {list:?}");
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

/// Schemas are a country's own as its rules are: threads that serve connections run neither.
#[test]
fn a_request_is_checked_against_its_schema_when_its_countrys_turn_comes() {
    let host = Host::of(&["xx"]);
    let places = available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1));
    let (gate, taken) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (executor, luis) = (host.platform.catalogue.executor(), host.patient("luis"));
    let held = gate.lock().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..places {
            let (gate, taken) = (gate.clone(), taken.clone());
            let call = move || {
                taken.fetch_add(1, Ordering::Relaxed);
                drop(gate.lock());
            };
            scope.spawn(|| Runtime::new().unwrap().block_on(executor.run("xx".parse().unwrap(), call)));
        }
        let all_taken = || (taken.load(Ordering::Relaxed) == places).then_some(());
        eventually("all places are taken", Duration::from_secs(20), all_taken);
        let refused = scope.spawn(|| luis.book("xx", &json!({ "doctor": 7 })));
        std::thread::sleep(Duration::from_millis(200));
        let waited = !refused.is_finished();
        drop(held);
        refused.join().unwrap().expect_problem(422, "rules-violated");
        assert!(waited, "it was checked outside its turn");
    });
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
