//! Creates violations, and collects all of them instead of stopping at the first.

use crate::{Refusal, Violation};

/// Suffix of the codes for an action that is allowed in another phase only.
pub const NOT_ALLOWED_NOW: &str = ".not-allowed-now";

impl Violation {
    /// Creates a violation of the value at `path`. It is a conflict with the appointment's phase if the code ends in
    /// [`NOT_ALLOWED_NOW`].
    #[must_use]
    pub fn new(path: &str, code: impl Into<String>) -> Self {
        let code = code.into();
        Self { path: path.into(), conflict: code.ends_with(NOT_ALLOWED_NOW), code, params: Vec::new() }
    }

    /// Adds a value for the placeholder `{name}` of the message.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }
}

/// The violations found so far, in the order of the checks.
#[derive(Debug, Default)]
pub struct Findings(Vec<Violation>);

impl Findings {
    /// Returns the value of a successful check, or records the violations of a failed one.
    pub fn check<T, E: Into<Vec<Violation>>>(&mut self, checked: Result<T, E>) -> Option<T> {
        match checked {
            Ok(proof) => Some(proof),
            Err(violations) => {
                self.0.extend(violations.into());
                None
            }
        }
    }

    /// Records a violation, if there is one.
    pub fn note(&mut self, violation: Option<Violation>) {
        self.0.extend(violation);
    }

    /// Returns the proof if no violation was found.
    ///
    /// # Errors
    /// Returns all violations, in the order of the checks.
    pub fn conclude<T>(self, proof: Option<T>) -> Result<T, Vec<Violation>> {
        match proof {
            Some(proof) if self.0.is_empty() => Ok(proof),
            _ => Err(self.0),
        }
    }
}

impl From<Violation> for Vec<Violation> {
    fn from(violation: Violation) -> Self {
        vec![violation]
    }
}

impl From<Vec<Violation>> for Refusal {
    fn from(violations: Vec<Violation>) -> Self {
        Self::Violations(violations)
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self::Violations(vec![violation])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_phase_allows_is_a_conflict() {
        assert!(Violation::new("", "x.cancel.not-allowed-now").conflict);
        assert!(!Violation::new("", "x.cancel.too-late").conflict);
    }

    #[test]
    fn nothing_found_is_a_yes() {
        assert_eq!(Findings::default().conclude(Some(7)), Ok(7));
        assert_eq!(Findings::default().conclude(None::<u8>), Err(Vec::new()));
    }

    #[test]
    fn findings_keep_proofs_and_every_violation_in_order() {
        let mut findings = Findings::default();
        let proof = findings.check(Ok::<_, Violation>(7));
        findings.check(Err::<(), _>(Violation::new("/a", "x.a.wrong").with("at", "1")));
        findings.note(None);
        findings.note(Some(Violation::new("/b", "x.b.wrong")));
        let found = findings.conclude(proof).expect_err("two violations");
        let codes: Vec<_> = found.into_iter().map(|v| v.code).collect();
        assert_eq!(proof, Some(7));
        assert_eq!(codes, ["x.a.wrong", "x.b.wrong"]);
    }
}
