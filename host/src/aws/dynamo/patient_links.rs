//! Implements the port [`PatientLinks`]. The links of an account that have not ended are in the account's partition, with
//! their number of changes, so that one query finds both. The revisions are in the patient's partition.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use citas_core::model::{CountryCode, PatientLink};
use citas_core::ports::{
    AccountLinks, CommitError, PatientLinkChange, PatientLinkError, PatientLinks, RequestPosition, Unavailable,
    deadline,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use super::change::Transaction;
use super::item::{self, Item, key, number, text, text_of};
use super::{DynamoLedger, Unreadable, unavailable};
use crate::aws::failure::error_text;

/// Sort key of the item with the number of changes of an account's links.
const CHANGES: &str = "L";

/// Partition of the links that are requested.
const REQUESTS: &str = "Q";

/// Returns the partition of an account.
fn account(subject: &str) -> String {
    format!("L#{subject}")
}

pub(super) fn changes_key(subject: &str) -> Item {
    key(account(subject), CHANGES)
}

/// Returns the item with the number of changes of an account's links.
pub(super) fn changes_item(subject: &str, changes: u32) -> Item {
    let mut item = changes_key(subject);
    item.extend([("kind".into(), text("links")), ("changes".into(), number(changes))]);
    item
}

/// Returns the key of a link in its account's partition.
pub(super) fn live_key(link: &PatientLink) -> Item {
    key(account(&link.subject), link.person.to_string())
}

/// Returns a subject as a part of a sort key.
fn encoded(subject: &str) -> String {
    utf8_percent_encode(subject, NON_ALPHANUMERIC).to_string()
}

/// Returns the key of the latest revision of a link.
fn latest_key(person: Uuid, subject: &str) -> Item {
    key(item::person(person), format!("L#{}", encoded(subject)))
}

fn revision_sort(subject: &str, revision: u32) -> String {
    format!("R#{}#{revision:010}", encoded(subject))
}

/// Returns the sort key of a request.
fn request_sort(RequestPosition { at, person, subject }: &RequestPosition) -> String {
    format!("{}#{person}#{}", item::instant(*at), encoded(subject))
}

pub(super) fn request_key(link: &PatientLink) -> Item {
    key(REQUESTS.into(), request_sort(&RequestPosition::of(link)))
}

/// Returns the item of a request, which names the link.
pub(super) fn request_item(link: &PatientLink) -> Item {
    let mut item = request_key(link);
    item.extend([
        ("kind".into(), text("request")),
        ("person".into(), text(link.person.to_string())),
        ("subject".into(), text(&link.subject)),
    ]);
    item
}

/// Returns the items of a revision: in the account's partition, as the latest one of the link, and as the immutable one.
pub(super) fn link_items(link: &PatientLink) -> Result<[Item; 3], Unreadable> {
    let json = |error: serde_json::Error| Unreadable(error.to_string());
    let body = serde_json::to_string(link).map_err(json)?;
    let personal = link.personal.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    let past = key(item::person(link.person), revision_sort(&link.subject, link.revision));
    Ok([live_key(link), latest_key(link.person, &link.subject), past].map(|mut item| {
        item.extend([
            ("kind".into(), text("link")),
            ("revision".into(), number(link.revision)),
            ("body".into(), text(&body)),
        ]);
        item.extend(personal.iter().map(|personal| ("personal".to_owned(), text(personal))));
        item
    }))
}

/// Parses an item as a link.
fn link(item: &Item) -> Result<PatientLink, Unreadable> {
    let json = |error: serde_json::Error| Unreadable(error.to_string());
    let personal = item.contains_key("personal").then(|| serde_json::from_str(text_of(item, "personal")));
    let link: PatientLink = serde_json::from_str(text_of(item, "body")).map_err(json)?;
    Ok(PatientLink { personal: personal.transpose().map_err(json)?, ..link })
}

impl DynamoLedger {
    /// Reads items in the order of a query, at most `limit`.
    async fn found(
        &self,
        country: CountryCode,
        query: QueryFluentBuilder,
        limit: usize,
    ) -> Result<Vec<Item>, Unavailable> {
        let query = query.table_name(self.table(country)).consistent_read(true);
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let (mut found, mut items) = (query.into_paginator().items().send(), Vec::new());
        while items.len() < limit
            && let Some(item) = found.next().await
        {
            items.push(item.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?);
        }
        Ok(items)
    }

    /// Queries a person's partition between two sort keys.
    fn of_person(&self, person: Uuid, from: &str, to: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(item::person(person)))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
    }
}

