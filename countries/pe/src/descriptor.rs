//! The descriptor: everything that the host needs to know of these rules before it calls them.

use citas_kit::Descriptor;
use citas_kit::messages::catalogue;

use crate::house::{ADULT_AGE, COUNTRY, HOUSE, ZONE};
use crate::messages::{LOCALES, words};
use crate::patient::DNI;

/// Returns the descriptor, which is the same at every call.
pub fn descriptor() -> Descriptor {
    Descriptor {
        country: COUNTRY.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        zones: vec![ZONE.into()],
        locales: LOCALES.map(String::from).into(),
        request_schema: include_str!("schema/request.json").into(),
        appointment_schema: include_str!("schema/appointment.json").into(),
        actions: HOUSE.actions(include_str!("schema/cancel.json"), include_str!("schema/reschedule.json")),
        messages: catalogue(&LOCALES, &words()),
        claims: HOUSE.claim_words(&[(DNI, "/dni"), ("", "/document/number")]),
        keep_days: None,
        horizon_days: HOUSE.schedule.horizon_days,
        adult_age: ADULT_AGE,
    }
}
