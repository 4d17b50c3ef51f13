//! Migrates a table of the former format: revisions with their personal data, claims with their whole key in one partition,
//! events with a whole revision.
//!
//! Each appointment's latest state is migrated last, together with its claims, so after an interruption it shows that the
//! appointment is not migrated yet. Every step may be repeated. The mark of the format is written at the end. No host uses
//! the table until then.

use std::error::Error;
use std::fmt;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use citas_core::model::{CountryCode, Event, FormerEvent, FormerRevision, HeldClaim, Pseudonyms, Revision};
use citas_core::ports::Unavailable;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::change::reasons;
use super::format::is_former;
use super::item::{self, Item, Parts, number, text};
use super::{DynamoLedger, Unreadable, unavailable};
use crate::aws::failure::error_text;

/// Number of appointments that are migrated at the same time.
const CONCURRENCY: usize = 16;

/// Attributes of an item that are not members of the former revision.
const KEYS: [&str; 6] = ["pk", "sk", "kind", "start", "phase", "sequence"];

/// Kinds of item that a migration leaves as they are.
const KEPT: [&str; 9] = ["receipt", "notice", "canary", "shadow", "place", "personal", "format", "sequence", "wakes"];

/// Error of a migration. Migrated items stay, and the command may be repeated.
#[derive(Debug)]
pub enum NotMigrated {
    /// The table does not answer.
    Unavailable(Unavailable),
    /// An item cannot be read.
    Unreadable {
        /// Partition and sort key of the item. Those of a claim name its resource.
        key: String,
        /// Cause.
        cause: String,
    },
}

impl fmt::Display for NotMigrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(error) => error.fmt(f),
            Self::Unreadable { key, cause } => write!(f, "the item `{key}` is not migrated: {cause}"),
        }
    }
}

impl Error for NotMigrated {}

impl From<Unavailable> for NotMigrated {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// Progress of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// This many appointments are migrated in this run.
    Migrated(usize),
    /// This many revisions are numbered.
    Numbered(usize),
    /// The table has this format, with nothing left to do.
    Done,
}

/// Rank of a revision in the sequence: the time when it was stored, its own number, the appointment.
type Ranked = ((Timestamp, u32, Uuid), Option<u64>);

impl DynamoLedger {
    /// Migrates a country's table, or the rest of it after an interruption. `names` are those of the platform.
    ///
    /// # Errors
    /// Returns an error if the table does not answer, or has an item that cannot be read.
    pub async fn migrate(
        &self,
        country: CountryCode,
        names: &Pseudonyms,
        report: impl Fn(Migration),
    ) -> Result<(), NotMigrated> {
        if !self.is_marked(country).await? {
            self.migrate_appointments(country, names, &report).await?;
            self.number_all(country, &report).await?;
            self.mark(country, Some(names)).await?;
        }
        report(Migration::Done);
        Ok(())
    }