fn links(country: CountryCode, items: &[Item]) -> Result<Vec<PatientLink>, Unavailable> {
    items.iter().map(link).collect::<Result<_, _>>().map_err(|error| unavailable(country, error))
}

#[async_trait]
impl PatientLinks for DynamoLedger {
    async fn put_patient_link(&self, change: PatientLinkChange) -> Result<(), PatientLinkError> {
        let PatientLink { country, person, ref subject, revision, .. } = change.revision;
        self.checked(country).await?;
        let transaction = Transaction::of_patient_link(&change, &self.table(country));
        let transaction = transaction.map_err(|error| unavailable(country, error))?;
        let stored = async {
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            let refusal = match transaction.refusal(&error) {
                Some(CommitError::Unavailable(unavailable)) => unavailable.into(),
                Some(_) => return Err(PatientLinkError::Stale),
                None => PatientLinkError::from(unavailable(country, error_text("DynamoDB", &error))),
            };
            // The response may be lost after the revision was stored.
            let found = self.patient_link_history(country, person, subject, revision.saturating_sub(1), 1).await?;
            match found.first() {
                Some(found) if *found == change.revision => Ok(()),
                Some(_) => Err(PatientLinkError::Stale),
                None => Err(refusal),
            }
        };
        deadline::without(stored).await
    }

    async fn account_links(&self, country: CountryCode, subject: &str) -> Result<AccountLinks, Unavailable> {
        let query = self.client.query().key_condition_expression("pk = :pk");
        let query = query.expression_attribute_values(":pk", text(account(subject)));
        let (items, checked) = futures::join!(self.found(country, query, usize::MAX), self.checked(country));
        checked?;
        let is_count = |item: &Item| text_of(item, "sk") == CHANGES;
        let (counts, live): (Vec<Item>, Vec<Item>) = items?.into_iter().partition(is_count);
        let changes = counts.first().and_then(|count| count.get("changes")?.as_n().ok()?.parse().ok());
        Ok(AccountLinks { links: links(country, &live)?, changes: changes.unwrap_or_default() })
    }

    async fn patient_link(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
    ) -> Result<Option<PatientLink>, Unavailable> {
        self.checked(country).await?;
        let found = self.item(country, latest_key(person, subject)).await?;
        found.as_ref().map(link).transpose().map_err(|error| unavailable(country, error))
    }

    async fn person_links(
        &self,
        country: CountryCode,
        person: Uuid,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        self.checked(country).await?;
        // `$` comes before every character of an encoded subject but `#`, which none has.
        let from = after.map_or_else(|| "L#".to_owned(), |after| format!("L#{}$", encoded(after)));
        let items = self.found(country, self.of_person(person, &from, "L$"), limit).await?;
        links(country, &items)
    }

    async fn patient_link_history(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        self.checked(country).await?;
        let (from, to) = (revision_sort(subject, after.saturating_add(1)), revision_sort(subject, u32::MAX));
        let items = self.found(country, self.of_person(person, &from, &to), limit).await?;
        links(country, &items)
    }

    async fn requested_links(
        &self,
        country: CountryCode,
        after: Option<&RequestPosition>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        self.checked(country).await?;
        let query = self.client.query().key_condition_expression("pk = :pk AND sk > :after");
        let query = query
            .expression_attribute_values(":pk", text(REQUESTS))
            .expression_attribute_values(":after", text(after.map_or_else(|| "#".to_owned(), request_sort)));
        let requests = self.found(country, query, limit).await?;
        let names = requests.iter().filter_map(|request| {
            Some((text_of(request, "person").parse().ok()?, text_of(request, "subject").to_owned()))
        });
        let names: Vec<(Uuid, String)> = names.collect();
        let keys = names.iter().map(|(person, subject)| latest_key(*person, subject)).collect();
        let found = links(country, &self.batch(country, keys).await?)?;
        let mut by_name: HashMap<_, _> =
            found.into_iter().map(|link| ((link.person, link.subject.clone()), link)).collect();
        Ok(names.iter().filter_map(|name| by_name.remove(name)).collect())
    }
}
