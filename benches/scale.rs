//! Compares the time of a request with 1,000 appointments in the ledger and with many more, by turns.

use std::time::{Duration, Instant};

use citas::local::sqlite::SqliteLedger;
use citas::system::{SystemClock, UuidIds};
use citas_core::model::claim::key_of;
use citas_core::model::{Claim, Provenance, Pseudonyms, Revision, Role, Value};
use citas_core::ports::{Change, Clock as _, Ids as _, Ledger as _};
use citas_core::rules::LoadedRules;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::load::{self, Connection};
use crate::platform::{Data, Server, block_on, loaded, pe, peru};
use crate::posts::located;
use crate::report::Report;
use crate::requests::{booked, booking, dni, example, get, leaves, post, scattered};
use crate::timing::{median, middle};

/// Argument for the larger ledger's full size, which takes minutes to fill and some 3 GB of disk.
pub const MILLION: &str = "million";

const SMALL: usize = 1_000;
const LARGE: usize = 100_000;
const MILLION_APPOINTMENTS: usize = 1_000_000;
/// Number of appointments of one doctor, which is one page.
const OF_A_DOCTOR: usize = 20;
const CALLS: usize = 2_000;
const BOOKINGS: usize = 150;
const BURST: usize = 1_000;
const BURSTS: usize = 5;

const SEARCHES: usize = 200;

/// Numbers of the first patients of the filled ledger and of the searched month. The measured bookings begin at 0.
const STORED: usize = 50_000_000;
const OF_THE_MONTH: usize = 40_000_000;

/// Maximum time of a month's free slots, in microseconds.
const SLOTS: f64 = 5_000.0;

/// Maximum ratio to the time with the small ledger.
const TARGET: f64 = 1.5;

pub fn measure(report: &mut Report) {
    let large = if std::env::args().any(|word| word == MILLION) { MILLION_APPOINTMENTS } else { LARGE };
    let rules = loaded(peru());
    let mut ledgers = [SMALL, large].map(|count| Filled::with(count, &rules));
    let filled = ledgers[1].took;
    let name = format!("{large} appointments");
    report.figure(format!("filling a ledger with {name}"), format!("{:.0} s", filled.as_secs_f64()));

    let mut compare = |what: &str, unit: &str, times: [f64; 2]| {
        let ratio = times[1] / times[0];
        let measured = format!("{:.0} → {:.0} {unit}, × {ratio:.2}", times[0], times[1]);
        report.target(format!("{what}, {SMALL} → {name}"), measured, "× ≤ 1.5", ratio <= TARGET);
    };
    compare("GET of one", "µs", by_turns(&mut ledgers, CALLS, 200, Filled::one));
    compare("list of a doctor's 20", "µs", by_turns(&mut ledgers, CALLS, 200, Filled::page));
    let example = example(&rules);
    let month = month(&example);
    let times = by_turns(&mut ledgers, SEARCHES, 200, |ledger, _| get(&month, &ledger.token));
    let searched = times[1];
    compare("a doctor's month of slots, 60 % booked", "µs", times);
    let book = |ledger: &Filled, turn| post("/v1/pe/appointments", &ledger.token, &booking(&example, turn));
    compare("book, one after the other", "µs", by_turns(&mut ledgers, BOOKINGS, 201, book));
    let mut times = [Vec::new(), Vec::new()];
    for burst in 1..=BURSTS {
        for (ledger, times) in ledgers.iter().zip(&mut times) {
            let bookings: Vec<_> = (burst * BURST..(burst + 1) * BURST).map(|turn| book(ledger, turn)).collect();
            let done = load::send(ledger.server.address, 64, &bookings, 201);
            times.push(1e6 / done.rate());
        }
    }
    compare("book, 64 at once, each", "µs", times.map(middle));
    let measured = format!("{:.1} ms", searched / 1e3);
    report.target(format!("a doctor's month of slots, {name}"), measured, "≤ 5 ms", searched <= SLOTS);
}

/// A server over a ledger that is filled with appointments.
struct Filled {
    token: String,
    ids: Vec<Uuid>,
    took: Duration,
    server: Server,
    _data: Data,
}

impl Filled {
    fn with(count: usize, rules: &LoadedRules) -> Self {
        let data = Data::with_peru();
        let started = Instant::now();
        let ids = fill(&data, count, rules);
        let took = started.elapsed();
        let filled = Self { token: data.token(&["pe:staff"]), ids, took, server: Server::citas(&data), _data: data };
        filled.book_month(&example(rules));
        filled
    }

    /// Books three fifths of the slots of the doctor's month.
    fn book_month(&self, example: &Json) {
        let slots = block_on(async {
            let mut connection = Connection::open(self.server.address).await;
            assert_eq!(connection.ask(&get(&month(example), &self.token)).await, 200);
            serde_json::from_slice::<Json>(connection.body()).expect("JSON")
        });
        let slots = slots["items"].as_array().expect("slots").iter().enumerate();
        let bookings = slots.filter(|(number, _)| number % 5 < 3).map(|(number, slot)| {
            let dni = dni(OF_THE_MONTH + number);
            let members =
                json!({ "slot": slot["slot"], "dni": dni, "email": example["email"], "district": example["district"] });
            post("/v1/pe/appointments", &self.token, &members)
        });
        located(self.server.address, &bookings.collect::<Vec<_>>());
    }

