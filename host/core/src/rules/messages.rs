//! Texts of violations in the caller's language: the country's own messages, and the host's for its own codes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fluent_langneg::{LanguageIdentifier, NegotiationStrategy, negotiate_languages};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Descriptor, Violation};
use crate::ports::Refusal;
use crate::rules::schema::ANY;

/// Prefix of the codes of a schema's violations. The keyword follows it, and in a country's message perhaps a colon and
/// the place for which the message is: `schema.pattern:/dni`.
pub(crate) const SCHEMA: &str = "schema.";

/// A text of the host in English and in Spanish.
type Text = (&'static str, &'static str);

/// Texts of the host's codes that clients see: code, the param that explains it, and the text. A violation of a schema
/// has the params `title` and `example` as well, unless the schema has none.
const HOST: [(&str, &str, Text); 47] = [
    ("schema.required", "property", ("this is required", "falta este dato")),
    ("schema.additionalProperties", "property", ("`{property}` is not known here", "`{property}` no se conoce aquí")),
    ("schema.type", "expected", ("must be {expected}", "debe ser {expected}")),
    ("schema.enum", "expected", ("must be one of: {expected}", "debe ser uno de: {expected}")),
    ("schema.const", "expected", ("must be {expected}", "debe ser {expected}")),
    ("schema.pattern", "expected", OTHER_FORM),
    ("schema.format", "expected", OTHER_FORM),
    (
        "schema.minLength",
        "expected",
        ("must have {expected} or more characters", "debe tener {expected} o más caracteres"),
    ),
    (
        "schema.maxLength",
        "expected",
        ("must have at most {expected} characters", "debe tener como máximo {expected} caracteres"),
    ),
    ("schema.minimum", "expected", ("must be at least {expected}", "debe ser al menos {expected}")),
    ("schema.maximum", "expected", ("must be at most {expected}", "debe ser como máximo {expected}")),
    ("schema.exclusiveMinimum", "expected", ("must be more than {expected}", "debe ser mayor que {expected}")),
    ("schema.exclusiveMaximum", "expected", ("must be less than {expected}", "debe ser menor que {expected}")),
    ("schema.multipleOf", "expected", ("must be a multiple of {expected}", "debe ser múltiplo de {expected}")),
    ("schema.minItems", "expected", ("must have {expected} or more items", "debe tener {expected} o más elementos")),
    (
        "schema.maxItems",
        "expected",
        ("must have at most {expected} items", "debe tener como máximo {expected} elementos"),
    ),
    ("schema.uniqueItems", "", ("must not repeat an item", "no debe repetir elementos")),
    ("schema.contains", "", NOT_VALID),
    ("schema.minProperties", "expected", ("must have {expected} or more members", "debe tener {expected} o más datos")),
    (
        "schema.maxProperties",
        "expected",
        ("must have at most {expected} members", "debe tener como máximo {expected} datos"),
    ),
    ("schema.propertyNames", "", NOT_VALID),
    ("schema.anyOf", "", NOT_VALID),
    ("schema.oneOf", "", NOT_VALID),
    ("schema.not", "", NOT_VALID),
    ("schema.falseSchema", "", ("is not allowed here", "no se admite aquí")),
    (
        "schema.maxValues",
        "expected",
        ("must have at most {expected} values", "debe tener como máximo {expected} valores"),
    ),
    (
        "schema.maxText",
        "expected",
        ("must have at most {expected} bytes of text", "debe tener como máximo {expected} bytes de texto"),
    ),
    ("full", "", ("everything is booked on these days", "en estos días todo está reservado")),
    ("not-offered", "", ("this time can no longer be booked", "este horario ya no se puede reservar")),
    ("no-agenda", "", ("there are no openings on these days", "en estos días no hay horario de atención")),
    ("agenda.outside", "", ("the doctor does not see patients at that time", "el médico no atiende a esa hora")),
    ("agenda.order", "", ("must be after the beginning", "debe ser posterior al inicio")),
    ("agenda.too-long", "", ("is longer than the hours", "dura más que el horario")),
    ("agenda.zone", "expected", ("must be one of: {expected}", "debe ser una de: {expected}")),
    ("agenda.hospital", "", ("no hospital has this key", "ningún establecimiento tiene esta clave")),
    (
        "agenda.member",
        "expected",
        (
            "an agenda cannot fix this; it can fix: {expected}",
            "una agenda no puede fijar este dato; puede fijar: {expected}",
        ),
    ),
    ("agenda.overlap", "other", ("overlaps with {other}", "se cruza con {other}")),
    ("agenda.invalid", "", ("this is not an agenda", "esto no es una agenda")),
    ("patient-link.patient", "", ("no patient can have this key", "ningún paciente puede tener esta clave")),
    ("patient-link.past", "", ("must not be in the past", "no debe estar en el pasado")),
    ("patient-link.future", "", ("must not be in the future", "no debe estar en el futuro")),
    ("patient-link.order", "", ("must not be before the first day", "no debe ser anterior al primer día")),
    (
        "patient-link.adult",
        "age",
        (
            "the patient is {age} or older, and a parent acts for a child alone",
            "el paciente tiene {age} años o más, y un padre o una madre actúa solo por un menor",
        ),
    ),
    ("privacy.patient", "", ("no patient has this key", "ningún paciente tiene esta clave")),
    (
        "privacy.received",
        "",
        ("staff may name a time of the past year here", "el personal puede indicar aquí una fecha del último año"),
    ),
    ("privacy.invalid", "", ("this is not valid", "esto no es válido")),
    (
        "time.nonexistent",
        "",
        ("at that place the clocks skip this time", "en ese lugar los relojes se saltan esa hora"),
    ),
];

