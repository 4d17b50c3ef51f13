//! Concurrent changes.

use std::collections::HashSet;
use std::sync::Arc;

use citas_core::model::Claim;
use citas_core::ports::{Change, CommitError, Committed, Ledger, OwnerFilter, Query};
use futures::future::join_all;

use super::changes::assert_claim_taken;
use crate::support::appointments::*;

const RIVALS: usize = 50;

/// Commits all changes at once, each in a task of its own.
pub(super) async fn race(ledger: &Arc<dyn Ledger>, changes: Vec<Change>) -> Vec<Result<Committed, CommitError>> {
    let start = Arc::new(tokio::sync::Barrier::new(changes.len()));
    let rivals = changes.into_iter().map(|change| {
        let (ledger, start) = (Arc::clone(ledger), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            ledger.commit(change).await
        })
    });
    join_all(rivals).await.into_iter().map(Result::unwrap).collect()
}

pub async fn of_fifty_who_want_one_claim_one_gets_it(ledger: Arc<dyn Ledger>) {
    let rivals = (0..RIVALS).map(|number| booking(booked(number), &[&format!("own:{number}"), "wanted"])).collect();
    let results = race(&ledger, rivals).await;

    let mut winners = 0;
    for (number, result) in results.into_iter().enumerate() {
        let won = result.is_ok();
        winners += usize::from(won);
        if !won {
            assert_claim_taken(result, &["wanted"]);
        }
        assert_eq!(ledger.appointment(pe(), id(number)).await.unwrap().is_some(), won);
        assert_eq!(
            ledger.taken(pe(), &[Claim::new(format!("own:{number}"))], now()).await.unwrap().len(),
            usize::from(won)
        );
    }
    assert_eq!(winners, 1);
}

pub async fn of_overlapping_claims_no_two_are_held(ledger: Arc<dyn Ledger>) {
    let quarters = |number: usize| (number..number + 3).map(|quarter| format!("doctor:{quarter}"));
    let rivals = (0..RIVALS).map(|number| {
        let claims: Vec<String> = quarters(number).collect();
        booking(booked(number), &claims.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let results = race(&ledger, rivals.collect()).await;

    let mut held = HashSet::new();
    for number in (0..RIVALS).filter(|number| results[*number].is_ok()) {
        assert!(quarters(number).all(|quarter| held.insert(quarter)), "{number} overlaps another");
    }
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(CommitError::ClaimTaken(_)))), "{results:?}");
    assert!(!held.is_empty(), "the first in line always gets what it wants");
    let all: Vec<Claim> = (0..RIVALS + 2).map(|quarter| Claim::new(format!("doctor:{quarter}"))).collect();
    assert_eq!(ledger.taken(pe(), &all, now()).await.unwrap().into_keys().collect::<HashSet<_>>(), held);
}

pub async fn disjoint_claims_do_not_hinder_each_other(ledger: Arc<dyn Ledger>) {
    let rivals = (0..RIVALS).map(|number| booking(booked(number), &[&format!("doctor:{number}")])).collect();
    assert!(race(&ledger, rivals).await.iter().all(Result::is_ok));
}

pub async fn of_fifty_changes_of_one_revision_one_is_stored(ledger: Arc<dyn Ledger>) {
    let first = booked(1);
    ledger.commit(change(first.clone())).await.unwrap();
    let rivals = (0..RIVALS).map(|number| {
        let mut next = after(&first);
        next.owner = Some(format!("rival {number}"));
        change(next)
    });
    let results = race(&ledger, rivals.collect()).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(CommitError::Stale))).count(), RIVALS - 1);
    let winner = results.iter().position(Result::is_ok).unwrap();
    let stored = ledger.appointment(pe(), id(1)).await.unwrap().unwrap();
    assert_eq!(stored.owner, Some(format!("rival {winner}")));
}

pub async fn of_fifty_who_use_one_key_one_is_stored(ledger: Arc<dyn Ledger>) {
    let rivals = (0..RIVALS).map(|number| {
        let mut change = change(booked(number));
        change.receipt = Some(receipt("one key", &change.revision));
        change
    });
    let results = race(&ledger, rivals.collect()).await;

    assert_eq!(results.iter().filter(|result| matches!(result, Err(CommitError::KeyUsed))).count(), RIVALS - 1);
    let winner = results.iter().position(Result::is_ok).unwrap();
    let receipt = ledger.receipt(pe(), "one key", now()).await.unwrap().unwrap();
    assert_eq!(receipt.appointment, id(winner));
}

pub async fn a_stored_change_is_seen_by_every_later_read(ledger: Arc<dyn Ledger>) {
    let readers = (0..RIVALS).map(|number| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            let mut revision = booked(number);
            revision.owner = Some(format!("owner {number}"));
            let claim = format!("doctor:{number}");
            ledger.commit(booking(revision, &[&claim])).await.unwrap();
            assert!(ledger.appointment(pe(), id(number)).await.unwrap().is_some());
            assert_eq!(ledger.history(pe(), id(number), 0, 100).await.unwrap().len(), 1);
            assert_eq!(ledger.taken(pe(), &[Claim::new(claim)], now()).await.unwrap().len(), 1);
            let owner = OwnerFilter::Account(format!("owner {number}"));
            let query = Query { owner, limit: 10, ..Query::default() };
            assert_eq!(ledger.page(pe(), &query).await.unwrap().items.len(), 1);
        })
    });
    join_all(readers).await.into_iter().for_each(Result::unwrap);
}
