//! Interfaces to the outside world. Each trait states what every adapter MUST do, and the contract suites in `tests/`
//! check the adapters. Ports import only the model and each other.

pub mod clock;
pub mod deadline;
pub mod last_good;
pub mod ledger;
pub mod mailer;
pub mod native_code;
pub mod publisher;
pub mod registry;
pub mod rules;
pub mod tokens;
pub mod trials;
