//! Implements the port [`Wakes`] with a sparse index: only appointments with a scheduled action are in it, and each hour
//! is a partition.
//!
//! A cursor item names the first hour that may have actions. It follows the clock an hour behind, and stays at an hour that
//! has any. When it moves, the two days behind it are read once more: a host with a slow clock may have written there, and
//! a host with a fast clock may have moved the cursor.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use citas_core::model::CountryCode;
use citas_core::ports::{DueWake, Unavailable, Wakes};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::try_join;

use super::item::{self, Item, number, text};
use super::{DynamoLedger, unavailable};
use crate::aws::failure::error_text;

/// Hours that the cursor stays behind the clock.
const BEHIND: i64 = 1;

/// Hours behind the cursor that are read when it moves.
const LOOK_BACK: i64 = 48;

/// Number of hours that are queried at the same time.
const QUERIES: usize = 8;

impl DynamoLedger {
    /// Returns the actions that are due in these hours, the oldest first, and the first hour that has any. The index may be
    /// stale, so each appointment is read.
    async fn due_between(
        &self,
        country: CountryCode,
        (first, last): (i64, i64),
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<DueWake>, Option<i64>), Unavailable> {
        let hours = (first..=last).map(async |hour| Ok((hour, self.indexed(country, hour, now, limit).await?)));
        let mut hours = stream::iter(hours).buffered(QUERIES);
        let (mut due, mut occupied) = (Vec::new(), None);
        while let Some((hour, keys)) = hours.try_next().await? {
            if keys.is_empty() {
                continue;
            }
            occupied.get_or_insert(hour);
            let found = self.batch(country, keys.clone()).await?;
            let mut latest: HashMap<_, _> =
                found.into_iter().filter_map(|item| Some((partition(&item)?, item))).collect();
            let in_order = keys.iter().filter_map(|key| latest.remove(&partition(key)?));
            let until = item::instant(now);
            let is_due = |item: &Item| item.get("wakeAt").is_some_and(|at| at.as_s().is_ok_and(|at| *at <= until));
            due.extend(in_order.filter(is_due).filter_map(|item| item::due_wake(&item)));
            if due.len() >= limit {
                due.truncate(limit);
                break;
            }
        }
        Ok((due, occupied))
    }

    /// Returns the keys of the appointments in one hour of the index that are due.
    async fn indexed(
        &self,
        country: CountryCode,
        hour: i64,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Item>, Unavailable> {
        let query = self
            .client
            .query()
            .table_name(self.table(country))
            .index_name("wakes")
            .key_condition_expression("wakeHour = :hour AND wakeAt <= :now")
            .expression_attribute_values(":hour", text(item::hour_name(hour)))
            .expression_attribute_values(":now", text(item::instant(now)))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        let key = |mut item: Item| {
            item.retain(|name, _| name == "pk" || name == "sk");
            item
        };
        Ok(answer.items.unwrap_or_default().into_iter().map(key).collect())
    }

    async fn cursor(&self, country: CountryCode) -> Result<Option<i64>, Unavailable> {
        let item = self.item(country, item::cursor_key()).await?;
        Ok(item.and_then(|item| item.get("hour")?.as_n().ok()?.parse().ok()))
    }

    async fn move_cursor(&self, country: CountryCode, hour: i64) -> Result<(), Unavailable> {
        let mut item = item::cursor_key();
        item.extend([("kind".into(), text("wakes")), ("hour".into(), number(hour))]);
        let request = self.client.put_item().table_name(self.table(country)).set_item(Some(item));
        request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        Ok(())
    }

    /// Returns an update of the appointment on the condition that its scheduled action is still this one.
    fn update(&self, country: CountryCode, due: &DueWake) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(self.table(country))
            .set_key(Some(item::appointment_key(due.appointment)))
            .condition_expression("appointment.revision = :revision AND attribute_exists(wakeHour)")
            .expression_attribute_values(":revision", number(due.revision))
    }
}

#[async_trait]
impl Wakes for DynamoLedger {
    async fn due(&self, country: CountryCode, now: Timestamp, limit: usize) -> Result<Vec<DueWake>, Unavailable> {
        let (cursor, ()) = try_join!(self.cursor(country), self.checked(country))?;
        let last = item::hour(now);
        // A host with a fast clock may have moved the cursor beyond now.
        let first = cursor.map_or(last - LOOK_BACK, |cursor| cursor.min(last - BEHIND));
        let (mut due, occupied) = self.due_between(country, (first, last), now, limit).await?;
        let next = occupied.unwrap_or(last).min(last - BEHIND);
        if cursor == Some(next) {
            return Ok(due);
        }
        let (behind, occupied) = self.due_between(country, (next - LOOK_BACK, first - 1), now, limit).await?;
        self.move_cursor(country, occupied.unwrap_or(next)).await?;
        due.splice(0..0, behind);
        due.truncate(limit);
        Ok(due)
    }

    async fn postpone(&self, country: CountryCode, due: &DueWake, until: Timestamp) -> Result<(), Unavailable> {
        let [(_, hour), (_, at)] = item::due_at(until);
        let update = self
            .update(country, due)
            .update_expression("SET wakeHour = :hour, wakeAt = :at, wakeFailed = :failed")
            .expression_attribute_values(":hour", hour)
            .expression_attribute_values(":at", at)
            .expression_attribute_values(":failed", number(due.failed));
        unless_replaced(country, update).await
    }

    async fn end(&self, country: CountryCode, due: &DueWake) -> Result<(), Unavailable> {
        let update = self.update(country, due).update_expression("REMOVE wakeHour, wakeAt, wakeFailed, wake");
        unless_replaced(country, update).await
    }
}

fn partition(item: &Item) -> Option<String> {
    item.get("pk")?.as_s().ok().cloned()
}

/// Updates an appointment. Does nothing if another revision has come first.
async fn unless_replaced(country: CountryCode, update: UpdateItemFluentBuilder) -> Result<(), Unavailable> {
    match update.send().await {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
        {
            Ok(())
        }
        Err(error) => Err(unavailable(country, error_text("DynamoDB", &error))),
    }
}
