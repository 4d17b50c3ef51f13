//! Verifies tokens of any OpenID Connect issuer. Finds the issuer's keys by discovery (OpenID Connect Discovery 1.0,
//! section 4) and caches them. Fetches them again in the background once they are ten minutes old, so that a key that
//! the issuer has withdrawn does not stay valid. A token that names an unknown key starts a fetch at once, but at most
//! one in 30 seconds.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use citas_core::model::Claims;
use citas_core::ports::{BadToken, Clock, TokenVerifier};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::jwt;
use super::token_cache::KnownTokens;
use crate::identities::{IdentityTemplate, identities};

/// Intervals between fetches of the keys.
#[derive(Clone, Copy)]
struct Pace {
    /// Minimum interval between fetches, whatever tokens arrive.
    at_most: Duration,
    /// Age of the keys at which the next request starts a fetch, without waiting for it.
    at_least: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { at_most: Duration::from_secs(30), at_least: Duration::from_mins(10) }
    }
}

/// Time limit of each of the two requests of a fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of requests that wait for a fetch. The tokens of any others are refused.
const MAX_WAITING: usize = 100;
/// Accepted signature algorithms, all of them asymmetric.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];

/// Error of an issuer whose keys cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the issuer {issuer} cannot be fetched: {cause}")]
pub struct NoKeys {
    issuer: String,
    cause: String,
}

/// A JWK set whose keys are not read yet.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Verifies the tokens of one issuer for one audience.
pub struct OidcVerifier {
    audience: String,
    identities: Vec<IdentityTemplate>,
    source: Arc<Source>,
}

/// An issuer's keys, as last fetched.
struct Source {
    issuer: String,
    pace: Pace,
    keys: ArcSwap<JwkSet>,
    /// Tokens that were verified with these keys.
    tokens: KnownTokens,
    /// Start of the last fetch, by the monotonic clock. Locked while the keys are fetched.
    begun: Mutex<Duration>,
    clock: Arc<dyn Clock>,
    /// Permits for requests that wait for a fetch.
    waiting: Semaphore,
}

impl OidcVerifier {
    /// Fetches the issuer's keys and creates a verifier.
    ///
    /// # Errors
    /// Returns an error if the keys cannot be fetched.
    pub async fn discover(issuer: &str, audience: &str, clock: Arc<dyn Clock>) -> Result<Self, NoKeys> {
        Self::discover_at(issuer, audience, Pace::default(), clock).await
    }

    async fn discover_at(issuer: &str, audience: &str, pace: Pace, clock: Arc<dyn Clock>) -> Result<Self, NoKeys> {
        let issuer = issuer.trim_end_matches('/').to_owned();
        let begun = Mutex::new(clock.monotonic());
        let keys = ArcSwap::from_pointee(fetch(&issuer).await?);
        let source = Arc::new(Source {
            issuer,
            pace,
            keys,
            tokens: KnownTokens::default(),
            begun,
            clock,
            waiting: Semaphore::new(MAX_WAITING),
        });
        Ok(Self { audience: audience.to_owned(), identities: Vec::new(), source })
    }

    /// Takes the identities of patients from the tokens' claims.
    #[must_use]
    pub fn identifying_by(mut self, templates: Vec<IdentityTemplate>) -> Self {
        self.identities = templates;
        self
    }
}

impl Source {
    /// Returns the keys that may have made a signature. Fetches the issuer's keys if there is none; a bounded number of
    /// other requests waits for that one fetch.
    async fn keys(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let known = self.cached_keys(kid, algorithm);
        if !known.is_empty() {
            self.refresh();
            return known;
        }
        // Without a bound, many requests with unknown keys would keep their connections open for as long as the issuer
        // takes.
        let Ok(_place) = self.waiting.try_acquire() else { return known };
        let begun = self.begun.lock().await;
        let known = self.cached_keys(kid, algorithm);
        if !known.is_empty() || self.since(&begun) < self.pace.at_most {
            return known;
        }
        self.fetch(begun).await;
        self.cached_keys(kid, algorithm)
    }

    /// Returns the keys for signatures of this algorithm with that `kid`: one, unless the issuer gives several the same
    /// `kid`. Without a `kid` it is the only key for such signatures, if there is one (OpenID Connect Core, section 10.1).
    fn cached_keys(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.keys.load();
        let is_named = |jwk: &&Jwk| kid.is_none() || jwk.common.key_id.as_deref() == kid;
        let fitting: Vec<&Jwk> = keys.keys.iter().filter(is_named).filter(|jwk| signs_with(jwk, algorithm)).collect();
        if kid.is_none() && fitting.len() > 1 {
            return Vec::new();
        }
        fitting.into_iter().filter_map(|key| DecodingKey::from_jwk(key).ok()).collect()
    }

