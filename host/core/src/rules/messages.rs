//! Texts of violations in the caller's language: the country's own messages, and the host's for its own codes.

use std::collections::HashMap;

use fluent_langneg::{LanguageIdentifier, NegotiationStrategy, negotiate_languages};

use crate::model::{Descriptor, Violation};
use crate::ports::Refusal;

/// Texts of the host's codes: code, English, Spanish. The text of `schema` is for every keyword that has no line of its
/// own.
const HOST: [(&str, &str, &str); 20] = [
    ("schema", "does not fit the schema", "no cumple el esquema"),
    ("schema.required", "`{property}` is required", "falta `{property}`, que es obligatorio"),
    ("schema.additionalProperties", "`{property}` is not known here", "`{property}` no se conoce aquí"),
    ("schema.type", "must be of type {expected}", "debe ser de tipo {expected}"),
    ("schema.enum", "must be one of: {expected}", "debe ser uno de: {expected}"),
    ("schema.const", "must be {expected}", "debe ser {expected}"),
    ("schema.pattern", "must match the pattern {expected}", "debe seguir el patrón {expected}"),
    ("schema.format", "must be a valid {expected}", "debe ser un {expected} válido"),
    ("schema.minLength", "must have at least {expected} characters", "debe tener al menos {expected} caracteres"),
    ("schema.maxLength", "must have at most {expected} characters", "debe tener como máximo {expected} caracteres"),
    ("schema.minimum", "must be at least {expected}", "debe ser al menos {expected}"),
    ("schema.maximum", "must be at most {expected}", "debe ser como máximo {expected}"),
    ("schema.minItems", "must have at least {expected} items", "debe tener al menos {expected} elementos"),
    ("schema.maxValues", "must have at most {expected} values", "debe tener como máximo {expected} valores"),
    (
        "schema.maxText",
        "must have at most {expected} bytes of text",
        "debe tener como máximo {expected} bytes de texto",
    ),
    ("schema.maxItems", "must have at most {expected} items", "debe tener como máximo {expected} elementos"),
    ("action.unknown", "there is no action `{action}`", "no existe la acción `{action}`"),
    ("action.role", "`{action}` is not for the role {role}", "`{action}` no es para el rol {role}"),
    ("time.nonexistent", "at that place the clocks skip this time", "en ese lugar los relojes se saltan esa hora"),
    ("unknown", "is not allowed ({code})", "no está permitido ({code})"),
];

/// The texts of one country's codes.
#[derive(Debug)]
pub struct Messages {
    /// Locales of the country, the default first.
    locales: Vec<LanguageIdentifier>,
    /// Texts by code, then by locale.
    texts: HashMap<String, HashMap<String, String>>,
}

impl Messages {
    /// Reads the messages of a descriptor.
    ///
    /// # Errors
    /// Returns an error if there is no locale, if a locale is not a BCP 47 tag, or if the locale of a message is not
    /// listed.
    pub fn of(descriptor: &Descriptor) -> Result<Self, Refusal> {
        let locales = descriptor.locales.iter().map(|tag| locale(tag)).collect::<Result<Vec<_>, _>>()?;
        if locales.is_empty() {
            return Err(Refusal::bad_descriptor("locales", "", "a country has at least one locale"));
        }
        let mut texts: HashMap<String, HashMap<String, String>> = HashMap::new();
        for message in &descriptor.messages {
            let locale = locale(&message.locale)?;
            if !locales.contains(&locale) {
                return Err(Refusal::bad_descriptor("messages", &message.locale, "the locales do not list it"));
            }
            texts.entry(message.code.clone()).or_default().insert(locale.to_string(), message.text.clone());
        }
        Ok(Self { locales, texts })
    }

    /// Returns the country's locale that fits an `Accept-Language` best (RFC 9110, section 12.5.4), or the default if
    /// none fits.
    pub fn negotiate(&self, accept_language: &str) -> String {
        let wanted = wanted(accept_language);
        let found = negotiate_languages(&wanted, &self.locales, Some(&self.locales[0]), NegotiationStrategy::Lookup);
        found.first().map_or_else(|| self.locales[0].to_string(), ToString::to_string)
    }

    /// Returns true if a code has a text in every locale, or is a code of the host.
    pub fn is_said(&self, code: &str) -> bool {
        let own = |texts: &HashMap<_, _>| self.locales.iter().all(|locale| texts.contains_key(&locale.to_string()));
        self.texts.get(code).is_some_and(own)
            || code.starts_with("schema.")
            || HOST.iter().any(|(known, ..)| *known == code)
    }

    /// Returns the text of a violation. A code without a text in `locale` has the text of the country's default locale.
    pub fn text(&self, violation: &Violation, locale: &str) -> String {
        let own = self.texts.get(&violation.code);
        let own = own.and_then(|texts| texts.get(locale).or_else(|| texts.get(&self.locales[0].to_string())));
        let template = own.map_or_else(|| host_text(&violation.code, locale), String::as_str);
        let param =
            |name: &str| violation.params.iter().find(|(param, _)| param == name).map(|(_, value)| value.as_str());
        filled(template, |name| param(name).or_else(|| (name == "code").then_some(violation.code.as_str())))
    }
}

/// Maximum length of a message, in bytes. The rules provide text and params, and a text may repeat a param many times.
const MAX_MESSAGE: usize = 4_000;

/// Replaces each `{name}` in a template by that param, once: placeholders within a param stay. Cuts a text that is too
/// long.
fn filled<'a>(template: &'a str, param: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{').filter(|_| text.len() <= MAX_MESSAGE) {
        text.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| Some((param(name)?, after)));
        let (value, after) = value.unwrap_or(("{", after));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

