//! The contract as Rust types and functions, generated from `wit/2.0.0/rules.wit`. Nothing outside `v2` sees them.
//!
//! The world with every optional interface is bound, so that each interface has its types. Loading a component finds
//! out which of them it exports.

#![allow(missing_docs, clippy::pedantic, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../wit/2.0.0",
    world: "full-country",
});

pub(super) use self::citas::rules::types::{
    Appointment, Caller, Choice, Civil, Claim, Context, Fact, Field, Party, Phase, Plan, Query, Refusal, Relation,
    Role, Shift, Slot, Step, Tie, Value, Violation, Wake, ZoneClock,
};
pub(super) use exports::citas::rules::appointment_rules::{Action, ClaimWords, Descriptor, Message};
pub(super) use exports::citas::rules::notice_rules::Notice;
pub(super) use exports::citas::rules::privacy_rules::Demand;
pub(super) use exports::citas::rules::slot_rules::{Offer, Offered, Opening, Place};
