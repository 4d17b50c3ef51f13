//! Holds the settings and ports that the followers of all countries share, and the limits of versions that are read and
//! judged at once.
//!
//! A host that judges in child processes limits those too (`MAX_CHILDREN` in `host/src/wasm/admission.rs`); raise both.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::ports::{LastGood, NativeCodeStore, Registry};
use crate::release::swap::Swapper;
use crate::release::trust::TrustSource;

/// Maximum number of versions that are read at once, over all countries. Each is held in memory as a whole.
const MAX_CONCURRENT_READS: usize = 4;

/// Maximum wait of a read for its turn. After that it proceeds without one, so that hanging reads delay the others only
/// once.
const READ_TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of versions that are judged at once.
pub(super) const MAX_CONCURRENT_JUDGEMENTS: usize = 2;

/// Settings and ports that all followers share.
pub struct Following {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) swapper: Arc<Swapper>,
    /// Store of native code, for a host that does not compile.
    pub(super) natives: Option<Arc<dyn NativeCodeStore>>,
    /// Source of the keys that may sign; none if everybody who can write to the registry is trusted.
    pub(super) trust: Option<TrustSource>,
    pub(super) last_good: Option<Arc<dyn LastGood>>,
    /// True if this host loads candidates that decide for no patient.
    pub(super) shadows: bool,
    reads: Semaphore,
    pub(super) judgements: Arc<Semaphore>,
}

impl Following {
    /// Follows `registry`. Loads native code if `natives` is given.
    pub fn new(registry: Arc<dyn Registry>, swapper: Arc<Swapper>, natives: Option<Arc<dyn NativeCodeStore>>) -> Self {
        Self {
            registry,
            swapper,
            natives,
            trust: None,
            last_good: None,
            shadows: true,
            reads: Semaphore::new(MAX_CONCURRENT_READS),
            judgements: Arc::new(Semaphore::new(MAX_CONCURRENT_JUDGEMENTS)),
        }
    }

    /// Loads only candidates that decide for some patients. For hosts that compare nothing.
    #[must_use]
    pub fn without_shadows(self) -> Self {
        Self { shadows: false, ..self }
    }

    /// Accepts only versions with a trusted signature, if `trust` is given. Native code is not checked, because its
    /// producer has checked the signature.
    #[must_use]
    pub fn trusting(self, trust: Option<TrustSource>) -> Self {
        Self { trust, ..self }
    }

    /// Saves each version that comes into force in `last_good`, and starts from there if the registry provides none.
    #[must_use]
    pub fn with_last_good(self, last_good: Arc<dyn LastGood>) -> Self {
        Self { last_good: Some(last_good), ..self }
    }

    /// Returns a turn to read a version; none if the wait for it is too long.
    pub(super) async fn read_turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(READ_TURN_TIMEOUT, self.reads.acquire()).await.ok()?.ok()
    }
}
