//! Compares GET of one appointment with and without the read log, by turns under the same load. The two servers differ in
//! nothing else. A turn is longer than the moments in which readings are written, so it pays for its own.

use std::path::Path;
use std::sync::Arc;

use citas::api::{self, Api, Description, Documents, Limits, REQUEST_TIMEOUT, Readiness};
use citas::local::issuer::LocalIssuer;
use citas::local::read_log::SqliteReadLog;
use citas::local::sqlite::SqliteLedger;
use citas::system::{SystemClock, UuidIds};
use citas_core::booking::Booking;
use citas_core::ports::Clock as _;
use citas_core::release::Catalogue;
use tokio::net::TcpListener;

use crate::load::{self, Outcome};
use crate::platform::{Data, Server, loaded, peru};
use crate::posts::located;
use crate::report::Report;
use crate::requests::{booking, example, get, post};
use crate::timing::middle;

/// Argument that makes this program a server with the read log, and the one that makes it a server without.
pub const ARGUMENTS: [&str; 2] = ["--with-read-log", "--without-read-log"];

const CONNECTIONS: usize = 64;
const APPOINTMENTS: usize = 200;
const REQUESTS: usize = 50_000;
const TURNS: usize = 9;

/// Maximum share of the rate that the read log may cost.
const TARGET: f64 = 0.05;

pub fn measure(report: &mut Report) {
    let example = example(&loaded(peru()));
    let servers = ARGUMENTS.map(|argument| {
        let data = Data::empty();
        let (server, token) = (Server::reads(argument, &data), data.token(&["pe:staff"]));
        let bookings: Vec<_> =
            (0..APPOINTMENTS).map(|number| post("/v1/pe/appointments", &token, &booking(&example, number))).collect();
        let ids = located(server.address, &bookings);
        let gets: Vec<_> = (0..REQUESTS).map(|turn| get(&ids[turn * 7 % ids.len()], &token)).collect();
        (data, server, gets)
    });
    let mut outcomes: [Vec<Outcome>; 2] = Default::default();
    for _ in 0..TURNS {
        for (outcomes, (_, server, gets)) in outcomes.iter_mut().zip(&servers) {
            outcomes.push(load::send(server.address, CONNECTIONS, gets, 200));
        }
    }
    let failed: usize = outcomes.iter().flatten().map(|outcome| outcome.failed).sum();
    let [with, without] = &outcomes;
    let cost = 1.0 - middle(with.iter().zip(without).map(|(with, without)| with.rate() / without.rate()).collect());
    let rate = |outcomes: &[Outcome]| middle(outcomes.iter().map(Outcome::rate).collect());
    report.figure("GET of one appointment, without the read log", format!("{:.0} /s", rate(without)));
    report.figure("GET of one appointment, with it", format!("{:.0} /s, {failed} failed", rate(with)));
    let told = format!("{:.1} %", cost * 100.0);
    report.target("  cost of the read log", told, "≤ 5 %", cost <= TARGET && failed == 0);
}

/// Serves the API over a data folder, the program's second argument.
#[tokio::main]
pub async fn serve(argument: &str) {
    let folder = std::env::args().nth(2).expect("a data folder");
    let (folder, clock) = (Path::new(&folder), Arc::new(SystemClock));
    let catalogue = Arc::new(Catalogue::default());
    catalogue.install(loaded(peru()), clock.now());
    let ledger = Arc::new(SqliteLedger::open(folder).expect("a ledger"));
    let (ids, names) = (Arc::new(UuidIds), ledger.pseudonyms());
    let mut booking = Booking::new(catalogue.clone(), ledger.clone(), clock.clone(), ids, names, "0.2.0");
    if argument == ARGUMENTS[0] {
        booking = booking.logging_reads(Arc::new(SqliteReadLog::open(folder, clock.clone()).expect("a read log")));
    }
    let api = Api {
        booking,
        ready: Readiness::new(catalogue.clone(), ledger),
        catalogue,
        tokens: Arc::new(LocalIssuer::open(folder, clock.clone()).expect("a key")),
        jwks: None,
        link_keys: "0a".repeat(32).parse().expect("keys"),
        limits: Limits::per_second(0),
        cors: None,
        request_timeout: REQUEST_TIMEOUT,
        description: Description::new(clock),
        documents: Documents::default(),
        metrics: Box::new(String::new),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("citas serves on http://{}", listener.local_addr().expect("a bound socket"));
    axum::serve(listener, api::router(api)).await.expect("a server");
}
