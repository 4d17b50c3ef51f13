//! Common code of all countries in Rust: the contract's types and traits, civil time, zones, fields, code lists, and
//! shared checks. Knows no country's law.
//!
//! A country is a plain library: it implements [`AppointmentRules`] and, if it wants them, [`SlotRules`] and
//! [`NoticeRules`] for a type of its own, and names them once in [`export!`]:
//!
//! ```
//! use citas_kit::violations::Findings;
//! use citas_kit::{Appointment, AppointmentRules, Context, Descriptor, Field, Plan, Violation};
//!
//! struct Utopia;
//!
//! impl AppointmentRules for Utopia {
//!     fn describe() -> Descriptor {
//!         Descriptor {
//!             country: "ut".into(),
//!             version: "1.0.0".into(),
//!             zones: vec!["Etc/UTC".into()],
//!             locales: vec!["en".into()],
//!             request_schema: "{}".into(),
//!             appointment_schema: "{}".into(),
//!             actions: Vec::new(),
//!             messages: Vec::new(),
//!         }
//!     }
//!     fn book(_: Context, _: Vec<Field>) -> Result<Plan, Vec<Violation>> {
//!         let mut findings = Findings::default();
//!         findings.note(Some(Violation::new("/date", "ut.date.holiday").with("holiday", "Leisure")));
//!         findings.conclude(None)
//!     }
//!     fn act(_: Context, _: Appointment, _: String, _: Vec<Field>) -> Result<Plan, Vec<Violation>> {
//!         Err(vec![Violation::new("", "ut.action.unknown")])
//!     }
//!     fn present(appointments: Vec<Appointment>) -> Vec<Vec<Field>> {
//!         appointments.into_iter().map(|appointment| appointment.attributes).collect()
//!     }
//! }
//!
//! citas_kit::export!(Utopia: appointments);
//! # fn main() {}
//! ```

pub mod actions;
#[doc(hidden)]
pub mod bindings;
pub mod civil;
pub mod claims;
pub mod clock;
pub mod codes;
pub mod document;
pub mod fields;
pub mod holidays;
pub mod letter;
pub mod messages;
pub mod schedule;
pub mod violations;

pub use bindings::appointments::citas::rules::types::{
    Appointment, Civil, Context, Field, Phase, Plan, Shift, Slot, Value, Violation, ZoneClock,
};
pub use bindings::appointments::exports::citas::rules::appointment_rules::{
    Action, Descriptor, Guest as AppointmentRules, Message,
};
pub use bindings::notices::exports::citas::rules::notice_rules::{Guest as NoticeRules, Notice};
pub use bindings::slots::exports::citas::rules::slot_rules::{Guest as SlotRules, Offer};

/// Implements the contract for a country with functions of its modules, in this order: descriptor, booking, actions,
/// presentation, offers.
#[macro_export]
macro_rules! rules {
    ($country:ident: $describe:path, $book:path, $act:path, $present:path, $offers:path) => {
        impl $crate::AppointmentRules for $country {
            fn describe() -> $crate::Descriptor {
                $describe()
            }

            fn book(
                context: $crate::Context,
                request: Vec<$crate::Field>,
            ) -> Result<$crate::Plan, Vec<$crate::Violation>> {
                $book(&context, request)
            }

            fn act(
                context: $crate::Context,
                current: $crate::Appointment,
                action: String,
                input: Vec<$crate::Field>,
            ) -> Result<$crate::Plan, Vec<$crate::Violation>> {
                $act(&context, &current, &action, &input)
            }

            fn present(appointments: Vec<$crate::Appointment>) -> Vec<Vec<$crate::Field>> {
                appointments.into_iter().map($present).collect()
            }
        }

        impl $crate::SlotRules for $country {
            fn offers(
                context: $crate::Context,
                place: Vec<$crate::Field>,
                openings: Vec<$crate::Slot>,
            ) -> Vec<$crate::Offer> {
                $offers(&context, &place, &openings)
            }
        }
    };
}

/// Lists the actions that all countries have, with the JSON Schemas in `schema/` beside the calling file.
#[macro_export]
macro_rules! standard_actions {
    () => {
        $crate::Action::standard(
            include_str!("schema/cancel.json"),
            include_str!("schema/reschedule.json"),
            include_str!("schema/no-show.json"),
        )
    };
}

/// Exports a country as a component: the interfaces named, and no others. Only for WebAssembly: natively the symbols of
/// two countries would collide in one program.
#[macro_export]
macro_rules! export {
    ($country:ident: $($interface:ident),+) => {
        $( $crate::export_interface!($country: $interface); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_interface {
    ($country:ident: appointments) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::appointments::export_appointments!($country with_types_in $crate::bindings::appointments);
    };
    ($country:ident: slots) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::slots::export_slots!($country with_types_in $crate::bindings::slots);
    };
    ($country:ident: notices) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::notices::export_notices!($country with_types_in $crate::bindings::notices);
    };
}
