//! A table's stream to what is found of versions on trial: what is stored is compared with what a candidate would have made
//! of it, and a canary that exceeds its margin is taken back, over all functions that decide.
//!
//! A stream has what was stored, and so neither refusals nor the names of a plan's events.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lambda_events::event::dynamodb::{Event as Stream, EventRecord};
use citas_core::model::appointment::CountryCode;
use citas_core::ports::clock::Clock;
use citas_core::ports::ledger::{Ledger as _, Unavailable};
use citas_core::ports::registry::Registry;
use citas_core::ports::trials::Trials as _;
use citas_core::release::catalogue::Catalogue;
use citas_core::release::on_demand::OnDemand;
use citas_core::trial::shadow::{Call, compare_all};
use citas_core::trial::take_back::{NotTakenBack, take_back};

use super::dynamo::{self, DynamoLedger};

/// What the function works with.
pub struct Trier {
    /// Where the channels are.
    pub registry: Arc<dyn Registry>,
    /// The rules in use and those on trial.
    pub catalogue: Arc<Catalogue>,
    /// Sees to it that they are there.
    pub on_demand: OnDemand,
    /// Where appointments are, and what is found.
    pub ledger: Arc<DynamoLedger>,
    /// The clock of take-backs.
    pub clock: Arc<dyn Clock>,
}

/// What a record of the stream says.
enum StreamRecord {
    Call(Call),
    /// A canary decided.
    Decided(CountryCode),
}

impl Trier {
    /// Compares what was stored, and takes back what is to be.
    ///
    /// # Errors
    /// When a canary that is to be taken back was not: the records are to be given again. Nothing is compared then.
    pub async fn try_out(&self, stream: &Stream) -> Result<(), NotTakenBack> {
        let (mut calls, mut decided) = (Vec::new(), BTreeSet::new());
        for record in &stream.records {
            match parse_record(record) {
                Ok(StreamRecord::Call(call)) => calls.push(call),
                Ok(StreamRecord::Decided(country)) => drop(decided.insert(country)),
                Err(error) => {
                    tracing::error!(record = record.event_id, error, "a record of the stream is none of ours");
                }
            }
        }
        for country in decided {
            take_back(&*self.registry, &*self.ledger, &*self.clock, country).await?;
        }
        self.compare(calls).await;
        Ok(())
    }

    /// What is not compared or not kept is missing among what is found, and nowhere else.
    async fn compare(&self, calls: Vec<Call>) {
        for country in calls.iter().map(Call::country).collect::<BTreeSet<_>>() {
            self.on_demand.ask(country).await;
        }
        let mut whole = Vec::new();
        for call in calls {
            let country = call.country();
            if self.catalogue.entry(country).is_none_or(|entry| entry.candidate.is_none()) {
                continue;
            }
            match self.with_before(call).await {
                Ok(call) => whole.push(call),
                Err(error) => tracing::warn!(%country, %error, "a decision is not compared"),
            }
        }
        for ((country, trial), found) in compare_all(&self.catalogue, &whole) {
            if let Err(error) = self.ledger.add(country, trial, &found).await {
                tracing::warn!(%country, %error, "what a shadow found is not kept");
            }
        }
    }

    /// A decision with the revision that it was about.
    async fn with_before(&self, call: Call) -> Result<Call, Unavailable> {
        let Call::Decided { revision, events, .. } = call else { return Ok(call) };
        let (id, number) = (revision.appointment.id, revision.appointment.revision);
        let before = match number {
            0 | 1 => None,
            _ => self.ledger.revision(revision.country, id, number - 1).await?.map(Arc::new),
        };
        Ok(Call::Decided { before, revision, events })
    }
}

fn parse_record(record: &EventRecord) -> Result<StreamRecord, String> {
    let item = &record.change.new_image;
    let text = |name: &str| match item.inner().get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => Ok(text.as_str()),
        _ => Err(format!("it has no attribute `{name}`")),
    };
    match text("kind")? {
        "canary" => Ok(StreamRecord::Decided(text("country")?.parse().map_err(|_| "its country is none".to_owned())?)),
        "event" => {
            let event = dynamo::event(text("event")?).map_err(|error| error.to_string())?;
            Ok(StreamRecord::Call(Call::Told(Box::new(event))))
        }
        "revision" => {
            let revision = dynamo::revision(item.clone().into()).map_err(|error| error.to_string())?;
            Ok(StreamRecord::Call(Call::Decided { before: None, revision: Arc::new(revision), events: None }))
        }
        other => Err(format!("its kind is `{other}`")),
    }
}