fn locale(tag: &str) -> Result<LanguageIdentifier, Refusal> {
    tag.parse().map_err(|_| Refusal::bad_descriptor("locales", tag, "a locale is a BCP 47 tag such as es-PE"))
}

/// Maximum number of languages of an `Accept-Language` that are read.
const MAX_LANGUAGE_RANGES: usize = 20;

/// Returns the languages of an `Accept-Language`, the most wanted first. Skips an invalid language range and a weight
/// that is not above 0 and at most 1. (The crates that read this header sort by the weight as it comes; `q=nan` makes
/// them panic.)
fn wanted(accept_language: &str) -> Vec<LanguageIdentifier> {
    let weighted = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let tag = lookup_tag(parts.next()?)?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight: f32 = weight.unwrap_or("1").parse().ok()?;
        (weight > 0.0 && weight <= 1.0).then_some((weight, tag))
    };
    let ranges = accept_language.split(',').take(MAX_LANGUAGE_RANGES);
    let mut wanted: Vec<(f32, LanguageIdentifier)> = ranges.filter_map(weighted).collect();
    wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    wanted.into_iter().map(|(_, tag)| tag).collect()
}

/// Returns the tag of a language range, without the extensions that no locale here has: a lookup truncates them (RFC 4647,
/// section 3.4).
fn lookup_tag(range: &str) -> Option<LanguageIdentifier> {
    let mut range = range;
    loop {
        match (range.parse(), range.rsplit_once('-')) {
            (Ok(tag), _) => return Some(tag),
            (Err(_), Some((shorter, _))) => range = shorter,
            (Err(_), None) => return None,
        }
    }
}

fn host_text(code: &str, locale: &str) -> &'static str {
    let general = if code.starts_with("schema.") { "schema" } else { "unknown" };
    let line = |code: &str| HOST.iter().find(|(known, ..)| *known == code);
    let (_, english, spanish) = line(code).or_else(|| line(general)).expect("the general codes are in the table");
    if locale == "es" || locale.starts_with("es-") { spanish } else { english }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;

    fn messages() -> Messages {
        let message = |code: &str, locale: &str, text: &str| Message {
            code: code.into(),
            locale: locale.into(),
            text: text.into(),
        };
        Messages::of(&Descriptor {
            country: "pe".into(),
            version: "1.0.0".into(),
            zones: vec![],
            locales: vec!["es-pe".into(), "en".into()],
            request_schema: String::new(),
            appointment_schema: String::new(),
            actions: vec![],
            messages: vec![
                message("pe.date.holiday", "es-PE", "{date} es feriado"),
                message("pe.date.holiday", "en", "{date} is a holiday"),
                message("pe.only.spanish", "es-PE", "solo en español"),
            ],
        })
        .unwrap()
    }

    fn translate(code: &str, locale: &str) -> String {
        let violation =
            Violation { path: String::new(), code: code.into(), params: vec![("date".into(), "2026-12-25".into())] };
        messages().text(&violation, locale)
    }

    #[test]
    fn the_language_asked_for_is_found_and_the_default_serves_the_rest() {
        let cases = [
            ("en", "en"),
            ("en-GB,es;q=0.5", "en"),
            ("es", "es-PE"),
            ("es-CL", "es-PE"),
            ("qu, en;q=0.3", "en"),
            ("de", "es-PE"),
            ("en;q=0.2, es-PE;q=0.9", "es-PE"),
            ("", "es-PE"),
            ("*", "es-PE"),
            ("%%%", "es-PE"),
            ("en;q=nan, es;q=nan, en;q=2, qu;q=0.1", "es-PE"),
            ("en;q=0", "es-PE"),
            ("en;Q=0.8", "en"),
            ("EN-us ; q=0.8", "en"),
            ("en-US-u-ms-metric", "en"),
            ("en-x-private;q=0.5, es;q=0.1", "en"),
            ("de,en", "en"),
        ];
        for (asked, given) in cases {
            assert_eq!(messages().negotiate(asked), given, "Accept-Language: {asked}");
        }
    }

    #[test]
    fn a_text_comes_with_its_params_and_falls_back_to_the_default_locale() {
        assert_eq!(translate("pe.date.holiday", "en"), "2026-12-25 is a holiday");
        assert_eq!(translate("pe.date.holiday", "es-PE"), "2026-12-25 es feriado");
        assert_eq!(translate("pe.only.spanish", "en"), "solo en español");
    }

    #[test]
    fn the_hosts_codes_have_words_of_their_own() {
        assert_eq!(translate("time.nonexistent", "en"), "at that place the clocks skip this time");
        assert_eq!(translate("schema.dependentRequired", "es-PE"), "no cumple el esquema");
        assert_eq!(translate("pe.unheard-of", "en"), "is not allowed (pe.unheard-of)");
    }

    #[test]
    fn a_text_that_repeats_its_params_without_end_is_cut() {
        let message = |text: &str, params: &[(&str, &str)]| {
            let params: HashMap<&str, &str> = params.iter().copied().collect();
            filled(text, |name| params.get(name).copied())
        };
        assert_eq!(message("{a}, {b}, {c} and {", &[("a", "{b}"), ("b", "é")]), "{b}, é, {c} and {");
        let long = message(&"{a}".repeat(80_000), &[("a", &"ñ".repeat(40_000))]);
        assert!(long.len() < MAX_MESSAGE + 4 && long.ends_with("ñ…"), "{}", long.len());
        assert!(message(&"{".repeat(200_000), &[]).len() < MAX_MESSAGE + 4);
    }
}
