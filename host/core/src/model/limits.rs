//! Limits that a team declares for its component. The engine defines the standard and the maximum of each limit.

use serde::{Deserialize, Serialize};

/// Maximum size of a component, in bytes. The declared limit `component` cannot exceed it, and no registry reads a
/// larger component. A component of Python with its library has 19 MB.
pub const MAX_COMPONENT_BYTES: u64 = 32 << 20;

/// Limits that a component declares in `manifest.json` and `rules.toml`. The standard applies to each limit that is not
/// declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Size of the component, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<u64>,
    /// Memory of one instance, over all its memories, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Entries of a function table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u64>,
    /// Fuel of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Limits {
    /// Returns true if no limit is declared.
    pub fn are_standard(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::manifest::Manifest;

    /// The signature covers these bytes, so they stay as they were before manifests had limits.
    #[test]
    fn a_manifest_without_limits_is_written_as_ever_and_one_with_limits_says_those_alone() {
        let written = r#"{
  "country": "pe",
  "version": "1.0.0",
  "digest": "sha256:ab",
  "casesDigest": "sha256:cd",
  "contract": "1.0.0",
  "source": null,
  "publishedAt": "2026-11-24T15:00:00Z"
}
"#;
        let manifest: Manifest = serde_json::from_str(written).unwrap();
        assert!(manifest.limits.are_standard());
        assert_eq!(String::from_utf8(manifest.bytes()).unwrap(), written);
        let roomy = written.replace("15:00:00Z\"", "15:00:00Z\",\n  \"limits\": {\n    \"memory\": 33554432\n  }");
        let manifest: Manifest = serde_json::from_str(&roomy).unwrap();
        assert_eq!(manifest.limits.memory, Some(32 << 20));
        assert_eq!(String::from_utf8(manifest.bytes()).unwrap(), roomy);
        assert!(serde_json::from_str::<Manifest>(&roomy.replace("memory", "memories")).is_err());
    }
}
