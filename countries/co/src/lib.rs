//! Colombia's rules. Each module covers one topic; this module passes the host's calls to them.
//!
//! A patient asks for an appointment without a date. Staff authorise it where the specialty needs that, and assign a
//! doctor and a time, which the patient confirms. Only vaccinations are booked with a time at once.

mod booking;
mod changes;
mod descriptor;
mod document;
mod facts;
mod holidays;
mod house;
mod keys;
mod messages;
mod municipalities;
mod notices;
#[cfg(test)]
mod samples;
mod specialties;
mod view;
mod waiting;

/// Colombia's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Colombia;

citas_kit::rules!(Colombia:
    appointments {
        describe: descriptor::descriptor, book: booking::book, act: changes::act, present: view::present, key: keys::key,
    },
    facts { before_booking: facts::before_booking, before_action: facts::before_action },
    slots { house: house::HOUSE },
    notices { notices: notices::notices },
);

citas_kit::export!(Colombia: appointments, facts, slots, notices);
