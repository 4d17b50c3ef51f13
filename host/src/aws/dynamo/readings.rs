//! Implements the port [`ReadLog`]: an item for the actor of a reading, and one for each patient. They are written before the
//! response, because a function that has responded may be frozen.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use citas_core::model::{CountryCode, Reading};
use citas_core::ports::{ReadLog, ReadLogUnavailable, ReadPage, ReadQuery, Unavailable};
use futures::future::try_join_all;
use uuid::Uuid;

use super::item::{self, Item, text, text_of};
use super::{DynamoLedger, Unreadable, unavailable};
use crate::aws::clients::ATTEMPTS;
use crate::aws::failure::error_text;

/// Maximum number of items that one request writes.
const MAX_WRITES: usize = 25;

/// Base of the pause before items that a busy table left out are written again. The pause doubles with each attempt.
const BUSY: Duration = Duration::from_millis(50);

impl DynamoLedger {
    /// Writes new items, without a condition and not all or nothing.
    async fn put_all(&self, country: CountryCode, items: Vec<Item>) -> Result<(), Unavailable> {
        let put = |item| {
            let put = PutRequest::builder().set_item(Some(item)).build().expect("an item is given");
            WriteRequest::builder().put_request(put).build()
        };
        let writes: Vec<WriteRequest> = items.into_iter().map(put).collect();
        try_join_all(writes.chunks(MAX_WRITES).map(|chunk| self.put_batch(country, chunk.to_vec()))).await.map(drop)
    }

    async fn put_batch(&self, country: CountryCode, mut writes: Vec<WriteRequest>) -> Result<(), Unavailable> {
        let table = self.table(country);
        for attempt in 1..=ATTEMPTS {
            let answer = self.client.batch_write_item().request_items(&table, writes).send().await;
            let answer = answer.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            writes = answer.unprocessed_items.unwrap_or_default().remove(&table).unwrap_or_default();
            if writes.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(BUSY * 2_u32.pow(attempt)).await;
        }
        Err(unavailable(country, "the table is too busy to write all that was read"))
    }

    async fn search(&self, country: CountryCode, query: &ReadQuery) -> Result<ReadPage, Unavailable> {
        self.checked(country).await?;
        let partition = match (query.person, &query.subject) {
            (Some(person), _) => item::person_readings(person),
            (None, subject) => item::subject_readings(subject.as_deref().unwrap_or_default()),
        };
        let (from, to) = (item::instant(query.from), item::instant(query.to));
        if query.after.as_ref().is_some_and(|after| !(&from..&to).contains(&after)) {
            return Ok(ReadPage::default());
        }
        let request = self
            .client
            .query()
            .table_name(self.table(country))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            // A sort key is an instant and more, so the one at the end is above the range.
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(&partition))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to));
        let after = query.after.as_ref().map(|after| item::list_key(&partition, after));
        let answer = request.set_exclusive_start_key(after).send().await;
        let answer = answer.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        let readings = answer.items.unwrap_or_default().iter().map(item::body).collect::<Result<Vec<Reading>, _>>();
        let mut readings = readings.map_err(|error: Unreadable| unavailable(country, error))?;
        readings.retain(|reading| query.subject.as_ref().is_none_or(|subject| *subject == reading.subject));
        let next = answer.last_evaluated_key.map(|key| text_of(&key, "sk").to_owned());
        Ok(ReadPage { readings, next })
    }
}

#[async_trait]
impl ReadLog for DynamoLedger {
    async fn record(&self, country: CountryCode, reading: Reading) -> Result<(), ReadLogUnavailable> {
        let recorded = async {
            self.checked(country).await?;
            let items = item::readings(reading, Uuid::now_v7()).map_err(|error| unavailable(country, error))?;
            self.put_all(country, items).await
        };
        recorded.await.map_err(of_log)
    }

    /// Returns `Ok`: whether a reading is written shows when it is.
    async fn ready(&self, _: CountryCode) -> Result<(), ReadLogUnavailable> {
        Ok(())
    }

    async fn readings(&self, country: CountryCode, query: &ReadQuery) -> Result<ReadPage, ReadLogUnavailable> {
        self.search(country, query).await.map_err(of_log)
    }
}

fn of_log(Unavailable { country, cause }: Unavailable) -> ReadLogUnavailable {
    ReadLogUnavailable { country, cause }
}
