//! The descriptor: everything that the host needs to know of these rules before it calls them.

use citas_kit::Descriptor;
use citas_kit::messages::catalogue;

use crate::comunas::ZONES;
use crate::house::{ADULT_AGE, COUNTRY, HOUSE};
use crate::messages::{LOCALES, words};
use crate::patient::RUN;

/// Returns the descriptor, which is the same at every call.
pub fn descriptor() -> Descriptor {
    Descriptor {
        country: COUNTRY.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        zones: ZONES.map(String::from).into(),
        locales: LOCALES.map(String::from).into(),
        request_schema: include_str!("schema/request.json").into(),
        appointment_schema: include_str!("schema/appointment.json").into(),
        actions: HOUSE.actions(include_str!("schema/cancel.json"), include_str!("schema/reschedule.json")),
        messages: catalogue(&LOCALES, &words()),
        claims: HOUSE.claim_words(&[(RUN, "/run"), ("", "/document/number")]),
        keep_days: None,
        horizon_days: HOUSE.schedule.horizon_days,
        adult_age: ADULT_AGE,
    }
}
