//! The condition under which a request replaces something.

/// Condition on the present revision of what a request replaces (RFC 9110, section 13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// None was given.
    None,
    /// There is none yet.
    Absent,
    /// There is one.
    Present,
    /// The entity tag of the present one is one of these.
    Tags(Vec<String>),
}

impl Precondition {
    /// Returns true if the condition holds at this revision; 0 means that there is none yet.
    pub fn holds(&self, revision: u32) -> bool {
        match self {
            Self::None => true,
            Self::Absent => revision == 0,
            Self::Present => revision > 0,
            Self::Tags(tags) => revision > 0 && tags.contains(&revision.to_string()),
        }
    }
}
