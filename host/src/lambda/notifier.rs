//! The Lambda function `notifier`: sends mail for the messages of the queue.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use citas_core::notify::{Links, Notifier, Sender};
use clap::Args;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use lettre::message::Mailbox;

use super::setup::{LinkSettings, Rules, RulesSettings, Starting};
use super::{Ended, Started, answer};
use crate::aws::queue;
use crate::aws::ses::SesMailer;
use crate::config::PublicUrl;
use crate::system::SystemClock;

#[derive(Args)]
struct Settings {
    #[command(flatten)]
    rules: RulesSettings,
    /// Sender of every mail
    #[arg(env = "CITAS_MAIL_FROM")]
    mail_from: Mailbox,
    /// SES configuration set for outgoing mail
    #[arg(env = "CITAS_CONFIGURATION_SET")]
    configuration_set: String,
    #[command(flatten)]
    links: LinkSettings,
    /// Address of the API as the readers of mail reach it
    #[arg(env = "CITAS_PUBLIC_URL")]
    public_url: PublicUrl,
    // clap requires arguments that may be absent to follow the others.
    /// Recipient of replies to mail, if it is not the sender
    #[arg(env = "CITAS_MAIL_REPLY_TO")]
    mail_reply_to: Option<Mailbox>,
}

/// Runs the function for as long as its instance lives.
///
/// # Errors
/// Returns an error if it cannot start, or Lambda's runtime API fails.
pub async fn run() -> Ended {
    let engine = Starting::new();
    let Started { settings, aws, metrics } = Started::<Settings>::new().await?;
    let rules = Rules::new(&settings.rules, &aws, engine, false, None)?;
    let trying = rules.trying();
    let Rules { catalogue, on_demand, ledger, .. } = rules;
    let mailer = Arc::new(SesMailer::new(aws_sdk_sesv2::Client::new(&aws), settings.configuration_set));
    let sender = Sender { from: settings.mail_from, reply_to: settings.mail_reply_to };
    let links = Links { keys: settings.links.keys()?, base: settings.public_url.into() };
    let notifier = Notifier::new(catalogue, ledger, mailer, sender, Arc::new(SystemClock)).trying(trying);
    let notifier = &notifier.linking(Some(links));
    let on_demand = &on_demand;
    let handler = service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let deadline = event.context.deadline().try_into()?;
        Ok::<_, lambda_runtime::Error>(queue::notify(on_demand, notifier, &event.payload, &SystemClock, deadline).await)
    });
    answer(Runtime::new(handler), metrics).await
}
