//! Instants as RFC 3339 writes them, and their schema: that of `jiff::Timestamp`, which has none.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// An instant as RFC 3339 has it.
pub struct Instant;

impl JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Parses an instant as RFC 3339 (section 5.6) writes it. The library takes other forms of ISO 8601, too.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let (fraction, offset) = rest.strip_prefix('.').map_or(("0", rest), |rest| {
        rest.split_at(rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len()))
    });
    let is_ahead_or_behind = has_form(offset, "+00:00") || has_form(offset, "-00:00");
    let is_offset = offset.eq_ignore_ascii_case("Z") || is_ahead_or_behind && &offset[1..3] < "24";
    if !has_form(date, "0000-00-00") || !has_form(time, "T00:00:00") || fraction.is_empty() || !is_offset {
        return None;
    }
    date.parse::<Date>().ok()?;
    // The library reads nine digits of a fraction.
    let time = format!("{time}.{fraction:.9}{offset}");
    let on_some_day: Timestamp = format!("2000-01-01{time}").parse().ok()?;
    // The library takes a second 60 for the one before, at any time of the day.
    if &time[7..9] == "60" && on_some_day.as_second().rem_euclid(86_400) != 86_399 {
        return None;
    }
    // Its last instant is two days before the end of the year 9999. No appointment is later.
    Some(format!("{date}{time}").parse().unwrap_or(Timestamp::MAX))
}

/// Returns true if a text has the form of another, in which `0` stands for any digit.
fn has_form(text: &str, form: &str) -> bool {
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(&form),
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_as_rfc_3339_writes_it() {
        for (text, same) in [
            ("2026-12-01T14:30:00Z", "2026-12-01T14:30:00Z"),
            ("2026-12-01t14:30:00.5z", "2026-12-01T14:30:00.5Z"),
            ("2026-12-01T14:30:00-05:00", "2026-12-01T19:30:00Z"),
            ("2026-12-01T14:30:00-00:00", "2026-12-01T14:30:00Z"),
            ("2026-12-01T14:30:00+23:59", "2026-11-30T14:31:00Z"),
            ("2026-12-01T14:30:00.1234567899999Z", "2026-12-01T14:30:00.123456789Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2016-12-31T18:59:60.5-05:00", "2016-12-31T23:59:59.5Z"),
            ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T23:59:60Z", "9999-12-30T22:00:00.999999999Z"),
            ("9999-12-31T23:59:59-05:00", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(parse(text), Some(same.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_rfc_3339_does_not_have_is_no_instant() {
        for bad in [
            "",
            "20261201T000000Z",
            "2026-12-01",
            "2026-W49-2T00:00:00Z",
            "2026-335T00:00:00Z",
            "2026-12-01 14:30:00Z",
            "2026-12-01T14:30Z",
            "2026-12-01T14:30:00",
            "2026-12-01T14:30:00.Z",
            "2026-12-01T14:30:00,5Z",
            "2026-12-01T14:30:00+0500",
            "2026-12-01T14:30:00-05",
            "2026-12-01T14:30:00+24:00",
            "2026-12-01T14:30:00+05:60",
            "2026-12-01T24:00:00Z",
            "2026-12-01T14:30:60Z",
            "2026-12-01T23:59:61Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "9999-12-32T00:00:00Z",
            "9999-12-31T24:00:00Z",
            "9999-12-31T23:59:60-05:00",
            "+02026-12-01T14:30:00Z",
            "12026-12-01T14:30:00Z",
            "2026-12-01T14:30:00Z[UTC]",
            "2026-12-01T14:30:00--05:00",
            "2026-12-01T14:30:00 05:00",
            "2026-12-01T14:30:00Z ",
            "é026-12-01T14:30:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
