//! Chile's rules. Each module covers one topic; this module passes the host's calls to them.
//!
//! There are no notices: Chile sends none until its team decides otherwise.

mod booking;
mod changes;
mod comunas;
mod descriptor;
mod holidays;
mod house;
mod messages;
mod offers;
mod patient;
mod prevision;
mod run;
#[cfg(test)]
mod samples;
mod solstice;
mod view;

/// Chile's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Chile;

citas_kit::rules!(Chile: descriptor::descriptor, booking::book, changes::act, view::present, offers::offers);

citas_kit::export!(Chile: appointments, slots);
