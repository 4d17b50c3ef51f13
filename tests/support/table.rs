//! A country's table as `countries/country.yaml` defines it.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType,
};

/// Indexes of the lists. That of scheduled actions has keys of its own.
const INDEXES: [&str; 5] = ["owner", "patient", "doctor", "hospital", "phase"];

/// Creates an empty table. Its name must be new.
pub async fn create(client: &Client, table: &str) {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let names = ["pk", "sk", "start", "wakeHour", "wakeAt"].into_iter().chain(INDEXES);
    let attribute = |name: &str| {
        let kind = ScalarAttributeType::S;
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let index = |name: &str, keys: [&str; 2], projected| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(keys[0], KeyType::Hash))
            .key_schema(key(keys[1], KeyType::Range))
            .projection(Projection::builder().projection_type(projected).build())
            .build()
            .unwrap()
    };
    let lists = INDEXES.map(|name| index(name, [name, "start"], ProjectionType::All));
    let wakes = index("wakes", ["wakeHour", "wakeAt"], ProjectionType::KeysOnly);
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewImage);
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .set_attribute_definitions(Some(names.map(attribute).collect()))
        .set_global_secondary_indexes(Some(lists.into_iter().chain([wakes]).collect()))
        .stream_specification(stream.build().unwrap())
        .send()
        .await;
    // A busy server has created the table, but answered too late for the first attempt.
    if let Err(error) = created.map_err(SdkError::into_service_error) {
        assert!(error.is_resource_in_use_exception(), "{error:?}");
    }
}
