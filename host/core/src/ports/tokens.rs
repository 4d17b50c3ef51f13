//! Port to the issuer of access tokens.

use async_trait::async_trait;

use crate::model::Claims;

/// Error for a token that is malformed, from another issuer, or expired. The reason is safe to show to the client.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(pub &'static str);

/// Verifies bearer tokens.
///
/// An adapter MUST check the signature against keys that the issuer publishes, the issuer, the audience and the
/// validity period. It MUST NOT accept an algorithm that the token names if the key is not for it.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Returns the claims of a valid token.
    ///
    /// # Errors
    /// Returns an error if the token is not valid.
    async fn verify(&self, token: &str) -> Result<Claims, BadToken>;
}
