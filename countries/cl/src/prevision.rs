//! Checks the patient's health insurance: each system requires its own data.

use citas_kit::Violation;
use citas_kit::fields::Fields;

/// Returns the violation of the request's insurance, if any.
pub fn violation(request: Fields) -> Option<Violation> {
    let system = request.text("/prevision/system");
    let tramo = request.text("/prevision/tramo");
    let care = request.text("/prevision/care");
    match (system, tramo) {
        (Some("fonasa"), None) => Some(Violation::new("/prevision/tramo", "cl.prevision.tramo-missing")),
        // DFL 1 of 2005 (Salud): tramo A is treated in institutions, never by free choice.
        (Some("fonasa"), Some("A")) if care == Some("mle") => {
            Some(Violation::new("/prevision/care", "cl.prevision.care-not-allowed"))
        }
        (Some("isapre"), _) if !request.has("/prevision/plan") => {
            Some(Violation::new("/prevision/plan", "cl.prevision.plan-missing"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::Field;

    fn code(leaves: &[(&str, &str)]) -> Option<String> {
        let leaf = |(path, text): &(&str, &str)| Field::text(&format!("/prevision/{path}"), *text);
        let fields: Vec<_> = leaves.iter().map(leaf).collect();
        violation(Fields::new(&fields)).map(|violation| violation.code)
    }

    #[test]
    fn fonasa_needs_a_tramo() {
        assert_eq!(code(&[("system", "fonasa")]).as_deref(), Some("cl.prevision.tramo-missing"));
        assert_eq!(code(&[("system", "fonasa"), ("tramo", "A")]), None);
    }

    #[test]
    fn isapre_needs_a_plan() {
        assert_eq!(code(&[("system", "isapre")]).as_deref(), Some("cl.prevision.plan-missing"));
        assert_eq!(code(&[("system", "isapre"), ("plan", "P-100")]), None);
    }

    #[test]
    fn tramo_a_has_no_free_choice() {
        let with = |tramo, care| code(&[("system", "fonasa"), ("tramo", tramo), ("care", care)]);
        assert_eq!(with("A", "mle").as_deref(), Some("cl.prevision.care-not-allowed"));
        assert_eq!(with("A", "mai"), None);
        assert_eq!(with("B", "mle"), None);
    }

    #[test]
    fn the_other_systems_need_nothing_more() {
        for system in ["capredena", "dipreca", "sisa", "none"] {
            assert_eq!(code(&[("system", system)]), None);
        }
    }
}