    /// Fetches the keys in the background, if they are old and no other fetch is running.
    fn refresh(self: &Arc<Self>) {
        let is_old = |begun: &Duration| self.since(begun) >= self.pace.at_least;
        if self.begun.try_lock().is_ok_and(|begun| is_old(&begun)) {
            let source = self.clone();
            tokio::spawn(async move {
                let begun = source.begun.lock().await;
                if source.since(&begun) >= source.pace.at_least {
                    source.fetch(begun).await;
                }
            });
        }
    }

    fn since(&self, begun: &Duration) -> Duration {
        self.clock.monotonic().saturating_sub(*begun)
    }

    async fn fetch(&self, mut begun: MutexGuard<'_, Duration>) {
        *begun = self.clock.monotonic();
        match fetch(&self.issuer).await {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                self.tokens.forget();
            }
            Err(error) => tracing::warn!(%error, "the issuer's last known keys stay in use"),
        }
    }
}

/// True if a key can make signatures of this algorithm, and is meant for them (RFC 7517, sections 4.1 to 4.4). An absent
/// `use`, `key_ops` or `alg` allows all.
fn signs_with(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let common = &jwk.common;
    let is_of_type = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512) => true,
        _ => false,
    };
    let signs = common.public_key_use.as_ref().is_none_or(|used_for| *used_for == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify));
    is_of_type
        && signs
        && verifies
        && common.key_algorithm.is_none_or(|named| named.to_string().parse() == Ok(algorithm))
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
    let Published { keys } =
        agent.get(discovery.jwks_uri).call().map_err(said)?.body_mut().read_json().map_err(said)?;
    // One key that cannot be read leaves the others as they are (RFC 7517, section 5).
    Ok(JwkSet { keys: keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() })
}

