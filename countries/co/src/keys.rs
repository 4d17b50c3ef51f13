//! Parses keys as people spell them. A filter accepts every spelling that a request accepts.

use citas_kit::{Party, keys};

use crate::document::Document;

/// Returns the key as plans name it, or `None` if the spelling means nothing.
pub fn key(of: Party, spelling: &str) -> Option<String> {
    match of {
        Party::Doctor => keys::number(spelling, 10),
        Party::Hospital => keys::code(spelling, 12),
        Party::Patient => Document::meant(spelling).map(|document| document.key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctors_hospitals_and_patients_have_one_spelling() {
        assert_eq!(key(Party::Doctor, "0052123456").as_deref(), Some("52123456"));
        assert_eq!(key(Party::Hospital, "110010000101").as_deref(), Some("110010000101"));
        assert_eq!(key(Party::Hospital, "1100100001"), None);
        assert_eq!(key(Party::Patient, "CC 1.032.456.789").as_deref(), Some("cc:1032456789"));
    }
}