const OTHER_FORM: Text = ("is not in the expected form", "no tiene la forma esperada");

/// Text of a violation of a schema that has no text of its own, or lacks the param of its text.
const NOT_VALID: Text = ("is not valid", "no es válido");

/// Code of the words that replace a link in a notice.
pub(crate) const NO_LINK: &str = "no-link";
/// Prefix of the codes of an action's button on the page of a link, and with [`DONE`] of the words once it is done.
const LINK: &str = "link.";
const DONE: &str = ".done";

/// Texts of codes that clients never get as violations, and the text of an unknown code.
const OTHERS: [(&str, Text); 9] = [
    ("action.unknown", ("there is no action `{action}`", "no existe la acción `{action}`")),
    ("action.role", ("`{action}` is not for the role {role}", "`{action}` no es para el rol {role}")),
    (NO_LINK, ("use the app, or call the hospital", "use la aplicación o llame al establecimiento")),
    ("link.confirm", ("Confirm the appointment", "Confirmar la cita")),
    ("link.confirm.done", ("The appointment is confirmed", "La cita está confirmada")),
    ("link.cancel", ("Cancel the appointment", "Cancelar la cita")),
    ("link.cancel.done", ("The appointment is cancelled", "La cita está cancelada")),
    ("link.action", ("Continue: {action}", "Continuar: {action}")),
    ("link.action.done", ("Done", "Hecho")),
];
const UNKNOWN: Text = ("is not allowed ({code})", "no está permitido ({code})");

/// Ending of a text that says too little.
const EXAMPLE: Text = (", such as {example}", ", por ejemplo {example}");

/// Expected types and truth values in words.
const WORDS: [(&str, Text); 9] = [
    ("array", ("a list", "una lista")),
    ("boolean", ("yes or no", "sí o no")),
    ("integer", ("a whole number", "un número entero")),
    ("null", ("empty", "vacío")),
    ("number", ("a number", "un número")),
    ("object", ("an object", "un objeto")),
    ("string", ("a text", "un texto")),
    ("true", ("yes", "sí")),
    ("false", ("no", "no")),
];