#[async_trait::async_trait]
impl TokenVerifier for OidcVerifier {
    async fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        const UNREADABLE: BadToken = BadToken("the token cannot be read");
        let clock = &*self.source.clock;
        if let Some(claims) = self.source.tokens.claims(token, clock) {
            self.source.refresh();
            return Ok(claims);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| UNREADABLE)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(UNREADABLE);
        }
        let keys = self.source.keys(header.kid.as_deref(), header.alg).await;
        let issuer = &self.source.issuer;
        let issuers = [issuer.as_str(), &format!("{issuer}/")];
        let found = |claims: &Value| identities(&self.identities, claims);
        let verified = |key| jwt::good(token, key, header.alg, &issuers, &self.audience, clock.now(), found);
        let unknown = || Err(BadToken("the token is signed with a key that its issuer does not publish for that"));
        let good = keys.iter().map(verified).reduce(Result::or).unwrap_or_else(unknown)?;
        self.source.tokens.remember(token, &good, clock);
        Ok(good.claims)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Slot;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use axum::routing::get;
    use axum::{Json, Router};
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jiff::{SignedDuration, Timestamp};
    use jsonwebtoken::{EncodingKey, Header};
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
    use serde_json::json;

    use super::*;
    use crate::system::SystemClock;

    const NEVER: Duration = Duration::from_hours(1);

    /// An issuer on this machine that counts the fetches of its keys. A test can change them.
    #[derive(Default)]
    struct Issuer {
        url: String,
        keys: Slot<Vec<Value>>,
        /// Key that was published last.
        signing: Slot<Option<EncodingKey>>,
        fetches: AtomicUsize,
    }

    impl Issuer {
        async fn start() -> Arc<Self> {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let issuer = Arc::new(Self { url: url.clone(), ..Self::default() });
            let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
            let asked = issuer.clone();
            let keys = move || async move {
                asked.fetches.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                let keys = asked.keys.lock().unwrap().clone();
                Json(json!({ "keys": keys }))
            };
            let router = Router::new()
                .route("/.well-known/openid-configuration", get(move || async move { Json(discovery) }))
                .route("/keys", get(keys));
            tokio::spawn(async move { axum::serve(listener, router).await });
            issuer
        }

        /// Publishes a new key with these members in place of all others. Returns a token that it signed.
        fn publish(&self, kid: &str, members: &Value) -> String {
            self.publish_and_sign(kid, members, |header| header.kid = Some(kid.into()), &json!({}))
        }

        /// Publishes a new key in place of all others. Returns a token that it signed, with this header and these claims.
        fn publish_and_sign(
            &self,
            kid: &str,
            members: &Value,
            change: impl FnOnce(&mut Header),
            claims: &Value,
        ) -> String {
            let key = p256::SecretKey::random(&mut p256::elliptic_curve::rand_core::OsRng);
            let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
            let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
            let mut jwk = json!(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap());
            let jwk_members = jwk.as_object_mut().unwrap();
            jwk_members.remove("alg");
            jwk_members.insert("kid".into(), kid.into());
            jwk_members.extend(members.as_object().unwrap().clone());
            *self.keys.lock().unwrap() = vec![jwk];

            let mut header = Header::new(Algorithm::ES256);
            change(&mut header);
            let expires = Timestamp::now().as_second() + 600;
            let mut payload = json!({ "iss": self.url, "aud": "citas", "sub": "ana", "exp": expires });
            payload.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let token = jsonwebtoken::encode(&header, &payload, &key).unwrap();
            *self.signing.lock().unwrap() = Some(key);
            token
        }

        async fn verifier(&self, at_most: Duration, at_least: Duration) -> OidcVerifier {
            let pace = Pace { at_most, at_least };
            OidcVerifier::discover_at(&self.url, "citas", pace, Arc::new(SystemClock)).await.unwrap()
        }

        async fn verifier_at(&self, ahead: SignedDuration) -> OidcVerifier {
            OidcVerifier::discover(&self.url, "citas", Arc::new(Ahead(ahead))).await.unwrap()
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    /// A wall clock that differs from the system's.
    struct Ahead(SignedDuration);

    impl Clock for Ahead {
        fn now(&self) -> Timestamp {
            SystemClock.now() + self.0
        }

        fn monotonic(&self) -> Duration {
            SystemClock.monotonic()
        }
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires_by_the_clock_that_is_given() {
        let issuer = Issuer::start().await;
        // The token is valid for ten minutes, and clocks may differ by one.
        let token = issuer.publish("key", &json!({}));
        for (ahead, good) in [(-60, true), (10, true), (12, false), (60 * 24 * 365, false)] {
            let verifier = issuer.verifier_at(SignedDuration::from_mins(ahead)).await;
            assert_eq!(verifier.verify(&token).await.is_ok(), good, "{ahead} minutes ahead");
        }
    }

    #[tokio::test]
    async fn all_that_come_with_a_new_key_wait_for_one_fetch() {
        let issuer = Issuer::start().await;
        let verifier = issuer.verifier(Duration::ZERO, NEVER).await;
        let token = issuer.publish("new", &json!({}));
        let answers = futures::future::join_all((0..20).map(|_| verifier.verify(&token))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(issuer.fetches(), 2);
    }

    #[tokio::test]
    async fn a_crowd_with_unknown_keys_does_not_wait_for_an_issuer_that_is_slow() {
        let issuer = Issuer::start().await;
        let verifier = issuer.verifier(Duration::ZERO, NEVER).await;
        let token = issuer.publish("new", &json!({}));
        let fetching = verifier.source.begun.lock().await;
        let crowd = (0..MAX_WAITING + 50).map(|_| verifier.verify(&token)).map(Box::pin);
        let (mut waiting, mut refused) = (Vec::new(), 0);
        for mut verdict in crowd {
            match futures::poll!(&mut verdict) {
                std::task::Poll::Ready(verdict) => refused += usize::from(verdict.is_err()),
                std::task::Poll::Pending => waiting.push(verdict),
            }
        }
        assert_eq!((waiting.len(), refused), (MAX_WAITING, 50));
        drop(fetching);
        assert!(futures::future::join_all(waiting).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn tokens_with_keys_that_nobody_published_do_not_lead_to_fetches() {
        let issuer = Issuer::start().await;
        let verifier = issuer.verifier(NEVER, NEVER).await;
        let token = issuer.publish("unseen", &json!({}));
        for _ in 0..5 {
            assert!(verifier.verify(&token).await.is_err());
        }
        assert_eq!(issuer.fetches(), 1);
    }

    #[tokio::test]
    async fn a_key_that_is_withdrawn_stops_being_good() {
        let issuer = Issuer::start().await;
        let token = issuer.publish("old", &json!({}));
        let verifier = issuer.verifier(NEVER, Duration::ZERO).await;
        issuer.publish("other", &json!({}));
        assert!(verifier.verify(&token).await.is_ok(), "a request does not wait for the refresh that it starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        while verifier.verify(&token).await.is_ok() {
            assert!(Instant::now() < deadline, "still good");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_key_is_good_only_for_what_its_issuer_made_it_for() {
        let issuer = Issuer::start().await;
        for (members, good) in [
            (json!({ "use": "sig", "alg": "ES256" }), true),
            (json!({}), true),
            (json!({ "key_ops": ["verify"] }), true),
            (json!({ "use": "enc" }), false),
            (json!({ "key_ops": ["encrypt", "wrapKey"] }), false),
            (json!({ "alg": "ES999" }), false),
            (json!({ "alg": "ES384" }), false),
        ] {
            let token = issuer.publish("key", &members);
            let verdict = issuer.verifier(NEVER, NEVER).await.verify(&token).await;
            assert_eq!(verdict.is_ok(), good, "{members}");
        }
    }

    /// Verifies a token with this header and these claims.
    async fn verify_with(change: impl FnOnce(&mut Header), claims: Value) -> Result<Claims, BadToken> {
        let issuer = Issuer::start().await;
        let token = issuer.publish_and_sign("key", &json!({}), change, &claims);
        issuer.verifier(NEVER, NEVER).await.verify(&token).await
    }

    fn named(header: &mut Header) {
        header.kid = Some("key".into());
    }

    #[tokio::test]
    async fn a_claim_that_is_null_is_absent_and_one_text_is_a_list_of_one() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        for (claims, groups, scopes) in [
            (json!({ "groups": null, "scope": null, "cognito:groups": null }), &[][..], &[][..]),
            (json!({ "groups": "pe:staff", "scope": "a b" }), &["pe:staff"], &["a", "b"]),
            (json!({ "groups": ["pe:staff"], "cognito:groups": "platform" }), &["pe:staff", "platform"], &[]),
            (json!({ "groups": [null, "pe:staff"], "cognito:groups": [] }), &["pe:staff"], &[]),
            (json!({ "scope": ["a", null, "b c"] }), &[], &["a", "b", "c"]),
        ] {
            let found = verify_with(named, claims.clone()).await.unwrap_or_else(|bad| panic!("{claims}: {bad}"));
            assert_eq!((found.groups, found.scopes), (texts(groups), texts(scopes)), "{claims}");
        }
        for wrong in [json!({ "groups": 7 }), json!({ "groups": ["a", 7] }), json!({ "scope": {} })] {
            assert!(verify_with(named, wrong.clone()).await.is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_identity_is_of_the_claims_that_a_template_names_and_is_remembered_with_the_token() {
        let issuer = Issuer::start().await;
        let claims = json!({ "person": { "doc": "10117410" }, "acr": "2", "identities": { "cl": "run:11111111-1" } });
        let token = issuer.publish_and_sign("key", &json!({}), named, &claims);
        let template = |text: &str| vec![text.parse().unwrap()];
        for (text, expected) in [("pe=dni:{/person/doc};acr>=2", Some("dni:10117410")), ("pe={/doc}", None)] {
            let verifier = issuer.verifier(NEVER, NEVER).await.identifying_by(template(text));
            let expected = expected.map(|identity| ("pe".parse().unwrap(), identity.to_owned()));
            for _ in 0..2 {
                let found = verifier.verify(&token).await.unwrap().identities;
                assert_eq!(found, expected.clone().into_iter().collect(), "{text}");
            }
        }
    }

    /// Returns the result for a token whose header has these members, whether or not they are valid.
    async fn verify_with_header(members: &str) -> Result<Claims, BadToken> {
        verify_with_members(members, "").await
    }

    /// Returns the result for a token whose header and claims have these members besides, whether or not they are valid.
    async fn verify_with_members(of_header: &str, of_claims: &str) -> Result<Claims, BadToken> {
        let issuer = Issuer::start().await;
        let token = issuer.publish("key", &json!({}));
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims = String::from_utf8(claims).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!("{}{of_claims}}}", claims.strip_suffix('}').unwrap()));
        let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"key"{of_header}}}"#));
        let message = format!("{header}.{claims}");
        let signature = jsonwebtoken::crypto::sign(
            message.as_bytes(),
            issuer.signing.lock().unwrap().as_ref().unwrap(),
            Algorithm::ES256,
        )
        .unwrap();
        issuer.verifier(NEVER, NEVER).await.verify(&format!("{message}.{signature}")).await
    }

    #[tokio::test]
    async fn a_claim_that_is_there_twice_is_refused() {
        assert!(verify_with_members("", r#","doc":"1""#).await.is_ok());
        assert!(verify_with_members("", r#","doc":"1","doc":"2""#).await.is_err());
    }

    #[tokio::test]
    async fn a_token_whose_header_has_what_is_not_understood_is_refused() {
        for good in [
            "",
            r#","typ":"JWT""#,
            r#","typ":"at+jwt""#,
            r#","typ":"application/AT+JWT""#,
            r#","typ":"application/jwt""#,
            r#","more":1"#,
        ] {
            assert!(verify_with_header(good).await.is_ok(), "{good}");
        }
        for bad in [
            r#","crit":["b64"],"b64":true"#,
            r#","crit":["exp"]"#,
            r#","crit":[]"#,
            r#","crit":null"#,
            r#","b64":false"#,
            r#","kid":"key""#,
            r#","alg":"ES256""#,
            r#","more":1,"more":1"#,
            r#","typ":"logout+jwt""#,
            r#","typ":"dpop+jwt""#,
            r#","typ":7"#,
        ] {
            assert!(verify_with_header(bad).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn claims_of_a_wrong_type_or_out_of_their_time_are_refused() {
        let now = Timestamp::now().as_second();
        for good in [
            json!({ "exp": 4_000_000_000.5 }),
            json!({ "exp": u64::MAX }),
            json!({ "nbf": now + 30 }),
            json!({ "nbf": -1e300 }),
            json!({ "aud": ["other", null, "citas"] }),
            json!({ "nbf": null, "aud": null, "client_id": "citas" }),
        ] {
            assert!(verify_with(named, good.clone()).await.is_ok(), "{good}");
        }
        for bad in [
            json!({ "aud": ["citas", 7] }),
            json!({ "aud": [] }),
            json!({ "aud": [null], "client_id": "citas" }),
            json!({ "aud": null }),
            json!({ "exp": null }),
            json!({ "sub": null }),
            json!({ "iss": null }),
            json!({ "aud": { "citas": true } }),
            json!({ "exp": (now + 600).to_string() }),
            json!({ "exp": true }),
            json!({ "exp": 0 }),
            json!({ "exp": -1 }),
            json!({ "exp": -1e300 }),
            json!({ "exp": i64::MIN }),
            json!({ "nbf": now + 600 }),
            json!({ "nbf": 1e300 }),
            json!({ "nbf": "0" }),
            json!({ "sub": 7 }),
            json!({ "sub": ["ana"] }),
        ] {
            assert!(verify_with(named, bad.clone()).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_list_of_issuers_is_refused() {
        let issuer = Issuer::start().await;
        let claims = json!({ "iss": [issuer.url] });
        let token = issuer.publish_and_sign("key", &json!({}), named, &claims);
        assert!(issuer.verifier(NEVER, NEVER).await.verify(&token).await.is_err());
    }

    #[tokio::test]
    async fn keys_that_cannot_be_used_leave_the_others_as_they_are() {
        let issuer = Issuer::start().await;
        let token = issuer.publish("key", &json!({}));
        let mut keys = vec![
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "key", "pub": "AQAB" }),
            json!({ "kty": "EC", "crv": "secp256k1", "kid": "key", "x": "AQAB", "y": "AQAB" }),
            json!({ "kty": "RSA", "kid": "key", "n": "AQAB", "e": "AQAB" }),
            json!({ "kty": "oct", "kid": "key", "k": "AQAB" }),
            json!({ "kty": "EC", "kid": 7 }),
            json!("key"),
        ];
        // A key of the same curve with the same `kid` did not make the signature.
        let other = Issuer::start().await;
        other.publish("key", &json!({}));
        keys.append(&mut other.keys.lock().unwrap().clone());
        keys.append(&mut issuer.keys.lock().unwrap().clone());
        *issuer.keys.lock().unwrap() = keys;
        assert!(issuer.verifier(NEVER, NEVER).await.verify(&token).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_that_names_no_key_is_verified_with_the_only_key_for_its_algorithm() {
        assert!(verify_with(|_| {}, json!({})).await.is_ok());
        let issuer = Issuer::start().await;
        let token = issuer.publish_and_sign("key", &json!({}), |_| {}, &json!({}));
        let mut others = vec![json!({ "kty": "RSA", "kid": "key", "n": "AQAB", "e": "AQAB" })];
        others.append(&mut issuer.keys.lock().unwrap().clone());
        issuer.keys.lock().unwrap().clone_from(&others);
        assert!(issuer.verifier(NEVER, NEVER).await.verify(&token).await.is_ok(), "a key of another type is no choice");
        let mut second = others[1].clone();
        second["kid"] = "second".into();
        others.push(second);
        *issuer.keys.lock().unwrap() = others;
        assert!(issuer.verifier(NEVER, NEVER).await.verify(&token).await.is_err(), "two keys could have signed it");
    }
}
