//! What one component may use, as its team declares it. The engine says what the standard is, and what it allows at most.

use serde::{Deserialize, Serialize};

/// The limits that a component declares, in `manifest.json` and `rules.toml`. The standard holds where it declares none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The size of the component itself, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<u64>,
    /// The memory of one instance, over all its memories, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The entries of a function table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u64>,
    /// The fuel of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Limits {
    /// Whether none is declared.
    #[must_use]
    pub fn are_standard(&self) -> bool {
        *self == Self::default()
    }
}