/// The texts of one code and the params that they may name, for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Code {
    /// Names of the params.
    pub params: BTreeSet<String>,
    /// Text in each locale, with `{name}` as the placeholder of each param.
    pub messages: BTreeMap<String, String>,
}

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

    /// Returns the country's locale that fits an `Accept-Language` best (RFC 9110, section 12.5.4). If none fits, it is
    /// the first one that is not refused, or else the default.
    pub fn negotiate(&self, accept_language: &str) -> String {
        let (wanted, refused) = ranges(accept_language);
        let is_refused = |locale: &&LanguageIdentifier| refused.iter().any(|range| is_in(locale, range));
        let default = self.locales.iter().find(|locale| !is_refused(locale)).unwrap_or(&self.locales[0]);
        let found = negotiate_languages(&wanted, &self.locales, Some(default), NegotiationStrategy::Lookup);
        found.first().map_or_else(|| default.to_string(), ToString::to_string)
    }

    /// Returns the locales in which a code has no text. A code of the host has one in each.
    pub fn lacking(&self, code: &str) -> Vec<String> {
        let texts = self.texts.get(code);
        if texts.is_none() && (code.starts_with(SCHEMA) || host_text(code).is_some()) {
            return Vec::new();
        }
        let is_lacking = |locale: &String| !texts.is_some_and(|texts| texts.contains_key(locale));
        self.locales.iter().map(ToString::to_string).filter(is_lacking).collect()
    }

    /// Returns the text of a violation. A code without a text in `locale` has the text of the country's default locale.
    pub fn text(&self, violation: &Violation, locale: &str) -> String {
        let default = || self.locales[0].to_string();
        match self.own(violation).and_then(|texts| texts.get(locale).or_else(|| texts.get(&default()))) {
            Some(own) => filled(own, |name| param(violation, name)),
            None => host_message(violation, locale),
        }
    }

    /// Returns true if the country has this locale.
    pub fn has_locale(&self, tag: &str) -> bool {
        tag.parse().is_ok_and(|locale: LanguageIdentifier| self.locales.contains(&locale))
    }

    /// Returns the words that replace a link in a notice.
    pub fn no_link(&self, locale: &str) -> String {
        self.text(&Violation::new("", NO_LINK), locale)
    }

    /// Returns the words on the button that does an action by a link.
    pub fn link(&self, action: &str, locale: &str) -> String {
        self.link_text(action, "", locale)
    }

    /// Returns the words for an action that was done by a link.
    pub fn link_done(&self, action: &str, locale: &str) -> String {
        self.link_text(action, DONE, locale)
    }

    /// Returns true if an action has texts of its own for the page of a link. Otherwise the page shows its name.
    pub fn is_link_said(&self, action: &str) -> bool {
        ["", DONE].iter().all(|end| self.lacking(&[LINK, action, end].concat()).is_empty())
    }

    fn link_text(&self, action: &str, end: &str, locale: &str) -> String {
        let own = [LINK, action, end].concat();
        let is_known = self.texts.contains_key(&own) || host_text(&own).is_some();
        let code = if is_known { own } else { [LINK, "action", end].concat() };
        self.text(&Violation { params: vec![("action".into(), action.into())], ..Violation::new("", code) }, locale)
    }

    /// Returns every code that clients may see, except those of the country without a text.
    pub fn codes(&self) -> BTreeMap<String, Code> {
        let locales = || self.locales.iter().map(ToString::to_string);
        let host = HOST.into_iter().map(|(code, own, text)| {
            let labels = ["title", "example"].into_iter().filter(|_| code.starts_with(SCHEMA));
            let params = [own].into_iter().filter(|own| !own.is_empty()).chain(labels).map(str::to_owned).collect();
            let messages = locales().map(|locale| (locale.clone(), whole_text(code, text, &locale, true, true)));
            (code.to_owned(), Code { params, messages: messages.collect() })
        });
        let of_violations = self.texts.iter().filter(|(code, _)| *code != NO_LINK && !code.starts_with(LINK));
        let own = of_violations.map(|(code, texts)| {
            let params = texts.values().flat_map(|text| placeholders(text)).map(str::to_owned).collect();
            let messages = texts.iter().map(|(locale, text)| (locale.clone(), text.clone())).collect();
            (code.clone(), Code { params, messages })
        });
        host.chain(own).collect()
    }

    /// Returns the country's texts of a violation: those for its place, else those of its code.
    fn own(&self, violation: &Violation) -> Option<&HashMap<String, String>> {
        let placed = self.texts.iter().filter_map(|(code, texts)| {
            let (keyword, place) = placed(code)?;
            let fits = violation.code.strip_prefix(SCHEMA) == Some(keyword) && is_at(place, &violation.path);
            fits.then(|| (place.matches(ANY).count(), place, texts))
        });
        let nearest = placed.min_by_key(|(any, place, _)| (*any, *place)).map(|(.., texts)| texts);
        nearest.or_else(|| self.texts.get(&violation.code))
    }
}

