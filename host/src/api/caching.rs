//! Responses that caches may keep and revalidate, and compressed responses.

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap};
use axum::http::{Extensions, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use citas_core::model::digest;
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

use super::body::has_seen;
use super::problem::Problem;

/// Number of hexadecimal digits of a document's entity tag.
const TAG_DIGITS: usize = 16;

/// Returns a JSON document that anybody may cache and must revalidate (RFC 9111, section 5.2.2.4), or a 304 if the client
/// has it. Its entity tag is weak, because it is the same document when it is compressed.
pub fn revalidated(headers: &HeaderMap, document: Bytes) -> Result<Response, Problem> {
    let digest = digest(&document);
    let tag = &digest["sha256:".len()..][..TAG_DIGITS];
    let etag = HeaderValue::from_str(&format!("W/\"{tag}\"")).expect("hexadecimal digits in quotes");
    let caching = [(ETAG, etag), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if has_seen(headers, tag)? {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((caching, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response())
}

/// Returns a JSON value as [`revalidated`] returns a document.
pub fn revalidated_json(headers: &HeaderMap, value: &impl Serialize) -> Result<Response, Problem> {
    revalidated(headers, serde_json::to_vec(value).expect("members with text keys").into())
}

/// Compresses responses, but none with a strong entity tag: that names these very bytes (RFC 9110, section 8.8.1).
pub fn compression() -> CompressionLayer<impl Predicate> {
    let is_weak = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        headers.get(ETAG).is_none_or(|tag| tag.as_bytes().starts_with(b"W/"))
    };
    CompressionLayer::new().compress_when(DefaultPredicate::new().and(is_weak))
}
