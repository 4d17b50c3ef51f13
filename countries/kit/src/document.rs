//! Identity documents other than a country's own number, given in `/document`: one spelling for each, and the check of
//! who issued it. Verifies no checksum.

use crate::codes::CodeList;
use crate::fields::{Fields, set};
use crate::{Field, Violation};

/// Countries of ISO 3166-1, sorted by their alpha-3 codes. The source is in `data/SOURCES.md`.
const COUNTRIES: CodeList = CodeList::new(include_str!("../data/countries.csv"));

/// A kind of document that a country accepts.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Name of the kind in `/document/type`.
    pub name: &'static str,
    /// Issuer of the documents of this kind.
    pub issuer: Issuer,
    /// Returns the one spelling of a number, from its letters and digits in capitals.
    pub number: fn(&str) -> String,
}

/// Issuer of a kind of document, by ISO 3166-1 alpha-3 codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Each country issues its own, such as passports.
    Any,
    /// Each country but this one, whose people have another number.
    AnyBut(&'static str),
    /// This country alone, so that a request need not name it.
    Only(&'static str),
}

/// A document in its one canonical spelling, so that nobody's time is claimed under two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name of the document's [`Kind`].
    pub kind: String,
    /// Issuing country, ISO 3166-1 alpha-3.
    pub country: String,
    /// Number of the document: only letters and digits, in capitals.
    pub number: String,
}

impl Document {
    /// Returns the document of a request or of a stored appointment, or `None` if it has none or is erased. Checks nothing.
    #[must_use]
    pub fn of(kinds: &[Kind], request: Fields) -> Option<Self> {
        let text = |path| request.text(path).unwrap_or_default();
        let number = request.text("/document/number")?;
        Some(Self::spelled(kind(kinds, request), text("/document/type"), text("/document/country"), number))
    }

    /// Returns the document that a key means, whatever the spelling of its number: `passport:VEN:ab-12345`. The country
    /// may be left out if only one issues the kind. A key of earlier rules, under another country, means itself.
    #[must_use]
    pub fn meant(kinds: &[Kind], spelling: &str) -> Option<Self> {
        let (name, rest) = spelling.split_once(':')?;
        let kind = kinds.iter().find(|kind| kind.name == name)?;
        let (country, number) = match (rest.split_once(':'), kind.issuer) {
            (Some((country, number)), _) => (country, number),
            (None, Issuer::Only(only)) => (only, rest),
            (None, _) => return None,
        };
        let spelled = |character: char| character.is_ascii_alphanumeric() || " .-".contains(character);
        if !is_country(country) || number.is_empty() || !number.chars().all(spelled) {
            return None;
        }
        let of_today = !matches!(kind.issuer, Issuer::Only(only) if only != country);
        let document = Self::spelled(of_today.then_some(kind), name, country, number);
        (!document.number.is_empty()).then_some(document)
    }

    fn spelled(kind: Option<&Kind>, name: &str, country: &str, number: &str) -> Self {
        let typed = number.chars().filter(char::is_ascii_alphanumeric);
        let typed: String = typed.map(|character| character.to_ascii_uppercase()).collect();
        let country = match kind.map(|kind| kind.issuer) {
            Some(Issuer::Only(issuer)) => issuer,
            _ => country,
        };
        Self {
            kind: name.into(),
            country: country.into(),
            number: kind.map_or_else(|| typed.clone(), |kind| (kind.number)(&typed)),
        }
    }

    /// Returns the patient's key, for example `passport:VEN:AB12345`.
    #[must_use]
    pub fn key(&self) -> String {
        [&self.kind, ":", &self.country, ":", &self.number].concat()
    }

    /// Writes the canonical spelling into the fields.
    pub fn spell(&self, fields: &mut Vec<Field>) {
        set(fields, Field::text("/document/number", &self.number));
        set(fields, Field::text("/document/country", &self.country));
    }
}

/// Returns the violation of the document's issuer, if any. Codes are `<country>.document.country-unknown` for a code that
/// ISO 3166-1 does not have, `.issuer` for another country than the one that alone issues the kind, and `.not-foreign`.
#[must_use]
pub fn violation(country: &str, kinds: &[Kind], request: Fields) -> Option<Violation> {
    let issuer = kind(kinds, request)?.issuer;
    let given = request.text("/document/country");
    let what = match (issuer, given) {
        (Issuer::Only(only), Some(given)) if given != only => "issuer",
        (Issuer::Only(_), _) => return None,
        (Issuer::AnyBut(own), Some(given)) if given == own => "not-foreign",
        (_, Some(given)) if COUNTRIES.find(given).is_some() => return None,
        _ => "country-unknown",
    };
    let violation = Violation::new("/document/country", [country, ".document.", what].concat());
    Some(violation.with("country", given.unwrap_or_default()))
}

