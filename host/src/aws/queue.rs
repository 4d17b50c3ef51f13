//! Passes the messages of a queue to the notifier. Each message succeeds or fails by itself. SQS delivers a failed
//! message again and finally moves it to the dead-letter queue.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use citas_core::model::Event;
use citas_core::notify::Notifier;
use citas_core::ports::Clock;
use citas_core::release::OnDemand;
use jiff::Timestamp;

/// Maximum time that a message may take: one mail and the work around it. No message starts with less time left,
/// because a mail that is sent just as the time runs out is sent again.
const ONE: Duration = Duration::from_secs(15);

/// Sends the mails of the events. Returns the messages to deliver again, including those that no time was left for.
pub async fn notify(
    rules: &OnDemand,
    notifier: &Notifier,
    messages: &SqsEvent,
    clock: &dyn Clock,
    deadline: Timestamp,
) -> SqsBatchResponse {
    let left = Duration::try_from(deadline.duration_since(clock.now())).unwrap_or_default();
    let end = clock.monotonic() + left;
    let mut answer = SqsBatchResponse::default();
    for message in &messages.records {
        if clock.monotonic() + ONE > end {
            answer.add_failure(message.message_id.clone().unwrap_or_default());
            continue;
        }
        let outcome = match notify_one(rules, notifier, message).await {
            Ok(()) => "notified",
            Err(error) => {
                tracing::warn!(message_id = message.message_id, error, "a message is to be given again");
                answer.add_failure(message.message_id.clone().unwrap_or_default());
                "failed"
            }
        };
        metrics::counter!("citas_messages_total", "outcome" => outcome).increment(1);
    }
    answer
}

async fn notify_one(rules: &OnDemand, notifier: &Notifier, message: &SqsMessage) -> Result<(), String> {
    let body = message.body.as_deref().unwrap_or_default();
    let event: Event = serde_json::from_str(body).map_err(|error| format!("it is no event: {error}"))?;
    let looks = rules.ask(event.country).await;
    let notified = notifier.notify(&event).await;
    looks.finish().await;
    notified.map_err(|error| error.to_string())
}