    async fn migrate_appointments(
        &self,
        country: CountryCode,
        names: &Pseudonyms,
        report: &impl Fn(Migration),
    ) -> Result<(), NotMigrated> {
        let left = self
            .client
            .scan()
            .table_name(self.table(country))
            .consistent_read(true)
            .filter_expression("kind = :appointment AND attribute_not_exists(person)")
            .projection_expression("pk")
            .expression_attribute_values(":appointment", text("appointment"));
        let mut pages = left.into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            let found = page.items.unwrap_or_default();
            count += found.len();
            let migrated = found.into_iter().map(|item| self.migrate_partition(country, names, item));
            stream::iter(migrated).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
            report(Migration::Migrated(count));
        }
        Ok(())
    }

    /// Migrates one appointment: its events, its revisions, and last its claims and its latest state.
    async fn migrate_partition(
        &self,
        country: CountryCode,
        names: &Pseudonyms,
        mut named: Item,
    ) -> Result<(), NotMigrated> {
        let query = self
            .client
            .query()
            .table_name(self.table(country))
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", named.remove("pk").unwrap_or(AttributeValue::Null(true)));
        let items: Vec<Item> = query
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        let (mut before, mut latest) = (None, None);
        // The revisions are in order.
        for item in items {
            let (key, kind) = (place(&item), item::text_of(&item, "kind").to_owned());
            let unreadable = |cause: Unreadable| NotMigrated::Unreadable { key: key.clone(), cause: cause.0 };
            match kind.as_str() {
                "event" => {
                    if let Some(event) = former_event(&item).map_err(unreadable)? {
                        self.write(country, vec![self.put(country, outbox(&item, &event.into_event(names)))]).await?;
                    }
                }
                "revision" if is_former(&item) => {
                    let revision = former(item).map_err(unreadable)?.into_revision(names, before.as_ref());
                    let Parts { past, personal, .. } = item::parts(revision.clone()).map_err(unreadable)?;
                    self.write(country, vec![self.put(country, past), self.put(country, personal)]).await?;
                    before = Some(revision);
                }
                "revision" => before = Some(item::revision(item).map_err(unreadable)?),
                "appointment" => latest = Some((place(&item), former(item).map_err(unreadable)?)),
                other => return Err(unreadable(Unreadable(format!("its kind is `{other}`")))),
            }
        }
        let (Some(last), Some((key, former))) = (before, latest) else { return Ok(()) };
        if (last.appointment.id, last.appointment.revision) != former.place() {
            return Err(NotMigrated::Unreadable { key, cause: "its last revision is another one".into() });
        }
        self.migrate_latest(country, key, &former, last).await
    }

    /// Migrates the latest state of an appointment and its claims, in one transaction.
    async fn migrate_latest(
        &self,
        country: CountryCode,
        key: String,
        former: &FormerRevision,
        last: Revision,
    ) -> Result<(), NotMigrated> {
        let id = last.appointment.id;
        let mut writes = Vec::new();
        for (former, claim) in former.claims().iter().zip(&last.claims) {
            writes.push(self.put_own(country, claim, id));
            let delete = Delete::builder()
                .table_name(self.table(country))
                .set_key(Some(former_claim_key(former)))
                .condition_expression(OWN)
                .expression_attribute_values(":id", text(id.to_string()))
                .build()
                .expect("a table and a key are given");
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        let unreadable = |cause| NotMigrated::Unreadable { key, cause };
        let parts = match item::parts(last) {
            Ok(parts) => parts,
            Err(cause) => return Err(unreadable(cause.0)),
        };
        writes.push(self.put(country, parts.latest));
        let request = self.client.transact_write_items().set_transact_items(Some(writes)).send();
        let Err(error) = request.await else { return Ok(()) };
        let reasons = error.as_service_error().map(reasons).unwrap_or_default();
        if reasons.iter().any(|reason| reason.code() == Some("ConditionalCheckFailed")) {
            return Err(unreadable("another appointment holds one of its claims".into()));
        }
        Err(unavailable(country, error_text("DynamoDB", &error)).into())
    }

    /// Numbers all revisions by the time when they were stored, and checks that no item of the former format is left.
    async fn number_all(&self, country: CountryCode, report: &impl Fn(Migration)) -> Result<(), NotMigrated> {
        let scan = self.client.scan().table_name(self.table(country)).consistent_read(true);
        let mut items = scan.into_paginator().items().send();
        let mut ranked: Vec<Ranked> = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
            let key = place(&item);
            ranked.extend(rank(item).map_err(|cause| NotMigrated::Unreadable { key, cause: cause.0 })?);
        }
        ranked.sort_unstable();
        let last = u64::try_from(ranked.len()).unwrap_or(u64::MAX);
        let wrong = (1..).zip(ranked).filter(|(number, (_, has))| *has != Some(*number));
        let numbered = wrong.map(|(number, ((_, revision, id), _))| self.renumber(country, id, revision, number));
        let mut numbered = stream::iter(numbered).buffer_unordered(CONCURRENCY);
        let mut count = 0;
        while let Some(()) = numbered.try_next().await? {
            count += 1;
            if count % 1000 == 0 {
                report(Migration::Numbered(count));
            }
        }
        report(Migration::Numbered(count));
        if last > 0 {
            let mut counter = item::sequence_key();
            counter.extend([("kind".into(), text("sequence")), ("last".into(), number(last))]);
            self.write(country, vec![self.put(country, counter)]).await?;
        }
        Ok(())
    }

    async fn renumber(&self, country: CountryCode, id: Uuid, revision: u32, to: u64) -> Result<(), Unavailable> {
        let request = self
            .client
            .update_item()
            .table_name(self.table(country))
            .set_key(Some(item::revision_key(id, revision)))
            .update_expression("SET #sequence = :number")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":number", number(to));
        request.send().await.map(drop).map_err(|error| unavailable(country, error_text("DynamoDB", &error)))
    }

    async fn write(&self, country: CountryCode, items: Vec<TransactWriteItem>) -> Result<(), Unavailable> {
        let request = self.client.transact_write_items().set_transact_items(Some(items)).send();
        request.await.map(drop).map_err(|error| unavailable(country, error_text("DynamoDB", &error)))
    }

    fn put(&self, country: CountryCode, item: Item) -> TransactWriteItem {
        let put = Put::builder().table_name(self.table(country)).set_item(Some(item));
        TransactWriteItem::builder().put(put.build().expect("a table and an item are given")).build()
    }

    fn put_own(&self, country: CountryCode, claim: &HeldClaim, id: Uuid) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(self.table(country))
            .set_item(Some(item::claim(claim, id, None)))
            .condition_expression(OWN)
            .expression_attribute_values(":id", text(id.to_string()));
        TransactWriteItem::builder().put(put.build().expect("a table and an item are given")).build()
    }
}

