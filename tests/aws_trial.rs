//! AWS fails while a version is on trial. Clients do not notice, and a canary beyond its margin is withdrawn once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lambda_events::event::dynamodb;
use citas::aws::registry::S3Registry;
use citas::aws::trial::Trier;
use citas::local::registry::FolderRegistry;
use citas::system::{SystemClock, UuidIds};
use citas_core::booking::Booking;
use citas_core::model::{Canary, Candidate, ChangeNote, ChannelVerb, Limits};
use citas_core::ports::{Clock as _, Registry as _, Tally, TrialReport, Trials as _};
use citas_core::release::{Catalogue, Following, OnDemand, OnTrial, Swapper};
use citas_core::rules::LoadedRules;
use citas_core::trial::TrialRecorder;
use futures::future::join_all;
use serde_json::json;

use crate::aws_steps::{ana, passing, peru};
use crate::ledger_dynamo::Tables;
use crate::registry_contract::{artifact, channel, version};
use crate::support::appointments::{names, pe};
use crate::support::components::{SharedEngine, admission, component};
use crate::support::faults::{Fault, Faults};
use crate::support::ministack::{aws, unique};
use crate::support::requests;

const ALL_PATIENTS: Canary = Canary { share: 100, margin: 0 };

/// Returns a catalogue with Peru's rules in force, and the same rules on trial as a canary for all patients.
fn on_trial() -> Arc<Catalogue> {
    let catalogue = peru();
    let rules = LoadedRules::load(&SharedEngine, component("pe"), &Limits::default()).unwrap();
    let terms = Candidate { version: version("1.0.0"), trial: 7, canary: Some(ALL_PATIENTS) };
    catalogue.try_out(pe(), Some(OnTrial::new(Arc::new(rules), terms)));
    catalogue
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_cannot_be_counted_books_all_the_same() {
    join_all(passing().into_iter().map(async |fault| {
        let (tables, catalogue, why) = (Tables::new().await, on_trial(), format!("{fault:?}"));
        let (asked, was_asked) = (Arc::new(AtomicBool::new(false)), Ordering::Relaxed);
        let counting = asked.clone();
        let faults = Faults::when(move |_, request| {
            let operation = request.headers().get("x-amz-target").unwrap_or_default();
            operation.ends_with("UpdateItem").then(|| {
                counting.store(true, was_asked);
                fault.clone()
            })
        });
        let ledger = Arc::new(tables.ledger_over(&faults));
        let trying = TrialRecorder::new(ledger.clone(), catalogue.clone());
        let booking =
            Booking::new(catalogue, ledger, Arc::new(SystemClock), Arc::new(UuidIds), names(), "test").trying(trying);
        booking.book(&ana(), pe(), requests::pe(7), None).await.unwrap_or_else(|error| panic!("{why}: {error}"));
        assert!(asked.load(was_asked), "{why}");
        tables.assert_whole(1, 1, &why).await;
    }))
    .await;
}

struct Bucket(String);

impl Bucket {
    async fn registry(&self, faults: &Faults) -> S3Registry {
        S3Registry::new(&aws_sdk_s3::Client::new(&faults.over(&aws().load().await)), &self.0, "")
    }
}

/// Publishes a channel with a canary whose decisions exceed its margin.
async fn exceeded(tables: &Tables) -> Bucket {
    let bucket = Bucket(unique("trial"));
    aws_sdk_s3::Client::new(&aws().load().await).create_bucket().bucket(&bucket.0).send().await.unwrap();
    let registry = bucket.registry(&Faults::none()).await;
    for number in ["1.0.0", "1.1.0"] {
        registry.publish(&artifact(pe(), number, b"component")).await.unwrap();
    }
    let first = channel("1.0.0", None, 1);
    let note = ChangeNote { at: SystemClock.now(), by: "ana".into(), why: "a test".into() };
    let trying = first.try_out(version("1.1.0"), Some(ALL_PATIENTS), note).unwrap();
    registry.set_channel(pe(), None, &first).await.unwrap();
    registry.set_channel(pe(), Some(&first), &trying).await.unwrap();
    let found = TrialReport { canary: Tally { decided: 2, refused: 1, unanswered: 0 }, ..TrialReport::default() };
    tables.ledger().add(pe(), trying.candidate.unwrap().trial, &found).await.unwrap();
    bucket
}

/// Returns the trial function over these faults, without rules to compare.
async fn trier(tables: &Tables, bucket: &Bucket, faults: &Faults) -> Trier {
    let nowhere = Arc::new(FolderRegistry::new(std::path::Path::new("nowhere")));
    let catalogue = Arc::new(Catalogue::default());
    let swapper = Arc::new(Swapper::new(admission(), catalogue.clone(), Arc::new(SystemClock)));
    let following = Following::new(nowhere.clone(), swapper, None);
    let on_demand = OnDemand::new(nowhere, following, Duration::from_hours(1));
    let registry = Arc::new(bucket.registry(faults).await);
    let ledger = Arc::new(tables.ledger_over(faults));
    Trier { registry, catalogue, on_demand, ledger, clock: Arc::new(SystemClock) }
}

/// Returns the stream's event of a canary's decision.
fn decided() -> dynamodb::Event {
    let item = json!({ "pk": { "S": "T#2" }, "sk": { "S": "K" }, "kind": { "S": "canary" }, "country": { "S": "pe" } });
    let change = json!({ "ApproximateCreationDateTime": 1_795_510_800, "Keys": {}, "NewImage": item, "SizeBytes": 1 });
    let record = json!({ "eventID": "1", "eventName": "MODIFY", "awsRegion": "us-east-1", "dynamodb": change });
    serde_json::from_value(json!({ "Records": [record] })).unwrap()
}

/// Returns the number of times that the canary was withdrawn. Asserts that it has ended.
async fn taken_back(bucket: &Bucket) -> usize {
    let channel = bucket.registry(&Faults::none()).await.channel(pe()).await.unwrap().unwrap();
    assert_eq!(channel.candidate, None);
    channel.history.iter().filter(|change| change.verb == ChannelVerb::Withdraw).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_is_taken_back_once_whatever_passes_and_given_again_where_it_does_not() {
    let (tables, listening) = (Tables::new().await, Faults::none());
    let bucket = exceeded(&tables).await;
    trier(&tables, &bucket, &listening).await.try_out(&decided()).await.unwrap();
    assert_eq!(taken_back(&bucket).await, 1);
    let steps = listening.heard().len();
    let dies = |fault: &Fault| !matches!(fault, Fault::Answer(..) | Fault::No(400, _));
    let table = (0..steps).flat_map(|step| passing().into_iter().filter(dies).map(move |fault| (step, fault)));
    join_all(table.map(async |(step, fault)| {
        for (faults, passes) in [(Faults::at(step, fault.clone()), true), (Faults::from(step, fault.clone()), false)] {
            let (tables, why) = (Tables::new().await, format!("{fault:?} at {step}, passing: {passes}"));
            let bucket = exceeded(&tables).await;
            let told = trier(&tables, &bucket, &faults).await.try_out(&decided()).await;
            assert_eq!(told.is_ok(), passes, "{why}: {told:?}");
            trier(&tables, &bucket, &Faults::none()).await.try_out(&decided()).await.unwrap();
            assert_eq!(taken_back(&bucket).await, 1, "{why}");
        }
    }))
    .await;
}
