//! One loaded version of a country's rules, and the checks of the host around each call to it. Knows nothing of
//! registries, ledgers or HTTP.

pub mod cases;
pub mod compare;
mod decision;
mod executor;
mod loaded;
mod messages;
mod plan_check;
pub mod schema;

pub use self::decision::{Decision, DecisionRequest, NotDecided, Planned, check_input, decide, evaluate};
pub use self::executor::Executor;
pub use self::loaded::{Action, Counters, Fields, HOST_MEMBERS, LoadedRules, MAX_PAGE, MAX_PAGE_CALLS};
pub use self::messages::Messages;
pub(crate) use self::plan_check::check_notices;
