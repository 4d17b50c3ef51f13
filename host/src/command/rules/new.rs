//! `citas rules new`: the beginning of a country.

use std::path::Path;

use citas_core::appointment::CountryCode;
use serde_json::json;

use super::{Answer, Outcome, Report};
use crate::rules::begin;

pub(super) fn new(country: CountryCode, zone: &str, countries: &Path, report: &Report) -> Outcome {
    let folder = begin(countries, country, zone)?;
    let there = folder.display();
    let words = format!(
        "{there} builds, passes its cases and books: `citas rules test {there}`, `citas dev`. What is yours to change begins in {there}/src/lib.rs"
    );
    report.say(&words, &json!({ "folder": folder }));
    Ok(Answer::Done)
}
