//! Idempotency keys. When it stores a change, the ledger takes `updated_at` as the current time.

use std::sync::Arc;

use citas_core::ports::{Change, CommitError, Ledger};
use jiff::{SignedDuration, Timestamp};

use crate::support::appointments::*;

/// Returns the booking of appointment `number` at `at` with the key `k`, which expires ten minutes later.
fn keyed(number: usize, at: Timestamp) -> Change {
    let mut change = change(booked(number));
    (change.revision.appointment.created_at, change.revision.updated_at) = (at, at);
    let mut receipt = receipt("k", &change.revision);
    receipt.expires_at = at + minutes(10);
    receipt.fingerprint = format!("request {number}");
    change.receipt = Some(receipt);
    change
}

pub async fn a_receipt_is_read_back_until_it_expires(ledger: Arc<dyn Ledger>) {
    let change = keyed(1, now());
    ledger.commit(change.clone()).await.unwrap();
    let expiry = now() + minutes(10);
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), change.receipt);
    assert_eq!(ledger.receipt(pe(), "k", expiry - SignedDuration::from_nanos(1)).await.unwrap(), change.receipt);
    assert_eq!(ledger.receipt(pe(), "k", expiry).await.unwrap(), None);
    assert_eq!(ledger.receipt(pe(), "another", now()).await.unwrap(), None);
}

pub async fn a_key_can_be_used_again_once_it_has_expired(ledger: Arc<dyn Ledger>) {
    ledger.commit(keyed(1, now())).await.unwrap();
    let again = keyed(2, now() + minutes(10));
    ledger.commit(again.clone()).await.unwrap();
    assert_eq!(ledger.receipt(pe(), "k", now() + minutes(11)).await.unwrap(), again.receipt);
    let too_soon = keyed(3, now() + minutes(12));
    assert!(matches!(ledger.commit(too_soon).await, Err(CommitError::KeyUsed)));
}

pub async fn a_key_is_used_until_the_instant_at_which_it_expires(ledger: Arc<dyn Ledger>) {
    let first = keyed(1, now());
    ledger.commit(first.clone()).await.unwrap();
    let too_soon = keyed(2, now() + minutes(10) - SignedDuration::from_nanos(1));
    assert!(matches!(ledger.commit(too_soon).await, Err(CommitError::KeyUsed)));
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
}