/// Returns a number as it is printed: each of its letters and digits counts, and so do zeros before them (ICAO 9303,
/// part 3, document number).
#[must_use]
pub fn printed(number: &str) -> String {
    number.into()
}

fn is_country(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn kind<'a>(kinds: &'a [Kind], request: Fields) -> Option<&'a Kind> {
    let name = request.text("/document/type")?;
    kinds.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[Kind] = &[
        Kind { name: "passport", issuer: Issuer::Any, number: printed },
        Kind { name: "foreign", issuer: Issuer::AnyBut("UTO"), number: printed },
        Kind { name: "card", issuer: Issuer::Only("UTO"), number: |number| number.trim_start_matches('0').into() },
    ];

    fn leaves(kind: &str, number: &str, country: Option<&str>) -> Vec<Field> {
        let fields = [Field::text("/document/type", kind), Field::text("/document/number", number)];
        let country = country.map(|country| Field::text("/document/country", country));
        fields.into_iter().chain(country).collect()
    }

    fn key(kind: &str, number: &str, country: Option<&str>) -> String {
        let fields = leaves(kind, number, country);
        Document::of(KINDS, Fields::new(&fields)).expect("a document").key()
    }

    fn code(kind: &str, country: Option<&str>) -> Option<String> {
        violation("xx", KINDS, Fields::new(&leaves(kind, "1", country))).map(|violation| violation.code)
    }

    #[test]
    fn every_spelling_of_a_number_is_one_document() {
        for spelling in ["AB-12345", "ab12345", "AB 123.45"] {
            assert_eq!(key("passport", spelling, Some("VEN")), "passport:VEN:AB12345");
        }
        for spelling in ["20645691", "0020645691", "20.645.691"] {
            assert_eq!(key("card", spelling, None), "card:UTO:20645691");
        }
        assert_eq!(Document::of(KINDS, Fields::new(&[])), None);
    }

    #[test]
    fn a_key_is_read_in_every_spelling_and_means_itself() {
        let meant = |spelling| Document::meant(KINDS, spelling).map(|document| document.key());
        for (spelling, key) in [
            ("passport:VEN:AB12345", "passport:VEN:AB12345"),
            ("passport:VEN:ab-123 45", "passport:VEN:AB12345"),
            ("card:UTO:0020645691", "card:UTO:20645691"),
            ("card:20.645.691", "card:UTO:20645691"),
            ("card:VEN:020645691", "card:VEN:020645691"),
        ] {
            assert_eq!(meant(spelling).as_deref(), Some(key), "{spelling}");
        }
        for wrong in [
            "",
            "AB12345",
            "passport:AB12345",
            "passport:ven:AB12345",
            "passport:VEN:",
            "passport:VEN:-",
            "passport:VEN:AB/12345",
            "passport:VEN:ÑB12345",
            "card:UTO:000",
            "visa:VEN:AB12345",
        ] {
            assert_eq!(meant(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_document_needs_a_number() {
        let erased = leaves("card", "1", None).into_iter().filter(|field| field.path != "/document/number");
        assert_eq!(Document::of(KINDS, Fields::new(&erased.collect::<Vec<_>>())), None);
    }

    #[test]
    fn a_document_that_one_country_issues_has_one_key_whatever_was_stored() {
        assert_eq!(key("card", "1", Some("VEN")), "card:UTO:1");
    }

    #[test]
    fn issuers_are_countries_of_iso_3166() {
        assert_eq!(code("passport", Some("VEN")), None);
        for wrong in [Some("ZZZ"), Some("VE"), Some("ven"), Some("alpha3"), Some(""), None] {
            assert_eq!(code("passport", wrong).as_deref(), Some("xx.document.country-unknown"), "{wrong:?}");
        }
    }

    #[test]
    fn a_kind_has_its_own_issuers() {
        assert_eq!(code("card", None), None);
        assert_eq!(code("card", Some("UTO")), None);
        assert_eq!(code("card", Some("VEN")).as_deref(), Some("xx.document.issuer"));
        assert_eq!(code("foreign", Some("UTO")).as_deref(), Some("xx.document.not-foreign"));
        assert_eq!(code("foreign", Some("VEN")), None);
        assert_eq!(code("unheard-of", Some("ZZZ")), None);
    }

    #[test]
    fn the_list_of_countries_is_whole_and_sorted() {
        let codes: Vec<_> = COUNTRIES.rows().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted_by(|one, next| one < next));
        assert!(codes.iter().all(|code| code.len() == 3));
    }
}
