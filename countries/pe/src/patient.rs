//! Identifies the patient by a DNI or another document, exactly one of them.

use citas_kit::document::{self, Document, Issuer, Kind};
use citas_kit::fields::Fields;
use citas_kit::violations::Findings;
use citas_kit::{Context, Violation};

use crate::dni::Dni;
use crate::emergency;
use crate::house::COUNTRY;

/// Beginning of the key of a patient with a DNI.
pub const DNI: &str = "dni:";

/// Documents other than the DNI.
pub const DOCUMENTS: &[Kind] = &[
    Kind { name: "ce", issuer: Issuer::Only("PER"), number: carne },
    Kind { name: "passport", issuer: Issuer::Any, number: document::printed },
];

/// Identity of the patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patient {
    /// The eight digits of the DNI.
    Dni(String),
    /// A foreigner's card or a passport.
    Document(Document),
    /// Not known yet, which an emergency allows.
    Unknown,
}

impl Patient {
    /// Returns the patient of a request, or all violations of the identity.
    pub fn of(context: &Context, request: Fields) -> Result<Self, Vec<Violation>> {
        let mut findings = Findings::default();
        findings.note(wrong_dni(request));
        findings.note(document::violation(COUNTRY, DOCUMENTS, request));
        let identified = match (request.has("/dni"), request.has("/document/number")) {
            (false, false) => emergency::is_recorded(context, request),
            (dni, document) => dni != document,
        };
        findings.note((!identified).then(|| Violation::new("", "pe.patient.missing")));
        findings.conclude(Some(Self::booked(request)))
    }

    /// Returns the patient of a booked appointment, whichever version of these rules booked it. Checks nothing.
    pub fn booked(attributes: Fields) -> Self {
        let dni = attributes.text("/dni").and_then(Dni::parse).map(Self::from);
        let document = || Document::of(DOCUMENTS, attributes).map(Self::Document);
        dni.or_else(document).unwrap_or(Self::Unknown)
    }

    /// Returns the key that claims the patient's time, or `None` while the patient is unknown.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Dni(number) => Some([DNI, number].concat()),
            Self::Document(document) => Some(document.key()),
            Self::Unknown => None,
        }
    }
}

impl From<Dni<'_>> for Patient {
    fn from(dni: Dni) -> Self {
        Self::Dni(dni.number().into())
    }
}

/// Returns the violation of the request's DNI, if it has a wrong one.
fn wrong_dni(request: Fields) -> Option<Violation> {
    let wrong = request.has("/dni") && request.text("/dni").and_then(Dni::parse).is_none();
    wrong.then(|| Violation::new("/dni", "pe.dni.check-digit"))
}

/// Returns the number of a carné de extranjería as it is printed, with nine characters. Other registers put more zeros
/// before it. Its letters O and I are a misread 0 and 1.
fn carne(number: &str) -> String {
    let digits = number.replace('O', "0").replace('I', "1");
    format!("{:0>9}", digits.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::by;
    use citas_kit::{Field, Role, Value};

    const PASSPORT: [(&str, &str); 3] =
        [("/document/type", "passport"), ("/document/number", "ab12345"), ("/document/country", "VEN")];

    fn of(leaves: &[(&str, &str)], emergency: bool) -> Result<Patient, Vec<String>> {
        let mut fields: Vec<_> = leaves.iter().map(|(path, text)| Field::text(path, *text)).collect();
        fields.push(Field { path: "/emergency".into(), value: Value::Flag(emergency) });
        let codes = |violations: Vec<Violation>| violations.into_iter().map(|v| v.code).collect();
        Patient::of(&by(Role::Staff), Fields::new(&fields)).map_err(codes)
    }

    fn carne_key(number: &str, country: Option<&str>) -> Result<Option<String>, Vec<String>> {
        let mut leaves = vec![("/document/type", "ce"), ("/document/number", number)];
        leaves.extend(country.map(|country| ("/document/country", country)));
        of(&leaves, false).map(|patient| patient.key())
    }

    #[test]
    fn one_of_the_two_identifies() {
        assert_eq!(of(&[("/dni", "10117410-2")], false), Ok(Patient::Dni("10117410".into())));
        let passport = of(&PASSPORT, false).expect("a passport");
        assert_eq!(passport.key().as_deref(), Some("passport:VEN:AB12345"));
    }

    #[test]
    fn neither_or_both_is_refused() {
        let both = [&PASSPORT[..], &[("/dni", "10117410")]].concat();
        assert_eq!(of(&[], false), Err(vec!["pe.patient.missing".into()]));
        assert_eq!(of(&both, false), Err(vec!["pe.patient.missing".into()]));
        assert_eq!(of(&both, true), Err(vec!["pe.patient.missing".into()]));
    }

    #[test]
    fn a_wrong_check_digit_is_told_along_with_the_rest() {
        let both = [&PASSPORT[..], &[("/dni", "10117410-3")]].concat();
        assert_eq!(of(&both, false), Err(vec!["pe.dni.check-digit".into(), "pe.patient.missing".into()]));
        assert_eq!(of(&[("/dni", "10117410-3")], true), Err(vec!["pe.dni.check-digit".into()]));
    }

    #[test]
    fn a_foreigner_s_card_is_one_person_in_every_spelling() {
        for spelling in ["020645691", "0020645691", "000020645691", "020-645-691", "O2O645691", "o2o64569i"] {
            assert_eq!(carne_key(spelling, None), Ok(Some("ce:PER:020645691".into())), "{spelling}");
        }
        assert_eq!(carne_key("020645691", Some("PER")), Ok(Some("ce:PER:020645691".into())));
        assert_eq!(carne_key("020645691", Some("VEN")), Err(vec!["pe.document.issuer".into()]));
    }

    #[test]
    fn a_card_that_1_0_booked_under_a_nationality_has_the_same_key() {
        let stored = [("/document/type", "ce"), ("/document/number", "020645691"), ("/document/country", "VEN")];
        let stored = stored.map(|(path, text)| Field::text(path, text));
        assert_eq!(Patient::booked(Fields::new(&stored)).key().as_deref(), Some("ce:PER:020645691"));
    }

    #[test]
    fn an_emergency_needs_no_identity_and_claims_nobody() {
        let unknown = of(&[], true).expect("an emergency");
        assert_eq!(unknown.key(), None);
    }
}
