//! Compares the stored decisions of a table's stream with those that a candidate would have made, and takes back a
//! canary that exceeds its margin over all functions that decide.
//!
//! A stream has stored decisions only, so it has neither refusals nor the names of a plan's events.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lambda_events::event::dynamodb::{Event as Stream, EventRecord};
use citas_core::model::CountryCode;
use citas_core::ports::{Clock, Ledger as _, Registry, Trials as _, Unavailable};
use citas_core::release::{Catalogue, OnDemand};
use citas_core::trial::{Call, NotTakenBack, compare_all, take_back};

use super::dynamo::{self, DynamoLedger};

/// Dependencies of the function `trial`.
pub struct Trier {
    /// Registry with the channels.
    pub registry: Arc<dyn Registry>,
    /// Rules in use and on trial.
    pub catalogue: Arc<Catalogue>,
    /// Loader of the rules in the catalogue.
    pub on_demand: OnDemand,
    /// Ledger with the appointments and the results of trials.
    pub ledger: Arc<DynamoLedger>,
    /// Clock of take-backs.
    pub clock: Arc<dyn Clock>,
}

/// A record of the stream, parsed.
enum StreamRecord {
    Call(Call),
    /// A canary of this country made decisions.
    Decided(CountryCode),
}

impl Trier {
    /// Compares stored decisions with those of candidates, and takes back canaries that exceed their margin.
    ///
    /// # Errors
    /// Returns an error if a canary must be taken back and this fails. Lambda must then deliver the records again.
    /// Nothing is compared in that case.
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

    /// Compares the calls with candidates. A call that is not compared, or a result that is not stored, is missing from
    /// the trial's report and has no other effect.
    async fn compare(&self, calls: Vec<Call>) {
        // No client waits, so the calls are compared with what the looks bring.
        for country in calls.iter().map(Call::country).collect::<BTreeSet<_>>() {
            self.on_demand.ask(country).await.finish().await;
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

    /// Adds the previous revision to a decision.
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
