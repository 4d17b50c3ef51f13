//! AWS fails at each step of the registry, the publisher and the mailer. A single transient fault does not change the
//! result. A lasting fault is a declared error, and leaves nothing lost or half done.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryPartition;
use citas::aws::registry::S3Registry;
use citas::aws::ses::SesMailer;
use citas::aws::sns::SnsPublisher;
use citas_core::model::Event;
use citas_core::ports::{MailError, Mailer as _, Publisher as _, Registry as _, RegistryError};
use futures::future::join_all;

use crate::aws_ses::{mail, received, verified};
use crate::aws_sns::{Topic, event};
use crate::registry_contract::{artifact, channel, version};
use crate::support::appointments::pe;
use crate::support::faults::{Fault, Faults};
use crate::support::ministack::{aws, unique};

/// Transient faults: a retry succeeds.
const PASSING: [Fault; 6] = [
    Fault::No(503, "SlowDown"),
    Fault::No(400, "ThrottlingException"),
    Fault::No(500, "InternalError"),
    Fault::Cut,
    Fault::Lost,
    Fault::Silence,
];

/// Pairs each transient fault with each of the first `steps` requests.
fn passing(steps: usize) -> impl Iterator<Item = (usize, Fault)> {
    (0..steps).flat_map(|step| PASSING.map(|fault| (step, fault)))
}

/// Pairs each fault with each of the first `steps` requests, for tests in which the fault lasts.
fn lasting(steps: usize) -> impl Iterator<Item = (usize, Fault)> {
    let broken_answers = (0..steps).flat_map(|step| [Fault::Half, Fault::Stalled].map(|fault| (step, fault)));
    passing(steps).chain(broken_answers)
}

/// Returns a retry quota that no other client uses.
fn retries() -> RetryPartition {
    RetryPartition::new(unique("retries"))
}

mod registry {
    use super::*;

    /// Creates an empty bucket and returns its name.
    async fn bucket() -> String {
        let name = unique("rules");
        let client = aws_sdk_s3::Client::new(&aws().load().await);
        client.create_bucket().bucket(&name).send().await.unwrap();
        name
    }

    async fn registry(bucket: &str, faults: &Faults) -> S3Registry {
        let config = aws_sdk_s3::config::Builder::from(&faults.over(&aws().load().await));
        S3Registry::new(&aws_sdk_s3::Client::from_conf(config.retry_partition(retries()).build()), bucket, "")
    }

    /// Publishes a version, puts it into use and reads it, as a platform team does.
    async fn story(registry: &S3Registry) -> Result<(), RegistryError> {
        let (rules, first) = (artifact(pe(), "1.0.0", b"component"), channel("1.0.0", None, 1));
        registry.publish(&rules).await?;
        registry.set_channel(pe(), None, &first).await?;
        assert_eq!(registry.countries().await?, [pe()]);
        assert_eq!(registry.channel(pe()).await?, Some(first));
        assert_eq!(registry.versions(pe()).await?, [version("1.0.0")]);
        assert_eq!(registry.fetch(pe(), &version("1.0.0")).await?, rules);
        Ok(())
    }

