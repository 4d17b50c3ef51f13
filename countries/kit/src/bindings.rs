//! The contract in Rust, generated from `wit/2.0.0/rules.wit`: one module per interface, all sharing the same types.
//!
//! A component must export exactly the interfaces that its country implements. So each interface is exported by a world
//! of its own, and [`export!`](crate::export) combines those that a country names.
#![allow(missing_docs, unsafe_code, clippy::pedantic, reason = "generated code; the contract documents itself")]

/// The interface that every country implements, and the types that all interfaces share.
pub mod appointments {
    wit_bindgen::generate!({
        path: "../../wit/2.0.0",
        world: "citas:rules/country",
        pub_export_macro: true,
        export_macro_name: "export_appointments",
        default_bindings_module: "citas_kit::bindings::appointments",
        additional_derives: [Clone, PartialEq, Eq],
    });
}

/// Generates the bindings of an optional interface in a module of its own.
macro_rules! optional {
    ($module:ident, $world:literal, $export:literal, $bindings:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit/2.0.0",
                inline: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $bindings,
                additional_derives: [Clone, PartialEq, Eq],
                generate_all,
                with: { "citas:rules/types@2.0.0": crate::bindings::appointments::citas::rules::types },
            });
        }
    };
}

optional!(
    facts,
    "package citas:kit; world facts { export citas:rules/fact-rules@2.0.0; }",
    "export_facts",
    "citas_kit::bindings::facts"
);
optional!(
    slots,
    "package citas:kit; world slots { export citas:rules/slot-rules@2.0.0; }",
    "export_slots",
    "citas_kit::bindings::slots"
);
optional!(
    notices,
    "package citas:kit; world notices { export citas:rules/notice-rules@2.0.0; }",
    "export_notices",
    "citas_kit::bindings::notices"
);
optional!(
    privacy,
    "package citas:kit; world privacy { export citas:rules/privacy-rules@2.0.0; }",
    "export_privacy",
    "citas_kit::bindings::privacy"
);
