//! Brings versions into force. Nothing here decides on an appointment.
//!
//! - [`follow`]: reads the channels of a registry and fetches changed versions
//! - [`on_demand`]: does so for the countries that requests ask for, in a function that sleeps between requests
//! - [`verify`], [`trust`]: whether a version is complete, and signed by somebody who may sign for the country
//! - [`admission`]: judges versions that a host has not accepted before
//! - [`swap`]: puts an admitted version into force or on trial
//! - [`catalogue`], [`routing`]: the versions in force and on trial, and which of them decides for a patient
//! - [`mod@precompile`]: judges and compiles versions for hosts that do not compile
//! - [`layout`]: names and sizes of a registry's files

mod admission;
mod catalogue;
mod follow;
pub mod layout;
mod on_demand;
mod precompile;
mod routing;
mod swap;
mod trust;
mod verify;

pub use self::admission::{Admission, InProcess, NotAdmitted, admit, try_out};
pub use self::catalogue::{Catalogue, Entry, RefusedVersion};
pub use self::follow::{Follower, Followers, Following};
pub use self::on_demand::{Looks, OnDemand};
pub use self::precompile::{Judge, Judged, NotCompiled, precompile};
pub use self::routing::{InForce, OnTrial};
pub use self::swap::{NativeCode, Swapper, Target};
pub use self::trust::{NotTrust, Trust, TrustSource};
pub use self::verify::{check_digests, check_identity, check_origin};