    /// Number of requests of the story: 5 to publish, 3 for the channel, 2 for the countries, 1, 1, and 4 to fetch.
    const STEPS: usize = 16;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_passes_is_not_noticed() {
        let (quiet, listening) = (bucket().await, Faults::none());
        story(&registry(&quiet, &listening).await).await.unwrap();
        assert_eq!(listening.heard().len(), STEPS);
        join_all(passing(STEPS).map(async |(step, fault)| {
            let registry = registry(&bucket().await, &Faults::at(step, fault.clone())).await;
            story(&registry).await.unwrap_or_else(|error| panic!("{fault:?} at {step}: {error}"));
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_pass_is_said_and_leaves_nothing_half() {
        join_all(lasting(STEPS).map(async |(step, fault)| {
            let bucket = bucket().await;
            let failed = story(&registry(&bucket, &Faults::from(step, fault.clone())).await).await;
            assert!(matches!(failed, Err(RegistryError::Unavailable(_))), "{fault:?} from {step}: {failed:?}");
            let registry = registry(&bucket, &Faults::none()).await;
            let channel = registry.channel(pe()).await.unwrap();
            let versions = registry.versions(pe()).await.unwrap();
            assert!(channel.is_none() || !versions.is_empty(), "{fault:?} from {step}: {channel:?} {versions:?}");
            for version in versions {
                registry.fetch(pe(), &version).await.unwrap();
            }
        }))
        .await;
    }
}

mod publisher {
    use super::*;

    fn publisher(topic: &Topic, faults: &Faults) -> SnsPublisher {
        let config = aws_sdk_sns::config::Builder::from(&faults.over(&topic.config)).retry_partition(retries());
        SnsPublisher::new(aws_sdk_sns::Client::from_conf(config.build()), &topic.arn)
    }

    /// Asserts that the topic delivered each of these events at least once.
    fn assert_heard(topic: &Topic, events: &[Event], why: &str) {
        let heard = topic.events();
        for event in events {
            assert!(heard.contains(event), "{why}: {} of {}", event.id, events.len());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_passes_is_not_noticed() {
        let events: Vec<Event> = (0..12).map(event).collect();
        join_all(passing(2).map(async |(step, fault)| {
            let topic = Topic::new().await;
            let answers = publisher(&topic, &Faults::at(step, fault.clone())).publish(&events).await;
            assert!(answers.len() == events.len() && answers.iter().all(Result::is_ok), "{fault:?}: {answers:?}");
            assert_heard(&topic, &events, &format!("{fault:?} at {step}"));
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_pass_is_said_and_is_heard_when_it_is_given_again() {
        let events: Vec<Event> = (0..12).map(event).collect();
        join_all(lasting(2).map(async |(step, fault)| {
            let topic = Topic::new().await;
            let answers = publisher(&topic, &Faults::from(step, fault.clone())).publish(&events).await;
            let failed = events.iter().zip(&answers).filter(|(_, answer)| answer.is_err());
            let again: Vec<Event> = failed.map(|(event, _)| event.clone()).collect();
            assert!(answers.len() == events.len() && !again.is_empty(), "{fault:?} from {step}: {answers:?}");
            assert!(topic.publisher().publish(&again).await.iter().all(Result::is_ok));
            assert_heard(&topic, &events, &format!("{fault:?} from {step}"));
        }))
        .await;
    }
}

mod mailer {
    use super::*;

    async fn send(recipient: &str, faults: &Faults) -> Result<(), MailError> {
        let config = aws().load().await;
        verified(&config, recipient).await;
        let failing = aws_sdk_sesv2::config::Builder::from(&faults.over(&config)).retry_partition(retries());
        let client = aws_sdk_sesv2::Client::from_conf(failing.build());
        SesMailer::new(client, "citas-mail").send(&mail(recipient)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_passes_is_not_noticed() {
        // Silence does not show whether the mail was sent. Only the queue retries that.
        let passing = passing(1).filter(|(_, fault)| !matches!(fault, Fault::Silence));
        join_all(passing.map(async |(step, fault)| {
            let recipient = format!("{}@example.com", unique("ana"));
            send(&recipient, &Faults::at(step, fault.clone()))
                .await
                .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            let arrived = received(&aws().load().await, &recipient).len();
            // A lost answer leaves the outcome unknown. The mail is sent again: a repeat is better than a lost mail.
            assert_eq!(arrived, if matches!(fault, Fault::Lost) { 2 } else { 1 }, "{fault:?}");
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_pass_may_be_tried_later() {
        join_all(lasting(1).map(async |(step, fault)| {
            let recipient = format!("{}@example.com", unique("ana"));
            let begun = std::time::Instant::now();
            let failed = send(&recipient, &Faults::from(step, fault.clone())).await;
            assert!(matches!(failed, Err(MailError::Unavailable(_))), "{fault:?}: {failed:?}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{fault:?}");
        }))
        .await;
    }
}
