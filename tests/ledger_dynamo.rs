//! The ledger in DynamoDB: the contract, on tables as `countries/country.yaml` defines them.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_lambda_events::event::dynamodb as lambda;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::types::AttributeValue;
use citas::aws::dynamo::{self, DynamoLedger};
use citas::aws::stream;
use citas::system::SystemClock;
use citas_core::model::{Claim, Event, PatientLinkState, Pseudonyms};
use citas_core::ports::{
    Ledger, NotPublished, OwnerFilter, PatientLinkChange, PatientLinks as _, Publisher, Query, Wakes,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ledger_contract::{Stored, ledger_contract, link, stored_contract, wakes_contract};
use crate::support::appointments::{KEY, booked, booking, change, claims, id, now, pe, quarter};
use crate::support::faults::{Fault, Faults};
use crate::support::ministack::{aws, unique};
use crate::support::table;

type Item = HashMap<String, AttributeValue>;

mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Ledger>, ()) {
        (Arc::new(Tables::new().await.ledger()), ())
    }

    ledger_contract!(open);
}

mod wakes {
    use super::*;

    async fn open() -> ((Arc<dyn Ledger>, Arc<dyn Wakes>), ()) {
        let ledger = Arc::new(Tables::new().await.ledger());
        ((ledger.clone(), ledger), ())
    }

    wakes_contract!(open);
}

mod stored {
    use super::*;

    async fn open() -> ((Arc<dyn Ledger>, Arc<dyn Stored>), ()) {
        let tables = Tables::new().await;
        ((Arc::new(tables.ledger()), Arc::new(tables)), ())
    }

    stored_contract!(open);
}

/// A publisher that discards every event.
struct Nobody;

#[async_trait]
impl Publisher for Nobody {
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
        events.iter().map(|_| Ok(())).collect()
    }
}

#[async_trait]
impl Stored for Tables {
    /// Lets two consumers number the records of the stream at the same time, each twice.
    async fn sequence(&self) -> Vec<(u64, Uuid, u32)> {
        let (ledger, records) = (self.ledger(), self.stream());
        let batches: Vec<lambda::Event> =
            records.chunks(30).map(|records| serde_json::from_value(json!({ "Records": records })).unwrap()).collect();
        let deliver = async || {
            for batch in batches.iter().chain(&batches) {
                while !stream::relay(&Nobody, &ledger, batch).await.batch_item_failures.is_empty() {}
            }
        };
        futures::join!(deliver(), deliver());
        let mut numbers: Vec<_> = self.items("revision").await.iter().map(numbered).collect();
        numbers.sort_unstable();
        numbers
    }

    async fn open_rows(&self) -> String {
        let items = self.all("pe").await;
        let open = items.into_iter().filter(|item| item["kind"].as_s().unwrap() != "personal").map(|mut item| {
            item.remove("personal");
            item
        });
        format!("{:?}", open.collect::<Vec<_>>())
    }

    async fn erase(&self, person: Uuid) {
        let client = Client::new(&self.aws);
        for item in self.items("personal").await {
            if item["pk"] == AttributeValue::S(format!("P#{person}")) {
                let key = client.delete_item().table_name(self.table("pe"));
                key.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
            }
        }
        for mut item in self.items("link").await {
            let is_of = |name: &str, value: String| item[name] == AttributeValue::S(value);
            if is_of("pk", format!("P#{person}")) || is_of("sk", person.to_string()) {
                item.remove("personal");
                client.put_item().table_name(self.table("pe")).set_item(Some(item)).send().await.unwrap();
            }
        }
    }
}

fn numbered(item: &Item) -> (u64, Uuid, u32) {
    let number = item["sequence"].as_n().unwrap().parse().unwrap();
    let id = item["pk"].as_s().unwrap().strip_prefix("A#").unwrap().parse().unwrap();
    (number, id, item["sk"].as_s().unwrap().strip_prefix("R#").unwrap().parse().unwrap())
}

