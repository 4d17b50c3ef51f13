//! Deadlines for reads of the registry.

use std::time::Duration;

use tokio::time::timeout;

use crate::ports::RegistryError;

/// Maximum wait for a listing, a channel or a manifest.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum wait for each read during startup.
const START_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads from the registry within a deadline.
pub(crate) async fn within<T>(
    longest: Duration,
    read: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(longest, read).await.unwrap_or_else(|_| {
        let waited = longest.as_secs();
        Err(RegistryError::Unavailable(format!("it did not answer within {waited} s")))
    })
}

pub(super) async fn start_within<T>(read: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
    timeout(START_READ_TIMEOUT, read).await.unwrap_or_else(|_| {
        let waited = START_READ_TIMEOUT.as_secs();
        Err(RegistryError::Unavailable(format!("no answer within the {waited} s allowed at startup")))
    })
}
