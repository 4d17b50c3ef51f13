//! Colombia's municipalities by DIVIPOLA code.

use citas_kit::Violation;
use citas_kit::codes::CodeList;
use citas_kit::fields::Fields;

/// Municipalities, sorted by code. The source is in `data/SOURCES.md`.
const MUNICIPALITIES: CodeList = CodeList::new(include_str!("../data/municipalities.csv"));

/// Departments by the first two digits of a code.
const DEPARTMENTS: CodeList = CodeList::new(include_str!("../data/departments.csv"));

/// Returns a municipality with its department: `Medellín, Antioquia`. The capital is its own: `Bogotá, D.C.`
pub fn name(code: &str) -> Option<String> {
    let (name, department) = (MUNICIPALITIES.find(code)?, DEPARTMENTS.find(code.get(..2)?)?);
    let is_capital = name.replace(',', "") == department;
    Some(if is_capital { name.into() } else { [name, ", ", department].concat() })
}

/// Returns a violation if the request names no municipality of Colombia.
pub fn unknown(request: Fields) -> Option<Violation> {
    let code = request.text("/municipality").unwrap_or_default();
    let unknown = MUNICIPALITIES.find(code).is_none();
    unknown.then(|| Violation::new("/municipality", "co.municipality.unknown").with("municipality", code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_sorted_and_every_municipality_has_its_department() {
        let codes: Vec<_> = MUNICIPALITIES.rows().map(|(code, _)| code).collect();
        assert_eq!((codes.len(), DEPARTMENTS.rows().count()), (1122, 33));
        assert!(codes.is_sorted_by(|one, next| one < next));
        for (code, municipality) in MUNICIPALITIES.rows() {
            assert!(code.len() == 5 && name(code).is_some_and(|name| name.starts_with(municipality)), "{code}");
        }
    }

    #[test]
    fn a_municipality_is_named_with_its_department() {
        for (code, full) in [("05001", "Medellín, Antioquia"), ("11001", "Bogotá, D.C.")] {
            assert_eq!(name(code).as_deref(), Some(full));
        }
        for unknown in ["99999", "05", "", "5001"] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }
}
