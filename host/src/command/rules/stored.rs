//! Reads a country's stored appointments: in a data folder, beside the host that writes there, or in DynamoDB.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use citas_core::model::{CountryCode, Fact, Revision};
#[cfg(feature = "aws")]
use citas_core::ports::Ledger as _;
use citas_core::ports::{Page, Query, Unavailable};
use citas_core::trial::recall;
use clap::Args;
use uuid::Uuid;

use super::Misuse;
#[cfg(feature = "aws")]
use crate::aws::{clients, dynamo::DynamoLedger};
use crate::local::sqlite::ReadOnlyLedger;
#[cfg(feature = "aws")]
use crate::system::SystemClock;

/// Selects a ledger other than the data folder's.
#[derive(Args)]
pub(super) struct Tables {
    /// Prefix of the DynamoDB table names, for a platform on AWS [default: none, the data folder is read]
    #[cfg(feature = "aws")]
    #[arg(long, env = "CITAS_TABLES", value_name = "PREFIX")]
    tables: Option<String>,
}

/// Stored appointments of one country.
pub(super) enum Stored {
    Folder(ReadOnlyLedger),
    #[cfg(feature = "aws")]
    Tables(DynamoLedger, CountryCode),
}

impl Tables {
    /// Returns the ledger over the named tables, if any.
    #[cfg(feature = "aws")]
    pub(super) async fn ledger(&self) -> Option<DynamoLedger> {
        let prefix = self.tables.as_ref()?;
        let aws = clients::configuration().load().await;
        Some(DynamoLedger::new((&aws).into(), prefix, Arc::new(SystemClock)))
    }

    /// Opens a country's appointments in these tables, or in the data folder if no tables are named.
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "there are no tables"))]
    pub(super) async fn or_in(&self, data: &Path, country: CountryCode) -> Result<Stored, Box<dyn Error>> {
        #[cfg(feature = "aws")]
        if let Some(ledger) = self.ledger().await {
            return Ok(Stored::Tables(ledger, country));
        }
        let absent = || {
            let data = data.display();
            Misuse(format!("{data} has no appointments of {country}; name the data folder of its host with --data"))
        };
        Ok(Stored::Folder(ReadOnlyLedger::open(data, country)?.ok_or_else(absent)?))
    }
}

#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "tables are asked over a network"))]
impl Stored {
    pub(super) async fn appointment(&self, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        match self {
            Self::Folder(ledger) => Ok(ledger.appointment(id)?.map(Arc::new)),
            #[cfg(feature = "aws")]
            Self::Tables(ledger, country) => ledger.appointment(*country, id).await,
        }
    }

    pub(super) async fn revision(&self, id: Uuid, number: u32) -> Result<Option<Arc<Revision>>, Unavailable> {
        let found = match self {
            Self::Folder(ledger) => ledger.revision(id, number)?,
            #[cfg(feature = "aws")]
            Self::Tables(ledger, country) => ledger.revision(*country, id, number).await?,
        };
        Ok(found.map(Arc::new))
    }

    pub(super) async fn page(&self, query: &Query) -> Result<Page, Unavailable> {
        match self {
            Self::Folder(ledger) => ledger.page(query),
            #[cfg(feature = "aws")]
            Self::Tables(ledger, country) => ledger.page(*country, query).await,
        }
    }

    /// Returns the facts of a decision.
    pub(super) async fn facts(&self, revision: &Revision) -> Result<Vec<Fact>, Unavailable> {
        let stored = async |id, number| Ok(self.revision(id, number).await?.map(Arc::unwrap_or_clone));
        recall(&revision.provenance.facts, stored).await
    }

    /// Returns the revision that a decision was about, or `None` if the decision made the first one.
    pub(super) async fn before(&self, revision: &Revision) -> Result<Option<Arc<Revision>>, Box<dyn Error>> {
        let (id, number) = (revision.appointment.id, revision.appointment.revision);
        if number <= 1 {
            return Ok(None);
        }
        let before = self.revision(id, number - 1).await?;
        let lacks = || format!("the ledger lacks revision {} of {id}, which it should have", number - 1);
        Ok(Some(before.ok_or_else(lacks)?))
    }
}
