//! Keeps the registry in a folder. A file or version is whole and on disk before it is renamed into place, so that a
//! reader never sees a part of it, not even after a power loss. Does not look into a component.
//!
//! ```text
//! <folder>/<country>/versions/<version>/{rules.wasm,manifest.json,manifest.json.minisig,cases.json}
//! <folder>/<country>/channel.json
//! <folder>/<country>/.lock           held while channel.json changes
//! ```
//!
//! A country's team may write its part of the folder. So an entry there may be no file, may be endless, or may lead
//! elsewhere:
//!
//! - Only regular files are read, up to the limit of their kind.
//! - A symbolic link is followed if it stays below the folder, like the links of a deployment that switches `current`
//!   or of a Kubernetes volume (`..data`). An absolute link, or one that leads out, is refused while the path is
//!   resolved (with `openat2` where Linux has it), so that nobody can exchange a folder between the check and the read.
//!   The folder itself may be a link, because its owner names it.
//! - File work runs on threads that nothing waits for. A disk that does not answer, for example over a network, delays
//!   neither the end of the process nor the reading of another country.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use citas_core::model::{Artifact, Channel, CountryCode, Manifest};
use citas_core::ports::{Registry, RegistryError};
use semver::Version;
use tokio::sync::{Semaphore, oneshot};

use crate::files::{self, Access, Durability};
use citas_core::release::layout::{self, CASES, CHANNEL, COMPONENT, MANIFEST, MAX_LISTED, SIGNATURE, unreadable};

/// Maximum number of concurrent disk operations of one country. Operations whose caller has given up count until the
/// disk answers, so a disk that never answers costs four threads per country.
const MAX_CONCURRENCY: usize = 4;

/// Time limit of one disk operation, with the wait for its turn: twice the time for 32 MB over a line of 1 MB per
/// second.
const DISK_TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum wait for another process that changes the same channel. A change takes milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between attempts to take the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// Published rules in a local or shared folder.
#[derive(Clone, Debug)]
pub struct FolderRegistry {
    files: Arc<Files>,
    /// Turns for disk operations, for each country and for the list of countries.
    turns: Arc<Mutex<HashMap<Option<CountryCode>, Arc<Semaphore>>>>,
    timeout: Duration,
}

impl FolderRegistry {
    /// Creates a registry in `folder`, which may be absent until something is published.
    pub fn new(folder: &Path) -> Self {
        Self::of(folder, Access::Shared)
    }

    /// Returns a registry whose files only their owner can read.
    pub(super) fn private(folder: &Path) -> Self {
        Self::of(folder, Access::Private)
    }

    fn of(folder: &Path, access: Access) -> Self {
        let files = Arc::new(Files { root: folder.to_owned(), access });
        Self { files, turns: Arc::default(), timeout: DISK_TIMEOUT }
    }

    /// Runs file work, for one country or for all, on a thread of its own. The runtime's threads for such work would
    /// have to end before the process can.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        country: Option<CountryCode>,
        work: impl FnOnce(&Files) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let silence =
            |_| RegistryError::Unavailable(format!("its folder has not answered for {} s", self.timeout.as_secs_f32()));
        tokio::time::timeout(self.timeout, self.answer(country, work)).await.map_err(silence)?
    }

    async fn answer<T: Send + 'static>(
        &self,
        country: Option<CountryCode>,
        work: impl FnOnce(&Files) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let turn = self.turns(country).acquire_owned().await.expect("the semaphore is never closed");
        let files = Arc::clone(&self.files);
        let (sender, result) = oneshot::channel();
        let thread = thread::Builder::new().name("registry".into()).spawn(move || {
            // The caller may have given up.
            let _ = sender.send(work(&files));
            drop(turn);
        });
        thread.map_err(|error| unavailable(&error))?;
        result.await.map_err(|_| RegistryError::Unavailable("reading it panicked".into()))?
    }

    fn turns(&self, country: Option<CountryCode>) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(country).or_insert_with(|| Arc::new(Semaphore::new(MAX_CONCURRENCY))))
    }
}

#[async_trait]
impl Registry for FolderRegistry {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        self.run(None, Files::countries).await
    }

    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        self.run(Some(country), move |files| files.channel(country)).await
    }

    async fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError> {
        let (expected, new) = (expected.cloned(), new.clone());
        self.run(Some(country), move |files| files.set_channel(country, expected.as_ref(), &new)).await
    }

    async fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError> {
        self.run(Some(country), move |files| files.versions(country)).await
    }

    async fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        let artifact = artifact.clone();
        self.run(Some(artifact.manifest.country), move |files| files.publish(&artifact)).await
    }

    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        let version = version.clone();
        self.run(Some(country), move |files| files.fetch(country, &version)).await
    }
}

/// Blocking file operations of the registry.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    access: Access,
}

