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

use citas_kit::{Appointment, AppointmentRules, Context, Descriptor, Field, Offer, Plan, Slot, SlotRules, Violation};

/// Chile's rules. They have no state, and are used in a component or natively.
#[derive(Clone, Copy, Debug)]
pub struct Chile;

impl AppointmentRules for Chile {
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

impl SlotRules for Chile {
    fn offers(context: Context, place: Vec<Field>, openings: Vec<Slot>) -> Vec<Offer> {
        offers::offers(&context, &place, &openings)
    }
}

citas_kit::export!(Chile: appointments, slots);