/// Requires that no other appointment holds the claim.
const OWN: &str = "attribute_not_exists(pk) OR appointment = :id";

/// Returns the key of an item, for the operator. The key of a former claim may name a patient, and is left out.
fn place(item: &Item) -> String {
    match item::text_of(item, "kind") {
        "claim" => format!("claim of the appointment {}", item::text_of(item, "appointment")),
        _ => format!("{}/{}", item::text_of(item, "pk"), item::text_of(item, "sk")),
    }
}

fn former_claim_key(claim: &str) -> Item {
    Item::from([("pk".to_owned(), text(item::resource(claim))), ("sk".to_owned(), text("C"))])
}

/// Parses an item of the former format as a revision.
fn former(mut item: Item) -> Result<FormerRevision, Unreadable> {
    let attributes = item::attributes(&mut item)?;
    item.retain(|name, _| !KEYS.contains(&name.as_str()));
    let revision: FormerRevision = item::decoded(item)?;
    Ok(revision.with_attributes(attributes))
}

/// Parses the event of an item, or returns `None` if it has this format already.
fn former_event(item: &Item) -> Result<Option<FormerEvent>, Unreadable> {
    let body = item::text_of(item, "event");
    if serde_json::from_str::<Event>(body).is_ok() {
        return Ok(None);
    }
    serde_json::from_str(body).map(Some).map_err(|error| Unreadable(error.to_string()))
}

/// Returns an event's item with the event of this format.
fn outbox(item: &Item, event: &Event) -> Item {
    let body = serde_json::to_string(event).expect("texts and numbers");
    let mut item = item.clone();
    item.insert("event".into(), text(body));
    item
}

/// Returns the rank of a revision, or `None` for an item of another kind.
fn rank(item: Item) -> Result<Option<Ranked>, Unreadable> {
    let left = || Err(Unreadable("it has the former format; another process writes to the table".into()));
    match item::text_of(&item, "kind") {
        "revision" | "appointment" if is_former(&item) => left(),
        "event" if former_event(&item)?.is_some() => left(),
        "claim" if item::text_of(&item, "sk") == "C" => Err(Unreadable("its appointment does not hold it".into())),
        "revision" => {
            let has = item.get("sequence").and_then(|number| number.as_n().ok()?.parse().ok());
            let Revision { appointment, updated_at, .. } = item::revision(item)?;
            Ok(Some(((updated_at, appointment.revision, appointment.id), has)))
        }
        "appointment" | "event" | "claim" => Ok(None),
        kind if KEPT.contains(&kind) => Ok(None),
        other => Err(Unreadable(format!("its kind is `{other}`"))),
    }
}
