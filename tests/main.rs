//! The whole from outside: contract suites of the adapters, what each promises beyond its port, and the platform as its
//! clients, its countries' teams and its operators meet it.

mod access_http;
mod aws_faults;
mod aws_ses;
mod aws_sns;
mod aws_steps;
mod booking_http;
mod chaos;
mod command;
mod crash;
mod faults_http;
mod idempotency_http;
mod languages;
mod last_good;
mod ledger_contract;
mod ledger_dynamo;
mod ledger_sqlite;
mod listing_http;
mod mailer;
mod native_cache;
mod notices_http;
mod oidc;
mod operation;
mod protocol_http;
mod races_http;
mod registry_contract;
mod registry_folder;
mod registry_s3;
mod rules_check;
mod rules_command;
mod rules_new;
mod rules_replay;
mod signing;
mod support;
mod swap;
