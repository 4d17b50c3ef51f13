//! The ledger in DynamoDB: the contract, on tables as `countries/country.yaml` defines them.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use citas::aws::dynamo::{self, DynamoLedger};
use citas::system::SystemClock;
use citas_core::model::Event;
use citas_core::ports::{Ledger, Query};

use crate::ledger_contract::ledger_contract;
use crate::support::appointments::pe;
use crate::support::faults::Faults;
use crate::support::ministack::{aws, unique};

const INDEXES: [&str; 5] = ["owner", "patient", "doctor", "hospital", "phase"];

mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Ledger>, ()) {
        (Arc::new(Tables::new().await.ledger()), ())
    }

    ledger_contract!(open);
}

/// Empty tables for Peru and Chile that nothing else uses.
pub struct Tables {
    aws: SdkConfig,
    prefix: String,
}

impl Tables {
    pub async fn new() -> Self {
        let (aws, prefix) = (aws().load().await, format!("{}-", unique("citas")));
        for country in ["pe", "cl"] {
            create(&Client::new(&aws), &format!("{prefix}{country}")).await;
        }
        Self { aws, prefix }
    }

    /// Makes a command line read these tables.
    pub fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .args(["--tables", &self.prefix])
            .env("AWS_ENDPOINT_URL", self.aws.endpoint_url().unwrap())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    pub fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new((&self.aws).into(), &self.prefix, Arc::new(SystemClock))
    }

    pub fn ledger_over(&self, faults: &Faults) -> DynamoLedger {
        // The default quota for retries is shared by the whole process.
        let apart = RetryPartition::new(unique("retries"));
        DynamoLedger::new(
            Builder::from(&faults.over(&self.aws)).retry_partition(apart),
            &self.prefix,
            Arc::new(SystemClock),
        )
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
        assert_eq!(self.items("revision").await.len(), usize::try_from(revisions).unwrap(), "{why}: revisions");
    }

    /// Returns the sizes of Peru's appointments, in bytes as DynamoDB counts them.
    pub async fn appointments_bytes(&self) -> Vec<usize> {
        let weight =
            |item: &HashMap<_, _>| item.iter().map(|(name, value): (&String, _)| name.len() + bytes(value)).sum();
        self.items("appointment").await.iter().map(weight).collect()
    }

    async fn items(&self, kind: &str) -> Vec<HashMap<String, AttributeValue>> {
        let table = format!("{}pe", self.prefix);
        let scan = Client::new(&self.aws).scan().table_name(table).into_paginator().items().send();
        let items = scan.collect::<Result<Vec<_>, _>>().await.unwrap();
        items.into_iter().filter(|item| item["kind"].as_s().unwrap() == kind).collect()
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

async fn create(client: &Client, table: &str) {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let names = ["pk", "sk", "start"].into_iter().chain(INDEXES);
    let attribute = |name: &str| {
        let kind = ScalarAttributeType::S;
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let index = |name: &str| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(name, KeyType::Hash))
            .key_schema(key("start", KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()
            .unwrap()
    };
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .set_attribute_definitions(Some(names.map(attribute).collect()))
        .set_global_secondary_indexes(Some(INDEXES.map(index).into()))
        .send()
        .await;
    // No other test uses this name. A busy server has created the table, but answered too late for the first attempt.
    if let Err(error) = created.map_err(SdkError::into_service_error) {
        assert!(error.is_resource_in_use_exception(), "{error:?}");
    }
}
