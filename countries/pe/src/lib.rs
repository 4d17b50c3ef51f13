//! Peru's rules. Each module covers one topic; this module passes the host's calls to them.

mod booking;
mod changes;
mod descriptor;
mod districts;
mod dni;
mod emergency;
mod holidays;
mod house;
mod keys;
mod messages;
mod notices;
mod patient;
mod privacy;
#[cfg(test)]
mod samples;
mod view;

/// Peru's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Peru;

citas_kit::rules!(Peru:
    appointments {
        describe: descriptor::descriptor, book: booking::book, act: changes::act, present: view::present, key: keys::key,
    },
    slots { house: house::HOUSE },
    notices { notices: notices::notices },
    privacy { due: privacy::due },
);

citas_kit::export!(Peru: appointments, slots, notices, privacy);