/// Returns the keyword and the place of a message that is for one place of a schema.
pub(crate) fn placed(code: &str) -> Option<(&str, &str)> {
    code.strip_prefix(SCHEMA)?.split_once(':')
}

/// Returns true if a violation's path is at a place, each token of which may be [`ANY`].
fn is_at(place: &str, path: &str) -> bool {
    let same = |(token, name): (&str, &str)| token == name || token == ANY;
    place.split('/').count() == path.split('/').count() && place.split('/').zip(path.split('/')).all(same)
}

fn param<'a>(violation: &'a Violation, name: &str) -> Option<&'a str> {
    let found = violation.params.iter().find(|(param, _)| param == name).map(|(_, value)| value.as_str());
    found.or_else(|| (name == "code").then_some(violation.code.as_str()))
}

/// Returns the host's message of a violation, for people: without regular expressions and JSON.
fn host_message(violation: &Violation, locale: &str) -> String {
    let code = &violation.code;
    let is_complete = |text: &Text| placeholders(text.0).all(|name| param(violation, name).is_some());
    let general = if code.starts_with(SCHEMA) { NOT_VALID } else { UNKNOWN };
    let text = host_text(code).filter(is_complete).unwrap_or(general);
    let has = |name: &str| param(violation, name).is_some();
    let expected = param(violation, "expected").map(|expected| in_words(code, expected, locale));
    filled(&whole_text(code, text, locale, has("title"), has("example")), |name| match name {
        "expected" => expected.as_deref(),
        _ => param(violation, name),
    })
}

/// Returns a text of the host with the title before it, and with an example where it says too little.
fn whole_text(code: &str, text: Text, locale: &str, has_title: bool, has_example: bool) -> String {
    let is_labelled = code.starts_with(SCHEMA) && code != "schema.additionalProperties";
    let title = if has_title && is_labelled { "{title}: " } else { "" };
    let is_vague = [OTHER_FORM, NOT_VALID].contains(&text);
    let example = if has_example && is_vague { in_locale(EXAMPLE, locale) } else { "" };
    [title, in_locale(text, locale), example].concat()
}

/// Returns the expected value, with the types and truth values of JSON in words.
fn in_words(code: &str, expected: &str, locale: &str) -> String {
    if !["schema.type", "schema.const"].contains(&code) {
        return expected.to_owned();
    }
    let word = |value: &str| WORDS.iter().find(|(word, _)| *word == value).map(|(_, text)| in_locale(*text, locale));
    expected.split(", ").map(|value| word(value).unwrap_or(value)).collect::<Vec<_>>().join(", ")
}

/// Returns the host's text of a code.
pub(crate) fn host_text(code: &str) -> Option<Text> {
    let host = HOST.into_iter().map(|(code, _, text)| (code, text));
    host.chain(OTHERS).find(|(known, _)| *known == code).map(|(_, text)| text)
}

