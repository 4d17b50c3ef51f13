//! Golden files: texts that a test expects byte for byte, in `tests/golden/`.

use std::fs;
use std::path::PathBuf;

use similar::TextDiff;

use super::components::root;

/// Variable that has golden files rewritten. It has no prefix `CITAS_`, since the program refuses what it does not know.
const ACCEPT: &str = "UPDATE_GOLDEN";

/// Path of a golden file.
pub fn path(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

/// Returns whether golden files are rewritten.
pub fn accepts() -> bool {
    std::env::var_os(ACCEPT).is_some_and(|value| value == "1")
}

/// Compares a text with a golden file, or writes the file where that is asked for.
#[track_caller]
pub fn assert_golden(name: &str, actual: &str) {
    let path = path(name);
    if accepts() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let difference = difference(&expected, actual);
    assert!(
        difference.is_empty(),
        "{} differs. If the change is meant, accept it with `{ACCEPT}=1 cargo test --package citas --test tests golden` and \
         commit the file.\n{difference}",
        path.display()
    );
}

/// Returns how two texts differ, as a unified diff; empty where they are equal.
pub fn difference(expected: &str, actual: &str) -> String {
    TextDiff::from_lines(expected, actual).unified_diff().header("expected", "actual").to_string()
}
