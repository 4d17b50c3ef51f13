//! Documents that caches keep and revalidate, and compressed responses.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, VARY};
use axum::http::{Extensions, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use citas_core::model::{CountryCode, digest};
use citas_core::release::Entry;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};

use super::body::has_seen;
use super::problem::Problem;

/// Number of hexadecimal digits of a document's entity tag.
const TAG_DIGITS: usize = 16;

/// Returns the entity tag of a document.
pub fn tag_of(bytes: &[u8]) -> String {
    digest(bytes)["sha256:".len()..][..TAG_DIGITS].to_owned()
}

/// A document that is the same for everybody. Its entity tag and its compressed bytes are made once: both take longer than
/// all else of a request for it.
#[derive(Clone)]
pub struct Document {
    content_type: HeaderValue,
    bytes: Bytes,
    gzip: Bytes,
    tag: String,
}

impl Document {
    pub fn new(content_type: HeaderValue, bytes: Bytes) -> Self {
        let tag = tag_of(&bytes);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let gzip = encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("memory takes all that is written");
        Self { content_type, bytes, gzip: gzip.into(), tag }
    }

    pub fn json(value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("members with text keys");
        Self::new(HeaderValue::from_static("application/json"), text.into())
    }

    /// Returns the response to a request with these headers. Anybody may cache it and must revalidate it (RFC 9111, section
    /// 5.2.2.4); a client that has it gets a 304. The entity tag is weak, because the document is the same when it is
    /// compressed.
    pub fn response(&self, headers: &HeaderMap) -> Result<Response, Problem> {
        let etag = HeaderValue::from_str(&format!("W/\"{}\"", self.tag)).expect("hexadecimal digits in quotes");
        let caching = [
            (ETAG, etag),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if has_seen(headers, &self.tag)? {
            return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
        }
        let content_type = [(CONTENT_TYPE, self.content_type.clone())];
        if accepts_gzip(headers) {
            let coding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            return Ok((caching, content_type, coding, self.gzip.clone()).into_response());
        }
        Ok((caching, content_type, self.bytes.clone()).into_response())
    }
}

/// Countries and their rules in force, as the catalogue has them between two changes.
type Countries = Arc<BTreeMap<CountryCode, Entry>>;

/// Documents by path. Those that depend on the rules are made again when the rules change.
#[derive(Default)]
pub struct Documents {
    of_rules: Mutex<Option<(Countries, HashMap<String, Document>)>>,
    fixed: Mutex<HashMap<String, Document>>,
}

impl Documents {
    /// Returns the document at a path that the countries' rules determine.
    pub fn of_rules<T: Serialize>(&self, path: &str, countries: &Countries, make: impl FnOnce() -> T) -> Document {
        let mut kept = self.of_rules.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, documents) = match kept.take().filter(|(made_of, _)| Arc::ptr_eq(made_of, countries)) {
            Some(current) => kept.insert(current),
            None => kept.insert((countries.clone(), HashMap::new())),
        };
        documents.entry(path.to_owned()).or_insert_with(|| Document::json(&make())).clone()
    }

    /// Returns the document at a path that the program determines.
    pub fn fixed(&self, path: &str, make: impl FnOnce() -> Document) -> Document {
        let mut kept = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(path.to_owned()).or_insert_with(make).clone()
    }
}

/// Compresses responses that are not compressed yet, but none with a strong entity tag: that names these very bytes (RFC
/// 9110, section 8.8.1).
pub fn compression() -> CompressionLayer<impl Predicate> {
    let is_weak = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        headers.get(ETAG).is_none_or(|tag| tag.as_bytes().starts_with(b"W/"))
    };
    CompressionLayer::new().compress_when(DefaultPredicate::new().and(is_weak))
}

/// Reads `Accept-Encoding` for the compression: gzip, or nothing. The layer would turn an answer into a 406 if no coding of
/// it were accepted, after the request has had its effect. A client that refuses `identity` gets it all the same, as RFC
/// 9110, section 12.5.3, allows.
pub async fn accepted_coding(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    let gzip = accepts_gzip(headers);
    headers.remove(ACCEPT_ENCODING);
    if gzip {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    next.run(request).await
}

/// True if a response may be compressed with gzip (RFC 9110, section 12.5.3): it is named, or else `*` stands for it, with a
/// weight that is above 0 and not below the one of `identity`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let codings: Vec<(String, f32)> = lines.flat_map(|line| line.split(',')).filter_map(weighted).collect();
    let weight = |coding: &str| codings.iter().find(|(name, _)| name == coding).map(|(_, weight)| *weight);
    let any = weight("*");
    let gzip = weight("gzip").or(weight("x-gzip")).or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight("identity").unwrap_or(0.0)
}

/// Returns a coding in lower case and its weight; none if the weight is not one.
fn weighted(coding: &str) -> Option<(String, f32)> {
    let (name, parameter) = coding.split_once(';').map_or((coding, None), |(name, rest)| (name, Some(rest.trim())));
    let weight = match parameter {
        None => 1.0,
        Some(text) => text.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim().parse().ok()?,
    };
    (0.0..=1.0).contains(&weight).then(|| (name.trim().to_ascii_lowercase(), weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_accept_it() {
        for (lines, expected) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["GZIP;Q=0.5"], true),
            (&["br", "gzip"], true),
            (&["x-gzip"], true),
            (&["*"], true),
            (&["gzip, identity;q=0"], true),
            (&["identity;q=0, *"], true),
            (&["deflate, br"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["*;q=0"], false),
            (&["identity;q=0"], false),
            (&["identity, gzip;q=0.5"], false),
            (&["gzip;q=2"], false),
            (&["gzip;q=nan"], false),
            (&[""], false),
        ] {
            let headers = lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_static(line)));
            assert_eq!(accepts_gzip(&headers.collect()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_document_of_the_rules_is_made_once_until_they_change() {
        let documents = Documents::default();
        let made = |countries: &Countries, value: u8| documents.of_rules("/", countries, || value).bytes;
        let (first, second) = (Countries::default(), Countries::default());
        assert_eq!(made(&first, 1), "1");
        assert_eq!(made(&first, 2), "1");
        assert_eq!(made(&second, 3), "3");
    }
}
