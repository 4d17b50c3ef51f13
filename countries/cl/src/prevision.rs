//! Checks the patient's health insurance: each system has its own data, which it requires and no other has.

use citas_kit::Violation;
use citas_kit::fields::Fields;

/// Checks that the request's insurance has what its system requires, and nothing of another system.
///
/// # Errors
/// Returns a violation for each member that is missing or contradicts another.
pub fn check(request: Fields) -> Result<(), Vec<Violation>> {
    let text = |path| request.text(path);
    let system = text("/prevision/system");
    let (fonasa, isapre) = (system == Some("fonasa"), system == Some("isapre"));
    let has = |path| request.has(path);
    // DFL 1 of 2005 (Salud): tramo A is treated in institutions, never by free choice.
    let free_choice = text("/prevision/tramo") == Some("A") && text("/prevision/care") == Some("mle");
    let rules = [
        (fonasa && !has("/prevision/tramo"), "/prevision/tramo", "tramo-missing"),
        (!fonasa && has("/prevision/tramo"), "/prevision/tramo", "tramo-only-fonasa"),
        (isapre && !has("/prevision/plan"), "/prevision/plan", "plan-missing"),
        (!isapre && has("/prevision/plan"), "/prevision/plan", "plan-only-isapre"),
        (fonasa && free_choice, "/prevision/care", "care-not-allowed"),
        (!fonasa && has("/prevision/care"), "/prevision/care", "care-only-fonasa"),
    ];
    let broken = rules.into_iter().filter(|(broken, ..)| *broken);
    let violations: Vec<_> =
        broken.map(|(_, path, what)| Violation::new(path, ["cl.prevision.", what].concat())).collect();
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use citas_kit::Field;

    fn codes(leaves: &[(&str, &str)]) -> Vec<String> {
        let leaf = |(path, text): &(&str, &str)| Field::text(&format!("/prevision/{path}"), *text);
        let fields: Vec<_> = leaves.iter().map(leaf).collect();
        let violations = check(Fields::new(&fields)).err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.code.replace("cl.prevision.", "")).collect()
    }

    #[test]
    fn each_system_has_its_own_members_and_no_others() {
        const NONE: &[&str] = &[];
        // Of each system: the violations without a member, with `tramo` B, with `plan`, with `care` mai.
        for (system, alone, tramo, plan, care) in [
            (
                "fonasa",
                &["tramo-missing"][..],
                NONE,
                &["tramo-missing", "plan-only-isapre"][..],
                &["tramo-missing"][..],
            ),
            (
                "isapre",
                &["plan-missing"],
                &["tramo-only-fonasa", "plan-missing"],
                NONE,
                &["plan-missing", "care-only-fonasa"],
            ),
            ("capredena", NONE, &["tramo-only-fonasa"], &["plan-only-isapre"], &["care-only-fonasa"]),
            ("dipreca", NONE, &["tramo-only-fonasa"], &["plan-only-isapre"], &["care-only-fonasa"]),
            ("sisa", NONE, &["tramo-only-fonasa"], &["plan-only-isapre"], &["care-only-fonasa"]),
            ("none", NONE, &["tramo-only-fonasa"], &["plan-only-isapre"], &["care-only-fonasa"]),
        ] {
            let system = ("system", system);
            assert_eq!(codes(&[system]), alone, "{system:?}");
            assert_eq!(codes(&[system, ("tramo", "B")]), tramo, "{system:?}");
            assert_eq!(codes(&[system, ("plan", "P-100")]), plan, "{system:?}");
            assert_eq!(codes(&[system, ("care", "mai")]), care, "{system:?}");
        }
    }

    #[test]
    fn every_contradiction_is_told_at_once() {
        let all = [("system", "none"), ("tramo", "A"), ("plan", "P-100"), ("care", "mle")];
        assert_eq!(codes(&all), ["tramo-only-fonasa", "plan-only-isapre", "care-only-fonasa"]);
    }

    #[test]
    fn tramo_a_has_no_free_choice() {
        let with = |tramo, care| codes(&[("system", "fonasa"), ("tramo", tramo), ("care", care)]);
        assert_eq!(with("A", "mle"), ["care-not-allowed"]);
        assert!(with("A", "mai").is_empty());
        assert!(with("B", "mle").is_empty());
    }
}
