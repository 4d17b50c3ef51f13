//! Brings versions into force: reads a version from the registry, verifies it, has it judged, and swaps it in.
//! [`catalogue`] holds the versions in force. Nothing here decides on an appointment.

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
pub use self::on_demand::OnDemand;
pub use self::precompile::{Judge, Judged, NotCompiled, precompile};
pub use self::routing::{InForce, OnTrial};
pub use self::swap::{NativeCode, Swapper, Target};
pub use self::trust::{NotTrust, Trust, TrustSource};
