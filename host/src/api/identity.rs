//! Turns a bearer token (RFC 6750) into a caller.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use citas_core::model::{Caller, Claims};

use super::Api;
use super::observe::RequestId;
use super::problem::{Kind, Problem};

/// The authenticated caller of a request, within its rate limit. If a layer before the API has verified the token, it
/// has put the claims into the request's extensions.
pub struct Identified(pub Caller);

impl FromRequestParts<Arc<Api>> for Identified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let Claims { subject, groups, scopes, identities } = match parts.extensions.get::<Claims>() {
            Some(checked) => checked.clone(),
            None => api.tokens.verify(bearer(&parts.headers)?).await?,
        };
        api.limits.admit(&subject)?;
        let request_id = parts.extensions.get::<RequestId>().cloned().unwrap_or_default().0;
        Ok(Self(Caller { subject, groups, scopes, identities, request_id }))
    }
}

/// Returns the problem of a request without credentials. Its challenge names no error (RFC 6750, section 3.1).
fn no_token() -> Problem {
    let challenge = HeaderValue::from_static(r#"Bearer realm="citas""#);
    Problem::new(Kind::Unauthenticated, "the request has no `Authorization: Bearer …`")
        .header(WWW_AUTHENTICATE, challenge)
}

/// Returns the bearer token. A request with another scheme, or without a token, has no credentials for this API.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let header = lines.next().ok_or_else(no_token)?;
    if lines.next().is_some() {
        return Err(Problem::malformed("a request has one `Authorization` header")
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="citas", error="invalid_request""#)));
    }
    let text = header.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim();
    if token.is_empty() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(no_token());
    }
    Ok(token)
}