    fn one(&self, turn: usize) -> Vec<u8> {
        let id = self.ids[scattered(turn, self.ids.len())];
        get(&format!("/v1/pe/appointments/{id}"), &self.token)
    }

    fn page(&self, turn: usize) -> Vec<u8> {
        let doctor = doctor(scattered(turn, self.ids.len()));
        get(&format!("/v1/pe/appointments?doctor={doctor}"), &self.token)
    }
}

/// Returns the median time of a request to each ledger, in microseconds.
fn by_turns(
    ledgers: &mut [Filled; 2],
    count: usize,
    expected: u16,
    request: impl Fn(&Filled, usize) -> Vec<u8>,
) -> [f64; 2] {
    block_on(async {
        let mut times = [Vec::new(), Vec::new()];
        let [small, large] = &*ledgers;
        let mut connections =
            [Connection::open(small.server.address).await, Connection::open(large.server.address).await];
        for turn in 0..count {
            for ((ledger, connection), times) in ledgers.iter().zip(&mut connections).zip(&mut times) {
                let request = request(ledger, turn);
                let started = Instant::now();
                let status = connection.ask(&request).await;
                // A server may report that it is busy, on a machine that others use.
                if status != 503 {
                    times.push(started.elapsed());
                    assert_eq!(status, expected, "{}", String::from_utf8_lossy(connection.body()));
                }
            }
        }
        times.map(|mut times| median(&mut times).as_secs_f64() * 1e6)
    })
}

/// Fills the ledger through its port, with as many concurrent changes as it commits together.
fn fill(data: &Data, count: usize, rules: &LoadedRules) -> Vec<Uuid> {
    const MAX_CONCURRENCY: usize = 2_000;
    let pattern = pattern(rules);
    let ledger = SqliteLedger::open(data.path()).expect("a data folder");
    let commit = async |number| {
        let committed = ledger.commit(varied(&pattern, scattered(number, count), &ledger.pseudonyms())).await?;
        Ok::<_, citas_core::ports::CommitError>(committed.revision.appointment.id)
    };
    let commits = stream::iter((0..count).map(commit)).buffer_unordered(MAX_CONCURRENCY);
    block_on(commits.try_collect()).expect("commits")
}

/// Returns the revision of the country's example, booked.
fn pattern(rules: &LoadedRules) -> Revision {
    let now = SystemClock.now();
    let appointment = booked(rules);
    let personal = appointment.attributes.iter().map(|field| &field.path).filter(|path| rules.is_personal(path));
    Revision {
        country: pe(),
        person: Uuid::nil(),
        personal: personal.cloned().collect(),
        appointment,
        claims: Vec::new(),
        owner: Some("ana".into()),
        personal_places: [].into(),
        updated_at: now,
        provenance: Provenance {
            action: "book".into(),
            input: leaves(&example(rules)),
            context: rules.context(now, Role::Patient),
            facts: Vec::new(),
            rules: rules.id.clone(),
            contract: rules.contract().into(),
            host: env!("CARGO_PKG_VERSION").into(),
            subject: "ana".into(),
            request_id: Uuid::nil().to_string(),
        },
    }
}

/// Returns the path of the free slots of the example's doctor in the month from the example's day.
fn month(example: &Json) -> String {
    let member = |name: &str| example[name].as_str().expect("a text").to_owned();
    let [doctor, hospital, district, from] = ["doctor", "hospital", "district", "date"].map(member);
    format!("/v1/pe/slots?doctor={doctor}&hospital={hospital}&district={district}&from={from}&days=31&limit=1000")
}

fn doctor(number: usize) -> String {
    (100_000 + number / OF_A_DOCTOR).to_string()
}

/// Returns the booking of the pattern with a doctor, a patient and a time of its own.
fn varied(pattern: &Revision, number: usize, names: &Pseudonyms) -> Change {
    let mut revision = pattern.clone();
    let (doctor, dni) = (doctor(number), dni(STORED + number));
    let half_hours = i64::try_from(number % OF_A_DOCTOR).expect("a small number");
    let starts_at = pattern.appointment.created_at + (14 * 24).hours() + (30 * half_hours).minutes();
    for field in &mut revision.appointment.attributes {
        match field.path.as_str() {
            "/doctor" => field.value = Value::Text(doctor.clone()),
            "/dni" => field.value = Value::Text(dni.clone()),
            _ => {}
        }
    }
    let quarters = [starts_at, starts_at + 15.minutes()];
    let holders = [format!("doctor/{doctor}"), format!("patient/dni:{dni}")];
    let key = |holder: &String, quarter: Timestamp| key_of(holder, Some(quarter));
    let keys = holders.iter().flat_map(|holder| quarters.map(|quarter| key(holder, quarter)));
    revision.owner = Some(format!("subject-{}", number % 1_000));
    let owner = revision.owner.as_deref();
    let kept = |key: String| names.claim(pe(), Claim { personal: key.contains(&dni), ..Claim::new(key) }, owner);
    let claims = keys.map(kept).collect();
    revision.person = names.patient(pe(), &format!("dni:{dni}"));
    let appointment = &mut revision.appointment;
    appointment.id = UuidIds.next();
    appointment.starts_at = Some(starts_at);
    appointment.patient = format!("dni:{dni}");
    appointment.doctor = Some(doctor);
    Change {
        revision,
        claims,
        choices: Vec::new(),
        held: Vec::new(),
        hold: None,
        receipt: None,
        agenda: None,
        events: Vec::new(),
    }
}