/// Returns the language of the host's own texts that fits an `Accept-Language` best: `en` or `es`.
pub fn host_language(accept_language: &str) -> &'static str {
    let languages = ["en", "es"];
    let known = languages.map(|tag| tag.parse().expect("a language tag"));
    let (wanted, _) = ranges(accept_language);
    let found = negotiate_languages(&wanted, &known, None::<&LanguageIdentifier>, NegotiationStrategy::Lookup);
    found.first().and_then(|found| known.iter().position(|tag| tag == *found)).map_or("en", |place| languages[place])
}

fn in_locale((english, spanish): Text, locale: &str) -> &'static str {
    if locale == "es" || locale.starts_with("es-") { spanish } else { english }
}

/// Returns the names of the placeholders in a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
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

/// Returns the languages of an `Accept-Language`, the most wanted first, and those whose weight is 0. Skips an invalid
/// language range, one with an invalid weight, and `*`, which stands for the default. (The crates that read this header
/// sort by the weight as it comes; `q=nan` makes them panic.)
fn ranges(accept_language: &str) -> (Vec<LanguageIdentifier>, Vec<LanguageIdentifier>) {
    let weighted = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let tag = lookup_tag(parts.next()?)?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight: f32 = weight.unwrap_or("1").parse().ok()?;
        (0.0..=1.0).contains(&weight).then_some((weight, tag))
    };
    let ranges = accept_language.split(',').take(MAX_LANGUAGE_RANGES);
    let (mut wanted, refused): (Vec<_>, Vec<_>) = ranges.filter_map(weighted).partition(|(weight, _)| *weight > 0.0);
    wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let tags = |ranges: Vec<(f32, LanguageIdentifier)>| ranges.into_iter().map(|(_, tag)| tag).collect();
    (tags(wanted), tags(refused))
}

