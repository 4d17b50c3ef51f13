//! Parses keys as people spell them. A filter accepts every spelling that a booking accepts.

use citas_kit::document::Document;
use citas_kit::{Party, keys};

use crate::patient::{DOCUMENTS, Patient, RUN};
use crate::run::Run;

/// Returns the key as plans name it, or `None` if the spelling means nothing.
pub fn key(of: Party, spelling: &str) -> Option<String> {
    match of {
        Party::Doctor => keys::number(spelling, 10),
        Party::Hospital => keys::code(spelling, 6),
        Party::Patient => patient(spelling).map(|patient| patient.key()),
    }
}

/// Returns the patient of a RUN, alone or as a key, or of another document's key.
fn patient(spelling: &str) -> Option<Patient> {
    let run = Run::parse(spelling.strip_prefix(RUN).unwrap_or(spelling)).ok();
    run.map(Patient::Run).or_else(|| Document::meant(DOCUMENTS, spelling).map(Patient::Document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_patient_means_one_key() {
        for (spelling, key) in [
            ("12.345.678-5", "run:12345678-5"),
            ("123456785", "run:12345678-5"),
            ("run:12345678-5", "run:12345678-5"),
            ("run:2.280.782-k", "run:2280782-K"),
            ("ipe:0100.123.456-7", "ipe:CHL:1001234567"),
            ("ipe:HTI:1001234567", "ipe:HTI:1001234567"),
            ("foreign-id:PER:12 345", "foreign-id:PER:12345"),
        ] {
            assert_eq!(super::key(Party::Patient, spelling).as_deref(), Some(key), "{spelling}");
        }
        for wrong in ["", "12345678-6", "run:", "AB12345", "passport:AB12345", "dni:10117410"] {
            assert_eq!(super::key(Party::Patient, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn doctors_and_hospitals_have_one_spelling() {
        assert_eq!(key(Party::Doctor, "0000123456").as_deref(), Some("123456"));
        assert_eq!(key(Party::Hospital, "109100").as_deref(), Some("109100"));
        assert_eq!(key(Party::Hospital, "9100"), None);
    }
}
