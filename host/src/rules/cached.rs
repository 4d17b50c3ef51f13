//! Keeps the native code of what it compiles in a folder of this machine, so that a host that starts again has each country
//! in milliseconds. A file there is taken or compiled anew, never trusted by its name; whatever is wrong with the folder
//! costs time and nothing else. Publishes nothing: see `Natives` for code that other hosts load.
//!
//! ```text
//! <folder>/<engine>-<compatibility hash>/<component's digest>.cwasm      SHA-256, then the code
//! ```

use std::fs::{self, DirBuilder, DirEntry};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use citas_core::limits::Limits;
use citas_core::registry::digest;
use citas_core::rules::{Engine, Refusal, Rules};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::engine::{WasmEngine, bounds_of, compiled, first_line};
use super::native;

/// A SHA-256, in bytes.
const SUM: usize = 32;

/// How many files are kept; the oldest go. `citas dev` makes one with every save.
const MOST: usize = 512;

/// Loads components as [`WasmEngine`] does, and compiles each but once.
pub struct CachedEngine {
    engine: WasmEngine,
    /// This engine's own part of the folder; none where that must not or cannot be used.
    folder: Option<PathBuf>,
    unwritten: Once,
}

impl CachedEngine {
    /// Keeps what `engine` makes in `folder`, which need not exist, but must be for this process's user alone: what lies in
    /// it is run. Where that is not so, the log says how to mend it, and everything is compiled.
    #[must_use]
    pub fn new(engine: WasmEngine, folder: &Path) -> Self {
        let ours = folder.join(native::name_here(engine.engine()));
        let made = require_private(folder).and_then(|()| make(&ours));
        if let Err(error) = &made {
            tracing::warn!(folder = %folder.display(), %error, "native code is not kept; each start compiles");
        }
        Self { engine, folder: made.is_ok().then_some(ours), unwritten: Once::new() }
    }

    /// What was kept of the component of that digest; an error says what is wrong with it.
    ///
    /// Whoever finds it asks it for its imports all the same: that is cheap, and a stricter host has a stricter answer.
    fn kept(&self, digest: &str) -> Result<Option<Component>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = match fs::read(folder.join(name(digest))) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let (promised, code) = file.split_first_chunk::<SUM>().ok_or("it is cut short")?;
        if *promised != sum(digest, code) {
            return Err("it is not what was written: its SHA-256 is another".into());
        }
        native::load(self.engine.engine(), code).map(Some).map_err(|refusal| refusal.to_string())
    }

    fn keep(&self, digest: &str, component: &Component) {
        let Some(folder) = &self.folder else { return };
        let code = component.serialize().map_err(|error| io::Error::other(first_line(&error)));
        let kept = code.and_then(|code| write(folder, digest, &code)).and_then(|()| tidy(folder));
        if let Err(error) = kept {
            self.unwritten.call_once(|| {
                tracing::warn!(folder = %folder.display(), %error, "native code cannot be kept; a start compiles it again");
            });
        }
    }
}

impl Engine for CachedEngine {
    fn load(&self, bytes: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        let bounds = bounds_of(bytes, limits)?;
        let digest = digest(bytes);
        match self.kept(&digest) {
            Ok(Some(component)) => {
                count("hit");
                return self.engine.ready(&component, bounds);
            }
            Ok(None) => count("miss"),
            Err(cause) => {
                count("damaged");
                tracing::warn!(digest, cause, "kept native code is damaged; compiling afresh");
            }
        }
        let component = compiled(self.engine.engine(), bytes)?;
        let rules = self.engine.ready(&component, bounds)?;
        self.keep(&digest, &component);
        Ok(rules)
    }

    fn load_native(&self, code: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        self.engine.load_native(code, limits)
    }

    fn name(&self) -> &str {
        self.engine.name()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("citas_rules_native_total", "outcome" => outcome).increment(1);
}

fn name(digest: &str) -> String {
    format!("{digest}.cwasm")
}

/// Over the component's digest too, so that a file is no good in another's place.
fn sum(digest: &str, code: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(digest).chain_update(code).finalize().into()
}

/// Makes the folder, unless there is one; only its owner, who must be this process's user, may be able to enter it, and
/// nobody else to put another in its place.
fn require_private(folder: &Path) -> io::Result<()> {
    make(folder)?;
    let refuse = |remedy: String| Err(io::Error::new(ErrorKind::PermissionDenied, remedy));
    let (found, parent) = (fs::symlink_metadata(folder)?, folder.parent().unwrap_or(folder));
    // What this process makes is its user's.
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

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whole or not at all. What a crash leaves of it has another sum, so nothing waits for the disk.
fn write(folder: &Path, digest: &str, code: &[u8]) -> io::Result<()> {
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    unfinished.write_all(&sum(digest, code))?;
    unfinished.write_all(code)?;
    unfinished.persist(folder.join(name(digest)))?;
    Ok(())
}

/// Removes what other engines made, which this host cannot load, and the oldest of too many files.
fn tidy(ours: &Path) -> io::Result<()> {
    let all = ours.parent().expect("it was made within the cache's folder");
    for other in fs::read_dir(all)? {
        let other = other?.path();
        if other != ours && other.is_dir() {
            fs::remove_dir_all(other)?;
        }
    }
    // One that is gone meanwhile is no trouble.
    let mut files: Vec<_> = fs::read_dir(ours)?.filter_map(|file| dated(&file.ok()?).ok()).collect();
    files.sort();
    let too_many = files.len().saturating_sub(MOST);
    files.iter().take(too_many).try_for_each(|(_, file)| fs::remove_file(file))
}

fn dated(file: &DirEntry) -> io::Result<(std::time::SystemTime, PathBuf)> {
    Ok((file.metadata()?.modified()?, file.path()))
}
