//! Caches the native code of accepted components in a folder of this machine, so that a host that restarts loads each
//! country in milliseconds. Also records which packages were accepted with that code: a component with other golden
//! cases or limits is judged again, from the cached code. A file is verified by its content and never trusted by its
//! name. A damaged folder costs time and nothing else. Publishes nothing: `NativeCodeStore` is for code that other
//! hosts load.
//!
//! ```text
//! <folder>/<engine>-<compatibility hash>/<component's digest>.cwasm      SHA-256, then the code
//! <folder>/<engine>-<compatibility hash>/<package's digest>.accepted     SHA-256
//! ```

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::engine::WasmEngine;
use super::native;
use crate::files::{Access, make_folder, touch};

/// Size of a SHA-256, in bytes.
const SUM: usize = 32;

/// Maximum number of files. The least recently used ones are removed. `citas dev` writes two with every save.
const MAX_FILES: usize = 1024;

/// Maximum size of all native code, in bytes (a country in Python takes 50 MB). The least recently used files are
/// removed.
const MAX_BYTES: u64 = 4 << 30;

/// Native code of accepted components.
pub(super) struct NativeStore {
    /// This engine's own part of the folder. `None` if the folder is not safe or cannot be used.
    folder: Option<PathBuf>,
    unwritten: Once,
}

impl NativeStore {
    /// Opens the cache of `engine` in `folder`, which may be absent. Only this process's user may have access to it,
    /// because its content is executed. Otherwise the log says how to repair it, nothing is cached, and every start
    /// judges everything.
    pub(super) fn open(engine: &WasmEngine, folder: &Path) -> Self {
        let ours = folder.join(native::name_here(engine.engine()));
        let made = require_private(folder).and_then(|()| make_folder(&ours, Access::Private));
        if let Err(error) = &made {
            tracing::warn!(folder = %folder.display(), %error, "native code is not kept; each start compiles");
        }
        Self { folder: made.is_ok().then_some(ours), unwritten: Once::new() }
    }

    /// Returns the code of a component if its package was accepted.
    pub(super) fn accepted(&self, package: &str, component: &str) -> Option<Vec<u8>> {
        let folder = self.folder.as_ref()?;
        let record = fs::read(folder.join(record_name(package))).ok()?;
        // Damaged code is reported when the package is judged again.
        let code = if record == sum(package, &[]) { self.kept(component).ok()?? } else { return None };
        // Files in use stay when there are too many. A file whose time cannot be set may be removed early, and is made
        // again.
        for name in [record_name(package), name(component)] {
            let _ = touch(&folder.join(name), SystemTime::now());
        }
        count("hit");
        Some(code)
    }

    /// Returns the cached code of a component that is to be judged.
    pub(super) fn code(&self, component: &str) -> Option<Vec<u8>> {
        match self.kept(component) {
            Ok(Some(code)) => Some(code),
            Ok(None) => {
                count("miss");
                None
            }
            Err(cause) => {
                count("damaged");
                tracing::warn!(digest = component, cause, "kept native code is damaged; compiling afresh");
                None
            }
        }
    }

    /// Records that a package was accepted, and stores the code of its component if it is new.
    pub(super) fn keep(&self, package: &str, component: &str, code: Option<&[u8]>) {
        let Some(folder) = &self.folder else { return };
        let code = code.map_or(Ok(()), |code| write(folder, &name(component), &[&sum(component, code), code]));
        let kept =
            code.and_then(|()| write(folder, &record_name(package), &[&sum(package, &[])])).and_then(|()| tidy(folder));
        if let Err(error) = kept {
            self.unwritten.call_once(|| {
                tracing::warn!(folder = %folder.display(), %error, "native code cannot be kept; a start compiles it again");
            });
        }
    }

