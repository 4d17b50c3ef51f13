//! The process ends during a load of bookings, again and again, by SIGKILL and by SIGTERM. Acknowledged bookings are
//! stored, nothing is booked twice, and people are notified of each appointment: once, unless a kill repeats a mail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::chance::Chance;
use crate::support::eventually::eventually;
use crate::support::http::{Client, Request};
use crate::support::mail::MailServer;
use crate::support::process::{Process, publish, token};
use crate::support::requests::{cl, pe};

/// Number of kills.
const KILLS: usize = 100;

/// Number of clean stops.
const STOPS: usize = 20;

/// Number of clients that book at once.
const CLIENTS: usize = 4;

/// Maximum number of bookings that are acknowledged before the process ends.
const MAX_BOOKINGS: usize = 12;

/// Maximum number of one country's mails under way at once: a batch of its relay.
const MAX_UNDER_WAY: usize = 32;

/// Maximum time of a clean stop: ten seconds for requests, ten for mail, and a margin.
const STOPPED_WITHIN: Duration = Duration::from_secs(25);

/// Time in which the mail server answers: long enough that some mail is under way at every moment of the load.
const MAIL_DELAY: Duration = Duration::from_millis(30);

/// A data folder whose process ends again and again.
struct Cycles {
    data: TempDir,
    token: String,
    server: MailServer,
    /// Number of the next request.
    next: AtomicUsize,
    /// Bodies of the 201 answers, by the number of the request.
    acknowledged: Mutex<BTreeMap<usize, Value>>,
}

/// State after the last cycle.
struct Outcome {
    appointments: usize,
    /// Number of copies of each of Peru's mails, by Message-ID.
    copies: BTreeMap<String, usize>,
}

impl Outcome {
    fn repeats(&self) -> usize {
        self.copies.values().map(|copies| copies - 1).sum()
    }
}

fn serve(data: &Path, server: &MailServer) -> Process {
    server.begin_life();
    let (folder, smtp) = (data.to_str().unwrap(), server.url());
    let options = ["--data", folder, "--smtp", &smtp, "--rate-limit", "0", "--log", "warn"];
    Process::start(&[&["serve", "--listen", "127.0.0.1:0"], &options[..]].concat())
}

/// Returns the country of a request: Chile for every third one.
fn country(number: usize) -> &'static str {
    if number.is_multiple_of(3) { "cl" } else { "pe" }
}

/// Returns request `number`, with a doctor, a patient and an Idempotency-Key of its own.
fn request(client: &Client, number: usize) -> Request {
    let country = country(number);
    let body = if country == "cl" { cl(number) } else { pe(number) };
    client.request("POST", &format!("/v1/{country}/appointments")).key(&format!("k-{number}")).json(&body)
}

impl Cycles {
    fn new(server: MailServer) -> Self {
        let data = tempfile::tempdir().unwrap();
        publish(&data.path().join("registry"), &["pe", "cl"]);
        let token = token(data.path(), &["--group", "platform"]);
        Self { data, token, server, next: AtomicUsize::default(), acknowledged: Mutex::default() }
    }

