//! Random histories of bookings, holds, changes, agendas and scheduled actions, from several clients at once, through core's use cases. Each
//! history is checked: no place is held by more than its number, no acknowledged write is lost, revisions have no gap, each event is
//! in the outbox once, and repeating the commits one after the other on plain maps gives what is stored.
//!
//! Of 10,000 histories, 8,500 run on plain maps, 1,400 on SQLite and 100 on DynamoDB: the first try the use cases, the others the
//! adapters. `CITAS_HISTORIES` sets another number, and `CITAS_SEED` the seed of the first one. A failure prints the seed of
//! its history and the log. The seed decides the requests, and the machine how they overlap.
//!
//! - [`clinic`]: the rules of a small clinic
//! - [`desk`]: clients and their requests
//! - [`lives`]: processes that are killed, or whose disk is full
//! - [`maps`]: the ledger of plain maps
//! - [`check`], [`holding`], [`agendas`]: the promises

mod agendas;
mod check;
mod clinic;
mod desk;
mod holding;
mod lives;
mod maps;
mod patient_links;

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use citas::local::sqlite::SqliteLedger;
use citas::system::UuidIds;
use citas_core::booking::{Booking, BookingError};
use citas_core::model::{AgendaRevision, Claim, Event};
use citas_core::ports::{Outbox, Pending};
use citas_core::release::Catalogue;
use citas_core::rules::LoadedRules;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use self::check::{Kept, check};
use self::clinic::{Clinic, closing_time, opening_time, start};
use self::desk::{History, Ports, Script, Witness, caller, play};
use self::maps::Flaw;
pub use self::maps::MapLedger;
use crate::ledger_dynamo::Tables;
use crate::ledger_sqlite::sequence;
use crate::support::appointments::{names, pe};
use crate::support::patience::let_others_run_first;
use crate::support::set_clock::SetClock;

/// Number of histories, of which parts run on each ledger.
const HISTORIES: usize = 10_000;

/// Number of histories on each ledger with a clock that steps back.
const STEPS_BACK: usize = 10;

/// Number of histories that share plain maps or a table, each at a clinic of its own.
const SHARED_BY: usize = 50;

/// Number of histories that run at once.
const AT_ONCE: usize = 6;

/// Maximum number of events that one read of an outbox returns.
const EVENTS: usize = 1000;

/// A ledger with all that can be read of it.
#[async_trait]
trait Site: Send + Sync {
    fn ports(&self) -> Ports;

    /// Returns the revisions in the order of their commits.
    async fn order(&self) -> Vec<(Uuid, u32)>;

    /// Returns the events that wait.
    async fn events(&self) -> Vec<Event>;
}

#[async_trait]
impl Site for Arc<MapLedger> {
    fn ports(&self) -> Ports {
        Ports { ledger: self.clone(), wakes: self.clone(), names: names() }
    }

    async fn order(&self) -> Vec<(Uuid, u32)> {
        MapLedger::order(self, pe())
    }

    async fn events(&self) -> Vec<Event> {
        relayed(&**self).await
    }
}

/// A ledger in SQLite, in a folder of its own.
struct Folder(Arc<SqliteLedger>, TempDir);

impl Folder {
    fn open(folder: TempDir) -> Self {
        Self(Arc::new(SqliteLedger::open(folder.path()).unwrap()), folder)
    }
}

#[async_trait]
impl Site for Folder {
    fn ports(&self) -> Ports {
        Ports { ledger: self.0.clone(), wakes: self.0.clone(), names: self.0.pseudonyms() }
    }

    async fn order(&self) -> Vec<(Uuid, u32)> {
        let stored = sequence(&self.1.path().join("pe.db"));
        assert!(stored.iter().map(|(number, ..)| *number).eq((1..).take(stored.len())), "the sequence has a gap");
        stored.into_iter().map(|(_, id, revision)| (id, revision)).collect()
    }

    async fn events(&self) -> Vec<Event> {
        relayed(&*self.0).await
    }
}

#[async_trait]
impl Site for Tables {
    fn ports(&self) -> Ports {
        let ledger = Arc::new(self.ledger());
        Ports { ledger: ledger.clone(), wakes: ledger, names: names() }
    }

    async fn order(&self) -> Vec<(Uuid, u32)> {
        self.committed()
    }

    async fn events(&self) -> Vec<Event> {
        Tables::events(self).await
    }
}

