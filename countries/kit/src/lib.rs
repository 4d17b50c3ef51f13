//! Common code of all countries in Rust: the contract's types and traits, civil time, zones, fields, code lists, and
//! shared checks. Knows no country's law.
//!
//! A country is a plain library: it implements [`AppointmentRules`] and, if it wants them, [`FactRules`], [`SlotRules`],
//! [`NoticeRules`] and [`PrivacyRules`] for a type of its own, and names them once in [`export!`]:
//!
//! ```
//! use citas_kit::violations::Findings;
//! use citas_kit::{Appointment, AppointmentRules, Context, Descriptor, Field, Party, Plan, Refusal, Role, Violation};
//!
//! struct Utopia;
//!
//! impl AppointmentRules for Utopia {
//!     fn describe() -> Result<Descriptor, String> {
//!         Ok(Descriptor {
//!             country: "ut".into(),
//!             version: "1.0.0".into(),
//!             zones: vec!["Etc/UTC".into()],
//!             locales: vec!["en".into()],
//!             request_schema: "{}".into(),
//!             appointment_schema: "{}".into(),
//!             actions: Vec::new(),
//!             messages: Vec::new(),
//!             claims: Vec::new(),
//!             keep_days: None,
//!             horizon_days: 90,
//!             adult_age: 18,
//!         })
//!     }
//!     fn book(_: Context, _: Vec<Field>) -> Result<Plan, Refusal> {
//!         let mut findings = Findings::default();
//!         findings.note(Some(Violation::new("/date", "ut.date.holiday").with("holiday", "Leisure")));
//!         Ok(findings.conclude(None)?)
//!     }
//!     fn act(_: Context, _: Appointment, _: String, _: Vec<Field>) -> Result<Plan, Refusal> {
//!         Err(Violation::new("", "ut.action.unknown").into())
//!     }
//!     fn present(_: Role, appointments: Vec<Appointment>) -> Result<Vec<Vec<Field>>, String> {
//!         Ok(appointments.into_iter().map(|appointment| appointment.attributes).collect())
//!     }
//!     fn key(_: Party, spelling: String) -> Result<Option<String>, String> {
//!         Ok(Some(spelling))
//!     }
//! }
//!
//! citas_kit::export!(Utopia: appointments);
//! # fn main() {}
//! ```
//!
//! [`rules!`] implements the traits with functions of the country's modules. [`house::House`] has the plans, the actions
//! and the free slots of a country whose appointments are a patient's visits to a doctor.

pub mod actions;
#[doc(hidden)]
pub mod bindings;
pub mod civil;
pub mod claims;
pub mod clock;
pub mod codes;
pub mod dates;
pub mod document;
pub mod fields;
pub mod holidays;
pub mod house;
pub mod keys;
pub mod letter;
pub mod messages;
pub mod quotas;
pub mod schedule;
pub mod settings;
pub mod slots;
pub mod testing;
pub mod violations;

pub use bindings::appointments::citas::rules::types::{
    Appointment, Caller, Choice, Civil, Claim, Context, Fact, Field, Party, Phase, Plan, Query, Refusal, Relation,
    Role, Shift, Slot, Step, Tie, Value, Violation, Wake, ZoneClock,
};
pub use bindings::appointments::exports::citas::rules::appointment_rules::{
    Action, ClaimWords, Descriptor, Guest as AppointmentRules, Message,
};
pub use bindings::facts::exports::citas::rules::fact_rules::Guest as FactRules;
pub use bindings::notices::exports::citas::rules::notice_rules::{Guest as NoticeRules, Notice};
pub use bindings::privacy::exports::citas::rules::privacy_rules::{Demand, Guest as PrivacyRules};
pub use bindings::slots::exports::citas::rules::slot_rules::{Guest as SlotRules, Offer, Offered, Opening, Place};

