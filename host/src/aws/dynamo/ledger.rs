//! Implements the port [`Ledger`] over one client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use citas_core::model::{Claim, CountryCode, Hold, Revision};
use citas_core::ports::{Change, CommitError, Committed, Ledger, NewHold, Page, Query, Receipt, Taken, Unavailable};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::try_join;
use uuid::Uuid;

use super::commit::Wanted;
use super::item::{self, Item, text};
use super::{DynamoLedger, pages, unavailable};
use crate::aws::clients::ATTEMPTS;
use crate::aws::failure::error_text;

/// Base of the pause before keys that a busy table left out are requested again. The pause doubles with each attempt.
const BUSY: Duration = Duration::from_millis(50);

/// Maximum number of items that one request reads by their keys.
pub(super) const MAX_BATCH: usize = 100;

impl DynamoLedger {
    /// Reads one item, strongly consistent.
    pub(super) async fn item(&self, country: CountryCode, key: Item) -> Result<Option<Item>, Unavailable> {
        let request = self.client.get_item().table_name(self.table(country)).set_key(Some(key)).consistent_read(true);
        Ok(request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?.item)
    }

    /// Reads items by their distinct keys, strongly consistent and in no order. Leaves out keys without an item.
    pub(super) async fn batch(&self, country: CountryCode, keys: Vec<Item>) -> Result<Vec<Item>, Unavailable> {
        let (table, mut found) = (self.table(country), Vec::with_capacity(keys.len()));
        for chunk in keys.chunks(MAX_BATCH) {
            let (mut asked, mut attempt) = (chunk.to_vec(), 0);
            while !asked.is_empty() {
                if attempt == ATTEMPTS {
                    return Err(unavailable(country, "the table is too busy to read all that is asked for"));
                }
                let keys = KeysAndAttributes::builder().set_keys(Some(asked)).consistent_read(true);
                let keys = keys.build().expect("keys are given");
                let answer = self.client.batch_get_item().request_items(&table, keys).send().await;
                let answer = answer.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
                let read = answer.responses.unwrap_or_default().remove(&table).unwrap_or_default();
                let mut left: HashMap<_, _> = answer.unprocessed_keys.unwrap_or_default();
                asked = left.remove(&table).map(|keys| keys.keys).unwrap_or_default();
                // A response is limited in size, so keys may be left even if the table is not busy.
                attempt = if read.is_empty() { attempt + 1 } else { 1 };
                found.extend(read);
                if !asked.is_empty() {
                    tokio::time::sleep(BUSY * 2_u32.pow(attempt)).await;
                }
            }
        }
        Ok(found)
    }

    /// Reads the JSON bodies of at most `limit` items that match, in the order of the query, strongly consistent.
    pub(super) async fn bodies<T: DeserializeOwned>(
        &self,
        country: CountryCode,
        query: QueryFluentBuilder,
        limit: usize,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, Unavailable> {
        self.checked(country).await?;
        let query = query.table_name(self.table(country)).consistent_read(true);
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let mut items = query.into_paginator().items().send();
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(item) = items.next().await
        {
            let item: Item = item.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            let body = item::body(&item).map_err(|error| unavailable(country, error))?;
            found.extend(Some(body).filter(|body| is_wanted(body)));
        }
        Ok(found)
    }

    async fn stored(&self, country: CountryCode, key: Item) -> Result<Option<Revision>, Unavailable> {
        let (item, ()) = try_join!(self.item(country, key), self.checked(country))?;
        let Some(item) = item else {
            // A revision that does not exist takes as many reads as one that the caller may not see.
            return self.item(country, item::notice_key(Uuid::nil())).await.map(|_| None);
        };
        let open = item::revision(item).map_err(|error| unavailable(country, error))?;
        let personal = self.item(country, item::personal_key(&open)).await?;
        let personal = personal.map(item::personal).transpose().map_err(|error| unavailable(country, error))?;
        Ok(Some(open.complete(personal)))
    }

    /// Reads the personal parts of revisions.
    async fn completed(&self, country: CountryCode, open: Vec<Revision>) -> Result<Vec<Revision>, Unavailable> {
        let keys = open.iter().map(item::personal_key).collect();
        let mut parts = HashMap::new();
        for item in self.batch(country, keys).await? {
            let place = item::personal_of(&item);
            parts.insert(place, item::personal(item).map_err(|error| unavailable(country, error))?);
        }
        let complete = |open: Revision| {
            let place = Some((open.appointment.id, open.appointment.revision));
            let personal = parts.remove(&place);
            open.complete(personal)
        };
        Ok(open.into_iter().map(complete).collect())
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let settled = self.take_places(Wanted::Change(&change)).await?;
        Ok(Committed { revision: Arc::new(change.revision_with(&settled)), choice: settled.choice })
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
        self.checked(country).await?;
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
        self.completed(country, revisions).await
    }

    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable> {
        let read = async {
            let page = pages::page(&self.client, &self.table(country), query).await;
            page.map_err(|cause| unavailable(country, cause))
        };
        // The check has the clearer error.
        let (page, checked) = futures::join!(read, self.checked(country));
        checked?;
        let Page { items, next } = page?;
        Ok(Page { items: self.completed(country, items).await?, next })
    }

    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        let (item, ()) = try_join!(self.item(country, item::receipt_key(key)), self.checked(country))?;
        let receipt: Option<Receipt> =
            item.map(item::decoded).transpose().map_err(|error| unavailable(country, error))?;
        Ok(receipt.filter(|receipt| receipt.expires_at > now))
    }

    async fn taken(&self, country: CountryCode, claims: &[Claim], now: Timestamp) -> Result<Taken, Unavailable> {
        if claims.is_empty() {
            return Ok(Taken::new());
        }
        self.checked(country).await?;
        self.holders(country, &claims.iter().collect::<Vec<_>>(), now).await
    }

    async fn put_hold(&self, new: NewHold) -> Result<Hold, CommitError> {
        let settled = self.take_places(Wanted::Hold(&new)).await?;
        Ok(new.with(settled))
    }

    async fn hold(&self, country: CountryCode, id: Uuid) -> Result<Option<Hold>, Unavailable> {
        let (item, ()) = try_join!(self.item(country, item::hold_key(id)), self.checked(country))?;
        item.as_ref().map(item::hold_of).transpose().map_err(|error| unavailable(country, error))
    }

    async fn drop_hold(&self, hold: &Hold) -> Result<(), Unavailable> {
        self.checked(hold.slot.country).await?;
        self.end_hold(hold).await
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
        try_join!(self.item(country, item::notice_key(Uuid::nil())), self.checked(country)).map(|_| ())
    }
}
