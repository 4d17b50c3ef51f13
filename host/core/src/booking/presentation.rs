//! Appointments as their country shows them. What `present` makes of a stored revision depends on the revision and on
//! the rules alone, so it is made once and remembered for a while.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::model::appointment::{Appointment, Revision};
use crate::ports::rules::Fault;
use crate::rules::loaded::{Fields, LoadedRules};

/// Memory for what is remembered, in bytes of JSON: some 50,000 appointments.
const MEMORY: u64 = 16 << 20;

/// Bytes of one appointment, by which the cache sets its tables up.
const USUAL: u64 = 320;

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
    /// The view of a stored revision, if these rules showed it lately.
    pub fn get(&self, rules: &LoadedRules, revision: &Arc<Revision>) -> Option<View> {
        let fields = self.0.get(&key(rules, revision))?;
        Some(View::new(rules, revision.clone(), fields))
    }

    /// Shows a stored revision, and remembers the view: a stored revision never changes.
    pub fn show(&self, rules: &LoadedRules, revision: &Arc<Revision>) -> Result<View, Fault> {
        let view = show(rules, revision.clone())?;
        self.0.insert(key(rules, revision), view.fields.clone());
        Ok(view)
    }
}

impl View {
    fn new(rules: &LoadedRules, revision: Arc<Revision>, fields: Fields) -> Self {
        Self { revision, fields, shown_by: rules.id.digest.clone() }
    }
}

fn key(rules: &LoadedRules, revision: &Revision) -> Key {
    (rules.serial, revision.appointment.id, revision.appointment.revision)
}

/// Shows a revision that may yet not be stored.
pub(crate) fn show(rules: &LoadedRules, revision: Arc<Revision>) -> Result<View, Fault> {
    let fields = rules.present(&revision.appointment)?;
    Ok(View::new(rules, revision, fields))
}

/// Shows revisions in order, as many as the budget of calls allows. Nothing is remembered of them.
pub(crate) fn show_page(
    rules: &LoadedRules,
    revisions: &[Arc<Revision>],
    budget: &mut usize,
) -> Result<Vec<View>, Fault> {
    let appointments: Vec<&Appointment> = revisions.iter().map(|revision| &revision.appointment).collect();
    let fields = rules.present_page(&appointments, budget)?;
    Ok(revisions.iter().zip(fields).map(|(revision, fields)| View::new(rules, revision.clone(), fields)).collect())
}
