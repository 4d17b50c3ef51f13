//! Identifies the patient by a RUN or another document, exactly one of them. A RUN cannot be demanded of everybody.

use citas_kit::Violation;
use citas_kit::document::Document;
use citas_kit::fields::Fields;
use citas_kit::schedule::Whom;
use citas_kit::violations::Findings;

use crate::run::Run;

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
        let given = run.is_some();
        let run = run.and_then(|run| findings.check(run));
        let patient = match (given, Document::of(request)) {
            (true, None) => run.map(Self::Run),
            (false, Some(document)) => Some(Self::Document(document)),
            _ => {
                findings.note(Some(Violation::new("", "cl.patient.missing")));
                None
            }
        };
        findings.conclude(patient)
    }

    /// Returns the key that finds the appointment and claims the patient's time.
    pub fn key(&self) -> String {
        match self {
            Self::Run(run) => ["run:", run.as_str()].concat(),
            Self::Document(document) => document.key(),
        }
    }

    /// Returns the patient for a plan, which claims the patient's time.
    pub fn whom(&self) -> Whom {
        Whom { key: self.key(), claimed: true }
    }
}

/// Returns the patient of a booked appointment, whichever version of these rules booked it.
pub fn booked(attributes: Fields) -> Whom {
    Patient::of(attributes).map(|patient| patient.whom()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::Field;

    const IPE: [(&str, &str); 3] =
        [("/document/type", "ipe"), ("/document/number", "100123456-7"), ("/document/country", "HTI")];

    fn of(leaves: &[(&str, &str)]) -> Result<String, Vec<String>> {
        let fields: Vec<_> = leaves.iter().map(|(path, text)| Field::text(path, *text)).collect();
        let codes = |violations: Vec<Violation>| violations.into_iter().map(|v| v.code).collect();
        Patient::of(Fields::new(&fields)).map(|patient| patient.key()).map_err(codes)
    }

    #[test]
    fn one_of_the_two_identifies() {
        assert_eq!(of(&[("/run", "12.345.678-5")]), Ok("run:12345678-5".into()));
        assert_eq!(of(&IPE), Ok("ipe:HTI:1001234567".into()));
    }

    #[test]
    fn neither_or_both_is_refused_along_with_the_rest() {
        let both = |run| [&IPE[..], &[("/run", run)]].concat();
        assert_eq!(of(&[]), Err(vec!["cl.patient.missing".into()]));
        assert_eq!(of(&both("12345678-5")), Err(vec!["cl.patient.missing".into()]));
        assert_eq!(of(&both("12345678-6")), Err(vec!["cl.run.check-digit".into(), "cl.patient.missing".into()]));
    }
}
