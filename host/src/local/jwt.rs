//! Verifies access tokens (RFC 9068, Amazon Cognito) and reads their claims. Fetches no keys and caches nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use citas_core::model::{Claims, CountryCode, json};
use citas_core::ports::BadToken;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Number, Value};

/// Allowed difference between the issuer's clock and this host's.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Claims that Citas reads. Groups are in `cognito:groups`, or in `groups` with other issuers.
#[derive(Deserialize)]
struct AccessToken {
    sub: String,
    exp: Number,
    nbf: Option<Number>,
    /// Issuer. The library compares it, but would accept a list (RFC 7519, section 4.1.1, has one).
    #[serde(rename = "iss")]
    _iss: String,
    scope: Option<OneOrMany>,
    #[serde(rename = "cognito:groups")]
    cognito_groups: Option<OneOrMany>,
    groups: Option<OneOrMany>,
    aud: Option<OneOrMany>,
    /// Audience of Cognito's access tokens, which have no `aud`.
    client_id: Option<String>,
    /// Kind of a Cognito token. ID tokens have `id`; they are for the client, not for an API.
    token_use: Option<String>,
}

/// One text, or a list. Issuers leave out what is empty, write null, or write one text in place of a list of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Option<String>),
    Many(Vec<Option<String>>),
}

impl OneOrMany {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let members = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        };
        members.iter().flatten().map(String::as_str)
    }
}

impl AccessToken {
    fn is_for(&self, audience: &str) -> bool {
        let is_client = || self.client_id.as_deref() == Some(audience);
        self.aud.as_ref().map_or_else(is_client, |aud| aud.texts().any(|one| one == audience))
    }
}

/// A valid token's claims and its expiry.
pub(super) struct Good {
    pub claims: Claims,
    pub expires_at: Timestamp,
}

/// Verifies a token as of `now` and reads its claims. `identities` finds those of the bearer in all the token's claims.
pub(super) fn good(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    issuers: &[&str],
    audience: &str,
    now: Timestamp,
    identities: impl Fn(&Value) -> BTreeMap<CountryCode, String>,
) -> Result<Good, BadToken> {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(issuers);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    // The library would read the system's clock. The validity period is checked below, by this host's clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    // The audience is checked below, because Cognito has it in a claim of another name.
    validation.validate_aud = false;
    check_header(token)?;
    let decoded = jsonwebtoken::decode::<AccessToken>(token, key, &validation).map_err(|error| reason(error.kind()))?;
    let (all, token) = (part(token, 1)?, decoded.claims);
    let expires_at = instant(&token.exp);
    if expires_at.saturating_add(LEEWAY).is_ok_and(|end| end < now) {
        return Err(BadToken("the token has expired"));
    }
    if token.nbf.as_ref().is_some_and(|from| instant(from).saturating_sub(LEEWAY).is_ok_and(|begin| begin > now)) {
        return Err(BadToken("the token is not good yet"));
    }
    if !token.is_for(audience) {
        return Err(BadToken("the token is for another audience"));
    }
    if token.sub.is_empty() {
        return Err(BadToken("the token names nobody"));
    }
    if token.token_use.is_some_and(|used_for| used_for != "access") {
        return Err(BadToken("this is no access token"));
    }
    let scopes = token.scope.iter().flat_map(OneOrMany::texts).flat_map(str::split_ascii_whitespace);
    let groups = [&token.cognito_groups, &token.groups].into_iter().flatten().flat_map(OneOrMany::texts);
    let (groups, scopes) = (groups.map(str::to_owned).collect(), scopes.map(str::to_owned).collect());
    Ok(Good { claims: Claims { subject: token.sub, groups, scopes, identities: identities(&all) }, expires_at })
}

/// Types of tokens that may be access tokens (RFC 9068, section 2.1). Tokens for other purposes name theirs, so that no
/// other recipient takes them (RFC 8725, section 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Refuses a token whose header has a member twice, a type that is not an access token's, or an extension that must be
/// understood (RFC 7515, section 4.1.11): none is known here. `b64` is one of them in any case (RFC 7797, section 6).
fn check_header(token: &str) -> Result<(), BadToken> {
    let header = part(token, 0)?;
    if ["crit", "b64"].iter().any(|name| header.get(name).is_some()) {
        return Err(BadToken("the token has extensions that must be understood"));
    }
    let kind = |kind: &Value| kind.as_str().map(str::to_ascii_lowercase);
    // RFC 7515, section 4.1.9: the prefix may be left out.
    let is_access = |kind: String| TYPES.contains(&kind.strip_prefix("application/").unwrap_or(&kind));
    if header.get("typ").is_some_and(|typ| !kind(typ).is_some_and(is_access)) {
        return Err(BadToken("this is no access token"));
    }
    Ok(())
}

/// Reads the header (0) or the claims (1) of a token, without a check of its signature. Refuses a member that is there twice
/// (RFC 7519, section 4).
fn part(token: &str, index: usize) -> Result<Value, BadToken> {
    const UNREADABLE: BadToken = BadToken("the token cannot be read");
    let part = token.split('.').nth(index).unwrap_or_default();
    let part = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE)?;
    json::parse(&part).map_err(|_| UNREADABLE)
}

/// Converts a `NumericDate` (RFC 7519, section 2): seconds since 1970, whose fraction, if any, is cut off.
fn instant(seconds: &Number) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction is to go, and a cast of what is too large saturates"
    )]
    let whole = seconds.as_i64().or_else(|| seconds.as_f64().map(|seconds| seconds as i64));
    let whole = whole.unwrap_or(0);
    Timestamp::from_second(whole).unwrap_or(if whole < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn reason(kind: &ErrorKind) -> BadToken {
    BadToken(match kind {
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidSignature => "the token's signature does not fit",
        _ => "the token cannot be read",
    })
}
