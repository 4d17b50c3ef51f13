//! Peru's rules. Each module covers one topic; this module passes the host's calls to them.

mod booking;
mod changes;
mod descriptor;
mod districts;
mod dni;
mod holidays;
mod house;
mod messages;
mod notices;
mod offers;
mod patient;
#[cfg(test)]
mod samples;
mod view;

use citas_kit::{
    Appointment, AppointmentRules, Context, Descriptor, Field, Notice, NoticeRules, Offer, Plan, Slot, SlotRules,
    Violation,
};

/// Peru's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Peru;

impl AppointmentRules for Peru {
    fn describe() -> Descriptor {
        descriptor::descriptor()
    }

    fn book(context: Context, request: Vec<Field>) -> Result<Plan, Vec<Violation>> {
        booking::book(&context, request)
    }

    fn act(context: Context, current: Appointment, action: String, input: Vec<Field>) -> Result<Plan, Vec<Violation>> {
        changes::act(&context, &current, &action, &input)
    }

    fn present(appointments: Vec<Appointment>) -> Vec<Vec<Field>> {
        appointments.into_iter().map(view::present).collect()
    }
}

impl SlotRules for Peru {
    fn offers(context: Context, place: Vec<Field>, openings: Vec<Slot>) -> Vec<Offer> {
        offers::offers(&context, &place, &openings)
    }
}

impl NoticeRules for Peru {
    fn notices(event: String, current: Appointment) -> Vec<Notice> {
        notices::notices(&event, &current).into_iter().collect()
    }
}

citas_kit::export!(Peru: appointments, slots, notices);
