//! Released contracts beside their frozen copies in `wit/frozen/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::components::root;
use crate::support::golden::difference;

const RULE: &str = "A released contract never changes, because components that were built for it are in use. Undo the \
    change, and put what is new into a package of its own with a new version: wit/frozen/README.md says how.";

/// A WIT package by its name and version, such as `citas:rules@1.0.0`.
type Packages = BTreeMap<String, (PathBuf, String)>;

/// Adds the packages of a folder and of those below it, apart from `without`.
fn add_packages(folder: &Path, without: &Path, packages: &mut Packages) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path == without {
            continue;
        }
        if path.is_dir() {
            add_packages(&path, without, packages);
        } else if path.extension().is_some_and(|extension| extension == "wit") {
            let text = fs::read_to_string(&path).unwrap();
            let name = text.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'));
            let name = name.unwrap_or_else(|| panic!("{} names no package", path.display())).to_owned();
            let before = packages.insert(name, (path.clone(), text));
            assert!(before.is_none(), "two files have the package of {}", path.display());
        }
    }
}

#[test]
fn a_released_contract_is_as_it_was_released() {
    let (live, frozen) = (root().join("wit"), root().join("wit/frozen"));
    let (mut now, mut released) = (Packages::new(), Packages::new());
    add_packages(&live, &frozen, &mut now);
    add_packages(&frozen, Path::new(""), &mut released);
    assert!(released.contains_key("citas:rules@1.0.0"), "wit/frozen lacks a released contract. {RULE}");
    for (name, (copy, text)) in released {
        let version = name.rsplit('@').next().unwrap();
        let folder = copy.parent().and_then(Path::file_name).unwrap();
        assert_eq!(folder, version, "{} lies in the folder of another version", copy.display());
        let Some((path, changed)) = now.get(&name) else { panic!("no file in wit/ has the package {name}. {RULE}") };
        let difference = difference(&text, changed);
        assert!(difference.is_empty(), "{} differs from {}. {RULE}\n{difference}", path.display(), copy.display());
    }
}
