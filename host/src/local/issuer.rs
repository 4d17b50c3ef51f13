//! The local token issuer. Keeps a key in the data folder, signs tokens for development, and verifies them.
//!
//! Tokens have the members of Amazon Cognito's access tokens (`cognito:groups`, `scope`, `token_use`), so that one
//! reader serves both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citas_core::model::Claims;
use citas_core::ports::{BadToken, Clock, TokenVerifier};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use serde::Deserialize;
use serde_json::{Value, json};

use super::jwt;
use super::token_cache::KnownTokens;
use crate::files::{self, Access};

/// Issuer of the tokens (`iss`).
const ISSUER: &str = "urn:citas:local-issuer";
/// Audience of the tokens (`aud`).
const AUDIENCE: &str = "citas";
/// Claim with the bearer's identities by country.
const IDENTITIES: &str = "identities";
/// Validity period of a token.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(12);
/// Name of the key's file in the data folder: a P-256 private key (PKCS#8, PEM), readable by its owner only.
const KEY_FILE: &str = "issuer.pem";
/// Maximum size of the key's file, in bytes. A key has about 240.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Reason why the issuer cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The key's file cannot be read or written.
    #[error("the issuer's key `{}` cannot be read or written: {cause}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        cause: io::Error,
    },
    /// The file contains no key.
    #[error("`{}` holds no P-256 private key in PKCS#8 PEM; remove it for a new one", .path.display())]
    Key {
        /// Path of the file.
        path: PathBuf,
    },
}

/// Signs tokens and verifies its own.
pub struct LocalIssuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    jwk: Jwk,
    known: KnownTokens,
    clock: Arc<dyn Clock>,
}

impl LocalIssuer {
    /// Opens the issuer of a data folder. Creates a key if there is none.
    ///
    /// # Errors
    /// See [`IssuerError`].
    pub fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<Self, IssuerError> {
        let path = data.join(KEY_FILE);
        let pem = match files::read(&path, MAX_KEY_BYTES) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(data, &path)?,
            Err(cause) => return Err(IssuerError::File { path, cause }),
        };
        let bad = |_| IssuerError::Key { path: path.clone() };
        let encoding = EncodingKey::from_ec_pem(&pem).map_err(bad)?;
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::ES256).map_err(bad)?;
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).map_err(bad)?;
        jwk.common.key_id = Some(thumbprint);
        let decoding = DecodingKey::from_jwk(&jwk).map_err(bad)?;
        Ok(Self { decoding, encoding, jwk, known: KnownTokens::default(), clock })
    }

    /// Signs a token with these claims, valid for twelve hours from `now`.
    ///
    /// # Errors
    /// Returns an error if the key cannot sign.
    pub fn token(&self, claims: &Claims, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let scopes: Vec<&str> = claims.scopes.iter().map(String::as_str).collect();
        let payload = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.subject,
            "iat": now.as_second(),
            "exp": (now + VALID_FOR).as_second(),
            "token_use": "access",
            "scope": scopes.join(" "),
            "cognito:groups": claims.groups,
            IDENTITIES: claims.identities,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid.clone_from(&self.jwk.common.key_id);
        jsonwebtoken::encode(&header, &payload, &self.encoding)
    }

    /// Returns the public key as a JWK set (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }
}

/// Creates a key. If several processes start at once, one of them stores its key, whole and on disk, and all read that
/// one.
fn create(data: &Path, path: &Path) -> Result<Vec<u8>, IssuerError> {
    let file = |cause| IssuerError::File { path: path.to_owned(), cause };
    let key = p256::SecretKey::random(&mut p256::elliptic_curve::rand_core::OsRng);
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| IssuerError::Key { path: path.to_owned() })?;
    files::make_data_folder(data).map_err(file)?;
    match files::create(path, pem.as_bytes(), Access::Private) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(file(error)),
        _ => {}
    }
    files::read(path, MAX_KEY_BYTES).map_err(file)
}

#[async_trait::async_trait]
impl TokenVerifier for LocalIssuer {
    async fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        if let Some(claims) = self.known.claims(token, &*self.clock) {
            return Ok(claims);
        }
        let identities = |claims: &Value| Deserialize::deserialize(&claims[IDENTITIES]).unwrap_or_default();
        let now = self.clock.now();
        let good = jwt::good(token, &self.decoding, Algorithm::ES256, &[ISSUER], AUDIENCE, now, identities)?;
        self.known.remember(token, &good, &*self.clock);
        Ok(good.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemClock;

    fn open(data: &Path) -> Result<LocalIssuer, IssuerError> {
        LocalIssuer::open(data, Arc::new(SystemClock))
    }

    fn ana() -> Claims {
        Claims {
            subject: "ana".into(),
            groups: ["pe:staff".to_owned()].into(),
            scopes: ["appointments/read".to_owned(), "appointments/write".to_owned()].into(),
            identities: [("pe".parse().unwrap(), "dni:10117410".to_owned())].into(),
        }
    }

    #[tokio::test]
    async fn a_token_says_what_it_was_made_with_also_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let token = open(data.path()).unwrap().token(&ana(), Timestamp::now()).unwrap();
        let found = open(data.path()).unwrap().verify(&token).await.unwrap();
        assert_eq!(found, ana());
    }

    #[tokio::test]
    async fn a_token_that_is_expired_forged_or_altered_is_none() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let issuer = open(here.path()).unwrap();
        let long_ago = Timestamp::now() - SignedDuration::from_hours(13);
        let expired = issuer.token(&ana(), long_ago).unwrap();
        let forged = open(elsewhere.path()).unwrap().token(&ana(), Timestamp::now()).unwrap();
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.";
        for token in [expired.as_str(), &forged, unsigned, "", "a.b.c"] {
            assert!(issuer.verify(token).await.is_err(), "{token}");
        }
    }

    #[test]
    fn the_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        open(data.path()).unwrap();
        let mode = std::fs::metadata(data.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn of_many_that_start_at_once_all_get_the_one_whole_key() {
        for _ in 0..20 {
            let data = tempfile::tempdir().unwrap();
            let start = std::sync::Barrier::new(8);
            let open = || {
                start.wait();
                open(data.path()).map(|issuer| issuer.jwks())
            };
            let keys: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
        }
    }

    #[test]
    fn the_published_key_has_no_private_part() {
        let data = tempfile::tempdir().unwrap();
        let jwks = open(data.path()).unwrap().jwks();
        assert_eq!(jwks["keys"][0]["kty"], "EC");
        assert!(jwks["keys"][0].get("d").is_none());
    }
}
