//! Implements the port [`Trials`]: one item holds the sums that several functions add to, and one item each
//! bucket of differences.
//!
//! An addition whose response is lost is repeated: counts may be slightly high, never low.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use citas_core::model::CountryCode;
use citas_core::ports::{DiffBucket, Tally, TrialReport, Trials, Unavailable};
use jiff::SignedDuration;
use serde_json::Value as Json;

use super::item::{self, Item, number, text};
use super::{DynamoLedger, Unreadable, unavailable};
use crate::aws::failure::error_text;

/// Retention of a trial's results after the last addition.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

impl DynamoLedger {
    /// Adds to the numbers of an item and returns the item.
    async fn add_to(
        &self,
        country: CountryCode,
        key: Item,
        kind: &str,
        sums: &[(&str, u64)],
        sample: Option<&Json>,
    ) -> Result<Item, Unavailable> {
        let adding: Vec<String> = sums.iter().map(|(name, _)| format!("#{name} :{name}")).collect();
        let sampled = if sample.is_some() { ", #sample = :sample" } else { "" };
        let expression =
            format!("SET kind = :kind, country = :country, #ttl = :ttl{sampled} ADD {}", adding.join(", "));
        let mut request = self
            .client
            .update_item()
            .table_name(self.table(country))
            .set_key(Some(key))
            .update_expression(expression)
            // Some of the names are reserved words of DynamoDB.
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":kind", text(kind))
            .expression_attribute_values(":country", text(country.as_str()))
            .expression_attribute_values(":ttl", number((self.clock.now() + KEPT).as_second()))
            .return_values(ReturnValue::AllNew);
        for (name, sum) in sums {
            request = request
                .expression_attribute_names(format!("#{name}"), *name)
                .expression_attribute_values(format!(":{name}"), number(*sum));
        }
        if let Some(sample) = sample {
            request = request
                .expression_attribute_names("#sample", "sample")
                .expression_attribute_values(":sample", text(sample.to_string()));
        }
        let answer = request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        Ok(answer.attributes.unwrap_or_default())
    }
}

#[async_trait]
impl Trials for DynamoLedger {
    async fn add(&self, country: CountryCode, trial: u64, found: &TrialReport) -> Result<Tally, Unavailable> {
        let TrialReport { compared, differed, canary, places } = found;
        for (name, DiffBucket { count, sample }) in places {
            let key = item::place_key(trial, name);
            self.add_to(country, key, "place", &[("count", *count)], Some(sample)).await?;
        }
        if *compared > 0 {
            let sums = [("compared", *compared), ("differed", *differed)];
            self.add_to(country, item::shadow_key(trial), "shadow", &sums, None).await?;
        }
        let sums = [("decided", canary.decided), ("refused", canary.refused), ("unanswered", canary.unanswered)];
        if canary.decided == 0 {
            return self.tally(country, trial).await;
        }
        Ok(tally(&self.add_to(country, item::canary_key(trial), "canary", &sums, None).await?))
    }

    async fn tally(&self, country: CountryCode, trial: u64) -> Result<Tally, Unavailable> {
        Ok(tally(&self.item(country, item::canary_key(trial)).await?.unwrap_or_default()))
    }

    async fn found(&self, country: CountryCode, trial: u64) -> Result<TrialReport, Unavailable> {
        let query = self
            .client
            .query()
            .table_name(self.table(country))
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(item::trial(trial)));
        let mut items = query.into_paginator().items().send();
        let mut found = TrialReport::default();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            gather(&mut found, &item).map_err(|error| unavailable(country, error))?;
        }
        Ok(found)
    }
}

fn gather(found: &mut TrialReport, item: &Item) -> Result<(), Unreadable> {
    let sort = item.get("sk").and_then(|sort| sort.as_s().ok()).map_or("", String::as_str);
    if let Some(name) = item::place_of(sort) {
        let sample = item.get("sample").and_then(|sample| sample.as_s().ok()).map_or("null", String::as_str);
        let sample = serde_json::from_str(sample).map_err(|error| Unreadable(error.to_string()))?;
        found.places.insert(name.to_owned(), DiffBucket { count: sum(item, "count"), sample });
    }
    found.compared = found.compared.saturating_add(sum(item, "compared"));
    found.differed = found.differed.saturating_add(sum(item, "differed"));
    if item.contains_key("decided") {
        found.canary = tally(item);
    }
    Ok(())
}

fn tally(item: &Item) -> Tally {
    Tally { decided: sum(item, "decided"), refused: sum(item, "refused"), unanswered: sum(item, "unanswered") }
}

fn sum(item: &HashMap<String, AttributeValue>, name: &str) -> u64 {
    item.get(name).and_then(|sum| sum.as_n().ok()?.parse().ok()).unwrap_or_default()
}
