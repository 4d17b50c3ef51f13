//! Compares GET of one appointment with a hello-world axum server, by turns under the same load.

use crate::load::{self, Outcome};
use crate::platform::{Data, Server, loaded, peru};
use crate::posts::located;
use crate::report::{Report, spread};
use crate::requests::{booking, example, get, post};
use crate::timing::middle;

const CONNECTIONS: usize = 64;
const APPOINTMENTS: usize = 200;
const REQUESTS: usize = 10_000;
const TURNS: usize = 7;

/// Minimum ratio to a hello-world server's rate.
const TARGET: f64 = 0.5;

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let token = data.token(&["pe:staff"]);
    let (citas, hello) = (Server::citas(&data), Server::hello());
    let example = example(&loaded(peru()));
    let bookings: Vec<_> =
        (0..APPOINTMENTS).map(|number| post("/v1/pe/appointments", &token, &booking(&example, number))).collect();
    let ids = located(citas.address, &bookings);
    let gets: Vec<_> = (0..REQUESTS).map(|turn| get(&ids[turn * 7 % ids.len()], &token)).collect();
    let hellos = vec![get("/", &token); REQUESTS];

    let (mut ours, mut theirs): (Vec<Outcome>, Vec<Outcome>) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        theirs.push(load::send(hello.address, CONNECTIONS, &hellos, 200));
        ours.push(load::send(citas.address, CONNECTIONS, &gets, 200));
    }
    let failed: usize = ours.iter().map(|outcome| outcome.failed).sum();
    let ratio = middle(ours.iter().zip(&theirs).map(|(ours, theirs)| ours.rate() / theirs.rate()).collect());
    let rate = |outcomes: &[Outcome]| middle(outcomes.iter().map(Outcome::rate).collect());
    let mut times: Vec<_> = ours.iter().flat_map(|outcome| outcome.times.iter().copied()).collect();
    report.figure("GET of hello-world axum", format!("{:.0} /s", rate(&theirs)));
    report.figure("GET of one appointment", format!("{:.0} /s, {failed} failed", rate(&ours)));
    report.figure("  its time among 64 connections", spread(&mut times));
    report.target("  of hello-world's rate", format!("{ratio:.2}"), "≥ 0.5", ratio >= TARGET && failed == 0);
}
