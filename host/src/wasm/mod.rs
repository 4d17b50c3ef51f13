//! Runs countries' rules with wasmtime. Implements [`citas_core::ports::Rules`]. Knows neither the origin of a
//! component nor the use of its results.
//!
//! A component is compiled and linked once, when it is loaded. Each call then gets a store and an instance of its own,
//! which are dropped when the call ends. So one patient's data never meets another's, and a failed call leaves no
//! damage behind. Pooled memories that are mapped copy-on-write reduce this cost to microseconds.
//!
//! - [`engine`], [`component`]: load a component and call it
//! - [`v1`], [`v2`]: the calls of each contract, its types, and the conversion of its values
//! - [`limits`], [`size`], [`meter`]: resources of a call
//! - `judge`, `static_bounds`, `attempts`, `admission`, `cache`: judge a stranger's component in a child process, and
//!   remember the outcome
//! - [`native`]: native code that was compiled before

#[cfg(feature = "compiler")]
mod admission;
#[cfg(feature = "compiler")]
mod attempts;
#[cfg(feature = "compiler")]
mod cache;
mod component;
mod engine;
mod error;
#[cfg(feature = "compiler")]
pub mod judge;
pub mod limits;
mod meter;
mod native;
mod size;
#[cfg(feature = "compiler")]
mod static_bounds;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

#[cfg(feature = "compiler")]
pub use admission::ChildAdmission;
pub use engine::{NoEngine, WasmEngine};
pub use meter::{Meter, Metered};
#[cfg(feature = "compiler")]
pub use static_bounds::{Census, census};
