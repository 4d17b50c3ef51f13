//! The descriptor: everything that the host needs to know of these rules before it calls them.

use citas_kit::Descriptor;
use citas_kit::messages::catalogue;

use crate::comunas::ZONES;
use crate::house::COUNTRY;
use crate::messages::{LOCALES, WORDS};

/// Returns the descriptor, which is the same at every call.
pub fn descriptor() -> Descriptor {
    Descriptor {
        country: COUNTRY.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        zones: ZONES.map(String::from).into(),
        locales: LOCALES.map(String::from).into(),
        request_schema: include_str!("schema/request.json").into(),
        appointment_schema: include_str!("schema/appointment.json").into(),
        actions: citas_kit::standard_actions!(),
        messages: catalogue(&LOCALES, WORDS),
    }
}
