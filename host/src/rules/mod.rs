//! Runs countries' rules with wasmtime: the adapter of [`citas_core::rules`], and what makes components of
//! country folders. Knows nothing of where components come from or what their answers are used for.
//!
//! A component is compiled and linked once, when it is loaded. Every call then gets a store and an instance of its
//! own, which are gone when it ends: one patient's data never meets another's, and a call that fails spoils nothing.
//! Pooled memories that are mapped copy-on-write make that cost microseconds.

#[cfg(feature = "compiler")]
mod admission;
#[cfg(feature = "compiler")]
mod attempts;
mod build;
#[cfg(feature = "compiler")]
mod cached;
mod convert;
mod engine;
mod folder;
#[cfg(feature = "compiler")]
pub mod judge;
pub mod limits;
mod loaded;
mod meter;
mod native;
mod new_country;
#[cfg(feature = "compiler")]
mod static_bounds;
mod wit;

#[cfg(test)]
mod tests;

#[cfg(feature = "compiler")]
pub use admission::ChildAdmission;
pub use build::BuildError;
pub use engine::{NoEngine, WasmEngine};
pub use folder::{CasesError, CountryFolder, FolderError, Language, cases_in, limits_in};
pub use meter::{Meter, Metered};
pub use new_country::{NotBegun, begin};
#[cfg(feature = "compiler")]
pub use static_bounds::{Census, census};
