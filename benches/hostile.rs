//! Measures Peru's bookings while the host judges versions that are made to hurt it, one by one.

#[path = "../tests/chaos/hostile.rs"]
mod artefacts;

use std::thread::sleep;
use std::time::{Duration, Instant};

use citas_core::model::Limits;
use serde_json::Value;

use crate::load::Connection;
use crate::platform::{Data, Server, block_on, chaos, loaded, peru};
use crate::report::{Report, spread};
use crate::requests::{booking, example, get, post};

/// Maximum 99th percentile of Peru's bookings meanwhile.
const P99: Duration = Duration::from_millis(100);

/// Maximum time to judge one version.
const JUDGED_WITHIN: Duration = Duration::from_mins(1);

/// Pause of Peru's client between two bookings.
const PAUSE: Duration = Duration::from_millis(20);

/// Number of bookings without a hostile version, for comparison.
const QUIET: usize = 500;

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let (token, platform) = (data.token(&["pe:staff"]), data.token(&["platform"]));
    let citas = Server::citas(&data);
    let example = example(&loaded(peru()));
    let chaos = chaos(&[]);
    let (mut quiet, mut busy, mut slowest) = (Vec::new(), Vec::new(), (Duration::ZERO, ""));
    let mut peru = block_on(Connection::open(citas.address));
    let mut book = |number: usize| {
        let request = post("/v1/pe/appointments", &token, &booking(&example, number));
        let started = Instant::now();
        let status = block_on(peru.ask(&request));
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(peru.body()));
        let took = started.elapsed();
        sleep(PAUSE);
        took
    };
    quiet.extend((0..QUIET).map(&mut book));
    let mut operator = block_on(Connection::open(citas.address));
    let codes = ('a'..='z').map(|letter| format!("z{letter}"));
    for (country, hostile) in codes.zip(artefacts::all(&chaos)) {
        data.put_in_use(&country, &hostile.component, Limits::default(), hostile.cases);
        let (question, started) = (get(&format!("/v1/{country}/rules"), &platform), Instant::now());
        loop {
            busy.push(book(QUIET + busy.len()));
            let known = block_on(operator.ask(&question)) == 200;
            let answer: Value = serde_json::from_slice(operator.body()).expect("JSON");
            if let Some(why) = answer["refused"]["why"].as_str().filter(|_| known) {
                assert!(hostile.why.iter().any(|part| why.contains(part)), "{}: {why}", hostile.name);
                break;
            }
            assert!(started.elapsed() < JUDGED_WITHIN, "{} is not refused: {answer}", hostile.name);
        }
        slowest = slowest.max((started.elapsed(), hostile.name));
    }
    report.figure("POST in Peru, a client that pauses", spread(&mut quiet));
    let measured = spread(&mut busy);
    let p99 = busy[busy.len() * 99 / 100];
    report.target("  while hostile versions are judged, one by one", measured, "p99 ≤ 100 ms", p99 <= P99);
    let met = slowest.0 <= JUDGED_WITHIN;
    report.target(
        format!("  slowest to refuse: {}", slowest.1),
        format!("{:.1} s", slowest.0.as_secs_f64()),
        "≤ 60 s",
        met,
    );
}
