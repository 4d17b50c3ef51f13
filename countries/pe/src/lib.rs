//! Peru's rules. Each module covers one topic; this module passes the host's calls to them.

mod booking;
mod changes;
mod descriptor;
mod districts;
mod dni;
mod emergency;
mod holidays;
mod house;
mod messages;
mod notices;
mod offers;
mod patient;
#[cfg(test)]
mod samples;
mod view;

use citas_kit::{Appointment, Notice, NoticeRules};

/// Peru's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Peru;

citas_kit::rules!(Peru: descriptor::descriptor, booking::book, changes::act, view::present, offers::offers);

impl NoticeRules for Peru {
    fn notices(event: String, current: Appointment) -> Vec<Notice> {
        notices::notices(&event, &current).into_iter().collect()
    }
}

citas_kit::export!(Peru: appointments, slots, notices);
