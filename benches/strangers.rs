//! Compares the time in which a stranger learns that an appointment is absent with that for somebody else's, by turns on one
//! connection. A difference would tell that the appointment exists.

use std::time::Duration;

use uuid::Uuid;

use crate::load;
use crate::platform::{Data, Server, loaded, peru};
use crate::posts::located;
use crate::report::{Report, micros};
use crate::requests::{booking, example, get, post};
use crate::timing::median;

const REQUESTS: usize = 1_000;
const TURNS: usize = 7;

/// Maximum ratio of the longer median time to the shorter one.
const TARGET: f64 = 1.1;

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let citas = Server::citas(&data);
    let booked = post("/v1/pe/appointments", &data.token(&["pe:staff"]), &booking(&example(&loaded(peru())), 0));
    let theirs = located(citas.address, &[booked]).remove(0);
    let absent = format!("/v1/pe/appointments/{}", Uuid::now_v7());
    let stranger = data.token_of("stranger", &[]);
    let [theirs, absent] = [theirs, absent].map(|path| vec![get(&path, &stranger); REQUESTS]);

    let (mut of_theirs, mut of_absent, mut failed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        for (requests, times) in [(&theirs, &mut of_theirs), (&absent, &mut of_absent)] {
            let outcome = load::send(citas.address, 1, requests, 404);
            failed += outcome.failed;
            times.extend(outcome.times);
        }
    }
    let [theirs, absent]: [Duration; 2] = [&mut of_theirs, &mut of_absent].map(|times| median(times));
    let ratio = theirs.max(absent).as_secs_f64() / theirs.min(absent).as_secs_f64();
    report.figure("404 for somebody else's appointment, at the median", micros(theirs));
    report.figure("404 for an absent one", format!("{}, {failed} failed", micros(absent)));
    report.target("  of each other", format!("{ratio:.2}"), "≤ 1.1", ratio <= TARGET && failed == 0);
}
