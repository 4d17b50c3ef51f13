//! Numbers the revisions of a country in the order of its stream, and parses the stream's records.
//!
//! A transaction adds the numbers of several revisions and moves the counter, so there is no gap. A revision keeps its
//! number, however often and to however many consumers its record is delivered.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem, Update};
use citas_core::model::{CountryCode, Event};
use citas_core::ports::Unavailable;
use uuid::Uuid;

use super::change::reasons;
use super::item::{self, Item, number, text};
use super::{DynamoLedger, format, unavailable};
use crate::aws::clients::ATTEMPTS;
use crate::aws::failure::error_text;

/// Maximum number of revisions in one transaction, beside the counter. DynamoDB allows 100 items.
const MAX_REVISIONS: usize = 99;

impl DynamoLedger {
    /// Numbers those of these revisions that have no number yet.
    ///
    /// # Errors
    /// Returns an error if some of them may have no number. The call may be repeated.
    pub async fn number_revisions(&self, country: CountryCode, revisions: &[(Uuid, u32)]) -> Result<(), Unavailable> {
        for chunk in revisions.chunks(MAX_REVISIONS) {
            let mut left = chunk.to_vec();
            let mut attempts = 0;
            while !left.is_empty() {
                if attempts == ATTEMPTS {
                    return Err(unavailable(country, "others number its revisions at the same time"));
                }
                let numbered = self.number_some(country, &left).await?;
                // If none has, another consumer has moved the counter.
                attempts = if numbered.is_empty() { attempts + 1 } else { 0 };
                left.retain(|revision| !numbered.contains(revision));
            }
        }
        Ok(())
    }

    /// Numbers all of these revisions, or none if some have a number already. Returns those that have one now.
    async fn number_some(
        &self,
        country: CountryCode,
        revisions: &[(Uuid, u32)],
    ) -> Result<Vec<(Uuid, u32)>, Unavailable> {
        let last = self.last_number(country).await?;
        let numbers = (last.unwrap_or_default() + 1..).zip(revisions);
        let mut items = vec![self.counter(country, last, revisions.len())];
        items.extend(numbers.map(|(number, (id, revision))| self.numbering(country, *id, *revision, number)));
        let request = self.client.transact_write_items().set_transact_items(Some(items));
        let request =
            request.client_request_token(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string()).send();
        let Err(error) = request.await else { return Ok(revisions.to_vec()) };
        let Some(reasons) = error.as_service_error().map(reasons).filter(has_refused) else {
            return Err(unavailable(country, error_text("DynamoDB", &error)));
        };
        let refused = reasons.iter().skip(1).map(is_refusal);
        Ok(revisions.iter().zip(refused).filter(|(_, refused)| *refused).map(|(revision, _)| *revision).collect())
    }

    /// Returns the last number of a country, or `None` if no revision has one.
    pub(super) async fn last_number(&self, country: CountryCode) -> Result<Option<u64>, Unavailable> {
        let item = self.item(country, item::sequence_key()).await?;
        Ok(item.and_then(|item| item.get("last")?.as_n().ok()?.parse().ok()))
    }

    /// Moves the counter by `count`, if it is still at `last`.
    fn counter(&self, country: CountryCode, last: Option<u64>, count: usize) -> TransactWriteItem {
        let next = last.unwrap_or_default() + u64::try_from(count).unwrap_or(u64::MAX);
        let update = Update::builder()
            .table_name(self.table(country))
            .set_key(Some(item::sequence_key()))
            .update_expression("SET #last = :next, kind = :kind")
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":kind", text("sequence"));
        let update = match last {
            Some(last) => {
                update.condition_expression("#last = :last").expression_attribute_values(":last", number(last))
            }
            None => update.condition_expression("attribute_not_exists(pk)"),
        };
        TransactWriteItem::builder().update(update.build().expect("a table, a key and an expression are given")).build()
    }

    fn numbering(&self, country: CountryCode, id: Uuid, revision: u32, sequence: u64) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(self.table(country))
            .set_key(Some(item::revision_key(id, revision)))
            .update_expression("SET #sequence = :number")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(#sequence)")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":number", number(sequence))
            .build()
            .expect("a table, a key and an expression are given");
        TransactWriteItem::builder().update(update).build()
    }

    /// Returns the stored event for an item of the stream. The stream keeps an item of the former format as it was written,
    /// and the migration has replaced the event in the table.
    ///
    /// # Errors
    /// Returns an error if the table has no such event, or does not answer.
    pub async fn stored_event(&self, country: CountryCode, keys: &Item) -> Result<Event, String> {
        let key: HashMap<_, _> = keys.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let item = self.item(country, key).await.map_err(|error| error.to_string())?;
        let body = item.as_ref().and_then(|item| item.get("event")?.as_s().ok());
        event(body.ok_or("the table has it no more")?).map_err(|error| error.to_string())
    }
}

fn is_refusal(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// True if a transaction was cancelled because of its conditions alone.
fn has_refused(reasons: &&[CancellationReason]) -> bool {
    reasons.iter().any(is_refusal) && reasons.iter().all(|reason| is_refusal(reason) || reason.code() == Some("None"))
}

/// Returns the place of a revision to be numbered: one of this format. The migration numbers the former ones.
pub fn numbered(item: &Item) -> Option<(CountryCode, Uuid, u32)> {
    let text_at = |name: &str| item.get(name)?.as_s().ok();
    if text_at("kind")? != "revision" || format::is_former(item) {
        return None;
    }
    let (id, revision) = (text_at("pk")?.strip_prefix("A#")?, text_at("sk")?.strip_prefix("R#")?);
    Some((text_at("country")?.parse().ok()?, id.parse().ok()?, revision.parse().ok()?))
}

/// Parses the event in an item's attribute `event`.
///
/// # Errors
/// Returns an error if this adapter did not write the item.
pub fn event(body: &str) -> serde_json::Result<Event> {
    serde_json::from_str(body)
}
