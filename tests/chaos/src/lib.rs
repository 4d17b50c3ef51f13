//! A country that misbehaves on request. The field `/mode` of `book` selects the fault of one call, a cargo feature the
//! fault of the whole component. Without either it is a small, well-behaved country, the tests' third.
//!
//! On any target but WebAssembly this crate is empty.

#![cfg(target_arch = "wasm32")]

mod rules;

#[allow(unsafe_code, missing_docs, clippy::pedantic, reason = "generated code")]
mod contract {
    #[cfg(not(feature = "import"))]
    wit_bindgen::generate!({ path: "../../wit/1.0.0", world: "full-country", pub_export_macro: true });

    #[cfg(feature = "import")]
    wit_bindgen::generate!({
        path: "../../wit/1.0.0",
        inline: "
            package citas:chaos;

            interface outside { peek: func() -> u32; }

            world leaky {
                import outside;
                include citas:rules/full-country@1.0.0;
            }
        ",
        world: "citas:chaos/leaky",
        generate_all,
    });
}
