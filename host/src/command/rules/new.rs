//! `citas rules new`: creates the folder of a new country.

use std::path::Path;

use citas_core::model::CountryCode;
use serde_json::json;

use super::{Answer, Outcome, Report};
use crate::toolkit::{Language, begin};

pub(super) fn new(country: CountryCode, lang: Language, zone: &str, countries: &Path, report: &Report) -> Outcome {
    let folder = begin(countries, country, lang, zone)?;
    let there = folder.display();
    let words = format!(
        "{there} builds, passes its cases and books: `citas rules test {there}`, `citas dev`. What is yours to change begins in {there}/{}",
        lang.first_page()
    );
    report.say(&words, &json!({ "folder": folder }));
    Ok(Answer::Done)
}
