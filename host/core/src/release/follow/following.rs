//! Settings and ports that the followers of all countries share, and the turns that they take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::ports::last_good::LastGood;
use crate::ports::native_code::NativeCodeStore;
use crate::ports::registry::Registry;
use crate::release::swap::Swapper;
use crate::release::trust::TrustSource;

/// Versions that are read at once, over all countries: each is in memory as a whole.
const MAX_CONCURRENT_READS: usize = 4;

/// Longest wait of a read for its turn. After that it goes on without one, so that reads which hang delay the others
/// only once.
const READ_TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Versions that are judged at once.
pub(super) const MAX_CONCURRENT_JUDGEMENTS: usize = 2;

/// Settings and ports that all followers share.
pub struct Following {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) swapper: Arc<Swapper>,
    /// Where the native code is, for a host that compiles nothing itself.
    pub(super) natives: Option<Arc<dyn NativeCodeStore>>,
    /// Who may sign; none where whoever can write the registry is trusted.
    pub(super) trust: Option<TrustSource>,
    pub(super) last_good: Option<Arc<dyn LastGood>>,
    /// Whether versions are tried that decide for nobody.
    pub(super) shadows: bool,
    reads: Semaphore,
    pub(super) judgements: Arc<Semaphore>,
}

impl Following {
    /// Follows `registry`, and takes native code where that is to be had.
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

    /// Tries versions only that decide for somebody: nothing is compared here.
    #[must_use]
    pub fn without_shadows(self) -> Self {
        Self { shadows: false, ..self }
    }

    /// Takes signed versions alone. Native code needs no look at signatures: whoever made it has had one.
    #[must_use]
    pub fn trusting(self, trust: Option<TrustSource>) -> Self {
        Self { trust, ..self }
    }

    /// Keeps there what comes into force, and starts from there where the registry gives nothing.
    #[must_use]
    pub fn with_last_good(self, last_good: Arc<dyn LastGood>) -> Self {
        Self { last_good: Some(last_good), ..self }
    }

    /// Returns a turn to read a version, or none after waiting long enough for one.
    pub(super) async fn read_turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(READ_TURN_TIMEOUT, self.reads.acquire()).await.ok()?.ok()
    }
}
