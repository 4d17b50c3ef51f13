//! Appointments as their country shows them. What `present` makes of a stored revision depends on the revision and on
//! the rules alone, so it is made once and remembered for a while.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::appointment::{Appointment, Revision};
use crate::loaded::LoadedRules;
use crate::rules::Fault;

/// Memory for what is remembered, in bytes of JSON: some 50,000 appointments.
const MEMORY: u64 = 16 << 20;

/// Bytes of one appointment, by which the cache sets its tables up.
const USUAL: u64 = 320;

/// The country's part of an appointment.
pub type Fields = Arc<Map<String, Json>>;

/// An appointment as its country shows it.
#[derive(Clone, Debug)]
pub struct View {
    /// As it is stored.
    pub revision: Arc<Revision>,
    /// The country's part of what clients see.
    pub fields: Fields,
    /// Digest of the rules that show it so: those in force, whichever decided.
    pub shown_by: String,
}

/// Which rules, as loaded; which appointment; which of its revisions.
type Key = (u64, Uuid, u32);

/// What was shown lately.
pub(crate) struct Views(Cache<Key, Fields, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Fields> for Bytes {
    fn weight(&self, _: &Key, fields: &Fields) -> u64 {
        let text = serde_json::to_string(&**fields).expect("a JSON object has a text");
        u64::try_from(text.len()).unwrap_or(u64::MAX)
    }
}

impl Default for Views {
    fn default() -> Self {
        let items = usize::try_from(MEMORY / USUAL).expect("a small number");
        Self(Cache::with_weighter(items, MEMORY, Bytes))
    }
}

impl Views {
    /// Revisions that are stored, and so will never be others.
    pub async fn stored(&self, rules: &LoadedRules, revisions: Vec<Arc<Revision>>) -> Result<Vec<View>, Fault> {
        let key = |revision: &Revision| (rules.serial, revision.appointment.id, revision.appointment.revision);
        let known: Vec<Option<Fields>> = revisions.iter().map(|revision| self.0.get(&key(revision))).collect();
        let unknown =
            || revisions.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(revision, _)| revision);
        let asked: Vec<&Appointment> = unknown().map(|revision| &revision.appointment).collect();
        let presented = if asked.is_empty() { Vec::new() } else { rules.present(&asked).await? };
        for (revision, fields) in unknown().zip(&presented) {
            self.0.insert(key(revision), fields.clone());
        }
        let mut presented = presented.into_iter();
        let fields = known.into_iter().map_while(|known| known.or_else(|| presented.next()));
        let view = |(fields, revision)| View { revision, fields, shown_by: rules.id.digest.clone() };
        Ok(fields.collect::<Vec<_>>().into_iter().zip(revisions).map(view).collect())
    }

    /// A revision that may yet not be stored.
    pub async fn proposed(rules: &LoadedRules, revision: Revision) -> Result<View, Fault> {
        let fields = rules.present(&[&revision.appointment]).await?.pop().unwrap_or_default();
        Ok(View { revision: Arc::new(revision), fields, shown_by: rules.id.digest.clone() })
    }
}
