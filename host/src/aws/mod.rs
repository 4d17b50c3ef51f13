//! Adapters for AWS: the implementations of the ports where Citas runs as Lambda functions.
//!
//! - [`clients`]: the configuration of all AWS clients
//! - [`dynamo`]: the ledger, its scheduled actions, the results of trials, and the migration of tables
//! - [`stream`]: numbers the revisions of a table's stream, and publishes its events
//! - [`trial`]: compares the decisions of a table's stream with those of versions on trial
//! - [`sns`]: the publisher
//! - [`queue`]: passes a queue's messages to the notifier
//! - [`ses`]: the mailer
//! - [`registry`]: published rules in an S3 bucket
//! - [`failure`]: failed calls in one line

pub mod clients;
pub mod dynamo;
mod failure;
pub mod queue;
pub mod registry;
pub mod ses;
pub mod sns;
pub mod stream;
pub mod trial;
