//! Peru's districts by INEI UBIGEO code. RENIEC's codes are another system and are not looked up here.

use citas_kit::Violation;
use citas_kit::codes::CodeList;
use citas_kit::fields::Fields;

/// Districts, sorted by code. The source is in `data/SOURCES.md`.
const DISTRICTS: CodeList = CodeList::new(include_str!("../data/districts.csv"));

/// Provinces by the first four digits of a code, each with its department.
const PROVINCES: CodeList = CodeList::new(include_str!("../data/provinces.csv"));

/// Returns the name of a district.
pub fn name(ubigeo: &str) -> Option<&'static str> {
    DISTRICTS.find(ubigeo)
}

/// Returns a district with its province and department: `Santa Rosa, Chiclayo, Lambayeque`. A name that would stand twice
/// in a row stands once: `Miraflores, Lima`.
pub fn full_name(ubigeo: &str) -> Option<String> {
    let province_and_department = PROVINCES.find(ubigeo.get(..4)?)?;
    let mut names = vec![name(ubigeo)?];
    names.extend(province_and_department.split(','));
    names.dedup();
    Some(names.join(", "))
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
        assert_eq!((codes.len(), PROVINCES.rows().count()), (1891, 196));
        assert!(codes.is_sorted_by(|one, next| one < next));
        assert!(codes.iter().all(|code| code.len() == 6));
    }

    #[test]
    fn every_district_is_found() {
        for (code, district) in DISTRICTS.rows() {
            assert_eq!(name(code), Some(district));
            assert!(full_name(code).is_some_and(|full| full.starts_with(district)), "{code}");
        }
    }

    #[test]
    fn codes_are_inei_s() {
        assert_eq!(name("150122"), Some("Miraflores"));
        assert_ne!(name("140115"), Some("Miraflores"));
        assert_eq!(name("999999"), None);
        for (code, full) in
            [("150122", "Miraflores, Lima"), ("140114", "Santa Rosa, Chiclayo, Lambayeque"), ("080101", "Cusco")]
        {
            assert_eq!(full_name(code).as_deref(), Some(full), "{code}");
        }
        for unknown in ["999999", "150199", "1501", ""] {
            assert_eq!(full_name(unknown), None, "{unknown}");
        }
    }
}
