//! Identifies the patient by a RUN or another document, exactly one of them. A RUN cannot be demanded of everybody.

use citas_kit::Violation;
use citas_kit::document::{self, Document, Issuer, Kind};
use citas_kit::fields::Fields;
use citas_kit::violations::Findings;

use crate::house::COUNTRY;
use crate::run::Run;

/// Beginning of the key of a patient with a RUN.
pub const RUN: &str = "run:";

/// Documents other than the RUN (HL7 CL Core). The Ministry of Education issues IPE and IPA. Chile's own identity card has
/// the RUN, so it is no foreign one.
pub const DOCUMENTS: &[Kind] = &[
    Kind { name: "passport", issuer: Issuer::Any, number: document::printed },
    Kind { name: "foreign-id", issuer: Issuer::AnyBut(CHILE), number: document::printed },
    Kind { name: "ipe", issuer: Issuer::Only(CHILE), number: provisional },
    Kind { name: "ipa", issuer: Issuer::Only(CHILE), number: provisional },
];

/// ISO 3166-1 alpha-3 code.
const CHILE: &str = "CHL";

/// Identity of the patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patient {
    /// A RUN.
    Run(Run),
    /// A passport, a foreign identity card, an IPE or an IPA.
    Document(Document),
}

impl Patient {
    /// Returns the patient of a request, or all violations of the identity.
    pub fn of(request: Fields) -> Result<Self, Vec<Violation>> {
        let mut findings = Findings::default();
        let run = request.has("/run").then(|| Run::parse(request.text("/run").unwrap_or_default()));
        findings.check(run.transpose());
        findings.note(document::violation(COUNTRY, DOCUMENTS, request));
        let identified = request.has("/run") != request.has("/document/number");
        findings.note((!identified).then(|| Violation::new("", "cl.patient.missing")));
        findings.conclude(Self::booked(request))
    }

    /// Returns the patient of a booked appointment, whichever version of these rules booked it. Checks nothing.
    pub fn booked(attributes: Fields) -> Option<Self> {
        let run = attributes.text("/run").and_then(|run| Run::parse(run).ok()).map(Self::Run);
        run.or_else(|| Document::of(DOCUMENTS, attributes).map(Self::Document))
    }

    /// Returns the key that finds the appointment and claims the patient's time.
    pub fn key(&self) -> String {
        match self {
            Self::Run(run) => [RUN, run.as_str()].concat(),
            Self::Document(document) => document.key(),
        }
    }
}

/// Returns a provisional number without zeros before it, which do not count.
fn provisional(number: &str) -> String {
    number.trim_start_matches('0').into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::Field;

    const IPE: [(&str, &str); 3] =
        [("/document/type", "ipe"), ("/document/number", "100123456-7"), ("/document/country", "CHL")];

    fn of(leaves: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let fields: Vec<_> = leaves.iter().map(|(path, text)| Field::text(path, *text)).collect();
        let codes = |violations: Vec<Violation>| violations.into_iter().map(|v| v.code).collect();
        Patient::of(Fields::new(&fields)).map(|patient| patient.key()).map_err(codes)
    }

    #[test]
    fn one_of_the_two_identifies() {
        assert_eq!(of(&[("/run", "12.345.678-5")]), Ok("run:12345678-5".into()));
        assert_eq!(of(&IPE), Ok("ipe:CHL:1001234567".into()));
    }

    #[test]
    fn a_provisional_number_is_one_person_in_every_spelling() {
        for spelling in ["100123456-7", "1001234567", "100.123.456-7", "0100123456-7", "100 123 456 7"] {
            let leaves = [("/document/type", "ipa"), ("/document/number", spelling)];
            assert_eq!(of(&leaves), Ok("ipa:CHL:1001234567".into()), "{spelling}");
        }
        let haitian = [("/document/type", "ipe"), ("/document/number", "1001234567"), ("/document/country", "HTI")];
        assert_eq!(of(&haitian), Err(vec!["cl.document.issuer".into()]));
    }

    #[test]
    fn a_number_that_1_0_booked_under_a_nationality_has_the_same_key() {
        let stored = [("/document/type", "ipe"), ("/document/number", "1001234567"), ("/document/country", "HTI")];
        let stored = stored.map(|(path, text)| Field::text(path, text));
        let patient = Patient::booked(Fields::new(&stored)).expect("a patient");
        assert_eq!(patient.key(), "ipe:CHL:1001234567");
    }

    #[test]
    fn a_chilean_card_is_no_foreign_document() {
        let card =
            |country| [("/document/type", "foreign-id"), ("/document/number", "12345"), ("/document/country", country)];
        assert_eq!(of(&card("CHL")), Err(vec!["cl.document.not-foreign".into()]));
        assert_eq!(of(&card("ZZZ")), Err(vec!["cl.document.country-unknown".into()]));
        assert_eq!(of(&card("PER")), Ok("foreign-id:PER:12345".into()));
    }

    #[test]
    fn neither_or_both_is_refused_along_with_the_rest() {
        let both = |run| [&IPE[..], &[("/run", run)]].concat();
        assert_eq!(of(&[]), Err(vec!["cl.patient.missing".into()]));
        assert_eq!(of(&both("12345678-5")), Err(vec!["cl.patient.missing".into()]));
        assert_eq!(of(&both("12345678-6")), Err(vec!["cl.run.check-digit".into(), "cl.patient.missing".into()]));
    }
}
