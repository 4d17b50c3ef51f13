//! Measures what the host promises, in one run. Prints each figure beside its target, as rows of a Markdown table.
//!
//! `cargo bench -p citas` measures everything but migrations, `cargo bench -p citas -- rules posts` only these parts. With
//! the word `million` the larger ledger has 1,000,000 appointments. `cargo bench -p citas -- migrate 1000` migrates 1,000.
//! A machine that others use is noisy, so compared measurements take turns in one run, and the targets are ratios wherever
//! possible.

mod cold;
mod countries;
mod crowd;
mod gets;
mod hello;
mod hello_lambda;
mod hostile;
mod load;
mod migrate;
mod overload;
mod platform;
mod posts;
mod reads;
mod report;
mod requests;
mod rules;
mod scale;
mod slots;
mod start;
mod strangers;
mod swap;
mod timing;

#[path = "../tests/support/appointments.rs"]
#[expect(dead_code, reason = "only the tests use all of it")]
mod appointments;
#[path = "../tests/support/eventually.rs"]
mod eventually;
#[path = "../tests/support/former.rs"]
mod former;
#[path = "../tests/support/lambda.rs"]
#[expect(dead_code, reason = "only the tests use all of it")]
mod lambda;
#[path = "../tests/support/ministack.rs"]
mod ministack;
#[path = "../tests/support/table.rs"]
mod table;

use report::Report;

/// Name of a part, and the function that measures it.
type Part = (&'static str, fn(&mut Report));

/// Parts in the order in which they run: memory first, before the others have used some.
const PARTS: [Part; 14] = [
    ("countries", countries::measure),
    ("rules", rules::measure),
    ("gets", gets::measure),
    ("reads", reads::measure),
    ("posts", posts::measure),
    ("strangers", strangers::measure),
    ("slots", slots::measure),
    ("crowd", crowd::measure),
    ("overload", overload::measure),
    ("hostile", hostile::measure),
    ("scale", scale::measure),
    ("swap", swap::measure),
    ("start", start::measure),
    ("cold", cold::measure),
];

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some(hello::ARGUMENT) => return hello::serve(),
        Some(hello_lambda::ARGUMENT) => return hello_lambda::serve(),
        Some(argument) if reads::ARGUMENTS.contains(&argument) => return reads::serve(argument),
        _ => {}
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if asked.iter().any(|word| word == migrate::PART) {
        return migrate::measure(&mut Report::start());
    }
    let wanted = |part: &str| asked.iter().all(|word| word == scale::MILLION) || asked.iter().any(|word| word == part);
    let mut report = Report::start();
    for (_, measure) in PARTS.iter().filter(|(part, _)| wanted(part)) {
        measure(&mut report);
    }
}
