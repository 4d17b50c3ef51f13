//! Tests that every outbox that a relay polls must pass.

use std::sync::Arc;
use std::time::Duration;

use citas_core::model::Event;
use citas_core::ports::{Attempts, Change, CommitError, Ledger, Outbox, Pending};
use futures::FutureExt as _;
use uuid::Uuid;

use super::changes::assert_claim_taken;
use crate::support::appointments::*;

/// The two ports of one ledger.
pub type Ports = (Arc<dyn Ledger>, Arc<dyn Outbox>);

fn with_events(mut change: Change, ids: &[usize]) -> Change {
    change.events = ids.iter().map(|number| Event::new(id(*number), "booked", &change.revision)).collect();
    change
}

async fn pending(outbox: &dyn Outbox) -> Vec<Uuid> {
    outbox.pending(pe(), 1_000).await.unwrap().iter().map(|pending| pending.event.id).collect()
}

pub async fn events_of_one_appointment_are_pending_one_at_a_time_in_the_order_of_its_changes((ledger, outbox): Ports) {
    // The ids sort in another order than that of the changes.
    let first = with_events(change(booked(1)), &[9, 3]);
    let second = with_events(change(after(&first.revision)), &[5]);
    ledger.commit(first.clone()).await.unwrap();
    ledger.commit(with_events(change(booked(2)), &[1])).await.unwrap();
    ledger.commit(second.clone()).await.unwrap();

    assert_eq!(outbox.pending(pe(), 10).await.unwrap()[0].event, first.events[0]);
    for expected in [[id(9), id(1)], [id(3), id(1)]] {
        assert_eq!(pending(&*outbox).await, expected);
        outbox.remove(pe(), &expected[..1]).await.unwrap();
    }
    assert_eq!(pending(&*outbox).await, [id(1), id(5)]);
    assert_eq!(outbox.pending(pe(), 10).await.unwrap()[1].event, second.events[0]);
}

pub async fn many_events_behind_one_keep_no_other_appointment_from_view((ledger, outbox): Ports) {
    let mut change = with_events(change(booked(1)), &[1]);
    for number in 2..=50 {
        let next = with_events(self::change(after(&change.revision)), &[number]);
        ledger.commit(std::mem::replace(&mut change, next)).await.unwrap();
    }
    ledger.commit(with_events(self::change(booked(2)), &[100])).await.unwrap();
    let seen: Vec<Uuid> = outbox.pending(pe(), 2).await.unwrap().iter().map(|pending| pending.event.id).collect();
    assert_eq!(seen, [id(1), id(100)]);
}

pub async fn a_refused_change_has_no_events((ledger, outbox): Ports) {
    ledger.commit(booking(booked(1), &["a"])).await.unwrap();
    let taken = with_events(booking(booked(2), &["a"]), &[1]);
    assert_claim_taken(ledger.commit(taken).await, &["a"]);
    let stale = with_events(change(booked(1)), &[2]);
    assert!(matches!(ledger.commit(stale).await, Err(CommitError::Stale)));
    assert_eq!(pending(&*outbox).await, Vec::<Uuid>::new());
}

pub async fn an_event_is_pending_until_it_is_removed((ledger, outbox): Ports) {
    for number in 1..=3 {
        ledger.commit(with_events(change(booked(number)), &[number])).await.unwrap();
    }
    assert_eq!(pending(&*outbox).await, pending(&*outbox).await);
    outbox.remove(pe(), &[id(1), id(3)]).await.unwrap();
    assert_eq!(pending(&*outbox).await, [id(2)]);
}

pub async fn a_removed_event_that_is_removed_again_is_no_error((ledger, outbox): Ports) {
    ledger.commit(with_events(change(booked(1)), &[1])).await.unwrap();
    outbox.remove(pe(), &[id(1), id(7)]).await.unwrap();
    outbox.remove(pe(), &[id(1)]).await.unwrap();
    outbox.remove(pe(), &[]).await.unwrap();
    assert_eq!(pending(&*outbox).await, Vec::<Uuid>::new());
}

pub async fn pending_gives_at_most_its_limit_oldest_first((ledger, outbox): Ports) {
    for number in 1..=5 {
        ledger.commit(with_events(change(booked(number)), &[number])).await.unwrap();
    }
    let ids = |events: Vec<Pending>| events.iter().map(|pending| pending.event.id).collect::<Vec<_>>();
    assert_eq!(ids(outbox.pending(pe(), 2).await.unwrap()), [id(1), id(2)]);
    // The order of changes holds after the outbox was emptied, too.
    outbox.remove(pe(), &(1..=5).map(id).collect::<Vec<_>>()).await.unwrap();
    ledger.commit(with_events(change(booked(6)), &[6])).await.unwrap();
    ledger.commit(with_events(change(booked(7)), &[4])).await.unwrap();
    assert_eq!(pending(&*outbox).await, [id(6), id(4)]);
}

pub async fn attempts_are_kept_until_the_event_is_removed((ledger, outbox): Ports) {
    for number in 1..=3 {
        ledger.commit(with_events(change(booked(number)), &[number])).await.unwrap();
    }
    let attempts = |failed, millis| Attempts { failed, tried_for: Duration::from_millis(millis) };
    let kept =
        async || outbox.pending(pe(), 10).await.unwrap().iter().map(|pending| pending.attempts).collect::<Vec<_>>();
    assert_eq!(kept().await, [Attempts::default(); 3]);
    outbox.postpone(pe(), &[(id(1), attempts(1, 0)), (id(3), attempts(7, 61_001))]).await.unwrap();
    assert_eq!(kept().await, [attempts(1, 0), Attempts::default(), attempts(7, 61_001)]);
    outbox.postpone(pe(), &[(id(1), attempts(u32::MAX, 5 * 24 * 3_600_000))]).await.unwrap();
    assert_eq!(kept().await[0], attempts(u32::MAX, 5 * 24 * 3_600_000));

    outbox.remove(pe(), &[id(1)]).await.unwrap();
    outbox.postpone(pe(), &[(id(1), attempts(3, 3)), (id(9), attempts(1, 0))]).await.unwrap();
    outbox.postpone(pe(), &[]).await.unwrap();
    assert_eq!(kept().await, [Attempts::default(), attempts(7, 61_001)], "what is gone stays gone");
}

pub async fn outboxes_are_apart((ledger, outbox): Ports) {
    ledger.commit(with_events(change(booked(1)), &[1])).await.unwrap();
    assert_eq!(outbox.pending(cl(), 10).await.unwrap(), []);
    outbox.remove(cl(), &[id(1)]).await.unwrap();
    assert_eq!(pending(&*outbox).await, [id(1)]);
}

pub async fn who_waits_is_woken_by_an_event((ledger, outbox): Ports) {
    let mut waiting = std::pin::pin!(outbox.changed(pe()));
    assert!(waiting.as_mut().now_or_never().is_none(), "nothing has come");
    ledger.commit(change(booked(1))).await.unwrap();
    assert!(waiting.as_mut().now_or_never().is_none(), "a change without events");
    ledger.commit(with_events(change(booked(2)), &[1])).await.unwrap();
    waiting.await;
}

pub async fn an_event_that_came_before_the_wait_wakes_too((ledger, outbox): Ports) {
    ledger.commit(with_events(change(booked(1)), &[1])).await.unwrap();
    ledger.commit(with_events(change(booked(2)), &[2])).await.unwrap();
    outbox.changed(pe()).await;
    assert!(outbox.changed(pe()).now_or_never().is_none(), "the last wait has taken both");
}
