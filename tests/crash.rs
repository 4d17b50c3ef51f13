//! `kill -9` in the middle of a load of bookings, again and again: what was acknowledged is there, and is told of once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::eventually::eventually;
use crate::support::http::{Client, Request};
use crate::support::mail::Spool;
use crate::support::process::{Process, publish, token};
use crate::support::requests::{cl, pe};

/// How often the process is killed.
const KILLS: usize = 20;

/// How many clients book at once.
const CLIENTS: usize = 4;

/// Most bookings that are acknowledged between two kills; the least is one of each country.
const MOST_BETWEEN: usize = 25;

/// What clients were told with a 201, by the number of the request.
type Acknowledged = Mutex<BTreeMap<usize, Value>>;

fn serve(data: &Path) -> Process {
    let folder = data.to_str().unwrap();
    Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--rate-limit", "0", "--log", "warn"])
}

/// Every third request is Chile's.
fn country(number: usize) -> &'static str {
    if number.is_multiple_of(3) { "cl" } else { "pe" }
}

/// Request `number`, which has a doctor, a patient and an Idempotency-Key of its own.
fn request(client: &Client, number: usize) -> Request {
    let country = country(number);
    let body = if country == "cl" { cl(number) } else { pe(number) };
    client.request("POST", &format!("/v1/{country}/appointments")).key(&format!("k-{number}")).json(&body)
}

/// Books in both countries until the process dies or somebody says that it is over.
fn load(client: &Client, next: &AtomicUsize, over: &AtomicBool, acknowledged: &Acknowledged) {
    while !over.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Ok(answer) = request(client, number).try_send() else { continue };
        acknowledged.lock().unwrap().insert(number, answer.expect(201).json());
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
    for (number, booked) in &acknowledged {
        let place = format!("/v1/{}/appointments/{}", country(*number), booked["id"].as_str().unwrap());
        assert_eq!(client.get(&place).expect(200).json(), *booked, "what was acknowledged is what is there");
    }
    // Clients who heard nothing ask again, and so does everybody else.
    let asked = next.into_inner();
    for number in 0..asked {
        let repeated = request(&client, number).send().expect(201).json();
        assert_eq!(acknowledged.get(&number).unwrap_or(&repeated), &repeated);
    }

    let (peru, chile) = (stored(&staff, "pe"), stored(&staff, "cl"));
    assert_eq!(peru.len() + chile.len(), asked, "each request came about once, however often it was sent");
    let ids: BTreeSet<String> = peru.iter().map(|appointment| appointment["id"].as_str().unwrap().to_owned()).collect();
    let spool = Spool::in_data(data.path());
    let letters = eventually("a mail for each booking in Peru", Duration::from_mins(1), || {
        let empty = client.get("/metrics").text.contains("citas_outbox_oldest_seconds{country=\"pe\"} 0\n");
        let letters = spool.letters();
        (empty && letters.len() >= ids.len()).then_some(letters)
    });
    // A mail is a file of its event's id: a repeat would have written the same file.
    assert_eq!(letters.len(), ids.len());
    let told: BTreeSet<String> = letters.iter().map(|letter| letter.property("UID")).collect();
    assert_eq!(told, ids, "one mail for each appointment in Peru, none for Chile's");
    println!(
        "{KILLS} kills in {killed:?}; {} acknowledged before the last, {asked} in the end, {} mails; {:?} in all",
        acknowledged.len(),
        letters.len(),
        started.elapsed()
    );
}
