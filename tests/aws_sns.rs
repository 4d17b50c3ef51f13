//! Events published to SNS and received from a subscribed queue.

use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use citas::aws::sns::SnsPublisher;
use citas_core::model::Event;
use citas_core::ports::Publisher as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::appointments::{booked, id};
use crate::support::faults::{Fault, Faults};
use crate::support::ministack::{aws, unique};

/// A topic and its subscribed queue. Messages keep SNS's envelope.
pub struct Topic {
    pub config: SdkConfig,
    pub arn: String,
    queue: String,
}

impl Topic {
    pub async fn new() -> Self {
        let config = aws().load().await;
        let client = Client::new(&config);
        let name = unique("events");
        let arn = client.create_topic().name(&name).send().await.unwrap().topic_arn.unwrap();
        let queue = sqs(&config, "CreateQueue", &json!({ "QueueName": name }))["QueueUrl"].as_str().unwrap().to_owned();
        let endpoint = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        client.subscribe().topic_arn(&arn).protocol("sqs").endpoint(endpoint).send().await.unwrap();
        Self { config, arn, queue }
    }

    pub fn publisher(&self) -> SnsPublisher {
        SnsPublisher::new(Client::new(&self.config), &self.arn)
    }

    /// Takes all messages from the queue.
    pub fn heard(&self) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let ask = json!({ "QueueUrl": self.queue, "MaxNumberOfMessages": 10 });
            let answer = sqs(&self.config, "ReceiveMessage", &ask);
            let Some(messages) = answer["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
                return heard;
            };
            heard.extend(messages.iter().map(|message| {
                sqs(
                    &self.config,
                    "DeleteMessage",
                    &json!({ "QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"] }),
                );
                serde_json::from_str(message["Body"].as_str().unwrap()).unwrap()
            }));
        }
    }

    /// Takes all messages from the queue and returns their events.
    pub fn events(&self) -> Vec<Event> {
        let event = |envelope: Value| serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
        self.heard().into_iter().map(event).collect()
    }
}

/// Calls SQS over HTTP. Citas has no client for SQS, because a function's trigger reads the queue.
fn sqs(config: &SdkConfig, operation: &str, input: &Value) -> Value {
    let mut answer = ureq::post(config.endpoint_url().unwrap())
        .header("X-Amz-Target", format!("AmazonSQS.{operation}"))
        .header("Content-Type", "application/x-amz-json-1.0")
        .send(input.to_string())
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}

/// Returns the event that appointment `number` was booked.
pub fn event(number: usize) -> Event {
    Event::new(id(1000 + number), "booked", &booked(number))
}

/// Returns an event of about `bytes` bytes. Only its name has no limit.
fn large(number: usize, bytes: usize) -> Event {
    Event::new(id(1000 + number), &"x".repeat(bytes / 2), &booked(number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_whole_with_attributes_to_filter_by() {
    let topic = Topic::new().await;
    let told = event(1);
    topic.publisher().publish(std::slice::from_ref(&told)).await.pop().unwrap().unwrap();
    let [envelope] = &topic.heard()[..] else { panic!("one message") };
    assert_eq!(serde_json::from_str::<Event>(envelope["Message"].as_str().unwrap()).unwrap(), told);
    let attributes = json!({
        "country": { "Type": "String", "Value": "pe" },
        "type": { "Type": "String", "Value": "citas.appointment.booked" },
    });
    assert_eq!(envelope["MessageAttributes"], attributes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_go_in_batches_of_ten_and_each_has_its_answer() {
    let topic = Topic::new().await;
    let listening = Faults::none();
    let publisher = SnsPublisher::new(Client::new(&listening.over(&topic.config)), &topic.arn);
    let events: Vec<Event> = (0..25).map(event).collect();
    let answers = publisher.publish(&events).await;
    assert!(answers.len() == 25 && answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(listening.heard().len(), 3);
    let mut heard: Vec<Uuid> = topic.events().iter().map(|event| event.id).collect();
    heard.sort();
    assert_eq!(heard, events.iter().map(|event| event.id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_sns_holds_up_nothing_else() {
    let topic = Topic::new().await;
    let events = [event(1), large(2, 200_000), large(3, 300_000), large(4, 200_000), event(5)];
    let answers = topic.publisher().publish(&events).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    let cause = answers[2].as_ref().unwrap_err().to_string();
    assert!(cause.contains("SNS takes at most 262144"), "{cause}");
    assert_eq!(topic.events().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_batch_is_taken_and_the_rest_is_told_apart() {
    let answer = "<PublishBatchResponse><PublishBatchResult>\
        <Successful><member><Id>2</Id><MessageId>m</MessageId></member></Successful>\
        <Failed><member><Id>0</Id><Code>InternalError</Code><SenderFault>false</SenderFault>\
        <Message>ana@example.com</Message></member></Failed>\
        </PublishBatchResult></PublishBatchResponse>";
    let topic = Topic::new().await;
    let faults = Faults::at(0, Fault::Answer(200, answer.into()));
    let publisher = SnsPublisher::new(Client::new(&faults.over(&topic.config)), &topic.arn);
    let answers = publisher.publish(&[event(0), event(1), event(2)]).await;
    let said = answers.into_iter().map(|answer| answer.map_err(|error| error.0)).collect::<Vec<_>>();
    let expected =
        [Err("SNS answers InternalError for it".into()), Err("SNS says nothing of it".into()), Ok::<_, String>(())];
    assert_eq!(said, expected);
}
