//! Keeps the ledger and its outbox in SQLite: one file per country, with one thread that writes it and a few
//! connections that read it. Only one process at a time writes a folder.
//!
//! - [`key`]: the folder's secret key
//! - [`schema`]: the tables, and opening a file
//! - [`migration`]: the content of an older file
//! - [`writer`]: one transaction for all waiting writes
//! - [`change`]: one change inside it
//! - [`agendas`], [`patient_links`]: the agendas of doctors, and the links of accounts to patients
//! - [`privacy_requests`]: requests of patients about their data
//! - [`reads`]: the queries
//! - [`revision_cache`]: revisions that were read lately
//! - [`ledger`]: the ports
//! - [`read_only`]: reading from another process

mod agendas;
mod change;
mod key;
mod ledger;
mod migration;
mod patient_links;
mod privacy_requests;
mod read_only;
mod reads;
mod revision_cache;
mod schema;
mod writer;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use citas_core::model::{CountryCode, Pseudonyms};
use citas_core::ports::Unavailable;
use tokio::sync::{Notify, OnceCell};

pub use self::key::KEY;
pub use self::read_only::ReadOnlyLedger;
use crate::files::{self, Access};
use reads::Readers;
use revision_cache::RevisionCache;
use writer::Writer;

/// Name of the file in the data folder that a process locks while it uses the folder.
pub const LOCK: &str = "lock";

/// Maximum number of files that the ledger has open per country.
pub const FILES_PER_COUNTRY: usize = reads::MAX_FILES;

/// Ledgers of all countries, each in a file `<folder>/<country>.db` that is opened at its first use.
///
/// Dropping it waits for the writes in progress.
pub struct SqliteLedger {
    folder: PathBuf,
    countries: Mutex<HashMap<CountryCode, Arc<Country>>>,
    latest: Arc<RevisionCache>,
    names: Pseudonyms,
    /// Lock of the folder. Released when the process ends, however it ends, or when the last writer has finished.
    lock: Arc<File>,
}

/// Reason why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder, and each country has one writer.
    #[error("the data in {} is in use by another citas; stop that one, or name another folder with --data", .0.display())]
    InUse(PathBuf),
    /// The folder's key is lost.
    #[error(
        "the data folder {} has no file `{KEY}`, and {file} was written with that key; restore it from the backup of the folder", folder.display()
    )]
    NoKey {
        /// Path of the folder.
        folder: PathBuf,
        /// Name of a country's file.
        file: String,
    },
    /// The key's file cannot be read.
    #[error("the key {} cannot be used: {cause}; restore it from the backup of the folder", path.display())]
    Key {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error, which does not contain the key.
        cause: String,
    },
    /// The folder or its lock cannot be opened.
    #[error("the data folder {} cannot be used", folder.display())]
    Io {
        /// Path of the folder.
        folder: PathBuf,
        /// Cause of the error.
        #[source]
        cause: io::Error,
    },
}

/// A country's file, once it is opened, and the notification of changes to its outbox.
#[derive(Default)]
struct Country {
    changed: Arc<Notify>,
    opened: OnceCell<Opened>,
}

/// An open file. The writer closes after the readers: the last connection moves SQLite's log into the file, which a
/// reader cannot do.
struct Opened {
    readers: Readers,
    writer: Writer,
    _lock: Arc<File>,
}

impl SqliteLedger {
    /// Opens the folder, which is created with a key of its own if it is absent, and locks it.
    ///
    /// # Errors
    /// Returns an error if another process has the folder, if its key is lost, or if the system does not allow writing
    /// there.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let io = |cause| OpenError::Io { folder: folder.to_owned(), cause };
        files::make_data_folder(folder).map_err(io)?;
        let lock = files::open_or_create(&folder.join(LOCK), Access::Private).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(folder.to_owned()),
            TryLockError::Error(cause) => io(cause),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            countries: Mutex::default(),
            latest: Arc::default(),
            names: key::open(folder)?,
            lock: Arc::new(lock),
        })
    }

    /// Returns the opaque names that the folder's key makes.
    pub fn pseudonyms(&self) -> Pseudonyms {
        self.names.clone()
    }

    /// Closes connections that have been idle for a while.
    pub fn close_idle_readers(&self) {
        let countries: Vec<_> = {
            let countries = self.countries.lock().unwrap_or_else(PoisonError::into_inner);
            countries.values().cloned().collect()
        };
        for opened in countries.iter().filter_map(|country| country.opened.get()) {
            opened.readers.close_idle();
        }
    }

    fn country(&self, code: CountryCode) -> Arc<Country> {
        let mut countries = self.countries.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(countries.entry(code).or_default())
    }

    /// Returns a country with its file open. If opening fails, the next use tries again. A migration goes on even if the
    /// request that began it is cancelled.
    async fn opened(&self, code: CountryCode) -> Result<Arc<Country>, Unavailable> {
        let country = self.country(code);
        if country.opened.get().is_some() {
            return Ok(country);
        }
        let (file, names) = (file_of(&self.folder, code), self.names.clone());
        let (lock, latest) = (Arc::clone(&self.lock), Arc::clone(&self.latest));
        let opening = tokio::spawn(async move {
            let open = || Opened::open(code, file, names, Arc::clone(&country.changed), latest, lock);
            country.opened.get_or_try_init(open).await?;
            Ok(country)
        });
        opening.await.map_err(|stopped| unavailable(code, &stopped))?
    }
}

impl Opened {
    /// Opens a file on a thread that may block.
    async fn open(
        code: CountryCode,
        file: PathBuf,
        names: Pseudonyms,
        changed: Arc<Notify>,
        latest: Arc<RevisionCache>,
        lock: Arc<File>,
    ) -> Result<Self, Unavailable> {
        let opened = tokio::task::spawn_blocking(move || {
            // SQLite would create the file with the umask's mode. Its log files get the mode of the file.
            files::open_or_create(&file, Access::Private).map_err(|error| error.to_string())?;
            let connection = schema::open_writer(&file, code, &names).map_err(|error| error.to_string())?;
            let writer = Writer::start(code, connection, changed, latest).map_err(|error| error.to_string())?;
            Ok(Self { writer, readers: Readers::new(file), _lock: lock })
        });
        let unavailable = |cause: String| Unavailable { country: code, cause };
        opened.await.map_err(|stopped| unavailable(stopped.to_string()))?.map_err(unavailable)
    }
}

fn file_of(folder: &Path, country: CountryCode) -> PathBuf {
    folder.join(format!("{country}.db"))
}

fn unavailable(country: CountryCode, cause: &dyn std::error::Error) -> Unavailable {
    Unavailable { country, cause: cause.to_string() }
}

impl Country {
    fn opened(&self) -> &Opened {
        self.opened.get().expect("SqliteLedger::opened gives it out opened")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_data_folder_is_for_its_owner_alone() {
        let here = tempfile::tempdir().unwrap();
        let data = here.path().join("data");
        let _ledger = SqliteLedger::open(&data).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
