//! Implements `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): equal requests with one key take effect
//! once.
//!
//! Defines how long a key is remembered, and holds the keys of requests in progress in this process. The ledger stores
//! the outcome of a key in the transaction that produced it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::digest;
use crate::ports::Receipt;

/// Time for which a key is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// Keys of the requests in progress in this process.
#[derive(Default)]
pub(crate) struct KeysInUse(Mutex<HashSet<String>>);

/// The key belongs to another request in progress.
#[derive(Debug)]
pub(crate) struct KeyInUse;

/// A key that is in use until this is dropped.
pub(crate) struct InUse<'a> {
    keys: &'a KeysInUse,
    /// Digest of the caller, the country, the target and the key.
    pub key: String,
    /// Digest of the request.
    pub fingerprint: String,
}

impl KeysInUse {
    /// Marks a key as in use. `scope` consists of the caller, the country, the target and the key.
    pub fn enter(&self, scope: &[&str], request: &Json) -> Result<InUse<'_>, KeyInUse> {
        let key = digest(Json::from(scope).to_string().as_bytes());
        let fingerprint = digest(request.to_string().as_bytes());
        let mut at_work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !at_work.insert(key.clone()) {
            return Err(KeyInUse);
        }
        Ok(InUse { keys: self, key, fingerprint })
    }
}

impl InUse<'_> {
    /// Returns the receipt to store with the change.
    pub fn receipt(&self, appointment: Uuid, revision: u32, now: Timestamp) -> Receipt {
        let (key, fingerprint) = (self.key.clone(), self.fingerprint.clone());
        Receipt { key, fingerprint, appointment, revision, expires_at: now + REMEMBERED }
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
