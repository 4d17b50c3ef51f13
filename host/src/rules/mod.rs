//! Runs countries' rules with wasmtime: the adapter of [`citas_core::rules`], and what makes components of
//! country folders. Knows nothing of where components come from or what their answers are used for.
//!
//! A component is compiled and linked once, when it is loaded. Every call then gets a store and an instance of its
//! own, which are gone when it ends: one patient's data never meets another's, and a call that fails spoils nothing.
//! Pooled memories that are mapped copy-on-write make that cost microseconds.

mod build;
#[cfg(feature = "compiler")]
mod cached;
mod convert;
mod engine;
mod folder;
pub mod limits;
mod loaded;
mod meter;
mod native;
mod new_country;
mod wit;

#[cfg(test)]
mod tests;

pub use build::BuildError;
#[cfg(feature = "compiler")]
pub use cached::CachedEngine;
pub use engine::{NoEngine, WasmEngine};
pub use folder::{CasesError, CountryFolder, FolderError, Language, cases_in, limits_in};
pub use meter::{Meter, Metered};
pub use new_country::{NotBegun, begin};
