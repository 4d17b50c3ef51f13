//! The words for codes, in every language of a country.

use crate::{Message, Violation};

/// A code and its text in each of the country's locales, in their order.
pub type Words = (&'static str, &'static [&'static str]);

/// The catalogue that a descriptor carries.
#[must_use]
pub fn catalogue(locales: &[&str], words: &[Words]) -> Vec<Message> {
    let in_each_locale = |(code, texts): &Words| {
        let message = |(locale, text): (&&str, &&str)| Message {
            code: (*code).into(),
            locale: (*locale).into(),
            text: (*text).into(),
        };
        locales.iter().zip(*texts).map(message).collect::<Vec<_>>()
    };
    words.iter().flat_map(in_each_locale).collect()
}

/// What keeps a violation from being said in each locale: a text that is missing, or a placeholder without a
/// param. For a country's tests; empty when all is well.
#[must_use]
pub fn unsaid(violation: &Violation, locales: &[&str], catalogue: &[Message]) -> Vec<String> {
    let mut wrong = Vec::new();
    for locale in locales {
        let mut texts = catalogue
            .iter()
            .filter(|m| m.code == violation.code && m.locale == *locale);
        let Some(message) = texts.next() else {
            wrong.push(format!("{} has no text in {locale}", violation.code));
            continue;
        };
        let unfilled = placeholders(&message.text)
            .filter(|name| violation.params.iter().all(|(param, _)| param != name));
        wrong.extend(unfilled.map(|name| format!("{} gives no {name}", violation.code)));
    }
    wrong
}

fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCALES: [&str; 2] = ["es", "en"];
    const WORDS: &[Words] = &[("x.date.late", &["hasta {latest}", "until {latest}"])];

    #[test]
    fn each_code_has_a_message_per_locale() {
        let catalogue = catalogue(&LOCALES, WORDS);
        let said: Vec<_> = catalogue
            .iter()
            .map(|m| (m.locale.as_str(), m.text.as_str()))
            .collect();
        assert_eq!(said, [("es", "hasta {latest}"), ("en", "until {latest}")]);
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let catalogue = catalogue(&LOCALES, WORDS);
        let unsaid = |violation| unsaid(&violation, &LOCALES, &catalogue);
        assert!(unsaid(Violation::new("", "x.date.late").with("latest", "now")).is_empty());
        assert_eq!(unsaid(Violation::new("", "x.date.late")).len(), 2);
        assert_eq!(unsaid(Violation::new("", "x.other")).len(), 2);
    }
}
