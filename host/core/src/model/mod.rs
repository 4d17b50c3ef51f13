//! Values that all modules share. They hold data and the checks that belong to it. They call no port and no rules.

mod access;
mod appointment;
mod channel;
mod context;
mod descriptor;
mod event;
pub mod json;
mod limits;
mod manifest;
mod plan;
mod time;

pub use self::access::{Caller, Claims, Forbidden, Scope};
pub use self::appointment::{
    Appointment, CountryCode, Field, NotACountry, NotAPhase, Phase, Provenance, Revision, RulesId, Slot, Value,
};
pub use self::channel::{Canary, Candidate, ChangeNote, Channel, ChannelChange, ChannelVerb, SequenceSpent};
pub use self::context::{Context, Role, Shift, ZoneClock};
pub use self::descriptor::{ActionDescriptor, Descriptor, Message};
pub use self::event::{Event, TYPE_PREFIX};
pub use self::limits::{Limits, MAX_COMPONENT_BYTES};
pub use self::manifest::{Artifact, Manifest, RulesPackage, digest, written};
pub use self::plan::{CalendarTexts, MAX_CLAIMS, MAX_EVENTS, MAX_KEY_BYTES, Notice, Offer, Plan, Verdict, Violation};
pub use self::time::Zone;
