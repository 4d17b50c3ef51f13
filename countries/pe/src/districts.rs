//! Peru's districts by INEI UBIGEO code. RENIEC's codes are another system and are not looked up here.

use citas_kit::Violation;
use citas_kit::codes::CodeList;
use citas_kit::fields::Fields;

/// Districts, sorted by code. The source is in `data/SOURCES.md`.
const DISTRICTS: CodeList = CodeList::new(include_str!("../data/districts.csv"));

/// Returns the name of a district.
pub fn name(ubigeo: &str) -> Option<&'static str> {
    DISTRICTS.find(ubigeo)
}

/// Returns a violation if the request names no district of Peru.
pub fn unknown(request: Fields) -> Option<Violation> {
    let ubigeo = request.text("/district").unwrap_or_default();
    name(ubigeo).is_none().then(|| Violation::new("/district", "pe.district.unknown").with("district", ubigeo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_sorted() {
        let codes: Vec<_> = DISTRICTS.rows().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), 1891);
        assert!(codes.is_sorted_by(|one, next| one < next));
        assert!(codes.iter().all(|code| code.len() == 6));
    }

    #[test]
    fn every_district_is_found() {
        for (code, district) in DISTRICTS.rows() {
            assert_eq!(name(code), Some(district));
        }
    }

    #[test]
    fn codes_are_inei_s() {
        assert_eq!(name("150122"), Some("Miraflores"));
        assert_ne!(name("140115"), Some("Miraflores"));
        assert_eq!(name("999999"), None);
    }
}
