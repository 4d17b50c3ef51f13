//! Identifies the patient by a DNI or another document, exactly one of them.

use citas_kit::Violation;
use citas_kit::clock::utc_text;
use citas_kit::document::Document;
use citas_kit::fields::Fields;
use citas_kit::schedule::Whom;
use citas_kit::violations::Findings;

use crate::dni::Dni;

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
    pub fn of(request: Fields) -> Result<Self, Vec<Violation>> {
        let mut findings = Findings::default();
        let given = request.has("/dni");
        let dni = given.then(|| dni(request)).and_then(|dni| findings.check(dni));
        let patient = match (given, Document::of(request)) {
            (true, None) => dni,
            (false, Some(document)) => Some(Self::Document(document)),
            // Emergency care does not depend on an identity document (DS 027-2015-SA).
            (false, None) if request.flag("/emergency") => Some(Self::Unknown),
            _ => {
                findings.note(Some(Violation::new("", "pe.patient.missing")));
                None
            }
        };
        findings.conclude(patient)
    }

    /// Returns the patient of a booked appointment, whichever version of these rules booked it.
    pub fn booked(attributes: Fields) -> Self {
        Self::of(attributes).unwrap_or(Self::Unknown)
    }

    /// Returns the key that claims the patient's time, or `None` while the patient is unknown.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Dni(number) => Some(["dni:", number].concat()),
            Self::Document(document) => Some(document.key()),
            Self::Unknown => None,
        }
    }

    /// Returns the patient for a plan. The key of an unknown patient consists of the doctor and the start.
    pub fn whom(&self, doctor: &str, start: i64) -> Whom {
        let key = self.key();
        Whom {
            claimed: key.is_some(),
            key: key.unwrap_or_else(|| ["anonymous/", doctor, "/", &utc_text(start)].concat()),
        }
    }
}

fn dni(request: Fields) -> Result<Patient, Violation> {
    let dni = request.text("/dni").and_then(Dni::parse);
    let dni = dni.ok_or_else(|| Violation::new("/dni", "pe.dni.check-digit"))?;
    Ok(Patient::Dni(dni.number().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::{Field, Value};

    const PASSPORT: [(&str, &str); 3] =
        [("/document/type", "passport"), ("/document/number", "ab12345"), ("/document/country", "VEN")];

    fn of(leaves: &[(&str, &str)], emergency: bool) -> Result<Patient, Vec<String>> {
        let mut fields: Vec<_> = leaves.iter().map(|(path, text)| Field::text(path, *text)).collect();
        fields.push(Field { path: "/emergency".into(), value: Value::Flag(emergency) });
        let codes = |violations: Vec<Violation>| violations.into_iter().map(|v| v.code).collect();
        Patient::of(Fields::new(&fields)).map_err(codes)
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
    fn an_emergency_needs_no_identity_and_claims_nobody() {
        let unknown = of(&[], true).expect("an emergency");
        let whom = unknown.whom("45678", 1_796_134_500);
        assert_eq!(whom.key, "anonymous/45678/2026-12-01T14:15Z");
        assert!(!whom.claimed);
    }
}
