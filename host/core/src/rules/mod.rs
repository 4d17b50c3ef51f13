//! One loaded version of a country's rules, and the checks of the host around each call to it. Knows nothing of
//! registries, ledgers or HTTP.
//!
//! - [`loaded`]: a version, its calls, and their metrics
//! - [`decision`]: the pipeline from a request to a plan
//! - [`plan_check`]: plans, offers and notices against the contract, with the check of claims
//! - [`schema`]: JSON Schemas, bounded when they are loaded
//! - [`links`]: the links in the texts of notices
//! - [`messages`]: violations in the language of the client
//! - [`cases`]: golden cases
//! - [`booking_days`]: days on which the examples can be booked
//! - [`compare`]: differences between two versions that clients notice
//! - [`executor`]: the threads of calls, and whose turn it is
//! - [`watch`]: failed calls, for their team to repeat

mod booking_days;
pub mod cases;
pub mod compare;
mod decision;
mod executor;
mod links;
mod loaded;
mod messages;
mod plan_check;
pub mod schema;
mod watch;

pub use self::booking_days::{BookableExample, BookingDays};
pub use self::decision::{
    Decision, DecisionRequest, NotDecided, Planned, Rejection, check, check_input, decide, evaluate,
};
pub use self::executor::Executor;
pub(crate) use self::links::{linked_actions, with_links};
pub use self::loaded::{
    ADDED_MEMBERS, Action, Counters, Fields, HOLD, HOST_MEMBERS, LoadedRules, MAX_PAGE, MAX_PAGE_CALLS, SLOT,
};
pub use self::messages::{Code, Messages, host_language};
pub(crate) use self::plan_check::check_notices;
pub use self::watch::watched;