/// Takes every event out of an outbox, as a relay does.
async fn relayed(outbox: &dyn Outbox) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let pending = outbox.pending(pe(), EVENTS).await.unwrap();
        let batch: Vec<Event> = pending.into_iter().map(|Pending { event, .. }| event).collect();
        if batch.is_empty() {
            return events;
        }
        outbox.remove(pe(), &batch.iter().map(|event| event.id).collect::<Vec<_>>()).await.unwrap();
        events.extend(batch);
    }
}

/// Reads all that a ledger has.
async fn kept(site: &dyn Site) -> Kept {
    let Ports { ledger, wakes, .. } = site.ports();
    let order = site.order().await;
    let mut revisions = BTreeMap::new();
    for id in order.iter().map(|(id, _)| *id).collect::<HashSet<_>>() {
        revisions.insert(id, ledger.history(pe(), id, 0, usize::MAX >> 1).await.unwrap());
    }
    let claims = revisions.values().flatten().flat_map(|revision| &revision.claims);
    let keys: HashSet<&str> = claims.map(|held| held.key.as_str()).collect();
    let claims: Vec<Claim> = keys.into_iter().map(Claim::new).collect();
    let taken = ledger.taken(pe(), &claims, closing_time()).await.unwrap();
    let due = wakes.due(pe(), closing_time(), EVENTS).await.unwrap();
    let mut agendas = BTreeMap::new();
    for AgendaRevision { doctor, .. } in ledger.agendas(pe(), None, EVENTS).await.unwrap() {
        let stored = ledger.agenda_history(pe(), &doctor, 0, EVENTS).await.unwrap();
        agendas.insert(doctor, stored);
    }
    Kept { order, events: site.events().await, taken, due, revisions, agendas }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Numbers of requests by their answers.
type Answers = BTreeMap<String, usize>;

/// Plays histories over one ledger, and checks each. Returns the answers.
async fn run(site: &dyn Site, scripts: &[Script]) -> Result<Answers, String> {
    let histories = play_all(&site.ports(), scripts, |_| Arc::new(|_| {})).await;
    check_all(site, &histories).await
}

/// Plays histories, each at a clinic of its own.
async fn play_all(ports: &Ports, scripts: &[Script], witness: impl Fn(&Script) -> Witness) -> Vec<History> {
    let catalogue = Arc::new(Catalogue::default());
    catalogue.install(LoadedRules::of(Arc::new(Clinic), "sha256:00".into()).unwrap(), Timestamp::UNIX_EPOCH);
    let histories = scripts.iter().map(|script| play(ports, &catalogue, script, witness(script)));
    futures::stream::iter(histories).buffer_unordered(AT_ONCE).collect().await
}

/// Checks histories with what a ledger has. Returns the answers.
async fn check_all(site: &dyn Site, histories: &[History]) -> Result<Answers, String> {
    let (all, names) = (kept(site).await, site.ports().names);
    let mut answers = Answers::new();
    for history in histories {
        for entry in &history.entries {
            *answers.entry(entry.answer.name().to_owned()).or_default() += 1;
        }
        check(history, &all.of(&history.clinic), &names)
            .map_err(|broken| format!("CITAS_SEED={}: {broken}\n{history}", history.seed))?;
    }
    Ok(answers)
}

/// Returns the script of a history at a new clinic.
fn script(seed: usize) -> Script {
    let seed = u64::try_from(seed).unwrap();
    Script { seed, clinic: format!("clinic-{seed}"), steps_back: false, continues: false }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// Runs this share of the histories, in percent.
fn run_share<S: Site>(share: usize, shared_by: usize, open: impl AsyncFn() -> S) {
    let (count, first) = (setting("CITAS_HISTORIES", HISTORIES) * share / 100, setting("CITAS_SEED", 1));
    let scripts: Vec<Script> = (first..first + count).map(script).collect();
    run_scripts(&scripts, shared_by, open);
}

/// Runs histories, of which this number shares a ledger.
fn run_scripts<S: Site>(scripts: &[Script], shared_by: usize, open: impl AsyncFn() -> S) {
    let_others_run_first();
    let (started, mut total) = (Instant::now(), Answers::new());
    let run_some = async |scripts| run(&open().await, scripts).await;
    let at_once = if shared_by == 1 { AT_ONCE } else { 1 };
    let mut all = pin!(futures::stream::iter(scripts.chunks(shared_by)).map(run_some).buffer_unordered(at_once));
    runtime().block_on(async {
        while let Some(answers) = all.next().await {
            for (name, count) in answers.unwrap_or_else(|broken| panic!("{broken}")) {
                *total.entry(name).or_default() += count;
            }
        }
    });
    println!("{} histories in {:?}: {total:?}", scripts.len(), started.elapsed());
}

async fn folder() -> Folder {
    Folder::open(tempfile::tempdir().unwrap())
}

#[test]
fn histories_over_plain_maps_keep_every_promise() {
    run_share(85, SHARED_BY, async || Arc::new(MapLedger::default()));
}

#[test]
fn histories_over_sqlite_keep_every_promise() {
    // What has expired by one clock is deleted, so histories with clocks of their own cannot share a folder.
    run_share(14, 1, folder);
}

#[test]
fn histories_over_dynamodb_keep_every_promise() {
    run_share(1, SHARED_BY, Tables::new);
}

#[test]
fn histories_with_a_clock_that_steps_back_keep_every_promise() {
    let scripts: Vec<Script> = (1..=STEPS_BACK).map(|seed| Script { steps_back: true, ..script(seed) }).collect();
    run_scripts(&scripts, SHARED_BY, async || Arc::new(MapLedger::default()));
    run_scripts(&scripts, 1, folder);
    run_scripts(&scripts, SHARED_BY, Tables::new);
}

/// Books 200 times at once for one account, each time for another patient and with another doctor. Returns the claims of the
/// refusals.
async fn refused_of_two_hundred(site: &dyn Site) -> Vec<String> {
    let Ports { ledger, names, .. } = site.ports();
    let (catalogue, clock) = (Arc::new(Catalogue::default()), Arc::new(SetClock::at(opening_time())));
    catalogue.install(LoadedRules::of(Arc::new(Clinic), "sha256:00".into()).unwrap(), Timestamp::UNIX_EPOCH);
    let booking = Arc::new(Booking::new(catalogue, ledger, clock, Arc::new(UuidIds), names, "0.2.0"));
    let book = |number: usize| {
        let booking = Arc::clone(&booking);
        let request = json!({
            "start": start(1).to_string(), "doctor": format!("house.{number}-group"), "patient": format!("patient-{number}"),
        });
        tokio::spawn(async move {
            loop {
                match booking.book(&caller("ana", &[]), pe(), request.clone(), None).await {
                    // A crowd has more calls than the rules answer soon.
                    Err(BookingError::RulesUnavailable(_)) => tokio::task::yield_now().await,
                    answer => break answer,
                }
            }
        })
    };
    let mut refused = Vec::new();
    for booked in (0..200).map(book).collect::<Vec<_>>() {
        match booked.await.unwrap() {
            Ok(_) => {}
            Err(BookingError::SlotTaken { claim, .. }) => refused.push(claim.unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
    refused
}

#[test]
fn of_two_hundred_bookings_of_an_account_three_are_within_its_quota() {
    runtime().block_on(async {
        for site in [&Arc::new(MapLedger::default()) as &dyn Site, &folder().await, &Tables::new().await] {
            let refused = refused_of_two_hundred(site).await;
            assert_eq!(refused.len(), 197);
            assert!(refused.iter().all(|claim| claim.starts_with("live/account/")), "{refused:?}");
        }
    });
}

#[test]
fn each_flaw_of_a_ledger_breaks_the_promise_that_it_concerns() {
    let_others_run_first();
    for (flaw, promises) in [
        (Flaw::DoubleBooks, &["is held by", "live hold"][..]),
        (Flaw::KeepsClaims, &["taken is"][..]),
        (Flaw::Forgets, &["an acknowledged write is lost"]),
        (Flaw::Refuses, &["what was refused is stored"][..]),
        (Flaw::Skips, &["lost"][..]),
        (Flaw::Overwrites, &["two requests made", "is lost"]),
        (Flaw::RepeatsEvents, &["the outbox has"][..]),
        (Flaw::LosesEvents, &["the outbox has"][..]),
        (Flaw::LosesWakes, &["scheduled is"][..]),
        (Flaw::ForgetsKeys, &["made two appointments"][..]),
        (Flaw::IgnoresHolds, &["live hold"][..]),
        (Flaw::HoldsForEver, &["taken is"][..]),
        (Flaw::IgnoresAgendas, &["does not name"][..]),
        (Flaw::ForgetsAgendas, &["agenda is lost"][..]),
    ] {
        let found = |first: usize| {
            let scripts: Vec<Script> = (first..first + 10).map(script).collect();
            runtime().block_on(run(&Arc::new(MapLedger::with(flaw)), &scripts)).err()
        };
        let broken = (1..6000).step_by(10).find_map(found).unwrap_or_else(|| panic!("{flaw:?} goes unseen"));
        let names = |promise: &&str| broken.lines().next().unwrap().contains(promise);
        assert!(promises.iter().any(names), "{flaw:?}: {broken}");
    }
}
