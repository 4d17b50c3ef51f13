//! Publishes events to an SNS topic, in batches. Each message is the CloudEvent as JSON, with `country` and `type` as
//! attributes for the subscriptions' filters. Stores nothing and does not retry failures later: the stream does.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::operation::publish_batch::PublishBatchOutput;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use citas_core::model::Event;
use citas_core::ports::{NotPublished, Publisher};
use futures::future::join_all;

use crate::aws::failure::error_text;

/// Maximum number of messages in one SNS batch.
const MOST: usize = 10;
/// Maximum size of one SNS batch in bytes, including the attributes.
const LARGEST: usize = 256 * 1024;

/// A publisher to one topic.
#[derive(Clone, Debug)]
pub struct SnsPublisher {
    client: Client,
    topic: String,
}

/// An event as an SNS message.
struct Message {
    text: String,
    attributes: [(&'static str, String); 2],
}

impl SnsPublisher {
    /// Creates a publisher to the topic with this ARN.
    pub fn new(client: Client, topic: impl Into<String>) -> Self {
        Self { client, topic: topic.into() }
    }

    /// Sends a batch and returns the outcome of each message.
    async fn send(&self, batch: &[Message]) -> Vec<Result<(), NotPublished>> {
        let entries = (0..).zip(batch).map(|(number, message)| message.entry(number));
        let request = self.client.publish_batch().topic_arn(&self.topic);
        match request.set_publish_batch_request_entries(Some(entries.collect())).send().await {
            Ok(answer) => (0..batch.len()).map(|number| outcome(&answer, &number.to_string())).collect(),
            Err(error) => {
                let words = error_text("SNS", &error);
                batch.iter().map(|_| Err(NotPublished(words.clone()))).collect()
            }
        }
    }
}

#[async_trait]
impl Publisher for SnsPublisher {
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
        let batches = batches(events.iter().map(Message::new));
        let answers = join_all(batches.iter().map(async |batch| match &batch[..] {
            [alone] if alone.size() > LARGEST => vec![Err(alone.too_large())],
            batch => self.send(batch).await,
        }));
        answers.await.into_iter().flatten().collect()
    }
}

impl Message {
    fn new(event: &Event) -> Self {
        let text = serde_json::to_string(event).expect("strings, numbers and null");
        // JSON allows these two characters and SNS does not.
        let text = text.replace('\u{fffe}', r"\ufffe").replace('\u{ffff}', r"\uffff");
        Self { text, attributes: [("country", event.country.to_string()), ("type", event.kind.clone())] }
    }

    /// Returns the size in bytes as SNS counts it: the message, and the name, type and value of each attribute.
    fn size(&self) -> usize {
        let attribute = |(name, value): &(&str, String)| name.len() + "String".len() + value.len();
        self.text.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    fn too_large(&self) -> NotPublished {
        NotPublished(format!("it has {} bytes, and SNS takes at most {LARGEST}", self.size()))
    }

    fn entry(&self, number: usize) -> PublishBatchRequestEntry {
        let attribute = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build();
        let attributes: HashMap<_, _> = self
            .attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), attribute(value).expect("it has a type")))
            .collect();
        let entry = PublishBatchRequestEntry::builder().id(number.to_string()).message(&self.text);
        entry.set_message_attributes(Some(attributes)).build().expect("it has an id and a message")
    }
}

/// Groups messages into the fewest batches that keep the order and both of SNS's limits. A message that is too large
/// for any batch is alone in its own.
fn batches(messages: impl Iterator<Item = Message>) -> Vec<Vec<Message>> {
    let (mut batches, mut size) = (Vec::<Vec<Message>>::new(), 0);
    for message in messages {
        let length = message.size();
        if let Some(batch) = batches.last_mut().filter(|batch| batch.len() < MOST && size + length <= LARGEST) {
            size += length;
            batch.push(message);
        } else {
            size = length;
            batches.push(vec![message]);
        }
    }
    batches
}

/// Returns the outcome of one entry. An entry that the response does not mention was not published.
fn outcome(answer: &PublishBatchOutput, id: &str) -> Result<(), NotPublished> {
    if answer.successful().iter().any(|taken| taken.id() == Some(id)) {
        return Ok(());
    }
    let refused = answer.failed().iter().find(|refused| refused.id() == id);
    Err(NotPublished(
        refused.map_or_else(
            || "SNS says nothing of it".into(),
            |refused| format!("SNS answers {} for it", refused.code()),
        ),
    ))
}
