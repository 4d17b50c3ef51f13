//! `kill -9` in the middle of a load of bookings, again and again: what was acknowledged is there, and is told of once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::eventually::eventually;
use crate::support::http::Client;
use crate::support::mail::Spool;
use crate::support::process::{Process, publish, token};
use crate::support::requests::{cl, pe};

/// How often the process is killed.
const KILLS: usize = 20;

/// How many clients book at once.
const CLIENTS: usize = 4;

/// Most bookings that are acknowledged between two kills; the least is one of each country.
const MOST_BETWEEN: usize = 25;

/// Everything that clients were told with a 201, by country and id.
type Acknowledged = Mutex<BTreeMap<(&'static str, String), Value>>;

fn serve(data: &Path) -> Process {
    let folder = data.to_str().unwrap();
    Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--rate-limit", "0", "--log", "warn"])
}

/// Books in both countries until the process dies or somebody says that it is over.
fn load(client: &Client, next: &AtomicUsize, over: &AtomicBool, acknowledged: &Acknowledged) {
    while !over.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (country, request) = if number.is_multiple_of(3) { ("cl", cl(number)) } else { ("pe", pe(number)) };
        let place = format!("/v1/{country}/appointments");
        let key = format!("k-{number}");
        let Ok(answer) = client.request("POST", &place).key(&key).json(&request).try_send() else { continue };
        let booked = answer.expect(201).json();
        let id = booked["id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert((country, id), booked);
    }
}

/// Starts the process, books, and kills it after some more bookings.
fn run_and_kill(data: &Path, token: &str, next: &AtomicUsize, acknowledged: &Acknowledged, bookings: usize) {
    let mut process = serve(data);
    let client = process.client(token);
    let over = AtomicBool::new(false);
    let count = || acknowledged.lock().unwrap().len();
    let enough = count() + bookings;
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| load(&client, next, &over, acknowledged));
        }
        eventually("bookings", Duration::from_secs(30), || (count() >= enough).then_some(()));
        process.kill();
        over.store(true, Ordering::Relaxed);
    });
}

/// Every appointment of a country.
fn stored(staff: &Client, country: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = staff.get(&format!("/v1/{country}/appointments?limit=100{cursor}")).expect(200).json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["nextCursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_and_every_event_becomes_one_mail() {
    let started = Instant::now();
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["pe", "cl"]);
    let ana = token(data.path(), &[]);
    let (next, acknowledged) = (AtomicUsize::new(0), Acknowledged::default());
    let mut chance = Chance::seeded(9);
    for _ in 0..KILLS {
        run_and_kill(data.path(), &ana, &next, &acknowledged, 1 + chance.below(MOST_BETWEEN));
    }
    let killed = started.elapsed();

    let process = serve(data.path());
    let (client, staff) = (process.client(&ana), process.client(&token(data.path(), &["--group", "platform"])));
    let acknowledged = acknowledged.into_inner().unwrap();
    for ((country, id), booked) in &acknowledged {
        let found = client.get(&format!("/v1/{country}/appointments/{id}")).expect(200);
        assert_eq!(found.json(), *booked, "what was acknowledged is what is there");
    }

    let (peru, chile) = (stored(&staff, "pe"), stored(&staff, "cl"));
    assert!(peru.len() + chile.len() >= acknowledged.len());
    for appointments in [&peru, &chile] {
        let doctors: BTreeSet<_> = appointments.iter().map(|appointment| appointment["doctor"].as_str()).collect();
        assert_eq!(doctors.len(), appointments.len(), "each request has a doctor of its own, so none came about twice");
    }
    let ids: BTreeSet<String> = peru.iter().map(|appointment| appointment["id"].as_str().unwrap().to_owned()).collect();
    let spool = Spool::in_data(data.path());
    let letters = eventually("a mail for each booking in Peru", Duration::from_secs(60), || {
        let empty = client.get("/metrics").text.contains("citas_outbox_oldest_seconds{country=\"pe\"} 0\n");
        let letters = spool.letters();
        (empty && letters.len() >= ids.len()).then_some(letters)
    });
    // A mail is a file of its event's id: a repeat would have written the same file.
    assert_eq!(letters.len(), ids.len());
    let told: BTreeSet<String> = letters.iter().map(|letter| letter.property("UID")).collect();
    assert_eq!(told, ids, "one mail for each appointment in Peru, none for Chile's");
    println!(
        "{KILLS} kills in {killed:?}; {} acknowledged, {} stored, {} mails; {:?} in all",
        acknowledged.len(),
        peru.len() + chile.len(),
        letters.len(),
        started.elapsed()
    );
}