/// Returns the operations of DynamoDB that the proxy recorded.
fn operations(faults: &Faults) -> Vec<String> {
    let name = |heard: String| heard.trim_start_matches("DynamoDB_20120810.").trim_end_matches(" 200").to_owned();
    faults.heard().into_iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_choice_is_one_request_and_one_with_places_reads_once_more() {
    let (tables, plain, choosing) = (Tables::new().await, Faults::none(), Faults::none());
    let quarters = [quarter("doctor/1", 1), quarter("patient/1", 1)];
    let keys = quarters.each_ref().map(String::as_str);
    tables.ledger_over(&plain).commit(booking(booked(1), &keys)).await.unwrap();
    assert_eq!(operations(&plain), ["TransactWriteItems"]);

    let mut quota = change(booked(2));
    quota.claims = vec![
        Claim { places: 3, ..Claim::new("live/patient/1") },
        Claim { places: 10, ..Claim::new("live/account/1") },
        Claim::new(quarter("doctor/2", 1)),
    ];
    tables.ledger_over(&choosing).commit(quota).await.unwrap();
    assert_eq!(operations(&choosing), ["BatchGetItem", "TransactWriteItems"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_one_request_for_the_open_part_and_one_for_the_personal_part() {
    let (tables, heard) = (Tables::new().await, Faults::none());
    for number in 1..=3 {
        tables.ledger().commit(change(booked(number))).await.unwrap();
    }
    let ledger = tables.ledger_over(&heard);
    ledger.appointment(pe(), id(1)).await.unwrap().unwrap();
    assert_eq!(operations(&heard), ["GetItem", "GetItem"]);
    assert_eq!(ledger.appointment(pe(), id(4)).await.unwrap(), None);
    assert_eq!(operations(&heard)[2..], ["GetItem", "GetItem"], "absence takes no less");
    let owner = OwnerFilter::Account("ana".into());
    let page = ledger.page(pe(), &Query { owner, limit: 2, ..Query::default() }).await.unwrap();
    assert_eq!(page.items, [booked(1), booked(2)]);
    assert_eq!(operations(&heard)[4..], ["Query", "BatchGetItem"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_links_of_an_account_are_one_request_whatever_there_is() {
    let (tables, heard) = (Tables::new().await, Faults::none());
    let put = async |number: usize| {
        let revision = link(number, "ana", PatientLinkState::Active);
        let change = PatientLinkChange { revision, before: None, changes: u32::try_from(number).unwrap() };
        tables.ledger().put_patient_link(change).await.unwrap();
    };
    for number in 0..3 {
        put(number).await;
    }
    let ledger = tables.ledger_over(&heard);
    let found = [ledger.account_links(pe(), "ana").await.unwrap(), ledger.account_links(pe(), "bea").await.unwrap()];
    assert_eq!(found.map(|found| found.links.len()), [3, 0]);
    assert_eq!(operations(&heard), ["Query", "Query"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_claims_of_a_resource_in_a_range_of_time_are_one_request() {
    let (tables, heard) = (Tables::new().await, Faults::none());
    let held: Vec<String> = (0..30).map(|number| quarter("doctor/1", number)).collect();
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    tables.ledger().commit(booking(booked(1), &held)).await.unwrap();
    let asked: Vec<String> = (20..100).map(|number| quarter("doctor/1", number)).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let taken = tables.ledger_over(&heard).taken(pe(), &claims(&asked), now()).await.unwrap();
    assert_eq!((taken.len(), operations(&heard)), (10, vec!["Query".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_with_places_whose_answer_was_lost_each_time_is_found() {
    let tables = Tables::new().await;
    let lost = Faults::when(|_, request| {
        let transaction = request.headers().get("x-amz-target").is_some_and(|name| name.contains("Transact"));
        transaction.then_some(Fault::Lost)
    });
    let mut change = change(booked(1));
    change.claims = vec![Claim { places: 3, ..Claim::new("quota") }];
    let stored = tables.ledger_over(&lost).commit(change).await.unwrap();
    assert_eq!(tables.ledger().appointment(pe(), id(1)).await.unwrap(), Some(stored.revision));
    assert_eq!(tables.items("claim").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_table_is_marked_at_its_first_use_and_each_process_looks_once() {
    let (tables, heard) = (Tables::unmarked().await, Faults::none());
    let ledger = tables.ledger_over_all(&heard, None);
    ledger.ready(pe()).await.unwrap();
    assert_eq!(tables.items("format").await.len(), 1);
    let before = heard.heard().len();
    ledger.commit(change(booked(1))).await.unwrap();
    assert_eq!(operations(&heard)[before..], ["TransactWriteItems"]);
    let (again, heard) = (Faults::none(), 1);
    tables.ledger_over_all(&again, None).notified(pe(), id(1)).await.unwrap();
    tables.ledger_over_all(&again, None).commit(change(booked(2))).await.unwrap();
    assert_eq!(operations(&again)[heard..], ["GetItem", "TransactWriteItems"], "the mark alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_written_with_another_key_is_refused() {
    let tables = Tables::unmarked().await;
    let with = |key: &str| tables.ledger_over_all(&Faults::none(), Some(key.parse().unwrap()));
    with(KEY).commit(change(booked(1))).await.unwrap();
    with(KEY).ready(pe()).await.unwrap();
    let other = with(&KEY.replace("00", "ff"));
    let refused = other.appointment(pe(), id(1)).await.unwrap_err().to_string();
    assert!(refused.contains("another CITAS_KEY"), "{refused}");
    assert!(other.commit(change(booked(2))).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_actions_are_found_whatever_the_clock_and_the_cursor_say() {
    let tables = Tables::new().await;
    let ledger = tables.ledger();
    let hours = |count: i64| jiff::SignedDuration::from_hours(count);
    let scheduled = async |number: usize, at| {
        let mut revision = booked(number);
        revision.appointment.wake = Some(citas_core::model::Wake { at, action: "remind".into() });
        ledger.commit(change(revision)).await.unwrap();
    };
    let due = async |at| {
        let due = ledger.due(pe(), at, 10).await.unwrap();
        due.into_iter().map(|due| due.appointment).collect::<Vec<_>>()
    };
    // A clock that is a day ahead moves the cursor.
    assert_eq!(due(now() + hours(24)).await, Vec::<Uuid>::new());
    scheduled(1, now() + hours(1)).await;
    assert_eq!(due(now() + hours(1)).await, [id(1)]);
    // A host whose clock is a day behind writes behind the cursor.
    assert_eq!(due(now() + hours(1)).await, [id(1)]);
    scheduled(2, now() - hours(20)).await;
    assert_eq!(due(now() + hours(3)).await, [id(2), id(1)]);
    // No host ran for a month.
    scheduled(3, now() + hours(700)).await;
    assert_eq!(due(now() + hours(720)).await, [id(2), id(1), id(3)]);
}

/// Empty tables for Peru and Chile that nothing else uses.
pub struct Tables {
    aws: SdkConfig,
    prefix: String,
}

impl Tables {
    /// Returns tables of this format.
    pub async fn new() -> Self {
        let tables = Self::unmarked().await;
        for country in ["pe", "cl"] {
            let text = |text: &str| AttributeValue::S(text.into());
            let mark = Client::new(&tables.aws).put_item().table_name(tables.table(country));
            let mark = mark.item("pk", text("M")).item("sk", text("format")).item("kind", text("format"));
            mark.item("format", AttributeValue::N("2".into())).send().await.unwrap();
        }
        tables
    }

    /// Returns tables without a mark of their format.
    pub async fn unmarked() -> Self {
        let (aws, prefix) = (aws().load().await, format!("{}-", unique("citas")));
        for country in ["pe", "cl"] {
            table::create(&Client::new(&aws), &format!("{prefix}{country}")).await;
        }
        Self { aws, prefix }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.aws)
    }

    pub fn table(&self, country: &str) -> String {
        format!("{}{country}", self.prefix)
    }

    /// Returns the address of the server.
    pub fn endpoint(&self) -> &str {
        self.aws.endpoint_url().unwrap()
    }

    /// Makes a command line read these tables.
    pub fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .args(["--tables", &self.prefix])
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    pub fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new((&self.aws).into(), &self.prefix, Arc::new(SystemClock))
    }

    /// Returns a ledger with these faults. They exclude the check of the table's format, which each process makes once.
    pub fn ledger_over(&self, faults: &Faults) -> DynamoLedger {
        self.ledger_over_all(&faults.aside(r#""format""#), None)
    }

    /// Returns a ledger with these faults, and the names that the tables must have been written with.
    pub fn ledger_over_all(&self, faults: &Faults, names: Option<Pseudonyms>) -> DynamoLedger {
        // The default quota for retries is shared by the whole process.
        let apart = RetryPartition::new(unique("retries"));
        let configuration = Builder::from(&faults.over(&self.aws)).retry_partition(apart);
        let ledger = DynamoLedger::new(configuration, &self.prefix, Arc::new(SystemClock));
        match names {
            Some(names) => ledger.written_with(names),
            None => ledger,
        }
    }

    /// Returns Peru's events, in no order.
    pub async fn events(&self) -> Vec<Event> {
        let items = self.items("event").await;
        items.iter().map(|item| dynamo::event(item["event"].as_s().unwrap()).unwrap()).collect()
    }

    /// Asserts that Peru has this number of complete appointments, and of events.
    pub async fn assert_whole(&self, appointments: usize, events: usize, why: &str) {
        let latest = self.items("appointment").await;
        assert_eq!(latest.len(), appointments, "{why}: appointments");
        assert_eq!(self.items("event").await.len(), events, "{why}: events");
        let page = self.ledger().page(pe(), &Query { limit: 100, ..Query::default() }).await.unwrap();
        let held: usize =
            page.items.iter().filter(|held| held.appointment.phase.is_live()).map(|held| held.claims.len()).sum();
        assert_eq!(self.items("claim").await.len(), held, "{why}: claims");
        let revisions: u32 = page.items.iter().map(|item| item.appointment.revision).sum();
        let revisions = usize::try_from(revisions).unwrap();
        assert_eq!(self.items("revision").await.len(), revisions, "{why}: revisions");
        assert_eq!(self.items("personal").await.len(), revisions, "{why}: personal parts");
    }

    /// Returns the sizes of Peru's items of a kind, in bytes as DynamoDB counts them.
    pub async fn bytes_of(&self, kind: &str) -> Vec<usize> {
        let weight =
            |item: &HashMap<_, _>| item.iter().map(|(name, value): (&String, _)| name.len() + bytes(value)).sum();
        self.items(kind).await.iter().map(weight).collect()
    }

    /// Returns Peru's items of a kind.
    pub async fn items(&self, kind: &str) -> Vec<Item> {
        let is_kind = |item: &Item| item["kind"].as_s().unwrap() == kind;
        self.all("pe").await.into_iter().filter(is_kind).collect()
    }

    /// Returns all items of a country.
    pub async fn all(&self, country: &str) -> Vec<Item> {
        let scan = self.client().scan().table_name(self.table(country)).into_paginator().items().send();
        scan.collect::<Result<Vec<_>, _>>().await.unwrap()
    }

    /// Returns Peru's revisions in the order of their commits.
    pub fn committed(&self) -> Vec<(Uuid, u32)> {
        let revision = |record: &Value| {
            let key = |name: &str| record["dynamodb"]["NewImage"][name]["S"].as_str();
            let (id, number) = (key("pk")?.strip_prefix("A#")?, key("sk")?.strip_prefix("R#")?);
            Some((id.parse().unwrap(), number.parse().unwrap()))
        };
        self.stream().iter().filter_map(revision).collect()
    }

    /// Returns the records of the stream of Peru's table that Lambda passes to the relay.
    fn stream(&self) -> Vec<Value> {
        let ask = |operation: &str, input: Value| -> Value {
            ureq::post(self.endpoint())
                .header("X-Amz-Target", format!("DynamoDBStreams_20120810.{operation}"))
                .header("Content-Type", "application/x-amz-json-1.0")
                .header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261124/us-east-1/dynamodb/aws4_request")
                .send(input.to_string())
                .unwrap()
                .body_mut()
                .read_json()
                .unwrap()
        };
        let listed = ask("ListStreams", json!({ "TableName": self.table("pe") }));
        let stream = &listed["Streams"][0]["StreamArn"];
        let described = ask("DescribeStream", json!({ "StreamArn": stream }));
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let from = json!({ "StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = ask("GetShardIterator", from)["ShardIterator"].clone();
        let mut records = Vec::new();
        loop {
            let found = ask("GetRecords", json!({ "ShardIterator": iterator }));
            let page = found["Records"].as_array().unwrap();
            if page.is_empty() {
                return records;
            }
            let is_passed = |record: &&Value| {
                let kind = record["dynamodb"]["NewImage"]["kind"]["S"].as_str();
                record["eventName"] == "INSERT" && matches!(kind, Some("event" | "revision"))
            };
            records.extend(page.iter().filter(is_passed).cloned());
            iterator = found["NextShardIterator"].clone();
        }
    }
}

/// Returns the size of an attribute's value, in bytes (AWS developer guide, *DynamoDB item sizes and formats*). A
/// number counts with the upper of its two bounds.
fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::L(items) => 3 + items.iter().map(|item| 1 + bytes(item)).sum::<usize>(),
        AttributeValue::M(members) => {
            3 + members.iter().map(|(name, value)| 1 + name.len() + bytes(value)).sum::<usize>()
        }
        other => panic!("the ledger writes no {other:?}"),
    }
}
