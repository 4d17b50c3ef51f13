//! Parses the parameters of a query, and the cursors of its pages. A mistake is refused, because a client would take the
//! list of another query for its own.

use axum::http::Uri;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use citas_core::model::digest;
use jiff::Timestamp;
use jiff::civil::Date;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::form_urlencoded;

use super::instant;
use super::problem::Problem;

/// Number of hexadecimal digits of a query's digest in a cursor.
const DIGITS: usize = 16;

/// Parameters of every list.
const PAGING: [&str; 2] = ["limit", "cursor"];

/// Decoded parameters of a query.
pub struct Parameters {
    pairs: Vec<(String, String)>,
    /// Digest of the path and of all parameters that select and order the items.
    digest: String,
}

/// End of a page, which a client repeats to get the next one.
#[derive(Serialize, Deserialize)]
struct Cursor<T> {
    /// Digest of the query.
    of: String,
    at: T,
}

impl Parameters {
    /// Parses the query of a list's URI. Refuses parameters other than `known` and [`PAGING`].
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        Self::without_pages(uri, &[known, &PAGING].concat())
    }

    /// Parses the query of a URI. Refuses parameters other than `known`.
    pub fn without_pages(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        if !is_encoded(query) {
            return Err(Problem::malformed("the query must be percent-encoded UTF-8 (RFC 3986): `%` is `%25`"));
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let known = known.join("`, `");
            return Err(Problem::malformed(format!("there is no parameter `{name}` here; there are `{known}`")));
        }
        let is_default = |name: &str, value: &str| (name, value) == ("order", "asc");
        let mut selecting: Vec<_> =
            pairs.iter().filter(|(name, value)| !PAGING.contains(&name.as_str()) && !is_default(name, value)).collect();
        selecting.sort();
        selecting.dedup();
        let mut digest = digest(json!([uri.path(), selecting]).to_string().as_bytes()).split_off("sha256:".len());
        digest.truncate(DIGITS);
        Ok(Self { pairs, digest })
    }

    /// Returns every value of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that a query has once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Problem::malformed(format!("`{name}` is given more than once")));
        }
        Ok(value)
    }

    /// Returns an instant.
    pub fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let refused = || {
            Problem::malformed(format!("`{name}` is an instant (RFC 3339) such as 2026-12-01T14:30:00Z; `+` is `%2B`"))
        };
        self.one(name)?.map(|text| instant::parse(text).ok_or_else(refused)).transpose()
    }

    /// Returns a day.
    pub fn date(&self, name: &str) -> Result<Option<Date>, Problem> {
        let refused = || Problem::malformed(format!("`{name}` is a day (RFC 3339) such as 2026-12-01"));
        let date = |text: &str| text.parse().ok().filter(|date: &Date| date.to_string() == text);
        self.one(name)?.map(|text| date(text).ok_or_else(refused)).transpose()
    }

    /// Returns the end of the page before; none for the first page.
    pub fn cursor<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        let Some(text) = self.one("cursor")?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let cursor: Option<Cursor<T>> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let cursor = cursor.ok_or_else(|| Problem::malformed("`cursor` is not one that this API gave"))?;
        if cursor.of != self.digest {
            return Err(Problem::malformed(
                "`cursor` is from another query; only `limit` may change between its pages",
            ));
        }
        Ok(Some(cursor.at))
    }

    /// Returns the opaque cursor of a page that ends here. The server stores nothing for it.
    pub fn cursor_at(&self, at: &impl Serialize) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json!(Cursor { of: self.digest.clone(), at }).to_string())
    }
}

/// True if each `%` begins an encoded byte, and the bytes are UTF-8.
fn is_encoded(query: &str) -> bool {
    let is_byte = |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    query.split('%').skip(1).all(is_byte) && percent_decode_str(query).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use citas_core::ports::Position;
    use uuid::Uuid;

    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::of(&format!("/v1/pe/appointments?{query}").parse().unwrap(), &["phase", "date", "from"])
            .unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    #[test]
    fn a_cursor_comes_back_in_its_own_query_alone() {
        let end = Position { starts_at: Some("2026-12-01T14:30:00Z".parse().unwrap()), id: Uuid::from_u128(7) };
        let cursor = parameters("phase=booked&phase=arrived").cursor_at(&end);
        let read = |query: &str| parameters(&format!("{query}&cursor={cursor}")).cursor::<Position>();
        assert_eq!(read("phase=arrived&limit=7&phase=booked").unwrap(), Some(end));
        for other in ["", "phase=booked", "phase=booked&phase=arrived&date=2026-12-01"] {
            assert!(read(other).is_err(), "{other}");
        }
        assert_eq!(parameters("cursor=").cursor::<Position>().unwrap(), None);
        for forged in ["bm90aGluZw", "%25%25", "e30"] {
            assert!(parameters(&format!("cursor={forged}")).cursor::<Position>().is_err(), "{forged}");
        }
    }

    #[test]
    fn a_day_is_a_full_date_of_the_calendar() {
        let date = |text: &str| parameters(&format!("date={text}")).date("date").ok().flatten();
        assert_eq!(date("2026-12-01"), Some(Date::constant(2026, 12, 1)));
        for wrong in ["", "20261201", "2026-12-1", "2026-02-30", "2026-12-01T09:30", "%2B002026-12-01"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_parameter_that_is_unknown_or_repeated_is_refused() {
        let uri = "/v1/pe/appointments?phases=booked".parse().unwrap();
        assert!(Parameters::of(&uri, &["phase"]).is_err());
        let twice = parameters("date=2026-12-01&date=2026-12-01&phase=booked&phase=pending");
        assert!(twice.one("date").is_err());
        assert_eq!(twice.all("phase").collect::<Vec<_>>(), ["booked", "pending"]);
    }
}
