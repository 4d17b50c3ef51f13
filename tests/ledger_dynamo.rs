//! The ledger in DynamoDB: the contract, on tables as `countries/country.yaml` has them.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use citas::aws::dynamo::DynamoLedger;
use citas_core::ledger::Ledger;

use crate::ledger_contract::ledger_contract;
use crate::support::ministack::{aws, unique};

const INDEXES: [&str; 5] = ["owner", "patient", "doctor", "hospital", "phase"];

mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Ledger>, ()) {
        (Arc::new(empty().await), ())
    }

    ledger_contract!(open);
}

/// A ledger with tables of its own for Peru and Chile.
pub async fn empty() -> DynamoLedger {
    let configuration = aws().load().await;
    let prefix = format!("{}-", unique("citas"));
    for country in ["pe", "cl"] {
        create(&Client::new(&configuration), &format!("{prefix}{country}")).await;
    }
    DynamoLedger::new(&configuration, &prefix)
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
    client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .set_attribute_definitions(Some(names.map(attribute).collect()))
        .set_global_secondary_indexes(Some(INDEXES.map(index).into()))
        .send()
        .await
        .unwrap();
}
