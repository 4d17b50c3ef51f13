//! Chile's rules. Each module covers one topic; this module passes the host's calls to them.
//!
//! There are no notices and no reminder: Chile sends none until its team decides otherwise.

mod booking;
mod changes;
mod comunas;
mod descriptor;
mod holidays;
mod house;
mod keys;
mod messages;
mod patient;
mod prevision;
mod privacy;
mod run;
#[cfg(test)]
mod samples;
mod solstice;
mod view;

/// Chile's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Chile;

citas_kit::rules!(Chile:
    appointments {
        describe: descriptor::descriptor, book: booking::book, act: changes::act, present: view::present, key: keys::key,
    },
    slots { house: house::HOUSE },
    privacy { due: privacy::due },
);

citas_kit::export!(Chile: appointments, slots, privacy);
