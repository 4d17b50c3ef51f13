//! AWS's adapters: what stands behind the ports where Citas runs as Lambdas.
//!
//! - [`clients`]: how AWS is spoken to
//! - [`dynamo`]: the ledger

pub mod clients;
pub mod dynamo;
