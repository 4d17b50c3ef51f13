//! Implements the port [`Ledger`] over one client.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use citas_core::model::{Claim, CountryCode, Revision};
use citas_core::ports::{
    AgendaCondition, Change, CommitError, Committed, Ledger, Page, Query, Receipt, Settled, Taken, Unavailable,
    deadline,
};
use jiff::Timestamp;
use tokio::try_join;
use uuid::Uuid;

use super::change::Transaction;
use super::item::{self, Item, text};
use super::{DynamoLedger, claims, pages, unavailable};
use crate::aws::clients::ATTEMPTS;
use crate::aws::failure::error_text;

/// Base of the pause before keys that a busy table left out are requested again. The pause doubles with each attempt.
const BUSY: Duration = Duration::from_millis(50);

/// Maximum number of items that one request reads by their keys.
pub(super) const MAX_BATCH: usize = 100;

/// Maximum number of attempts to find and take places for a change.
const SETTLE_ATTEMPTS: u32 = 5;

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

    async fn stored(&self, country: CountryCode, key: Item) -> Result<Option<Revision>, Unavailable> {
        let (item, ()) = try_join!(self.item(country, key), self.checked(country))?;
        let Some(item) = item else { return Ok(None) };
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

    /// Stores a change with these places.
    async fn store(&self, change: &Change, settled: Settled) -> Result<Committed, CommitError> {
        let country = change.revision.country;
        let transaction = Transaction::of(change, &settled, &self.table(country));
        let transaction = transaction.map_err(|error| unavailable(country, error))?;
        let stored = async {
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            match transaction.refusal(&error) {
                Some(refusal) => Err(refusal),
                None => self.found_out(change, &settled, unavailable(country, error_text("DynamoDB", &error))).await,
            }
        };
        deadline::without(stored).await?;
        Ok(Committed { revision: Arc::new(change.revision_with(&settled)), choice: settled.choice })
    }

    pub(super) async fn transact(&self, transaction: &Transaction) -> Result<(), SdkError<TransactWriteItemsError>> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(transaction.items.clone()))
            .client_request_token(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string());
        request.send().await.map(drop)
    }

    /// Determines the outcome of a change whose response was lost, or that conflicted with others on every attempt. If
    /// a condition does not hold now, looks for the revision once more: the change itself may have been stored
    /// meanwhile.
    async fn found_out(&self, change: &Change, settled: &Settled, error: Unavailable) -> Result<(), CommitError> {
        let refusal = match self.in_the_way(change, Some(settled)).await? {
            Some(refusal) => refusal,
            None => error.into(),
        };
        let wanted = change.revision_with(settled);
        let (country, id, number) = (wanted.country, wanted.appointment.id, wanted.appointment.revision);
        // It is read back with its personal attributes last.
        let (open, personal) = wanted.apart();
        let is_stored =
            self.revision(country, id, number).await?.is_some_and(|stored| stored == open.complete(Some(personal)));
        if is_stored { Ok(()) } else { Err(refusal) }
    }

    /// Returns the refusal of the first condition of a change that does not hold now. Without places, skips the conditions
    /// of the claims.
    async fn in_the_way(&self, change: &Change, settled: Option<&Settled>) -> Result<Option<CommitError>, Unavailable> {
        let Change { revision, receipt, .. } = change;
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
        if let Some(AgendaCondition { doctor, revision }) = &change.agenda {
            let agenda = self.item(country, item::agenda_key(doctor)).await?;
            if agenda.map_or(0, |agenda| item::agenda_number(&agenda)) != *revision {
                return Ok(Some(CommitError::AgendaChanged));
            }
        }
        let Some(settled) = settled else { return Ok(None) };
        let keys = change.take(settled).map(|claim| item::claim_key(&claim.key, claim.ordinal)).collect();
        let held: HashSet<(String, u16)> =
            self.batch(country, keys).await?.iter().filter_map(item::claim_of).map(|(key, at, _)| (key, at)).collect();
        let taken = change.take(settled).find(|claim| held.contains(&(claim.key.clone(), claim.ordinal)));
        Ok(taken.map(|claim| CommitError::ClaimTaken(claim.key.clone())))
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    /// A change with a choice of places reads them first. If another change takes its places before it is stored, it looks
    /// for others.
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let country = change.revision.country;
        self.checked(country).await?;
        if let Some(settled) = change.plain() {
            return self.store(&change, settled).await;
        }
        let open = claims::open(&change);
        let mut attempt = 0;
        loop {
            let taken = self.competitors(country, &open).await?;
            let settled = match claims::settle(&change, &taken, attempt) {
                Ok(settled) => settled,
                Err(full) => {
                    let first = self.in_the_way(&change, None).await?;
                    return Err(first.unwrap_or(CommitError::ClaimTaken(full)));
                }
            };
            match self.store(&change, settled).await {
                Err(CommitError::ClaimTaken(key))
                    if attempt + 1 < SETTLE_ATTEMPTS && open.iter().any(|claim| claim.key == key) =>
                {
                    attempt += 1;
                    claims::pause(attempt).await;
                }
                stored => return stored,
            }
        }
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

    async fn taken(&self, country: CountryCode, claims: &[Claim]) -> Result<Taken, Unavailable> {
        if claims.is_empty() {
            return Ok(Taken::new());
        }
        self.checked(country).await?;
        self.holders(country, &claims.iter().collect::<Vec<_>>()).await
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
