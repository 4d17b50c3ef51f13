//! One loaded version of a country's rules, and the checks of the host around each call to it. Knows nothing of
//! registries, ledgers or HTTP.

pub mod cases;
pub mod compare;
pub mod decision;
pub mod executor;
pub mod loaded;
pub mod messages;
pub(crate) mod plan_check;
pub mod schema;
