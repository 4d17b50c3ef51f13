//! Presents appointments as clients see them, and caches the results. The result of `present` depends only on the
//! stored revision and the rules, so it is computed once and kept for a while.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::model::{Appointment, Revision, Role};
use crate::ports::Fault;
use crate::rules::{Fields, LoadedRules};

/// Maximum size of the cache, in bytes of JSON: about 50,000 appointments.
const MEMORY: u64 = 16 << 20;

/// Typical size of one appointment, in bytes. The cache sizes its tables by it.
const USUAL: u64 = 320;

/// An appointment as its country presents it.
#[derive(Clone, Debug)]
pub struct View {
    /// The presented revision.
    pub revision: Arc<Revision>,
    /// Members of the response that come from the country.
    pub fields: Fields,
    /// Digest of the rules that presented it: those in force for the patient, whichever rules decided.
    pub shown_by: String,
}

/// Serial number of the loaded rules, role of the caller, id of the appointment, number of the revision.
type Key = (u64, Role, Uuid, u32);

/// Cache of recently presented fields.
pub(crate) struct PresentationCache(Cache<Key, Fields, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Fields> for Bytes {
    fn weight(&self, _: &Key, fields: &Fields) -> u64 {
        let text = serde_json::to_string(&**fields).expect("a JSON object has a text");
        u64::try_from(text.len()).unwrap_or(u64::MAX)
    }
}

impl Default for PresentationCache {
    fn default() -> Self {
        let items = usize::try_from(MEMORY / USUAL).expect("a small number");
        Self(Cache::with_weighter(items, MEMORY, Bytes))
    }
}

impl PresentationCache {
    /// Returns the view of a stored revision, if these rules presented it recently.
    pub fn get(&self, rules: &LoadedRules, role: Role, revision: &Arc<Revision>) -> Option<View> {
        let fields = self.0.get(&key(rules, role, revision))?;
        Some(View::new(rules, revision.clone(), fields))
    }

    /// Presents a stored revision, and caches the view: a stored revision never changes.
    pub fn show(&self, rules: &LoadedRules, role: Role, revision: &Arc<Revision>) -> Result<View, Fault> {
        let view = View::new(rules, revision.clone(), rules.present(role, &revision.appointment)?);
        self.0.insert(key(rules, role, revision), view.fields.clone());
        Ok(view)
    }
}

impl View {
    /// Returns the entity tag without quotes.
    pub fn tag(&self) -> String {
        entity_tag(&self.revision, &self.shown_by)
    }

    pub(super) fn new(rules: &LoadedRules, revision: Arc<Revision>, fields: Fields) -> Self {
        Self { revision, fields, shown_by: rules.id.digest.clone() }
    }
}

/// Returns the entity tag of a revision as these rules present it: the revision, with the digest of the presenting rules
/// if other rules decided it.
pub(super) fn entity_tag(revision: &Revision, shown_by: &str) -> String {
    let number = revision.appointment.revision;
    if shown_by == revision.provenance.rules.digest {
        return number.to_string();
    }
    let digest = shown_by.trim_start_matches("sha256:");
    format!("{number}-{}", digest.get(..8).unwrap_or(digest))
}

fn key(rules: &LoadedRules, role: Role, revision: &Revision) -> Key {
    (rules.serial, role, revision.appointment.id, revision.appointment.revision)
}

/// Presents revisions in order, as many as the budget of calls allows. Caches nothing.
pub(crate) fn show_page(
    rules: &LoadedRules,
    role: Role,
    revisions: &[Arc<Revision>],
    budget: &mut usize,
) -> Result<Vec<View>, Fault> {
    let appointments: Vec<&Appointment> = revisions.iter().map(|revision| &revision.appointment).collect();
    let fields = rules.present_page(role, &appointments, budget)?;
    Ok(revisions.iter().zip(fields).map(|(revision, fields)| View::new(rules, revision.clone(), fields)).collect())
}
