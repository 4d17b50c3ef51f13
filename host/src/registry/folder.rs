//! The registry in a folder. Writes by renaming what is whole and on disk, so that a reader, or a machine that lost its
//! power, never sees half of anything. Does not look into a component.
//!
//! ```text
//! <folder>/<country>/versions/<version>/{rules.wasm,manifest.json,manifest.json.minisig,cases.json}
//! <folder>/<country>/channel.json
//! <folder>/<country>/.lock           held while channel.json changes
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use citas_core::appointment::CountryCode;
use citas_core::registry::{Artifact, Channel, Manifest, Registry, RegistryError, written};
use semver::Version;

use super::layout::{self, CASES, CHANNEL, COMPONENT, MANIFEST, SIGNATURE, parse, unreadable};

/// What is not yet whole is named so; nothing that is read is.
const UNFINISHED: &str = ".new-";

/// Published rules in a folder of this machine, or of one that it shares.
#[derive(Clone, Debug)]
pub struct FolderRegistry {
    files: Arc<Files>,
}

impl FolderRegistry {
    /// The registry in `folder`, which need not exist before something is published.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { files: Arc::new(Files { root: folder.to_owned() }) }
    }

    /// Does file work on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let files = Arc::clone(&self.files);
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.map_err(|stopped| RegistryError::Unavailable(stopped.to_string()))?
    }
}

#[async_trait]
impl Registry for FolderRegistry {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        self.run(Files::countries).await
    }

    async fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        self.run(move |files| files.channel(country)).await
    }

    async fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError> {
        let (expected, new) = (expected.cloned(), new.clone());
        self.run(move |files| files.set_channel(country, expected.as_ref(), &new)).await
    }

    async fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError> {
        self.run(move |files| files.versions(country)).await
    }

    async fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        let artifact = artifact.clone();
        self.run(move |files| files.publish(&artifact)).await
    }

    async fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        let version = version.clone();
        self.run(move |files| files.fetch(country, &version)).await
    }
}

/// The registry's work, blocking.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        let mut countries: Vec<CountryCode> =
            names(&self.root)?.into_iter().filter_map(|name| name.parse().ok()).collect();
        countries.retain(|country| self.path(&layout::channel(*country)).is_file());
        countries.sort();
        Ok(countries)
    }

    pub(super) fn channel(&self, country: CountryCode) -> Result<Option<Channel>, RegistryError> {
        let key = layout::channel(country);
        match self.read(&key) {
            Ok(bytes) => parse(&key, &bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&key, &error)),
        }
    }

    fn set_channel(
        &self,
        country: CountryCode,
        expected: Option<&Channel>,
        new: &Channel,
    ) -> Result<(), RegistryError> {
        if !self.is_whole(country, &new.current) {
            return Err(RegistryError::Absent { country, version: new.current.clone() });
        }
        let folder = self.path(country.as_str());
        // Unlocked when it is closed.
        let _lock = lock(&folder.join(".lock")).map_err(|error| unavailable(&error))?;
        if self.channel(country)?.as_ref() != expected {
            return Err(RegistryError::Conflict(country));
        }
        self.write_channel(country, new)
    }

    /// Whatever was there.
    pub(super) fn write_channel(&self, country: CountryCode, new: &Channel) -> Result<(), RegistryError> {
        replace(&self.path(country.as_str()), CHANNEL, &written(new)).map_err(|error| unavailable(&error))
    }

    pub(super) fn versions(&self, country: CountryCode) -> Result<Vec<Version>, RegistryError> {
        let mut versions: Vec<Version> = names(&self.path(&layout::versions(country)))?
            .into_iter()
            .filter_map(|name| name.parse().ok())
            .filter(|version| self.is_whole(country, version))
            .collect();
        versions.sort();
        Ok(versions)
    }

    pub(super) fn publish(&self, artifact: &Artifact) -> Result<(), RegistryError> {
        let Manifest { country, ref version, .. } = artifact.manifest;
        let exists = || RegistryError::Exists { country, version: version.clone() };
        let target = self.path(&layout::version(country, version));
        if target.exists() {
            return Err(exists());
        }
        // What decides between two who come at once is the rename, which takes no folder that holds something.
        write_version(&self.path(&layout::versions(country)), &target, artifact).map_err(|error| {
            match error.kind() {
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => exists(),
                _ => unavailable(&error),
            }
        })?;
        self.sync_parents(country).map_err(|error| unavailable(&error))
    }

    pub(super) fn fetch(&self, country: CountryCode, version: &Version) -> Result<Artifact, RegistryError> {
        if !self.path(&layout::version(country, version)).is_dir() {
            return Err(RegistryError::Absent { country, version: version.clone() });
        }
        let file = |name: &str| {
            let key = layout::file(country, version, name);
            self.read(&key).map_err(|error| unreadable(&key, &error))
        };
        let signature = self.path(&layout::file(country, version, SIGNATURE)).is_file();
        let signature = signature.then(|| file(SIGNATURE)).transpose()?;
        layout::artifact(country, version, &file(MANIFEST)?, file(COMPONENT)?, file(CASES)?, signature)
    }

    /// Whether all of a version is there; a copy under way is not.
    fn is_whole(&self, country: CountryCode, version: &Version) -> bool {
        let folder = self.path(&layout::version(country, version));
        [COMPONENT, MANIFEST, CASES].iter().all(|name| folder.join(name).is_file())
    }

    /// The folders on the way to a version may be new themselves.
    fn sync_parents(&self, country: CountryCode) -> io::Result<()> {
        sync_folder(&self.path(&layout::versions(country)))?;
        sync_folder(&self.path(country.as_str()))?;
        sync_folder(&self.root)
    }

    fn read(&self, key: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(key))
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

/// The names of what lies in a folder; none when there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unavailable(&error)),
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect::<io::Result<_>>().map_err(|error| unavailable(&error))
}

/// Writes a version beside where it belongs, then moves it there.
fn write_version(versions: &Path, target: &Path, artifact: &Artifact) -> io::Result<()> {
    fs::create_dir_all(versions)?;
    let unfinished = unfinished_folder(versions)?;
    write(&unfinished.path().join(COMPONENT), &artifact.component)?;
    write(&unfinished.path().join(MANIFEST), &artifact.manifest.bytes())?;
    if let Some(signature) = &artifact.signature {
        write(&unfinished.path().join(SIGNATURE), signature.as_bytes())?;
    }
    write(&unfinished.path().join(CASES), artifact.cases.as_bytes())?;
    sync_folder(unfinished.path())?;
    fs::rename(unfinished.path(), target)?;
    // It is no longer there to be removed.
    let _moved = unfinished.keep();
    Ok(())
}

/// Removed when it is dropped. Open to whom the umask lets in, as the version that it becomes must be.
fn unfinished_folder(parent: &Path) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.tempdir_in(parent)
}

/// Puts a file in another's place, or where there was none.
fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut unfinished = tempfile::Builder::new().prefix(UNFINISHED).make_in(folder, |path| File::create_new(path))?;
    unfinished.write_all(content)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(folder.join(name))?;
    sync_folder(folder)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A rename is on disk only once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Waits until nobody else has the lock.
fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}

pub(super) fn unavailable(error: &io::Error) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}
