//! The whole from outside: contract suites of the adapters, and what each promises beyond its port.

mod chaos;
mod ledger_contract;
mod ledger_sqlite;
mod mailer;
mod registry_contract;
mod registry_folder;
mod rules_command;
mod support;
