//! Measures the time from a promotion until the new version decides on bookings, under load, and counts the requests
//! that fail meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citas_core::rules::LoadedRules;
use serde_json::Value;

use crate::load;
use crate::platform::{Data, Server, loaded, peru};
use crate::posts::located;
use crate::report::Report;
use crate::requests::{booking, example, get, post};
use crate::timing::median;

const NEXT: &str = "9.9.9";
const SWAPS: usize = 6;
const CONNECTIONS: usize = 16;
const TARGET: Duration = Duration::from_secs(1);
/// Timeout of a swap.
const NEVER: Duration = Duration::from_secs(30);

pub fn measure(report: &mut Report) {
    let rules = loaded(peru());
    let data = Data::with_peru();
    data.publish(&renumbered(&rules, peru()), NEXT);
    let citas = Server::citas(&data);
    let (token, example) = (data.token(&["pe:staff"]), example(&rules));
    let book = |number| post("/v1/pe/appointments", &token, &booking(&example, number));
    let ids = located(citas.address, &[book(0)]);
    let gets = vec![get(&ids[0], &token); 1_000];

    let (stop, mut number) = (AtomicBool::new(false), 0);
    let (mut times, answered, failed) = std::thread::scope(|threads| {
        let load = threads.spawn(|| {
            let (mut answered, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let done = load::send(citas.address, CONNECTIONS, &gets, 200);
                answered += done.times.len();
                failed += done.failed;
            }
            (answered, failed)
        });
        let mut swap = |turn: usize| {
            let version = [NEXT, rules.id.version.as_str()][turn % 2];
            data.promote(version, u64::try_from(turn).expect("a small number") + 2);
            let started = Instant::now();
            loop {
                number += 1;
                // A request that was not booked has no version.
                let answer = load::send(citas.address, 1, &[book(number)], 201).bodies.pop().expect("an answer");
                let appointment: Value = serde_json::from_slice(&answer).expect("JSON");
                if appointment["rules"]["version"] == version {
                    break started.elapsed();
                }
                assert!(started.elapsed() < NEVER, "version {version} does not come into force: {appointment}");
            }
        };
        let times: Vec<_> = (0..SWAPS).map(&mut swap).collect();
        stop.store(true, Ordering::Relaxed);
        let (answered, failed) = load.join().expect("a load that ends");
        (times, answered, failed)
    });
    let (usual, slowest) = (median(&mut times).as_millis(), times[times.len() - 1]);
    let measured = format!("{usual} ms, slowest {} ms", slowest.as_millis());
    report.target(format!("promote → new version books, {SWAPS} times"), measured, "≤ 1 s", slowest <= TARGET);
    report.target("  GETs meanwhile", format!("{answered}, {failed} failed"), "0 failed", failed == 0);
}

/// Returns the component with another version in its descriptor, which is faster than another build.
fn renumbered(rules: &LoadedRules, component: &[u8]) -> Vec<u8> {
    let old = format!("{}{}", rules.country, rules.id.version);
    let new = format!("{}{NEXT}", rules.country);
    assert_eq!(old.len(), new.len(), "the text stays where it is");
    let places: Vec<usize> =
        (0..component.len()).filter(|place| component[*place..].starts_with(old.as_bytes())).collect();
    let [place] = places[..] else { panic!("`{old}` stands {} times in the component", places.len()) };
    let mut renumbered = component.to_owned();
    renumbered[place..place + new.len()].copy_from_slice(new.as_bytes());
    renumbered
}
