//! Reads a request's JSON body within limits of size and time, and parses the headers of conditional and repeated
//! requests.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_LANGUAGE, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::{Kind, Problem};

/// Maximum size of a body, in bytes: the most that may cross the border to the rules.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Maximum time until a body is complete. A request in progress holds its connection, so this is much less than the
/// time for a whole request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length of an Idempotency-Key, in characters.
const MAX_KEY_CHARS: usize = 255;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A JSON document without duplicate keys. An empty body is an empty object.
pub struct JsonBody(pub Value);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Ok(Self(Value::Object(Map::new())));
        }
        if !is_json(&head.headers) {
            return Err(Problem::new(Kind::UnsupportedMediaType, "`Content-Type` must be `application/json`"));
        }
        let document = citas_core::model::json::parse(&bytes);
        document.map(Self).map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
    let read = read.map_err(|_| {
        let detail = format!("a request body must be here within {} seconds", BODY_TIMEOUT.as_secs());
        Problem::new(Kind::TooSlow, detail).header(CONNECTION, HeaderValue::from_static("close"))
    })?;
    read.map_err(|error| {
        if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            return Problem::new(Kind::TooLarge, format!("a request body may have at most {MAX_BODY_BYTES} bytes"));
        }
        Problem::malformed("the body breaks off, or its chunks are not as HTTP has them")
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// Returns the `Idempotency-Key`, with or without the quotes that its draft requires.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(header) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = header.to_str().unwrap_or_default();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let bare = !key.starts_with(['"', ' ']) && !key.ends_with(['"', ' ']);
    let plain = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if (1..=MAX_KEY_CHARS).contains(&key.len()) && bare && plain {
        return Ok(Some(key));
    }
    Err(Problem::malformed(format!("an Idempotency-Key has 1 to {MAX_KEY_CHARS} visible ASCII characters")))
}

/// Value of a conditional header (RFC 9110, section 13.1).
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    /// `*`: any representation.
    Any,
    /// Entity tags. The flag is true for a weak one.
    Tags(Vec<(bool, String)>),
}

/// Parses `If-Match` or `If-None-Match`; none if the request has no such header.
pub fn condition(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Condition>, Problem> {
    let mut tags = Vec::new();
    for header in headers.get_all(name) {
        let text = header.to_str().unwrap_or("?").trim();
        if text == "*" {
            return Ok(Some(Condition::Any));
        }
        for tag in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
            tags.push(entity_tag(tag).ok_or_else(|| {
                Problem::malformed(format!(r#"`{name}` is `*` or a list of entity tags such as `"3"`"#))
            })?);
        }
    }
    Ok(headers.contains_key(name).then_some(Condition::Tags(tags)))
}

/// Parses an entity tag (RFC 9110, section 8.8.3).
fn entity_tag(text: &str) -> Option<(bool, String)> {
    let weak = text.strip_prefix("W/");
    let opaque = weak.unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?;
    (!opaque.contains('"')).then(|| (weak.is_some(), opaque.to_owned()))
}

/// Returns the revisions that `If-Match` allows, whichever rules presented them; none if any will do. A weak tag never
/// matches.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Vec<u32>>, Problem> {
    let Some(Condition::Tags(tags)) = condition(headers, &IF_MATCH)? else { return Ok(None) };
    let strong = tags.into_iter().filter(|(weak, _)| !weak);
    let revision = |opaque: &str| opaque.split('-').next().and_then(|number| number.parse().ok());
    Ok(Some(strong.filter_map(|(_, opaque)| revision(&opaque)).collect()))
}

/// True if `If-None-Match` names this tag, which the response would have. Tags are compared weakly.
pub fn has_seen(headers: &HeaderMap, tag: &str) -> Result<bool, Problem> {
    Ok(match condition(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Condition::Any) => true,
        Some(Condition::Tags(tags)) => tags.iter().any(|(_, opaque)| opaque == tag),
    })
}

/// Returns `Accept-Language`; empty if there is none.
pub fn accept_language(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn parsed(text: &'static str) -> Result<Option<Vec<u32>>, Problem> {
        if_match(&HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(text))]))
    }

    #[test]
    fn if_match_names_revisions() {
        let named: [(&str, &[u32]); 6] = [
            (r#""3""#, &[3]),
            (r#""3", "4""#, &[3, 4]),
            (r#""3-0123abcd""#, &[3]),
            (r#"W/"3""#, &[]),
            (r#""elsewhere""#, &[]),
            ("", &[]),
        ];
        for (given, revisions) in named {
            assert_eq!(parsed(given).unwrap().as_deref(), Some(revisions), "{given}");
        }
        assert_eq!(parsed("*").unwrap(), None);
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        assert!(parsed("3").is_err());
        assert!(parsed(r#""3" "4""#).is_err());
        assert!(parsed(",").is_err());
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for (given, expected) in
            [(r#""2""#, true), (r#"W/"2""#, true), (r#""1", "2""#, true), ("*", true), (r#""1""#, false), ("", false)]
        {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(given))]);
            assert_eq!(has_seen(&headers, "2").unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn a_key_comes_with_or_without_quotes_and_is_never_empty() {
        let key = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static(text));
            idempotency_key(&headers).map(|key| key.map(str::to_owned)).ok()
        };
        assert_eq!(key("\"k-1\""), Some(Some("k-1".into())));
        assert_eq!(key("k-1"), Some(Some("k-1".into())));
        assert_eq!(key("\"\""), None);
        assert_eq!(key("\"\"k\"\""), None);
        assert_eq!(key(""), None);
    }
}
