//! Parses keys as people spell them. A filter accepts every spelling that a booking accepts.

use citas_kit::document::Document;
use citas_kit::schedule::ANONYMOUS;
use citas_kit::{Party, keys};

use crate::dni::Dni;
use crate::patient::{DNI, DOCUMENTS, Patient};

/// Returns the key as plans name it, or `None` if the spelling means nothing.
pub fn key(of: Party, spelling: &str) -> Option<String> {
    match of {
        Party::Doctor => keys::number(spelling, 6),
        Party::Hospital => keys::code(spelling, 8),
        Party::Patient if spelling.starts_with(ANONYMOUS) => Some(spelling.into()),
        Party::Patient => patient(spelling)?.key(),
    }
}

/// Returns the patient of a DNI, alone or as a key, or of another document's key.
fn patient(spelling: &str) -> Option<Patient> {
    let dni = Dni::parse(spelling.strip_prefix(DNI).unwrap_or(spelling));
    dni.map(Patient::from).or_else(|| Document::meant(DOCUMENTS, spelling).map(Patient::Document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_patient_means_one_key() {
        for (spelling, key) in [
            ("10117410", "dni:10117410"),
            ("10117410-2", "dni:10117410"),
            ("101174102", "dni:10117410"),
            ("dni:10117410", "dni:10117410"),
            ("dni:10117410-G", "dni:10117410"),
            ("ce:o2o-645-691", "ce:PER:020645691"),
            ("ce:PER:020645691", "ce:PER:020645691"),
            ("ce:VEN:020645691", "ce:VEN:020645691"),
            ("passport:VEN:ab 12345", "passport:VEN:AB12345"),
            ("anonymous/45678/2026-12-01T14:15Z", "anonymous/45678/2026-12-01T14:15Z"),
        ] {
            assert_eq!(super::key(Party::Patient, spelling).as_deref(), Some(key), "{spelling}");
        }
        for wrong in ["", "10117410-3", "1011741", "dni:", "AB12345", "passport:AB12345", "run:12345678-5"] {
            assert_eq!(super::key(Party::Patient, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn doctors_and_hospitals_have_one_spelling() {
        assert_eq!(key(Party::Doctor, "045678").as_deref(), Some("45678"));
        assert_eq!(key(Party::Doctor, "0045678"), None);
        assert_eq!(key(Party::Hospital, "00006219").as_deref(), Some("00006219"));
        assert_eq!(key(Party::Hospital, "6219"), None);
    }
}
