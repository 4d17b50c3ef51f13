//! Tests that every store of trials must pass.

use std::sync::Arc;

use citas::local::trials::FileTrials;
use citas_core::ports::{DiffBucket, Tally, TrialReport, Trials};
use futures::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::ledger_dynamo::Tables;
use crate::support::appointments::{cl, pe};

fn found(place: &str, sample: u64) -> TrialReport {
    let place = (place.to_owned(), DiffBucket { count: 1, sample: json!({ "at": sample }) });
    TrialReport { compared: 2, differed: 1, canary: Tally::default(), places: [place].into() }
}

fn decided(decided: u64, refused: u64, unanswered: u64) -> TrialReport {
    TrialReport { canary: Tally { decided, refused, unanswered }, ..TrialReport::default() }
}

async fn what_is_added_adds_up(trials: Arc<dyn Trials>) {
    assert_eq!(trials.found(pe(), 7).await.unwrap(), TrialReport::default());
    assert_eq!(trials.add(pe(), 7, &decided(3, 2, 1)).await.unwrap(), Tally { decided: 3, refused: 2, unanswered: 1 });
    let sum = trials.add(pe(), 7, &decided(1, 0, 0)).await.unwrap();
    assert_eq!(sum, Tally { decided: 4, refused: 2, unanswered: 1 });
    for (place, sample) in [("book /phase", 1), ("book refused pe.date.holiday", 2), ("book /phase", 3)] {
        trials.add(pe(), 7, &found(place, sample)).await.unwrap();
    }
    let all = trials.found(pe(), 7).await.unwrap();
    assert_eq!((all.compared, all.differed, all.canary), (6, 3, sum));
    let [phase, holiday] = ["book /phase", "book refused pe.date.holiday"].map(|place| all.places[place].clone());
    assert_eq!(phase, DiffBucket { count: 2, sample: json!({ "at": 3 }) });
    assert_eq!(holiday, DiffBucket { count: 1, sample: json!({ "at": 2 }) });
}

async fn trials_are_apart(trials: Arc<dyn Trials>) {
    trials.add(pe(), 1, &decided(1, 0, 0)).await.unwrap();
    for (country, trial) in [(pe(), 10), (cl(), 1)] {
        assert_eq!(trials.found(country, trial).await.unwrap(), TrialReport::default());
    }
}

async fn of_twenty_who_add_at_once_everyone_counts(trials: Arc<dyn Trials>) {
    let adding = (0..20).map(|number| {
        let trials = Arc::clone(&trials);
        tokio::spawn(async move {
            trials.add(pe(), 3, &decided(1, 1, 0)).await.unwrap();
            trials.add(pe(), 3, &found("book /phase", number)).await.unwrap();
        })
    });
    for added in join_all(adding).await {
        added.unwrap();
    }
    let all = trials.found(pe(), 3).await.unwrap();
    assert_eq!(
        (all.canary.decided, all.canary.refused, all.compared, all.places["book /phase"].count),
        (20, 20, 40, 20)
    );
}

macro_rules! trials_contract {
    ($open:path) => {
        trials_contract!($open: what_is_added_adds_up trials_are_apart of_twenty_who_add_at_once_everyone_counts);
    };
    ($open:path: $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let (trials, _kept) = $open().await;
            super::$promise(trials).await;
        }
    )*};
}

mod in_files {
    use super::*;

    #[expect(clippy::unused_async, reason = "the other adapter's waits for a server")]
    async fn open() -> (Arc<dyn Trials>, TempDir) {
        let data = tempfile::tempdir().unwrap();
        (Arc::new(FileTrials::new(data.path())), data)
    }

    trials_contract!(open);
}

mod in_dynamo {
    use super::*;

    async fn open() -> (Arc<dyn Trials>, ()) {
        (Arc::new(Tables::new().await.ledger()), ())
    }

    trials_contract!(open);
}

#[tokio::test]
async fn another_process_reads_what_was_kept_and_a_damaged_file_is_begun_anew() {
    let data = tempfile::tempdir().unwrap();
    let trials = FileTrials::new(data.path());
    trials.add(pe(), 7, &found("book /phase", 1)).await.unwrap();
    trials.keep().unwrap();
    assert_eq!(FileTrials::new(data.path()).found(pe(), 7).await.unwrap(), found("book /phase", 1));

    std::fs::write(data.path().join("trials/pe-7.json"), "{").unwrap();
    let damaged = FileTrials::new(data.path());
    let refused = damaged.found(pe(), 7).await.unwrap_err().to_string();
    assert!(refused.contains("pe-7.json cannot be read"), "{refused}");
    assert_eq!(damaged.add(pe(), 7, &decided(1, 0, 0)).await.unwrap().decided, 1);
}
