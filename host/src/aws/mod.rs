//! AWS's adapters: what stands behind the ports where Citas runs as Lambdas.
//!
//! - [`clients`]: how AWS is spoken to
//! - [`dynamo`]: the ledger, and what is found of versions on trial
//! - [`stream`]: a ledger's events to the publisher
//! - [`trial`]: a ledger's decisions to what is found of versions on trial
//! - [`sns`]: the publisher
//! - [`queue`]: what was published to the notifier
//! - [`ses`]: the mailer
//! - [`registry`]: published rules in a bucket

pub mod clients;
pub mod dynamo;
mod failure;
pub mod queue;
pub mod registry;
pub mod ses;
pub mod sns;
pub mod stream;
pub mod trial;