    /// Starts the process and a load, and ends it after `bookings` bookings, while more requests arrive.
    fn run(&self, bookings: usize, end: impl FnOnce(&mut Process)) {
        let mut process = serve(self.data.path(), &self.server);
        let client = process.client(&self.token);
        let over = AtomicBool::new(false);
        let count = || self.acknowledged.lock().unwrap().len();
        let enough = count() + bookings;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| self.load(&client, &over));
            }
            eventually("bookings", Duration::from_secs(30), || (count() >= enough).then_some(()));
            end(&mut process);
            over.store(true, Ordering::Relaxed);
        });
    }

    /// Books in both countries until the process refuses connections or `over` is set.
    fn load(&self, client: &Client, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Ok(answer) = request(client, number).try_send() else { return };
            self.acknowledged.lock().unwrap().insert(number, answer.expect(201).json());
        }
    }

    /// Checks that all acknowledged bookings are stored, repeats every request, and waits for all mail.
    fn check(&self) -> Outcome {
        let process = serve(self.data.path(), &self.server);
        let client = process.client(&self.token);
        let acknowledged = self.acknowledged.lock().unwrap();
        for (number, booked) in &*acknowledged {
            let place = format!("/v1/{}/appointments/{}", country(*number), booked["id"].as_str().unwrap());
            assert_eq!(client.get(&place).expect(200).json(), *booked, "what was acknowledged is what is there");
        }
        // Clients without an answer repeat their requests, and so do all others.
        let asked = self.next.load(Ordering::Relaxed);
        for number in 0..asked {
            let repeated = request(&client, number).send().expect(201).json();
            assert_eq!(acknowledged.get(&number).unwrap_or(&repeated), &repeated);
        }
        let (peru, chile) = (stored(&client, "pe"), stored(&client, "cl"));
        assert_eq!(peru.len() + chile.len(), asked, "each request came about once, however often it was sent");
        let ids: BTreeSet<String> = peru.iter().map(|booked| booked["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), peru.len());

        eventually("a mail for each booking in Peru", Duration::from_mins(1), || {
            let empty = client.get("/metrics").text.contains("citas_outbox_oldest_seconds{country=\"pe\"} 0\n");
            (empty && self.server.copies().len() >= ids.len()).then_some(())
        });
        let told: BTreeSet<String> = self.server.taken().iter().map(|letter| letter.property("UID")).collect();
        assert_eq!(told, ids, "every appointment in Peru is told of, and none of Chile's");
        let copies = self.server.copies();
        assert_eq!(copies.len(), ids.len(), "a repeat has the Message-ID of the first");
        let mut seen = BTreeSet::new();
        for letter in self.server.taken() {
            assert!(seen.insert((letter.life, letter.message_id)), "one process sent a mail twice");
        }
        Outcome { appointments: asked, copies }
    }
}

/// Returns every appointment of a country.
fn stored(client: &Client, country: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/{country}/appointments?limit=100{cursor}")).expect(200).json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["nextCursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn killed_at_any_moment_it_loses_nothing_that_was_acknowledged_and_every_event_becomes_a_mail() {
    let started = Instant::now();
    let (cycles, mut chance) = (Cycles::new(MailServer::up()), Chance::seeded(9));
    for _ in 0..KILLS {
        cycles.run(1 + chance.below(MAX_BOOKINGS), Process::kill);
    }
    let killed = started.elapsed();
    let outcome = cycles.check();
    let (appointments, mails, repeats) = (outcome.appointments, outcome.copies.len(), outcome.repeats());
    let elapsed = started.elapsed();
    println!(
        "{KILLS} kills in {killed:?}: {appointments} appointments, {mails} mails, {repeats} repeats; {elapsed:?} in all"
    );
    // A kill repeats the mails under way: sent, and not yet marked as sent.
    assert!(repeats <= KILLS * MAX_UNDER_WAY, "{repeats} repeats in {KILLS} kills");
}

#[test]
fn told_to_stop_under_load_it_loses_nothing_and_repeats_no_mail() {
    let started = Instant::now();
    let (cycles, mut chance) = (Cycles::new(MailServer::slow(MAIL_DELAY)), Chance::seeded(11));
    for _ in 0..STOPS {
        cycles.run(1 + chance.below(MAX_BOOKINGS), |process| {
            process.terminate();
            let status = eventually("its end", STOPPED_WITHIN, || process.ended());
            assert!(status.success(), "{status}: {}", process.log());
        });
    }
    let stopped = started.elapsed();
    let outcome = cycles.check();
    let (appointments, mails, repeats) = (outcome.appointments, outcome.copies.len(), outcome.repeats());
    let elapsed = started.elapsed();
    println!(
        "{STOPS} stops in {stopped:?}: {appointments} appointments, {mails} mails, {repeats} repeats; {elapsed:?} in all"
    );
    assert_eq!(repeats, 0, "a clean stop repeats no mail");
}
