//! Runs countries' rules with wasmtime: the adapter of [`citas_core::ports::rules`]. Knows nothing of where components come
//! from or what their answers are used for.
//!
//! A component is compiled and linked once, when it is loaded. Every call then gets a store and an instance of its
//! own, which are gone when it ends: one patient's data never meets another's, and a call that fails spoils nothing.
//! Pooled memories that are mapped copy-on-write make that cost microseconds.

#[cfg(feature = "compiler")]
mod admission;
#[cfg(feature = "compiler")]
mod attempts;
#[cfg(feature = "compiler")]
mod cache;
mod component;
mod convert;
mod engine;
mod error;
#[cfg(feature = "compiler")]
pub mod judge;
pub mod limits;
mod meter;
mod native;
#[cfg(feature = "compiler")]
mod static_bounds;
mod wit;

#[cfg(test)]
mod tests;

#[cfg(feature = "compiler")]
pub use admission::ChildAdmission;
pub use engine::{NoEngine, WasmEngine};
pub use meter::{Meter, Metered};
#[cfg(feature = "compiler")]
pub use static_bounds::{Census, census};
