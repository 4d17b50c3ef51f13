//! Reads a request's JSON body within limits of size and time, and parses the headers of conditional and repeated
//! requests.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, IF_MATCH,
    IF_NONE_MATCH,
};
use citas_core::model::Precondition;
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

/// Header of a repeatable request (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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
        if !is_plain(&head.headers) {
            let problem = Problem::new(Kind::UnsupportedMediaType, "the body must come without a `Content-Encoding`");
            return Err(problem.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        let document = citas_core::model::json::parse(&bytes);
        document.map(Self).map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))
    }
}

pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
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
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    let media_type = only.and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// True if the body is not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Returns the `Idempotency-Key`, with or without the quotes that its draft requires.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(header) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Problem::malformed("a request has at most one Idempotency-Key"));
    }
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

/// Parses `If-Match` or `If-None-Match`; none if the request has no such header. (The crate `headers` skips what is no
/// entity tag, and the client would not learn of its mistake.)
pub fn condition(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Condition>, Problem> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let list = lines.join(&b',');
    if list.trim_ascii() == b"*" {
        return Ok(Some(Condition::Any));
    }
    let refused = || Problem::malformed(format!(r#"`{name}` is `*` or a list of entity tags such as `"3"`"#));
    entity_tags(&list).map(|tags| Some(Condition::Tags(tags))).ok_or_else(refused)
}

/// Parses a list of entity tags (RFC 9110, sections 5.6.1 and 8.8.3). Elements may be empty, and a tag may hold a comma.
fn entity_tags(list: &[u8]) -> Option<Vec<(bool, String)>> {
    let (mut tags, mut rest) = (Vec::new(), list.trim_ascii());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let weak = rest.strip_prefix(b"W/");
        let opened = weak.unwrap_or(rest).strip_prefix(b"\"")?;
        let length = opened.iter().position(|byte| *byte == b'"')?;
        let (opaque, closed) = opened.split_at(length);
        rest = closed[1..].trim_ascii_start();
        let is_opaque = opaque.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
        if !is_opaque || !(rest.is_empty() || rest.starts_with(b",")) {
            return None;
        }
        tags.push((weak.is_some(), String::from_utf8_lossy(opaque).into_owned()));
    }
    Some(tags)
}

/// Returns the strong entity tags that `If-Match` allows; none if any will do. A weak tag never matches.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Vec<String>>, Problem> {
    let Some(Condition::Tags(tags)) = condition(headers, &IF_MATCH)? else { return Ok(None) };
    Ok(Some(strong(tags)))
}

/// True if `If-None-Match` names this tag, which the response would have. Tags are compared weakly.
pub fn has_seen(headers: &HeaderMap, tag: &str) -> Result<bool, Problem> {
    Ok(match condition(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Condition::Any) => true,
        Some(Condition::Tags(tags)) => tags.iter().any(|(_, opaque)| opaque == tag),
    })
}

/// Returns the condition of a change that replaces a resource. Weak tags never match (RFC 9110, section 13.1.1).
pub fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    match (condition(headers, &IF_MATCH)?, condition(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some(Condition::Any), None) => Ok(Precondition::Present),
        (Some(Condition::Tags(tags)), None) => Ok(Precondition::Tags(strong(tags))),
        (None, Some(Condition::Any)) => Ok(Precondition::Absent),
        (None, Some(Condition::Tags(_))) => Err(Problem::malformed("`If-None-Match` of a `PUT` is `*`")),
        (Some(_), Some(_)) => Err(Problem::malformed(
            "send `If-Match` to replace what there is, or `If-None-Match: *` if there is nothing",
        )),
    }
}

fn strong(tags: Vec<(bool, String)>) -> Vec<String> {
    tags.into_iter().filter(|(weak, _)| !weak).map(|(_, opaque)| opaque).collect()
}

/// Returns `Accept-Language`, over all lines; empty if there is none.
pub fn accept_language(headers: &HeaderMap) -> String {
    let lines = headers.get_all(ACCEPT_LANGUAGE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    lines.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn parsed(lines: &[&'static str]) -> Result<Option<Vec<String>>, Problem> {
        if_match(&lines.iter().map(|line| (IF_MATCH, HeaderValue::from_static(line))).collect())
    }

    #[test]
    fn if_match_is_a_list_of_entity_tags_over_all_lines() {
        let named: [(&[&str], &[&str]); 10] = [
            (&[r#""3""#], &["3"]),
            (&[r#""3", "4""#], &["3", "4"]),
            (&[r#""3""#, r#""4" ,"5""#], &["3", "4", "5"]),
            (&[r#" ,, "3" , ,"#], &["3"]),
            (&[r#""x,y""#], &["x,y"]),
            (&[r#""3-0123abcd""#], &["3-0123abcd"]),
            (&[r#"W/"3""#], &[]),
            (&[r#""""#], &[""]),
            (&[","], &[]),
            (&[""], &[]),
        ];
        for (given, tags) in named {
            assert_eq!(parsed(given).unwrap().unwrap(), tags, "{given:?}");
        }
        assert_eq!(parsed(&["*"]).unwrap(), None);
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        for wrong in ["3", r#""3" "4""#, r#""3"#, r#"w/"3""#, r#""3", *"#, r#""a b""#] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
        assert!(parsed(&["*", r#""3""#]).is_err());
    }

    #[test]
    fn accept_language_is_read_over_all_lines() {
        let lines = ["é, de", "en;q=0.5"].map(|line| (ACCEPT_LANGUAGE, HeaderValue::from_str(line).unwrap()));
        assert_eq!(accept_language(&lines.into_iter().collect()), "é, de,en;q=0.5");
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
        let two = ["k-1", "k-1"].map(|key| (IDEMPOTENCY_KEY, HeaderValue::from_static(key)));
        assert!(idempotency_key(&two.into_iter().collect()).is_err(), "a key stands in one line");
    }
}
