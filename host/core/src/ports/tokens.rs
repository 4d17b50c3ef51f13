//! The port to the issuer of access tokens.

use async_trait::async_trait;

use crate::model::access::Claims;

/// The token is none, or not one of ours, or no longer good. The reason is for the client, and gives nothing away.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(pub &'static str);

/// Checks bearer tokens.
///
/// An adapter MUST check the signature against keys that the issuer publishes, the issuer, the audience and the
/// validity period, and MUST take no algorithm from the token that the key is not for.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// What a token says, if it is good.
    ///
    /// # Errors
    /// When it is not.
    async fn verify(&self, token: &str) -> Result<Claims, BadToken>;
}
