//! Released contracts beside their digests in `wit/README.md`.

use std::fs;

use citas_core::model::digest;

use crate::support::components::root;

const RULE: &str = "A released contract never changes, because components that were built for it are in use. Undo the \
    change, and put what is new into a package of its own with a new version: wit/README.md says how.";

#[test]
fn a_released_contract_is_as_it_was_released() {
    let table = fs::read_to_string(root().join("wit/README.md")).unwrap();
    let rows = table.lines().map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
    let released: Vec<_> = rows.filter(|row| row.get(2) == Some(&"yes")).map(|row| (row[1], row[3])).collect();
    assert!(released.iter().any(|(version, _)| *version == "1.0.0"), "wit/README.md lacks a released contract. {RULE}");
    for (version, promised) in released {
        let file = root().join("wit").join(version).join("rules.wit");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}. {RULE}", file.display()));
        assert!(text.contains(&format!("package citas:rules@{version};")), "{} is another version's", file.display());
        assert_eq!(digest(text.as_bytes()), format!("sha256:{promised}"), "{} has changed. {RULE}", file.display());
    }
}