/// Implements interfaces of the contract for a country with functions of its modules. Each interface names its functions
/// in the order of the contract:
///
/// ```
/// use citas_kit::{Appointment, Context, Demand, Field, Notice, Party, Query};
///
/// struct Utopia;
///
/// citas_kit::rules!(Utopia:
///     facts { before_booking: before_booking, before_action: before_action },
///     notices { notices: notices },
///     privacy { due: due },
/// );
///
/// fn before_booking(_: &Context, request: &[Field]) -> Vec<Query> {
///     let key = citas_kit::fields::Fields::new(request).text("/id").unwrap_or_default().into();
///     let (name, phases) = ("earlier".into(), Vec::new());
///     vec![Query { name, of: Party::Patient, key, phases, since: None, until: None, at_most: 2 }]
/// }
/// fn before_action(_: &Context, _: &Appointment, _: &str, _: &[Field]) -> Vec<Query> {
///     Vec::new()
/// }
/// fn notices(_: &str, _: &Appointment) -> Vec<Notice> {
///     Vec::new()
/// }
/// fn due(_: &Context, _: Demand, received: i64) -> i64 {
///     received + 20 * 86_400
/// }
/// # fn main() {}
/// ```
///
/// The others are `appointments { describe: …, book: …, act: …, present: …, key: … }` and `slots { house: … }`, whose free
/// slots are those of a [`House`](house::House).
///
/// The functions borrow their arguments. `book` owns the request and `present` one appointment, which they turn into the
/// result. A refusal is anything that turns into a [`Refusal`], such as a list of violations. The other functions do not
/// fail.
#[macro_export]
macro_rules! rules {
    ($country:ident: $($interface:ident { $($function:ident: $with:path),+ $(,)? }),+ $(,)?) => {
        $( $crate::implement!($country: $interface { $($function: $with),+ }); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! implement {
    ($country:ident: appointments {
        describe: $describe:path, book: $book:path, act: $act:path, present: $present:path, key: $key:path
    }) => {
        impl $crate::AppointmentRules for $country {
            fn describe() -> Result<$crate::Descriptor, String> {
                Ok($describe())
            }

            fn book(context: $crate::Context, request: Vec<$crate::Field>) -> Result<$crate::Plan, $crate::Refusal> {
                Ok($book(&context, request)?)
            }

            fn act(
                context: $crate::Context,
                current: $crate::Appointment,
                action: String,
                input: Vec<$crate::Field>,
            ) -> Result<$crate::Plan, $crate::Refusal> {
                Ok($act(&context, &current, &action, &input)?)
            }

            fn present(
                role: $crate::Role,
                appointments: Vec<$crate::Appointment>,
            ) -> Result<Vec<Vec<$crate::Field>>, String> {
                Ok(appointments.into_iter().map(|appointment| $present(role, appointment)).collect())
            }

            fn key(of: $crate::Party, spelling: String) -> Result<Option<String>, String> {
                Ok($key(of, &spelling))
            }
        }
    };
    ($country:ident: facts { before_booking: $before_booking:path, before_action: $before_action:path }) => {
        impl $crate::FactRules for $country {
            fn before_booking(
                context: $crate::Context,
                request: Vec<$crate::Field>,
            ) -> Result<Vec<$crate::Query>, String> {
                Ok($before_booking(&context, &request))
            }

            fn before_action(
                context: $crate::Context,
                current: $crate::Appointment,
                action: String,
                input: Vec<$crate::Field>,
            ) -> Result<Vec<$crate::Query>, String> {
                Ok($before_action(&context, &current, &action, &input))
            }
        }
    };
    ($country:ident: slots { house: $house:path }) => {
        impl $crate::SlotRules for $country {
            fn openings(
                context: $crate::Context,
                place: $crate::Place,
                since: $crate::Civil,
                until: $crate::Civil,
            ) -> Result<Vec<$crate::Opening>, String> {
                Ok($house.openings(&context, &place, since, until))
            }

            fn offers(
                context: $crate::Context,
                place: $crate::Place,
                current: Option<$crate::Appointment>,
                openings: Vec<$crate::Opening>,
            ) -> Result<$crate::Offered, String> {
                Ok($house.offers(&context, &place, current.as_ref(), &openings))
            }
        }
    };
    ($country:ident: notices { notices: $notices:path }) => {
        impl $crate::NoticeRules for $country {
            fn notices(event: String, current: $crate::Appointment) -> Result<Vec<$crate::Notice>, String> {
                Ok($notices(&event, &current))
            }
        }
    };
    ($country:ident: privacy { due: $due:path }) => {
        impl $crate::PrivacyRules for $country {
            fn due(context: $crate::Context, demand: $crate::Demand, received: i64) -> Result<i64, String> {
                Ok($due(&context, demand, received))
            }
        }
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
    ($country:ident: facts) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::facts::export_facts!($country with_types_in $crate::bindings::facts);
    };
    ($country:ident: slots) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::slots::export_slots!($country with_types_in $crate::bindings::slots);
    };
    ($country:ident: notices) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::notices::export_notices!($country with_types_in $crate::bindings::notices);
    };
    ($country:ident: privacy) => {
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::privacy::export_privacy!($country with_types_in $crate::bindings::privacy);
    };
}
