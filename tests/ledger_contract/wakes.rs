//! Tests that every adapter of `Wakes` must pass.

use std::time::Duration;

use std::sync::Arc;

use citas_core::model::{Phase, Revision, Wake};
use citas_core::ports::{DueWake, Ledger, Wakes};
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::appointments::*;

/// The two ports of one ledger.
pub type Ports = (Arc<dyn Ledger>, Arc<dyn Wakes>);

/// Returns the time `later` minutes after the stored time of the appointments.
fn then(later: usize) -> Timestamp {
    now() + minutes(later)
}

fn waking(mut revision: Revision, at: Timestamp) -> Revision {
    revision.appointment.wake = Some(Wake { at, action: "remind".into() });
    revision
}

async fn store(ledger: &dyn Ledger, revision: Revision) {
    ledger.commit(change(revision)).await.unwrap();
}

async fn due(wakes: &dyn Wakes, now: Timestamp) -> Vec<Uuid> {
    wakes.due(pe(), now, 100).await.unwrap().iter().map(|due| due.appointment).collect()
}

/// Waits until these are due. An index may be some seconds behind.
async fn becomes(wakes: &dyn Wakes, now: Timestamp, expected: &[usize]) {
    let expected: Vec<Uuid> = expected.iter().copied().map(id).collect();
    eventually_async("the actions that are due", async || (due(wakes, now).await == expected).then_some(())).await;
}

/// Returns the action that is due first.
async fn first(wakes: &dyn Wakes, now: Timestamp) -> DueWake {
    let found = async || wakes.due(pe(), now, 1).await.unwrap().into_iter().next();
    eventually_async("an action that is due", found).await
}

pub async fn an_action_is_due_from_its_time_on_and_the_oldest_is_first((ledger, wakes): Ports) {
    for (number, later) in [(1, 90), (2, 30), (3, 4_000), (4, 60)] {
        store(&*ledger, waking(booked(number), then(later))).await;
    }
    store(&*ledger, booked(5)).await;
    becomes(&*wakes, then(90), &[2, 4, 1]).await;
    becomes(&*wakes, then(29), &[]).await;
    becomes(&*wakes, then(30), &[2]).await;
    becomes(&*wakes, then(4_000), &[2, 4, 1, 3]).await;
    let found = wakes.due(pe(), then(90), 2).await.unwrap();
    assert_eq!(found.iter().map(|due| due.appointment).collect::<Vec<_>>(), [id(2), id(4)], "at most the limit");
    let wake = Wake { at: then(30), action: "remind".into() };
    assert_eq!(found[0], DueWake { appointment: id(2), revision: 1, wake, failed: 0 });
    assert_eq!(wakes.due(cl(), then(90), 10).await.unwrap(), []);
}

pub async fn an_action_stays_due_until_another_revision_is_stored((ledger, wakes): Ports) {
    let booked = waking(booked(1), then(30));
    store(&*ledger, booked.clone()).await;
    becomes(&*wakes, then(60), &[1]).await;
    becomes(&*wakes, then(60), &[1]).await;
    let mut cancelled = after(&booked);
    (cancelled.appointment.wake, cancelled.appointment.phase) = (None, Phase::Cancelled);
    store(&*ledger, cancelled).await;
    becomes(&*wakes, then(60), &[]).await;
}

pub async fn a_later_revision_replaces_the_action((ledger, wakes): Ports) {
    let booked = waking(booked(1), then(30));
    store(&*ledger, booked.clone()).await;
    becomes(&*wakes, then(30), &[1]).await;
    let old = first(&*wakes, then(30)).await;
    let moved = waking(after(&booked), then(45));
    store(&*ledger, moved).await;
    becomes(&*wakes, then(44), &[]).await;
    assert_eq!(first(&*wakes, then(45)).await.revision, 2);
    wakes.end(pe(), &old).await.unwrap();
    wakes.postpone(pe(), &old, then(600)).await.unwrap();
    becomes(&*wakes, then(45), &[1]).await;
}

pub async fn a_postponed_action_is_due_again_with_its_failures((ledger, wakes): Ports) {
    let booked = waking(booked(1), then(30));
    store(&*ledger, booked.clone()).await;
    store(&*ledger, waking(self::booked(2), then(60))).await;
    becomes(&*wakes, then(60), &[1, 2]).await;
    let failed = DueWake { failed: 3, ..first(&*wakes, then(60)).await };
    wakes.postpone(pe(), &failed, then(200)).await.unwrap();
    becomes(&*wakes, then(199), &[2]).await;
    becomes(&*wakes, then(200), &[2, 1]).await;
    let again = wakes.due(pe(), then(200), 10).await.unwrap();
    assert_eq!(again[1], failed, "its own time and its failures are kept");
    wakes.postpone(pe(), &DueWake { failed: 4, ..failed }, then(40)).await.unwrap();
    becomes(&*wakes, then(60), &[1, 2]).await;

    store(&*ledger, waking(after(&booked), then(50))).await;
    becomes(&*wakes, then(50), &[1]).await;
    assert_eq!(first(&*wakes, then(50)).await.failed, 0, "a new action has not failed yet");
}

pub async fn an_ended_action_is_not_due_and_the_revision_stays_as_it_was((ledger, wakes): Ports) {
    let booked = waking(booked(1), then(30));
    store(&*ledger, booked.clone()).await;
    let ended = first(&*wakes, then(30)).await;
    wakes.end(pe(), &ended).await.unwrap();
    becomes(&*wakes, then(4_000), &[]).await;
    wakes.end(pe(), &ended).await.unwrap();
    wakes.postpone(pe(), &ended, then(40)).await.unwrap();
    becomes(&*wakes, then(4_000), &[]).await;
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), Some(&booked));
    store(&*ledger, waking(after(&booked), then(50))).await;
    becomes(&*wakes, then(50), &[1]).await;
}

/// Polls `found` until it returns a value, for half a minute.
async fn eventually_async<T>(what: &str, found: impl AsyncFn() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let within = Duration::from_secs(30);
    tokio::time::timeout(within, polling).await.unwrap_or_else(|_| panic!("not within {within:?}: {what}"))
}