impl Files {
    /// Returns the countries that have a channel, even one that cannot be read: reading that channel returns the
    /// reason.
    fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        let Some(root) = self.open()? else { return Ok(Vec::new()) };
        let mut countries: Vec<CountryCode> = names(&root, ".")?.iter().filter_map(|name| name.parse().ok()).collect();
        countries.retain(|country| !is_absent(&root.metadata(layout::channel(*country))));
        countries.sort();
        Ok(countries)
    }

    pub(super) fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        let key = layout::channel(country);
        let Some(root) = self.open()? else { return Ok(None) };
        read(&root, &key)?.map(|bytes| layout::parse_channel(&key, &bytes)).transpose()
    }

    fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError> {
        let root = self.open()?.filter(|root| is_whole(root, country, &new.current));
        let Some(root) = root else {
            return Err(RegistryError::Absent { country, version: new.current.clone() });
        };
        // Closing the file releases the lock.
        let _lock = lock(&root, &format!("{country}/.lock"), LOCK_TIMEOUT)?;
        if self.channel(country)?.as_ref() != expected {
            return Err(RegistryError::Conflict(country));
        }
        self.write_channel(country, new)
    }

    /// Writes a channel and replaces whatever is there.
    pub(super) fn write_channel(&self, country: CountryCode, new: &Channel) -> Result<(), RegistryError> {
        let bytes = layout::channel_bytes(country, new)?;
        let folder = self.real_path(country.as_str()).map_err(|error| unavailable(&error))?;
        let replaced = files::replace(&folder.join(CHANNEL), &bytes, self.access, Durability::Synced);
        replaced.map_err(|error| unavailable(&error))
    }

    pub(super) fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError> {
        let Some(root) = self.open()? else { return Ok(Vec::new()) };
        let mut versions: Vec<Version> = names(&root, &layout::versions(country))?
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|version| is_whole(&root, country, version))
            .collect();
        versions.sort();
        Ok(versions)
    }

    pub(super) fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        layout::check(artifact)?;
        let Manifest { country, ref version, .. } = artifact.manifest;
        let versions = self.make_versions(country).map_err(|error| unavailable(&error))?;
        let target = versions.join(version.to_string());
        let exists = || RegistryError::Exists { country, version: version.clone() };
        if fs::symlink_metadata(&target).is_ok() {
            return Err(exists());
        }
        // The rename decides between concurrent publishers: it does not replace a folder that is not empty.
        let written = self.write_version(&versions, &target, artifact).and_then(|()| self.sync_parents(country));
        written.map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => exists(),
            _ => unavailable(&error),
        })
    }

    fn make_versions(&self, country: CountryCode) -> io::Result<PathBuf> {
        let versions = layout::versions(country);
        files::make_folder(&self.path(&versions), self.access)?;
        self.real_path(&versions)
    }

    pub(super) fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        let absent = || RegistryError::Absent { country, version: version.clone() };
        let root = self.open()?.ok_or_else(absent)?;
        if is_absent(&root.metadata(layout::version(country, version))) {
            return Err(absent());
        }
        let optional = |name: &str| read(&root, &layout::file(country, version, name));
        let file = |name: &str| {
            let missing = || layout::missing(&layout::file(country, version, name));
            optional(name)?.ok_or_else(missing)
        };
        let manifest = file(MANIFEST)?;
        layout::artifact(country, version, &manifest, file(COMPONENT)?, file(CASES)?, optional(SIGNATURE)?)
    }

    /// Writes a version beside its place, then moves it there.
    fn write_version(&self, versions: &Path, target: &Path, artifact: &Artifact) -> io::Result<()> {
        let unfinished = files::unfinished_folder(versions, self.access)?;
        let write = |name: &str, content: &[u8]| files::write_new(&unfinished.path().join(name), content, self.access);
        write(COMPONENT, &artifact.component)?;
        write(MANIFEST, &artifact.manifest.bytes())?;
        if let Some(signature) = &artifact.signature {
            write(SIGNATURE, signature.as_bytes())?;
        }
        write(CASES, artifact.cases.as_bytes())?;
        files::sync_folder(unfinished.path())?;
        fs::rename(unfinished.path(), target)?;
        // The folder has moved, so there is nothing to remove.
        let _moved = unfinished.keep();
        Ok(())
    }

    /// Syncs the folders above a version, which may be new themselves.
    fn sync_parents(&self, country: CountryCode) -> io::Result<()> {
        files::sync_folder(&self.real_path(&layout::versions(country))?)?;
        files::sync_folder(&self.real_path(country.as_str())?)?;
        files::sync_folder(&self.root)
    }

    /// Opens the folder; `None` if it does not exist yet.
    fn open(&self) -> Result<Option<Dir>, RegistryError> {
        match Dir::open_ambient_dir(&self.root, ambient_authority()) {
            Ok(root) => Ok(Some(root)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Returns the path of a folder below the root without links, for writing. Refuses a folder that is not below the
    /// root.
    fn real_path(&self, key: &str) -> io::Result<PathBuf> {
        let root = Dir::open_ambient_dir(&self.root, ambient_authority())?;
        Ok(self.root.join(root.canonicalize(key).map_err(outside)?))
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

/// Reads a file; `None` if there is none.
fn read(root: &Dir, key: &str) -> Result<Option<Vec<u8>>, RegistryError> {
    let limit = layout::max_bytes(key);
    let opened = root.open_with(key, OpenOptions::new().read(true).custom_flags(files::no_wait()));
    let read = opened.map_err(outside).and_then(|file| files::read_opened(file.into_std(), limit));
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            Err(RegistryError::TooLarge { key: key.to_owned(), limit })
        }
        Err(error) => Err(unreadable(key, &error)),
    }
}

/// Explains two errors that the system describes badly: a link that leads out of the root, and a socket.
fn outside(error: io::Error) -> io::Error {
    // Such an error is not from the system, unlike the error for a file that may not be read.
    if error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return io::Error::other("a symbolic link leads out of the registry");
    }
    files::explain_not_regular(error)
}

fn is_absent<T>(found: &io::Result<T>) -> bool {
    matches!(found, Err(error) if error.kind() == ErrorKind::NotFound)
}

/// True if all files of a version are there. A copy in progress is incomplete.
fn is_whole(root: &Dir, country: CountryCode, version: &Version) -> bool {
    let is_file = |name| root.metadata(layout::file(country, version, name)).is_ok_and(|found| found.is_file());
    [COMPONENT, MANIFEST, CASES].into_iter().all(is_file)
}

/// Returns the names in a folder that are text; empty if there is no folder.
fn names(root: &Dir, key: &str) -> Result<Vec<String>, RegistryError> {
    let entries = match root.read_dir(key) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(key, &outside(error))),
    };
    let mut names = Vec::new();
    for (count, entry) in entries.enumerate() {
        if count == MAX_LISTED {
            return Err(RegistryError::TooMany { key: key.to_owned(), limit: MAX_LISTED });
        }
        let name = entry.map_err(|error| unreadable(key, &error))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}

