//! Tokens of any OpenID Connect issuer: its keys are found by discovery (OpenID Connect Discovery 1.0, section 4),
//! kept, and fetched anew when a token names a key that is not among them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use citas_core::access::{BadToken, Claims, TokenVerifier};
use citas_core::time::Clock as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::jwt;
use super::known_tokens::KnownTokens;
use super::system::SystemClock;

/// Keys are not fetched more often than so, whatever tokens come.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(30);
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Signatures that are taken: asymmetric ones alone.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the issuer {issuer} cannot be fetched: {cause}")]
pub struct NoKeys {
    issuer: String,
    cause: String,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Checks the tokens of one issuer for one audience.
pub struct OidcVerifier {
    issuer: String,
    audience: String,
    keys: Arc<Mutex<Keys>>,
    tokens: KnownTokens,
}

struct Keys {
    set: JwkSet,
    fetched: Instant,
}

impl OidcVerifier {
    /// Fetches the issuer's keys.
    ///
    /// # Errors
    /// When they cannot be fetched.
    pub async fn discover(issuer: &str, audience: &str) -> Result<Self, NoKeys> {
        let issuer = issuer.trim_end_matches('/').to_owned();
        let set = fetch(&issuer).await?;
        let keys = Arc::new(Mutex::new(Keys { set, fetched: Instant::now() }));
        Ok(Self { issuer, audience: audience.to_owned(), keys, tokens: KnownTokens::default() })
    }

    async fn key(&self, kid: &str) -> Option<DecodingKey> {
        if let Some(key) = self.known(kid) {
            return Some(key);
        }
        if self.begin_fetch() {
            match fetch(&self.issuer).await {
                Ok(set) => self.keys.lock().unwrap_or_else(PoisonError::into_inner).set = set,
                Err(error) => tracing::warn!(%error, "the issuer's last known keys stay in use"),
            }
        }
        self.known(kid)
    }

    fn known(&self, kid: &str) -> Option<DecodingKey> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.set.find(kid).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
    }

    /// Whether it is this call's turn to fetch.
    fn begin_fetch(&self) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let due = keys.fetched.elapsed() >= SHORTEST_INTERVAL;
        if due {
            keys.fetched = Instant::now();
        }
        due
    }
}

async fn fetch(issuer: &str) -> Result<JwkSet, NoKeys> {
    let issuer = issuer.to_owned();
    let fetched = tokio::task::spawn_blocking(move || fetch_now(&issuer).map_err(|cause| NoKeys { issuer, cause }));
    fetched.await.unwrap_or_else(|panic| Err(NoKeys { issuer: String::new(), cause: panic.to_string() }))
}

fn fetch_now(issuer: &str) -> Result<JwkSet, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    let said = |error: ureq::Error| error.to_string();
    let place = format!("{issuer}/.well-known/openid-configuration");
    let discovery: Discovery = agent.get(place).call().map_err(said)?.body_mut().read_json().map_err(said)?;
    if discovery.issuer.trim_end_matches('/') != issuer {
        return Err(format!("its configuration names another issuer, {}", discovery.issuer));
    }
    agent.get(discovery.jwks_uri).call().map_err(said)?.body_mut().read_json().map_err(said)
}

#[async_trait::async_trait]
impl TokenVerifier for OidcVerifier {
    async fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        const UNREADABLE: BadToken = BadToken("the token cannot be read");
        let now = SystemClock.now();
        if let Some(claims) = self.tokens.claims(token, now) {
            return Ok(claims);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| UNREADABLE)?;
        let kid = header.kid.ok_or(BadToken("the token names no key"))?;
        let key =
            self.key(&kid).await.ok_or(BadToken("the token is signed with a key that its issuer does not publish"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(UNREADABLE);
        }
        let issuers = [self.issuer.as_str(), &format!("{}/", self.issuer)];
        let good = jwt::good(token, &key, header.alg, &issuers, &self.audience)?;
        self.tokens.remember(token, &good, now);
        Ok(good.claims)
    }
}
