//! The countries' sources in a workspace of their own, to be changed and built.

use std::fs;
use std::path::{Path, PathBuf};

use super::components::{folder, root};
use super::requests::day;

/// A copy of the countries and what they are built with, as a workspace of its own. It stays where it is, so that a
/// later run finds what cargo has made of its dependencies; one test at a time has it.
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
            // There is none the first time.
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
        let members = r#"members = ["countries/kit", "countries/pe", "countries/cl"]"#;
        fs::write(path.join("Cargo.toml"), format!("{before}{members}{after}")).unwrap();
        Self { path, _lock: lock }
    }

    /// One of Peru's sources.
    pub fn source(&self, name: &str) -> PathBuf {
        self.path.join("countries/pe/src").join(name)
    }

    /// Peru's holidays as they are, and with one more.
    pub fn decree(&self, holiday: &str) -> (String, String) {
        let source = fs::read_to_string(self.source("holidays.rs")).unwrap();
        let [year, month, day] = [0, 1, 2].map(|part| holiday.split('-').nth(part).unwrap().parse::<u16>().unwrap());
        let added =
            format!("national(\"Día de la prueba\", On::Once({year}, {month}, {day})),\n    national(\"Navidad\"");
        let changed = source.replace("national(\"Navidad\"", &added);
        assert_ne!(changed, source);
        (source, changed)
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

/// A working day that none of Peru's golden cases is about.
pub fn day_of_no_case() -> String {
    let cases = citas::rules::cases_in(&folder("pe").join("cases")).unwrap();
    // The first is the load's.
    (1..40).map(|number| day("pe", number)).find(|day| !cases.contains(day)).unwrap()
}
