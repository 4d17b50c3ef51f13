//! AWS's adapters: what stands behind the ports where Citas runs as Lambdas.
//!
//! - [`clients`]: how AWS is spoken to
//! - [`dynamo`]: the ledger
//! - [`sns`]: the publisher
//! - [`ses`]: the mailer

pub mod clients;
pub mod ses;
pub mod sns;
