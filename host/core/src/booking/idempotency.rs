//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same key and request bring about one thing, once.
//!
//! What a key has brought about lies in the ledger, in the transaction that did it. Here is only what is at work in
//! this process at this moment.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::model::manifest::digest;
use crate::ports::ledger::Receipt;

/// How long a key is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// The keys at work.
#[derive(Default)]
pub(crate) struct KeysInUse(Mutex<HashSet<String>>);

/// The key is at work already.
#[derive(Debug)]
pub(crate) struct KeyInUse;

/// A key at work, until this is dropped.
pub(crate) struct InUse<'a> {
    keys: &'a KeysInUse,
    /// Digest of who uses it, on what, and the key.
    pub key: String,
    /// Digest of the request.
    pub fingerprint: String,
}

impl KeysInUse {
    /// Puts a key to work: `scope` is who uses it, on what, and the key.
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
    /// What is stored of it once it has brought something about.
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
