//! Numbers the revisions of a table's stream, and publishes its events, in the stream's order. No batch contains two events
//! of one appointment. Stops at the first record that is not numbered or not published. Lambda delivers that record and
//! all later ones again.

use std::collections::{BTreeMap, HashSet};

use aws_lambda_events::event::dynamodb::{Event as Stream, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use citas_core::model::{CountryCode, Event};
use citas_core::ports::Publisher;
use serde_json::Value as Json;
use uuid::Uuid;

use super::dynamo::{self, DynamoLedger};

/// Maximum number of events in one call of the topic.
const BATCH: usize = 10;

/// An event with the record that it came in.
type Told<'a> = (&'a EventRecord, Event);

/// Numbers the revisions of the records and publishes their events. Returns the record from which Lambda must deliver
/// again, if any.
pub async fn relay(publisher: &dyn Publisher, ledger: &DynamoLedger, stream: &Stream) -> DynamoDbEventResponse {
    let numbered = number(ledger, &stream.records).await;
    let (events, read) = read(ledger, &stream.records[..numbered]).await;
    let failed = publish_all(publisher, &events).await.or_else(|| stream.records.get(read));
    let mut answer = DynamoDbEventResponse::default();
    if let Some(failed) = failed {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier.clone_from(&failed.change.sequence_number);
        answer.batch_item_failures.push(failure);
    }
    answer
}

/// Numbers the revisions. Returns the number of records before the first one that may not be numbered.
async fn number(ledger: &DynamoLedger, records: &[EventRecord]) -> usize {
    let (mut seen, mut stored) = (HashSet::new(), BTreeMap::<CountryCode, Vec<(Uuid, u32)>>::new());
    let mut first = None;
    for (index, record) in records.iter().enumerate() {
        let Some((country, id, number)) = dynamo::numbered(&record.change.new_image.clone().into()) else { continue };
        first.get_or_insert(index);
        if seen.insert((id, number)) {
            stored.entry(country).or_default().push((id, number));
        }
    }
    for (country, revisions) in stored {
        if let Err(error) = ledger.number_revisions(country, &revisions).await {
            tracing::warn!(%country, %error, "revisions are to be numbered again");
            return first.unwrap_or_default();
        }
    }
    records.len()
}

/// Returns the events of the records, and the number of records before the first unreadable one.
async fn read<'a>(ledger: &DynamoLedger, records: &'a [EventRecord]) -> (Vec<Told<'a>>, usize) {
    let mut events = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let kind = record.change.new_image.inner().get("kind");
        if matches!(kind, Some(serde_dynamo::AttributeValue::S(kind)) if kind == "revision") {
            continue;
        }
        match event(ledger, record).await {
            Ok(event) => events.push((record, event)),
            Err(error) => {
                tracing::error!(record = record.event_id, %error, "a record of the stream is no event");
                return (events, index);
            }
        }
    }
    (events, records.len())
}

/// Publishes events in order. Returns the record of the first that is not published.
async fn publish_all<'a>(publisher: &dyn Publisher, events: &[Told<'a>]) -> Option<&'a EventRecord> {
    let mut rest = events;
    while !rest.is_empty() {
        let batch = batch(rest);
        let taken = publish(publisher, batch).await;
        if let Some((failed, _)) = batch.get(taken) {
            return Some(failed);
        }
        rest = &rest[batch.len()..];
    }
    None
}

/// Returns the next events that can be published together.
fn batch<'a, 'b>(events: &'b [Told<'a>]) -> &'b [Told<'a>] {
    let mut subjects = HashSet::new();
    let alone = events.iter().take(BATCH).take_while(|(_, event)| subjects.insert(event.subject)).count();
    &events[..alone]
}

/// Publishes the events of a batch. Returns the number of events that were published before the first failure.
async fn publish(publisher: &dyn Publisher, events: &[Told<'_>]) -> usize {
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

/// Parses the event of a record. An event of the former format has a whole revision in place of an id: the stream keeps it
/// as it was written, and the migration has replaced it in the table.
async fn event(ledger: &DynamoLedger, record: &EventRecord) -> Result<Event, String> {
    let item = record.change.new_image.inner();
    let Some(serde_dynamo::AttributeValue::S(body)) = item.get("event") else {
        return Err("it has no attribute `event`".into());
    };
    let unreadable = match dynamo::event(body) {
        Ok(event) => return Ok(event),
        Err(error) => error.to_string(),
    };
    let former: Json = serde_json::from_str(body).map_err(|error| error.to_string())?;
    match former["country"].as_str().map(str::parse) {
        Some(Ok(country)) => ledger.stored_event(country, &record.change.keys.clone().into()).await,
        _ => Err(unreadable),
    }
}