/// Returns true if a locale is in a language range (RFC 4647, section 3.3.1).
fn is_in(locale: &LanguageIdentifier, range: &LanguageIdentifier) -> bool {
    let (locale, range) = (locale.to_string(), range.to_string());
    locale.strip_prefix(&range).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;
    use crate::testing::Described;

    fn messages() -> Messages {
        Messages::of(&descriptor()).unwrap()
    }

    fn descriptor() -> Descriptor {
        let message = |code: &str, locale: &str, text: &str| Message {
            code: code.into(),
            locale: locale.into(),
            text: text.into(),
        };
        Descriptor {
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
            ..Described::default().0
        }
    }

    fn translate(code: &str, locale: &str) -> String {
        let violation = Violation { params: vec![("date".into(), "2026-12-25".into())], ..Violation::new("", code) };
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
            ("*;q=0.5", "es-PE"),
            ("*, en;q=0.5", "en"),
            ("en;q=0", "es-PE"),
            ("es;q=0", "en"),
            ("de, es-PE;q=0.0, *;q=0.1", "en"),
            ("es;q=0, en;q=0", "es-PE"),
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
        assert_eq!(translate("schema.anyOf", "es-PE"), "no es válido");
        assert_eq!(translate("pe.unheard-of", "en"), "is not allowed (pe.unheard-of)");
    }

    #[test]
    fn a_violation_of_a_schema_is_told_without_regular_expressions_and_json() {
        let told = |keyword: &str, params: &[(&str, &str)], locale: &str| {
            let params = params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            messages().text(&Violation { params, ..Violation::new("/x", format!("schema.{keyword}")) }, locale)
        };
        let pattern = [("expected", "^[0-9]{8}$"), ("title", "DNI"), ("example", "10117410-2")];
        assert_eq!(told("pattern", &pattern, "en"), "DNI: is not in the expected form, such as 10117410-2");
        assert_eq!(told("pattern", &pattern, "es-PE"), "DNI: no tiene la forma esperada, por ejemplo 10117410-2");
        assert_eq!(told("pattern", &pattern[..1], "en"), "is not in the expected form");
        assert_eq!(
            told("maxLength", &[("expected", "8"), ("title", "DNI"), ("example", "1")], "en"),
            "DNI: must have at most 8 characters"
        );
        assert_eq!(
            told("type", &[("expected", "string, null"), ("title", "{code}")], "es-PE"),
            "{code}: debe ser un texto, vacío"
        );
        assert_eq!(told("const", &[("expected", "true")], "en"), "must be yes");
        assert_eq!(told("enum", &[("title", "Plan"), ("example", "A")], "en"), "Plan: is not valid, such as A");
        assert_eq!(told("additionalProperties", &[("property", "{code}")], "en"), "`{code}` is not known here");
    }

    #[test]
    fn a_country_has_words_for_a_keyword_at_a_place() {
        let mut descriptor = descriptor();
        descriptor.messages = [
            ("schema.pattern:/dni", "ocho dígitos, no {expected}"),
            ("schema.pattern:/phones/*", "un teléfono"),
            ("schema.pattern:/phones/0", "el primer teléfono"),
            ("schema.required", "falta {title}"),
        ]
        .map(|(code, text)| Message { code: code.into(), locale: "es-PE".into(), text: text.into() })
        .into();
        let messages = Messages::of(&descriptor).unwrap();
        let told = |keyword: &str, path: &str| {
            let params = vec![("expected".into(), "{title}".into()), ("title".into(), "X".into())];
            messages.text(&Violation { params, ..Violation::new(path, format!("schema.{keyword}")) }, "es-PE")
        };
        assert_eq!(told("pattern", "/dni"), "ocho dígitos, no {title}");
        assert_eq!(told("pattern", "/phones/3"), "un teléfono");
        assert_eq!(told("pattern", "/phones/0"), "el primer teléfono");
        assert_eq!(told("required", "/dni"), "falta X");
        for (keyword, path) in
            [("pattern", "/phones"), ("pattern", "/phones/0/no"), ("pattern", ""), ("format", "/dni")]
        {
            assert_eq!(told(keyword, path), "X: no tiene la forma esperada", "{keyword} {path}");
        }
        let codes = messages.codes();
        assert_eq!(codes["schema.pattern:/dni"].params, ["expected".to_owned()].into());
        assert_eq!(codes["schema.pattern"].params, ["example", "expected", "title"].map(str::to_owned).into());
        assert_eq!(codes["schema.pattern"].messages["en"], "{title}: is not in the expected form, such as {example}");
        assert_eq!(codes["schema.required"].messages["es-PE"], "falta {title}");
        assert!(!codes.contains_key("action.unknown"), "no client sees it");
    }

    #[test]
    fn the_words_of_a_link_are_the_countrys_or_the_hosts_and_no_code_of_a_violation() {
        let mut descriptor = descriptor();
        let texts = [("link.confirm", "Sí, voy"), ("link.move.done", "Movida"), ("no-link", "llame al 123")];
        descriptor.messages =
            texts.map(|(code, text)| Message { code: code.into(), locale: "es-PE".into(), text: text.into() }).into();
        let messages = Messages::of(&descriptor).unwrap();
        assert_eq!(messages.link("confirm", "es-PE"), "Sí, voy");
        assert_eq!(messages.link_done("confirm", "es-PE"), "La cita está confirmada");
        assert_eq!(messages.link("cancel", "en"), "Cancel the appointment");
        assert_eq!(
            (messages.link("move", "en"), messages.link_done("move", "es-PE")),
            ("Continue: move".into(), "Movida".into())
        );
        assert_eq!(messages.no_link("es-PE"), "llame al 123");
        assert!(messages.is_link_said("cancel") && !messages.is_link_said("move"));
        let is_of_a_link = |code: &str| code == NO_LINK || code.starts_with(LINK);
        assert!(!messages.codes().keys().any(|code| is_of_a_link(code)));
        assert!(messages.has_locale("es-PE") && messages.has_locale("en") && !messages.has_locale("pt-BR"));
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
