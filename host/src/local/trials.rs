//! Keeps the reports of trials in files of the data folder. One host adds to them; `citas rules diff` reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use citas_core::model::CountryCode;
use citas_core::ports::{Tally, TrialReport, Trials, Unavailable};

use crate::files::{self, Access, Durability};

/// Maximum size of a trial's file, in bytes. A report has up to a hundred samples of results.
const MAX_BYTES: u64 = 64 << 20;

/// Reports of the trials of one data folder: `trials/<country>-<number>.json`.
pub struct FileTrials {
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    found: BTreeMap<Trial, TrialReport>,
    /// Trials whose last changes are not in the files yet.
    changed: BTreeSet<Trial>,
}

type Trial = (CountryCode, u64);

impl Known {
    fn next(&mut self) -> Option<(Trial, TrialReport)> {
        let trial = self.changed.pop_first()?;
        Some((trial, self.found[&trial].clone()))
    }
}

impl FileTrials {
    /// Returns the trials of a data folder. Reads and writes nothing yet.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("trials"), known: Mutex::default() }
    }

    /// Writes the changes since the last call.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written. The next call tries again.
    pub fn keep(&self) -> io::Result<()> {
        while let Some((trial, found)) = self.lock().next() {
            if let Err(error) = self.write(trial, &found) {
                self.lock().changed.insert(trial);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write(&self, trial: Trial, found: &TrialReport) -> io::Result<()> {
        files::make_data_folder(&self.folder)?;
        files::replace(&self.file(trial), &serde_json::to_vec_pretty(found)?, Access::Private, Durability::Unsynced)
    }

    fn read(&self, trial: Trial) -> io::Result<TrialReport> {
        match files::read(&self.file(trial), MAX_BYTES) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(TrialReport::default()),
            Err(error) => Err(error),
        }
    }

    fn file(&self, (country, number): Trial) -> PathBuf {
        self.folder.join(format!("{country}-{number}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Trials for FileTrials {
    /// Adds a report. Begins a new one if the file cannot be read: a canary that nobody counts could not be taken back.
    async fn add(&self, country: CountryCode, trial: u64, found: &TrialReport) -> Result<Tally, Unavailable> {
        let trial = (country, trial);
        let mut known = self.lock();
        let sum = known.found.entry(trial).or_insert_with(|| {
            self.read(trial).unwrap_or_else(|error| {
                tracing::warn!(%country, %error, "what a trial has found cannot be read; it begins anew");
                TrialReport::default()
            })
        });
        sum.add(found);
        let tally = sum.canary;
        known.changed.insert(trial);
        Ok(tally)
    }

    async fn found(&self, country: CountryCode, trial: u64) -> Result<TrialReport, Unavailable> {
        if let Some(found) = self.lock().found.get(&(country, trial)) {
            return Ok(found.clone());
        }
        self.read((country, trial)).map_err(|error| Unavailable {
            country,
            cause: format!("{} cannot be read: {error}", self.file((country, trial)).display()),
        })
    }
}
