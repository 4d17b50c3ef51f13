//! The contract in Rust, generated from `wit/1.0.0/rules.wit`: one module per interface, all sharing the same types.
//!
//! A component must export exactly the interfaces that its country implements. So each interface is exported by a world
//! of its own, and [`export!`](crate::export) combines those that a country names.
#![allow(missing_docs, unsafe_code, clippy::pedantic, reason = "generated code; the contract documents itself")]

/// The interface that every country implements, and the types that all interfaces share.
pub mod appointments {
    wit_bindgen::generate!({
        path: "../../wit/1.0.0",
        world: "citas:rules/country",
        pub_export_macro: true,
        export_macro_name: "export_appointments",
        default_bindings_module: "citas_kit::bindings::appointments",
        additional_derives: [Clone, PartialEq, Eq],
    });
}

/// The optional interface of slots.
pub mod slots {
    wit_bindgen::generate!({
        path: "../../wit/1.0.0",
        inline: "package citas:kit; world slots { export citas:rules/slot-rules@1.0.0; }",
        pub_export_macro: true,
        export_macro_name: "export_slots",
        default_bindings_module: "citas_kit::bindings::slots",
        additional_derives: [Clone, PartialEq, Eq],
        generate_all,
        with: { "citas:rules/types@1.0.0": crate::bindings::appointments::citas::rules::types },
    });
}

/// The optional interface of notices.
pub mod notices {
    wit_bindgen::generate!({
        path: "../../wit/1.0.0",
        inline: "package citas:kit; world notices { export citas:rules/notice-rules@1.0.0; }",
        pub_export_macro: true,
        export_macro_name: "export_notices",
        default_bindings_module: "citas_kit::bindings::notices",
        additional_derives: [Clone, PartialEq, Eq],
        generate_all,
        with: { "citas:rules/types@1.0.0": crate::bindings::appointments::citas::rules::types },
    });
}
