//! The countries' sources, where a test may change them.

use std::fs;
use std::path::{Path, PathBuf};

use super::components::root;

/// A copy of the countries and of the files that build them, as a workspace of its own. The copy stays, so that a later
/// run finds its compiled dependencies. Only one test at a time may use it.
pub struct Workspace {
    pub path: PathBuf,
    _lock: fs::File,
}

impl Workspace {
    pub fn copied() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("countries");
        fs::create_dir_all(&path).unwrap();
        let lock = fs::File::create(path.join("lock")).unwrap();
        lock.lock().unwrap();
        for name in ["wit", "countries"] {
            // The first run has none.
            let _ = fs::remove_dir_all(path.join(name));
            copy(&root().join(name), &path.join(name));
        }
        for name in ["Cargo.lock", "rust-toolchain.toml"] {
            fs::copy(root().join(name), path.join(name)).unwrap();
        }
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let (before, members) = manifest.split_once("members = [").unwrap();
        let (_, after) = members.split_once(']').unwrap();
        let (after, _profiles) = after.split_once("[profile.").unwrap();
        let members = r#"members = ["countries/kit", "countries/pe", "countries/cl", "countries/co"]"#;
        fs::write(path.join("Cargo.toml"), format!("{before}{members}{after}")).unwrap();
        Self { path, _lock: lock }
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.path.join("countries/pe/src").join(name)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns Peru's `holidays.rs` with one more holiday, on this day alone.
pub fn with_holiday(source: &str, day: &str) -> String {
    let [year, month, day] = [0, 1, 2].map(|part| day.split('-').nth(part).unwrap().parse::<u16>().unwrap());
    let added = format!("national(\"Día de la prueba\", On::Once({year}, {month}, {day})),\n    national(\"Navidad\"");
    let changed = source.replace("national(\"Navidad\"", &added);
    assert_ne!(changed, source);
    changed
}
