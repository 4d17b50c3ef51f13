//! Values that all modules share. They hold data and the checks that belong to it. They call no port and no rules.

mod access;
mod agenda;
mod appointment;
mod channel;
pub mod claim;
mod context;
mod descriptor;
mod event;
mod former;
mod hold;
pub mod json;
mod keyring;
mod limits;
mod link;
mod manifest;
mod patient_link;
mod personal;
mod plan;
mod precondition;
mod privacy;
mod pseudonym;
mod reading;
mod slot_token;
mod time;

pub use self::access::{Caller, Claims, Forbidden, Scope};
pub use self::agenda::{Agenda, AgendaRevision, Closed, Extra, Hours, NotATime, Overlap, TimeOfDay, Weekday, Weekly};
pub use self::appointment::{
    Appointment, CountryCode, Field, NotACountry, NotAPhase, Phase, Provenance, Revision, RulesId, Slot, Step, VERIFY,
    Value, Wake,
};
pub use self::channel::{Canary, Candidate, ChangeNote, Channel, ChannelChange, ChannelVerb, SequenceSpent};
pub use self::claim::{Choice, Claim, HeldClaim};
pub use self::context::{
    Context, Fact, FactQuery, FactSource, Party, Relation, Role, RulesCaller, Shift, Tie, ZoneClock,
};
pub use self::descriptor::{ActionDescriptor, ClaimWords, Descriptor, Message};
pub use self::event::{Event, EventData, TYPE_PREFIX};
pub use self::former::{FormerEvent, FormerRevision};
pub use self::hold::Hold;
pub use self::keyring::{Keyring, NotAKeyring};
pub use self::limits::{Limits, MAX_COMPONENT_BYTES};
pub use self::link::{Link, Standing};
pub use self::manifest::{Artifact, Manifest, RulesPackage, digest, written};
pub use self::patient_link::{
    LinkedPatient, MAX_SUBJECT_BYTES, PatientLink, PatientLinkState, PatientLinkTerms, Today,
};
pub use self::personal::Personal;
pub use self::plan::{
    CalendarTexts, MAX_CHOICES, MAX_CLAIMS, MAX_EVENTS, MAX_KEY_BYTES, Notice, Offer, Offered, Opening, Place, Plan,
    Verdict, Violation,
};
pub use self::precondition::Precondition;
pub use self::privacy::{Demand, PrivacyOutcome, PrivacyRequest, PrivacyState, PrivacyStep, PrivacyTexts};
pub(crate) use self::pseudonym::personal_key;
pub use self::pseudonym::{KEY_DIGITS, NotAKey, Pseudonyms};
pub use self::reading::{PatientRead, READINGS_KEPT, ReadOperation, ReadReason, Reading};
pub use self::slot_token::{OtherSlot, SlotToken};
pub use self::time::Zone;
