//! Compares the stored decisions of a table's stream with those that a candidate would have made, and takes back a
//! canary that exceeds its margin over all functions that decide.
//!
//! A stream has stored decisions only, so it has neither refusals nor the names of a plan's events. It has no personal
//! data either, so the decisions come from the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lambda_events::event::dynamodb::{Event as Stream, EventRecord};
use citas_core::model::{CountryCode, Event, Revision};
use citas_core::ports::{Clock, Ledger as _, Registry, Trials as _, Unavailable};
use citas_core::release::{Catalogue, OnDemand};
use citas_core::trial::{Call, NotTakenBack, compare_all, recall, take_back};
use uuid::Uuid;

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
    /// A revision, without its personal part.
    Revision(Box<Revision>),
    Event(Event),
    /// A canary of this country made decisions.
    Decided(CountryCode),
}

impl StreamRecord {
    fn country(&self) -> CountryCode {
        match self {
            Self::Revision(revision) => revision.country,
            Self::Event(event) => event.country,
            Self::Decided(country) => *country,
        }
    }
}

impl Trier {
    /// Compares stored decisions with those of candidates, and takes back canaries that exceed their margin.
    ///
    /// # Errors
    /// Returns an error if a canary must be taken back and this fails. Lambda must then deliver the records again.
    /// Nothing is compared in that case.
    pub async fn try_out(&self, stream: &Stream) -> Result<(), NotTakenBack> {
        let (mut stored, mut decided) = (Vec::new(), BTreeSet::new());
        for record in &stream.records {
            match parse_record(record) {
                Ok(StreamRecord::Decided(country)) => drop(decided.insert(country)),
                Ok(record) => stored.push(record),
                Err(error) => {
                    tracing::error!(record = record.event_id, error, "a record of the stream is none of ours");
                }
            }
        }
        for country in decided {
            take_back(&*self.registry, &*self.ledger, &*self.clock, country).await?;
        }
        self.compare(stored).await;
        Ok(())
    }

    /// Compares the records with candidates. A record that is not compared, or a result that is not stored, is missing
    /// from the trial's report and has no other effect.
    async fn compare(&self, stored: Vec<StreamRecord>) {
        // No client waits, so the registry is read before the records are compared.
        for country in stored.iter().map(StreamRecord::country).collect::<BTreeSet<_>>() {
            self.on_demand.ask(country).await.finish().await;
        }
        let mut calls = Vec::new();
        for record in stored {
            let country = record.country();
            if self.catalogue.entry(country).is_none_or(|entry| entry.candidate.is_none()) {
                continue;
            }
            match self.call(record).await {
                Ok(call) => calls.extend(call),
                Err(error) => tracing::warn!(%country, %error, "a decision is not compared"),
            }
        }
        for ((country, trial), found) in compare_all(&self.catalogue, &calls) {
            if let Err(error) = self.ledger.add(country, trial, &found).await {
                tracing::warn!(%country, %error, "what a shadow found is not kept");
            }
        }
    }

    /// Reads the revision or event of a record, or returns `None` if the ledger does not have it.
    async fn call(&self, record: StreamRecord) -> Result<Option<Call>, Unavailable> {
        let country = record.country();
        let revision = async |id: Uuid, number: u32| self.ledger.revision(country, id, number).await;
        match record {
            StreamRecord::Revision(open) => {
                let (id, number) = (open.appointment.id, open.appointment.revision);
                let Some(decided) = revision(id, number).await? else { return Ok(None) };
                let before = match number {
                    0 | 1 => None,
                    _ => revision(id, number - 1).await?.map(Arc::new),
                };
                let facts = recall(&decided.provenance.facts, revision).await?;
                Ok(Some(Call::Decided { before, revision: Arc::new(decided), facts, events: None }))
            }
            StreamRecord::Event(event) => {
                let told = revision(event.subject, event.data.revision).await?;
                let event = event.name().to_owned();
                Ok(told.map(|revision| Call::Told { event, revision: Arc::new(revision) }))
            }
            StreamRecord::Decided(_) => Ok(None),
        }
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
            Ok(StreamRecord::Event(event))
        }
        "revision" => {
            let revision = dynamo::revision(item.clone().into()).map_err(|error| error.to_string())?;
            Ok(StreamRecord::Revision(Box::new(revision)))
        }
        other => Err(format!("its kind is `{other}`")),
    }
}
