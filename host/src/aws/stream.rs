//! Publishes the events of a table's stream, in the stream's order. No batch contains two events of one appointment.
//! Stops at the first record that is not published; Lambda delivers that record and all later ones again.

use std::collections::HashSet;

use aws_lambda_events::event::dynamodb::{Event as Stream, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use citas_core::model::Event;
use citas_core::ports::Publisher;

use super::dynamo;

/// Maximum number of events in one call of the topic.
const BATCH: usize = 10;

/// Publishes the events of the records. Returns the record from which Lambda must deliver again, if any.
pub async fn relay(publisher: &dyn Publisher, stream: &Stream) -> DynamoDbEventResponse {
    let mut answer = DynamoDbEventResponse::default();
    let mut rest = &stream.records[..];
    while let Some(first) = rest.first() {
        let (events, unreadable) = batch(rest);
        let taken = publish(publisher, &events).await;
        if taken < events.len() || (unreadable && events.is_empty()) {
            let failed = events.get(taken).map_or(first, |(record, _)| *record);
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier.clone_from(&failed.change.sequence_number);
            answer.batch_item_failures.push(failure);
            return answer;
        }
        rest = &rest[events.len()..];
    }
    answer
}

/// Publishes the events. Returns the number of events that were published before the first failure.
async fn publish(publisher: &dyn Publisher, events: &[(&EventRecord, Event)]) -> usize {
    if events.is_empty() {
        return 0;
    }
    let batch: Vec<Event> = events.iter().map(|(_, event)| event.clone()).collect();
    let results = publisher.publish(&batch).await;
    for (event, result) in batch.iter().zip(&results) {
        let outcome = if result.is_ok() { "published" } else { "failed" };
        metrics::counter!("citas_events_total", "country" => event.country.to_string(), "outcome" => outcome)
            .increment(1);
        if let Err(error) = result {
            tracing::warn!(country = %event.country, event = %event.id, %error, "an event is to be given again");
        }
    }
    results.iter().take_while(|result| result.is_ok()).count()
}

/// Returns the next events that can be published together, and whether the record after them is unreadable.
fn batch(records: &[EventRecord]) -> (Vec<(&EventRecord, Event)>, bool) {
    let (mut events, mut subjects) = (Vec::new(), HashSet::new());
    for record in records.iter().take(BATCH) {
        match event(record) {
            Ok(event) if subjects.insert(event.subject) => events.push((record, event)),
            Ok(_) => return (events, false),
            Err(error) => {
                tracing::error!(record = record.event_id, %error, "a record of the stream is no event");
                return (events, true);
            }
        }
    }
    (events, false)
}

fn event(record: &EventRecord) -> Result<Event, String> {
    let item = record.change.new_image.inner();
    let Some(serde_dynamo::AttributeValue::S(body)) = item.get("event") else {
        return Err("it has no attribute `event`".into());
    };
    dynamo::event(body).map_err(|error| error.to_string())
}