/// Takes a lock, waiting at most `timeout` for another holder.
fn lock(root: &Dir, key: &str, timeout: Duration) -> Result<File, RegistryError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).custom_flags(files::no_wait());
    let opened = root.open_with(key, &options).map_err(outside).map(cap_std::fs::File::into_std);
    let file = opened.and_then(files::require_file).map_err(|error| unreadable(key, &error))?;
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => {
                let waited = timeout.as_secs_f32();
                let cause = format!("another process has held `{key}` for {waited} s; nothing is changed");
                return Err(RegistryError::Unavailable(cause));
            }
            Err(TryLockError::Error(error)) => return Err(unavailable(&error)),
        }
    }
}

pub(super) fn unavailable(error: &io::Error) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_stops_one_country_and_not_the_end() {
        let registry = FolderRegistry::new(Path::new("nowhere"));
        let (aa, bb): (CountryCode, CountryCode) = ("aa".parse().unwrap(), "bb".parse().unwrap());
        let (answer, disk) = mpsc::channel::<()>();
        let disk = Arc::new(Mutex::new(disk));
        let (starts, started) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        for _ in 0..2 * MAX_CONCURRENCY {
            let (registry, disk, starts) = (registry.clone(), Arc::clone(&disk), starts.clone());
            let stuck = move |_: &Files| {
                starts.send(()).unwrap();
                let _ = disk.lock().unwrap().recv();
                Ok(())
            };
            runtime.spawn(async move { registry.run(Some(aa), stuck).await });
        }
        started.iter().take(MAX_CONCURRENCY).for_each(drop);
        let waited = runtime.block_on(async {
            let hasty = FolderRegistry { timeout: Duration::from_millis(100), ..registry.clone() };
            let waited = hasty.run(Some(aa), |_| Ok(())).await;
            registry.run(Some(bb), |_| Ok(())).await.unwrap();
            registry.run(None, |_| Ok(())).await.unwrap();
            waited
        });
        let silence = waited.unwrap_err().to_string();
        assert_eq!(silence, "the registry does not answer: its folder has not answered for 0.1 s");
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            drop(runtime);
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(20)).expect("the runtime ends while the disk does not answer");
        drop(answer);
    }

    #[test]
    fn a_lock_that_another_process_keeps_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let held = lock(&root, ".lock", LOCK_TIMEOUT).unwrap();
        let refused = lock(&root, ".lock", Duration::from_millis(20)).unwrap_err().to_string();
        assert!(refused.ends_with("another process has held `.lock` for 0.02 s; nothing is changed"), "{refused}");
        drop(held);
        lock(&root, ".lock", LOCK_TIMEOUT).unwrap();
    }
}
