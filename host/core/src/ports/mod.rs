//! Interfaces to the world. Each trait says what every adapter MUST do, and the contract suites in `tests/` hold the adapters
//! to it. Ports know the model and nothing else.

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
