//! Finds the holders of claims, and places for a change or a hold with several places or choices.
//!
//! All claims of one resource in a range of time are one query. A change that competes for places of several resources reads
//! them as one batch, if it can have all their places.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::time::Duration;

use citas_core::model::claim::resource_and_minute;
use citas_core::model::{Claim, CountryCode};
use citas_core::ports::{PlaceRequest, Settled, Taken, Unavailable};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::item::{self, Item, text};
use super::ledger::MAX_BATCH;
use super::{DynamoLedger, unavailable};
use crate::aws::failure::error_text;

/// Maximum number of queries at the same time.
const QUERIES: usize = 8;

/// Base of the pause before another attempt to find places. The mean pause doubles with each attempt, so that concurrent
/// changes that want the same places spread out.
const PAUSE: Duration = Duration::from_millis(10);

type Minutes = BTreeSet<Option<Timestamp>>;

impl DynamoLedger {
    /// Returns the holders of the places that these claims allow, in one request if possible.
    pub(super) async fn competitors(
        &self,
        country: CountryCode,
        claims: &[&Claim],
        now: Timestamp,
    ) -> Result<Taken, Unavailable> {
        let of_one_resource = resources(claims).len() == 1;
        let places: usize = claims.iter().map(|claim| usize::from(claim.places)).sum();
        if of_one_resource || places > MAX_BATCH {
            return self.holders(country, claims, now).await;
        }
        let keys: HashSet<(&str, u16)> =
            claims.iter().flat_map(|claim| (0..claim.places).map(|ordinal| (claim.key.as_str(), ordinal))).collect();
        let keys = keys.into_iter().map(|(key, ordinal)| item::claim_key(key, ordinal)).collect();
        Ok(holders_of(claims, &self.batch(country, keys).await?, now))
    }

    /// Returns the holders of all places of claims.
    pub(super) async fn holders(
        &self,
        country: CountryCode,
        claims: &[&Claim],
        now: Timestamp,
    ) -> Result<Taken, Unavailable> {
        let resources = resources(claims).into_iter();
        let queries = resources.map(|(resource, minutes)| self.range(country, resource, minutes));
        let found: Vec<Vec<Item>> = stream::iter(queries).buffer_unordered(QUERIES).try_collect().await?;
        Ok(holders_of(claims, &found.concat(), now))
    }

    /// Returns the items of one resource's claims from the first to the last of these minutes.
    async fn range(&self, country: CountryCode, resource: String, minutes: Minutes) -> Result<Vec<Item>, Unavailable> {
        let end = |minute: Option<&Option<Timestamp>>| item::minute(minute.copied().flatten());
        let query = self
            .client
            .query()
            .table_name(self.table(country))
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(item::resource(&resource)))
            .expression_attribute_values(":from", text(end(minutes.first())))
            .expression_attribute_values(":to", text(end(minutes.last()) + "~"));
        let items = query.into_paginator().items().send();
        items.collect::<Result<_, _>>().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))
    }
}

/// Returns the minutes of claims by their resources.
fn resources(claims: &[&Claim]) -> HashMap<String, Minutes> {
    let mut resources: HashMap<String, Minutes> = HashMap::new();
    for claim in claims {
        let (resource, minute) = resource_and_minute(&claim.key);
        resources.entry(resource.to_owned()).or_default().insert(minute);
    }
    resources
}

/// Returns the holders of these claims among items.
fn holders_of(claims: &[&Claim], items: &[Item], now: Timestamp) -> Taken {
    let asked: HashSet<&str> = claims.iter().map(|claim| claim.key.as_str()).collect();
    let mut taken = Taken::new();
    for (claim, ordinal, holder) in items.iter().filter_map(|item| item::claim_of(item, now)) {
        if asked.contains(claim.as_str()) {
            taken.entry(claim).or_default().push((ordinal, holder));
        }
    }
    taken
}

/// Returns the claims that need a search for a place: those with several places, and those of choices.
pub(super) fn open<'a>(request: &PlaceRequest<'a>) -> Vec<&'a Claim> {
    let claims = request.claims;
    request.clone().wanted().filter(|claim| claim.places > 1 || !claims.contains(claim)).collect()
}

/// Finds a place for each claim. The first attempt takes the lowest free place. A later one takes a free place at random,
/// because others compete for the lowest.
pub(super) fn settle(request: &PlaceRequest<'_>, taken: &Taken, attempt: u32) -> Result<Settled, String> {
    let places = |claim: &Claim| {
        let holders = taken.get(&claim.key).into_iter().flatten();
        let mut full: BTreeSet<u16> = holders.map(|(ordinal, _)| *ordinal).collect();
        if attempt > 0 {
            let free: Vec<u16> = (0..claim.places).filter(|ordinal| !full.contains(ordinal)).collect();
            let kept = free.get(random(free.len()));
            full.extend(free.iter().filter(|ordinal| Some(*ordinal) != kept));
        }
        Ok::<_, Infallible>(full)
    };
    let Ok(settled) = request.settle(places);
    settled
}

/// Waits before another attempt.
pub(super) async fn pause(attempt: u32) {
    let longest = PAUSE * 2_u32.pow(attempt);
    let millis = random(usize::try_from(longest.as_millis()).unwrap_or(usize::MAX));
    tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))).await;
}

/// Returns a random number below `end`, or 0.
fn random(end: usize) -> usize {
    // The last 62 bits of such an id are random (RFC 9562, section 5.7).
    let [.., a, b, c, d] = Uuid::now_v7().into_bytes();
    usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default().checked_rem(end).unwrap_or_default()
}
