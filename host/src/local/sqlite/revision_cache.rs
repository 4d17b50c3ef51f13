//! Caches the latest revisions of appointments that were read or written lately. Finding one in the file and reading its
//! JSON takes longer than the rest of a GET, and the notifier needs each revision soon after it is written. Only one
//! process writes the file, and its writer updates the cache before it answers a change, so no caller that knows of a
//! change reads the state before it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use citas_core::model::{CountryCode, Revision};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use uuid::Uuid;

/// Memory of the cache, in bytes of JSON: about 10,000 appointments.
const MEMORY: u64 = 16 << 20;

/// Size of a usual revision, in bytes, by which the cache sets up its tables.
const USUAL: u64 = 1_600;

type Key = (CountryCode, Uuid);

pub(super) struct RevisionCache(Mutex<Known>);

struct Known {
    read: Cache<Key, Read, Bytes>,
    /// Number of changes so far.
    changes: u64,
}

struct Read {
    revision: Arc<Revision>,
    bytes: usize,
}

struct Bytes;

impl Weighter<Key, Read> for Bytes {
    fn weight(&self, _: &Key, read: &Read) -> u64 {
        u64::try_from(read.bytes).unwrap_or(u64::MAX)
    }
}

/// Point in time before a read. Its result may be cached unless something has changed since.
#[derive(Clone, Copy)]
pub(super) struct Mark(u64);

impl Default for RevisionCache {
    fn default() -> Self {
        let items = usize::try_from(MEMORY / USUAL).expect("a small number");
        Self(Mutex::new(Known { read: Cache::with_weighter(items, MEMORY, Bytes), changes: 0 }))
    }
}

impl RevisionCache {
    /// Returns the cached revision of an appointment, or the mark with which to read it.
    pub(super) fn get(&self, country: CountryCode, id: Uuid) -> Result<Arc<Revision>, Mark> {
        let known = self.lock();
        known.read.get(&(country, id)).map(|read| Arc::clone(&read.revision)).ok_or(Mark(known.changes))
    }

    /// Caches a revision whose JSON has this many bytes, unless something has changed since the mark.
    pub(super) fn remember(&self, revision: &Arc<Revision>, bytes: usize, since: Mark) {
        let mut known = self.lock();
        if known.changes == since.0 {
            let key = (revision.country, revision.appointment.id);
            known.read.insert(key, Read { revision: Arc::clone(revision), bytes });
        }
    }

    /// Replaces appointments that have changed by their new revisions, each with the length of its JSON, and removes those
    /// that may have changed.
    pub(super) fn update(
        &self,
        country: CountryCode,
        changes: impl IntoIterator<Item = (Uuid, Option<(Arc<Revision>, usize)>)>,
    ) {
        let mut known = self.lock();
        known.changes += 1;
        for (id, stored) in changes {
            match stored {
                Some((revision, bytes)) => known.read.insert((country, id), Read { revision, bytes }),
                None => drop(known.read.remove(&(country, id))),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use citas_core::ports::Clock as _;
    use serde_json::json;

    use super::*;
    use crate::system::SystemClock;

    fn revision(number: u32) -> Arc<Revision> {
        let now = SystemClock.now();
        let revision = json!({
            "country": "pe", "person": Uuid::nil(), "owner": "ana", "updatedAt": now, "claims": [],
            "appointment": {
                "id": Uuid::nil(), "phase": "booked", "revision": number, "createdAt": now, "patient": "p",
                "steps": [], "attributes": [],
            },
            "provenance": {
                "action": "book", "input": [], "context": { "now": 0, "clocks": [], "caller": { "role": "patient" } },
                "rules": { "version": "1.0.0", "digest": "" }, "contract": "2.0.0", "host": "0.2.0",
                "subject": "ana", "requestId": "1"
            }
        });
        Arc::new(serde_json::from_value(revision).unwrap())
    }

    fn pe() -> CountryCode {
        "pe".parse().unwrap()
    }

    fn number(latest: &RevisionCache) -> Option<u32> {
        latest.get(pe(), Uuid::nil()).ok().map(|revision| revision.appointment.revision)
    }

    #[test]
    fn what_was_read_is_known_until_it_changes() {
        let latest = RevisionCache::default();
        let mark = latest.get(pe(), Uuid::nil()).unwrap_err();
        latest.remember(&revision(1), 100, mark);
        assert_eq!(number(&latest), Some(1));
        latest.update(pe(), [(Uuid::nil(), Some((revision(2), 100)))]);
        assert_eq!(number(&latest), Some(2));
        latest.update(pe(), [(Uuid::nil(), None)]);
        assert_eq!(number(&latest), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let latest = RevisionCache::default();
        let mark = latest.get(pe(), Uuid::nil()).unwrap_err();
        latest.update(pe(), [(Uuid::nil(), None)]);
        latest.remember(&revision(1), 100, mark);
        assert_eq!(number(&latest), None);
    }
}
