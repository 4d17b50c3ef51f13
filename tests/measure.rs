//! Figures for the limits and for the table "what good means". Not checks: a shared machine would make them fail. Run by
//! `cargo test --release -p citas --test tests measure -- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use citas_core::appointment::{Appointment, Field, Phase, Value};
use citas_core::rules::{Context, Role, Shift, ZoneClock};
use jiff::civil::date;
use uuid::Uuid;

use crate::support::components::loaded_chaos;

fn field(path: &str, text: &str) -> Field {
    Field { path: path.into(), value: Value::Text(text.into()) }
}

fn context() -> Context {
    let clock = ZoneClock {
        zone: "America/Lima".into(),
        now: date(2026, 11, 24).at(10, 0, 0, 0),
        shifts: vec![Shift { at: i64::MIN, offset_minutes: -300 }],
    };
    Context { now: 1_796_000_000, clocks: vec![clock], role: Role::Patient }
}

fn request(mode: &str) -> Vec<Field> {
    [("/mode", mode), ("/doctor", "45678"), ("/date", "2026-12-01"), ("/time", "09:30"), ("/email", "ana@example.com")]
        .into_iter()
        .chain([("/hospital", "00006219"), ("/district", "150122")])
        .map(|(path, text)| field(path, text))
        .collect()
}

/// Median and 99th percentile.
fn times(count: usize, mut call: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed()
        })
        .collect();
    times.sort();
    (times[count / 2], times[count * 99 / 100])
}

#[test]
#[ignore = "a measurement"]
fn measure_a_booking() {
    let (rules, context, request) = (loaded_chaos(), context(), request(""));
    let (median, p99) = times(20_000, || drop(rules.book(&context, &request).unwrap().unwrap()));
    println!("book: median {median:?}, 99 % {p99:?}");
}

#[test]
#[ignore = "a measurement"]
fn measure_a_booking_among_two_hundred_countries() {
    let countries: Vec<_> = (0..200).map(|_| loaded_chaos()).collect();
    let (context, request, mut turn) = (context(), request(""), 0);
    let (median, p99) = times(20_000, || {
        turn += 1;
        drop(countries[turn % 200].book(&context, &request).unwrap().unwrap());
    });
    println!("book, one country after the other of 200: median {median:?}, 99 % {p99:?}");
}

#[test]
#[ignore = "a measurement"]
fn measure_an_endless_loop() {
    let (rules, context, request) = (loaded_chaos(), context(), request("loop"));
    let (median, p99) = times(20, || drop(rules.book(&context, &request).unwrap_err()));
    println!("loop: median {median:?}, 99 % {p99:?}");
}

#[test]
#[ignore = "a measurement"]
fn measure_a_page() {
    let attributes: Vec<_> = (0..20).map(|number| field(&format!("/attribute{number}"), "something of it")).collect();
    let appointment = |number| Appointment {
        id: Uuid::from_u128(number),
        phase: Phase::Booked,
        slot: None,
        revision: 1,
        attributes: attributes.clone(),
    };
    let appointments: Vec<_> = (0..100).map(appointment).collect();
    let page: Vec<_> = appointments.iter().collect();
    let rules = loaded_chaos();
    let (median, p99) = times(500, || drop(rules.present(&page).unwrap()));
    println!("present 100 of 20 attributes: median {median:?}, 99 % {p99:?}");
}
