//! The contract as Rust types and functions, generated from `wit/1.0.0/rules.wit`. Nothing outside `v1` sees them.
//!
//! The world with every optional interface is bound, so that each interface has its types. Loading a component finds
//! out which of them it exports.

#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../wit/1.0.0",
    world: "full-country",
});

pub(super) use self::citas::rules::types::{
    Appointment, Civil, Context, Field, Phase, Plan, Shift, Slot, Value, Violation, ZoneClock,
};
pub(super) use exports::citas::rules::appointment_rules::{Action, Descriptor, Message};
pub(super) use exports::citas::rules::notice_rules::Notice;
pub(super) use exports::citas::rules::slot_rules::Offer;