    fn kept(&self, component: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let mut file = match fs::read(folder.join(name(component))) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let (promised, code) = file.split_first_chunk::<SUM>().ok_or("it is cut short")?;
        if *promised != sum(component, code) {
            return Err("it is not what was written: its SHA-256 is another".into());
        }
        file.drain(..SUM);
        Ok(Some(file))
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("citas_rules_native_total", "outcome" => outcome).increment(1);
}

fn name(digest: &str) -> String {
    format!("{digest}.cwasm")
}

fn record_name(package: &str) -> String {
    format!("{package}.accepted")
}

/// Returns the checksum of a file. It covers the digest too, so that a file is invalid under another file's name.
fn sum(digest: &str, code: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(digest).chain_update(code).finalize().into()
}

/// Creates the folder if it is absent. Refuses one that another user owns, can enter or can replace.
fn require_private(folder: &Path) -> io::Result<()> {
    make_folder(folder, Access::Private)?;
    let refuse = |remedy: String| Err(io::Error::new(ErrorKind::PermissionDenied, remedy));
    let (found, parent) = (fs::symlink_metadata(folder)?, folder.parent().unwrap_or(folder));
    // Files of this process belong to its user.
    let user = tempfile::tempfile_in(folder)?.metadata()?.uid();
    if !found.is_dir() || found.uid() != user {
        return refuse("it must be a folder of the user who runs Citas; remove it".into());
    }
    if found.mode() & 0o077 != 0 {
        return refuse("other users can enter it, and what lies there is run; remove it".into());
    }
    if fs::metadata(parent)?.mode() & 0o022 != 0 {
        return refuse(format!("other users can put another in its place; chmod go-w {}", parent.display()));
    }
    Ok(())
}

/// Writes a file, whole or not at all. A file that a crash left incomplete fails its checksum, so this does not wait
/// for the disk.
fn write(folder: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    parts.iter().try_for_each(|part| unfinished.write_all(part))?;
    unfinished.persist(folder.join(name))?;
    Ok(())
}

/// Removes the code of other engines, which this host cannot load, and the least recently used of too many files.
fn tidy(ours: &Path) -> io::Result<()> {
    let all = ours.parent().expect("it was made within the cache's folder");
    for other in fs::read_dir(all)? {
        let other = other?.path();
        if other != ours && other.is_dir() {
            fs::remove_dir_all(other)?;
        }
    }
    // A file that disappears meanwhile is ignored.
    let files = fs::read_dir(ours)?.filter_map(|file| kept_file(&file.ok()?).ok()).collect();
    excess(files, MAX_FILES, MAX_BYTES).iter().try_for_each(fs::remove_file)
}

/// A cached file: time of its last use, size in bytes, and path.
type KeptFile = (SystemTime, u64, PathBuf);

fn kept_file(file: &DirEntry) -> io::Result<KeptFile> {
    let metadata = file.metadata()?;
    Ok((metadata.modified()?, metadata.len(), file.path()))
}

/// Returns the files beyond a number of files or bytes, counted from the most recently used one.
fn excess(mut files: Vec<KeptFile>, max_files: usize, max_bytes: u64) -> Vec<PathBuf> {
    files.sort_by(|one, other| other.cmp(one));
    let mut bytes = 0;
    let kept = files.iter().take(max_files).take_while(|(_, size, _)| {
        bytes += size;
        bytes <= max_bytes
    });
    let kept = kept.count();
    files.split_off(kept).into_iter().map(|(_, _, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let file = |age: u64, size| {
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(100 - age);
            (used, size, PathBuf::from(age.to_string()))
        };
        let excess = |max_files, max_bytes| {
            let files = vec![file(2, 10), file(1, 10), file(4, 10), file(3, 10)];
            excess(files, max_files, max_bytes).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert!(excess(4, 40).is_empty());
        assert_eq!(excess(3, 40), ["4"]);
        assert_eq!(excess(4, 25), ["3", "4"]);
        assert_eq!(excess(4, 9).len(), 4);
    }
}
