//! Implements the port [`Ledger`] over one client.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use citas_core::model::{CountryCode, Revision};
use citas_core::ports::{Change, CommitError, Ledger, Page, Query, Receipt, Unavailable, deadline};
use jiff::Timestamp;
use uuid::Uuid;

use super::change::Transaction;
use super::item::{self, Item, text};
use super::{DynamoLedger, pages, unavailable};
use crate::aws::clients::ATTEMPTS;
use crate::aws::failure::error_text;

/// Base of the pause before keys that a busy table left out are requested again. The pause doubles with each attempt.
const BUSY: Duration = Duration::from_millis(50);

impl DynamoLedger {
    /// Reads one item, strongly consistent.
    pub(super) async fn item(&self, country: CountryCode, key: Item) -> Result<Option<Item>, Unavailable> {
        let request = self.client.get_item().table_name(self.table(country)).set_key(Some(key)).consistent_read(true);
        Ok(request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?.item)
    }

    async fn stored(&self, country: CountryCode, key: Item) -> Result<Option<Revision>, Unavailable> {
        let item = self.item(country, key).await?;
        item.map(item::revision).transpose().map_err(|error| unavailable(country, error))
    }

    /// Determines the outcome of a change whose response was lost, or that conflicted with others on every attempt. If
    /// a condition does not hold now, looks for the revision once more: the change itself may have been stored
    /// meanwhile.
    async fn found_out(&self, change: &Change, error: Unavailable) -> Result<(), CommitError> {
        let refusal = match self.in_the_way(change).await? {
            Some(refusal) => refusal,
            None => error.into(),
        };
        let revision = &change.revision;
        let (id, number) = (revision.appointment.id, revision.appointment.revision);
        let is_stored = self.revision(revision.country, id, number).await?.as_ref() == Some(revision);
        if is_stored { Ok(()) } else { Err(refusal) }
    }

    /// Returns the refusal of the first of a change's conditions that does not hold now.
    async fn in_the_way(&self, change: &Change) -> Result<Option<CommitError>, Unavailable> {
        let Change { revision, take, receipt, .. } = change;
        let (country, appointment) = (revision.country, &revision.appointment);
        if let Some(receipt) = receipt
            && self.receipt(country, &receipt.key, revision.updated_at).await?.is_some()
        {
            return Ok(Some(CommitError::KeyUsed));
        }
        let latest = self.appointment(country, appointment.id).await?;
        let next = latest.map_or(0, |latest| latest.appointment.revision).checked_add(1);
        if next != Some(appointment.revision) {
            return Ok(Some(CommitError::Stale));
        }
        Ok(self.taken(country, take).await?.into_keys().next().map(CommitError::ClaimTaken))
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let country = change.revision.country;
        let transaction =
            Transaction::of(&change, &self.table(country)).map_err(|error| unavailable(country, error))?;
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(transaction.items.clone()))
            .client_request_token(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string());
        let stored = async {
            let Err(error) = request.send().await else { return Ok(()) };
            match transaction.refusal(&error) {
                Some(refusal) => Err(refusal),
                None => self.found_out(&change, unavailable(country, error_text("DynamoDB", &error))).await,
            }
        };
        deadline::without(stored).await
    }

    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        Ok(self.stored(country, item::appointment_key(id)).await?.map(Arc::new))
    }

    async fn revision(&self, country: CountryCode, id: Uuid, number: u32) -> Result<Option<Revision>, Unavailable> {
        self.stored(country, item::revision_key(id, number)).await
    }

    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable> {
        let query = self
            .client
            .query()
            .table_name(self.table(country))
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(item::partition(id)))
            .expression_attribute_values(":from", text(item::revision_sort(after.saturating_add(1))))
            .expression_attribute_values(":to", text(item::revision_sort(u32::MAX)))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let mut found = query.into_paginator().items().send();
        let mut revisions = Vec::new();
        while revisions.len() < limit
            && let Some(item) = found.next().await
        {
            let item = item.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            revisions.push(item::revision(item).map_err(|error| unavailable(country, error))?);
        }
        Ok(revisions)
    }

    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable> {
        let page = pages::page(&self.client, &self.table(country), query).await;
        page.map_err(|cause| unavailable(country, cause))
    }

    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        let item = self.item(country, item::receipt_key(key)).await?;
        let receipt: Option<Receipt> =
            item.map(item::decoded).transpose().map_err(|error| unavailable(country, error))?;
        Ok(receipt.filter(|receipt| receipt.expires_at > now))
    }

    async fn taken(&self, country: CountryCode, claims: &[String]) -> Result<HashMap<String, Uuid>, Unavailable> {
        let table = self.table(country);
        let distinct: HashSet<&String> = claims.iter().collect();
        if distinct.is_empty() {
            return Ok(HashMap::new());
        }
        let mut asked: Vec<Item> = distinct.into_iter().map(|claim| item::claim_key(claim)).collect();
        let mut taken = HashMap::new();
        for attempt in 1..=ATTEMPTS {
            let keys = KeysAndAttributes::builder().set_keys(Some(asked)).consistent_read(true);
            let keys = keys.projection_expression("pk, appointment").build().expect("keys are given");
            let answer = self.client.batch_get_item().request_items(&table, keys).send().await;
            let answer = answer.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            let found = answer.responses.unwrap_or_default().remove(&table).unwrap_or_default();
            taken.extend(found.iter().filter_map(item::claim_of).map(|(claim, holder)| (claim.to_owned(), holder)));
            let mut left: HashMap<_, _> = answer.unprocessed_keys.unwrap_or_default();
            asked = left.remove(&table).map(|keys| keys.keys).unwrap_or_default();
            if asked.is_empty() {
                return Ok(taken);
            }
            tokio::time::sleep(BUSY * 2_u32.pow(attempt)).await;
        }
        Err(unavailable(country, "the table is too busy to say which claims are taken"))
    }

    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable> {
        Ok(self.item(country, item::notice_key(id)).await?.is_some())
    }

    async fn mark_notified(&self, country: CountryCode, id: Uuid, now: Timestamp) -> Result<(), Unavailable> {
        let item = item::notice(id, now);
        let request = self.client.put_item().table_name(self.table(country)).set_item(Some(item));
        request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        Ok(())
    }

    /// Reads one item. A table that answers reads accepts writes.
    async fn ready(&self, country: CountryCode) -> Result<(), Unavailable> {
        self.item(country, item::notice_key(Uuid::nil())).await.map(|_| ())
    }
}
