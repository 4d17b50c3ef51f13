//! Lets pages of other origins call the API from a browser (CORS, in the Fetch standard). No cookie gives access to anything
//! here, so credentials of the browser are never allowed, and a page needs a token whatever its origin.

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, ALLOW, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_NONE_MATCH, LINK, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::{Host, Url};

use super::body::IDEMPOTENCY_KEY;
use super::limits::{POLICY, STATE};
use super::observe::REQUEST_ID;

/// Methods of the API. `template.yaml` has these lists too.
const METHODS: [Method; 5] = [Method::DELETE, Method::GET, Method::HEAD, Method::POST, Method::PUT];

/// Headers that a page may send.
const REQUEST_HEADERS: [HeaderName; 7] =
    [ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, REQUEST_ID];

/// Headers of responses that a page may read, besides those that every page may.
const RESPONSE_HEADERS: [HeaderName; 11] = [
    ACCEPT_ENCODING,
    ALLOW,
    CONTENT_LANGUAGE,
    ETAG,
    LINK,
    LOCATION,
    POLICY,
    STATE,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    REQUEST_ID,
];

/// Time for which a browser keeps the answer to a preflight. No browser keeps it longer.
const PREFLIGHT_AGE: Duration = Duration::from_hours(2);

/// Origin whose pages may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every origin.
    Any,
    /// Pages that this machine serves, at any port.
    ThisMachine,
    /// One origin as browsers send it: in lower case, and without the port that its scheme implies.
    Named(HeaderValue),
}

/// Error of a text that is no origin. It names what browsers send for a text that comes close.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no origin: an origin is `*`, or a scheme, a host and perhaps a port, such as {example}")]
pub struct NotAnOrigin {
    text: String,
    example: String,
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let sent = Url::parse(text).ok().and_then(|url| serialized(&url));
        let named = sent.as_deref().filter(|sent| *sent == text).and_then(|sent| HeaderValue::from_str(sent).ok());
        let example = sent.unwrap_or_else(|| "https://app.example.com".into());
        named.map(Self::Named).ok_or_else(|| NotAnOrigin { text: text.to_owned(), example })
    }
}

/// Returns the origin of a URL (RFC 6454, section 6.2). Applications for telephones have schemes of their own, such as
/// `capacitor`, so any scheme with a host will do.
fn serialized(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('*'))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

impl Origin {
    fn allows(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::ThisMachine => origin.to_str().is_ok_and(is_on_this_machine),
            Self::Named(named) => named == origin,
        }
    }
}

fn is_on_this_machine(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// Returns the layer that answers preflights and lets pages of these origins read responses; none without origins.
pub fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let allowed = if origins.contains(&Origin::Any) {
        AllowOrigin::any()
    } else {
        let origins = origins.to_vec();
        AllowOrigin::predicate(move |origin, _| origins.iter().any(|allowed| allowed.allows(origin)))
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(PREFLIGHT_AGE)
        .vary([ORIGIN]);
    (!origins.is_empty()).then_some(layer)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in [
            "https://app.example.com",
            "http://localhost:5173",
            "http://[::1]:8080",
            "capacitor://localhost",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(good.parse::<Origin>().unwrap(), Origin::Named(good.parse().unwrap()));
        }
        assert_eq!("*".parse::<Origin>().unwrap(), Origin::Any);
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_what_would_be_right() {
        for (bad, right) in [
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com/booking?x=1", "https://app.example.com"),
            ("https://APP.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("https://ana@app.example.com", "https://app.example.com"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("app.example.com", "https://app.example.com"),
            ("https://*.example.com", ""),
            ("https://", ""),
            ("file:///index.html", ""),
            ("null", ""),
            ("", ""),
        ] {
            let told = bad.parse::<Origin>().map(|parsed| panic!("{parsed:?}")).unwrap_err().to_string();
            assert!(told.contains(&format!("`{bad}`")) && told.contains(right), "{told}");
        }
    }

    #[test]
    fn a_page_of_this_machine_is_known_by_its_host() {
        let allows = |origin: &'static str| Origin::ThisMachine.allows(&HeaderValue::from_static(origin));
        for local in ["http://localhost:5173", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:3000"] {
            assert!(allows(local), "{local}");
        }
        for other in ["http://localhost.example.com", "https://example.com", "http://10.0.0.7", "null", "localhost"] {
            assert!(!allows(other), "{other}");
        }
    }

    #[test]
    fn the_template_has_the_same_lists() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let template = fs::read_to_string(template).unwrap();
        let list = |name: &str| {
            let line = template.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
            let mut names: Vec<_> =
                line.trim_matches([' ', '[', ']']).to_lowercase().split(", ").map(str::to_owned).collect();
            names.sort();
            names
        };
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(list("AllowHeaders:"), sorted(REQUEST_HEADERS.iter().map(ToString::to_string).collect()));
        assert_eq!(list("ExposeHeaders:"), sorted(RESPONSE_HEADERS.iter().map(ToString::to_string).collect()));
        assert_eq!(
            list("AllowMethods:"),
            sorted(METHODS.iter().map(|method| method.as_str().to_lowercase()).collect())
        );
        assert_eq!(list("MaxAge:"), [PREFLIGHT_AGE.as_secs().to_string()]);
    }
}
