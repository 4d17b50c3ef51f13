//! Keeps the state of the running host's rules in a file of the data folder. `citas rules status` reads it, so that the
//! platform team sees why a promoted version is not in force. Decides nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use citas_core::model::{Candidate, CountryCode, RulesId};
use citas_core::ports::Clock;
use citas_core::release::{Catalogue, Entry, RefusedVersion};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, Durability};

/// Name of the file in the data folder.
const FILE: &str = "rules-status.json";

/// Maximum size of the file, in bytes: 676 countries, each with a refusal of some KB.
const MAX_BYTES: u64 = 16 << 20;

/// Maximum age of the file of a running host, which touches it each second. An older file belongs to a host that has
/// ended.
const FRESH: Duration = Duration::from_secs(10);

/// Status of the rules of every country that a host knows.
pub type Status = BTreeMap<CountryCode, CountryStatus>;

/// Status of one country's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountryStatus {
    /// Rules in force; none if no version has come into force yet.
    pub in_force: Option<InForceStatus>,
    /// Last version that did not come into force; none once a later one did.
    pub refused: Option<RefusedVersion>,
    /// Version on trial beside the rules in force.
    #[serde(default)]
    pub on_trial: Option<TrialStatus>,
}

/// A version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Digest of the component.
    pub digest: String,
    /// Terms of the trial.
    pub terms: Candidate,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForceStatus {
    /// Version of the rules and digest of the component.
    #[serde(flatten)]
    pub id: RulesId,
    /// Time since which they are in force.
    pub since: Option<Timestamp>,
}

impl CountryStatus {
    fn of(entry: &Entry) -> Self {
        let in_force = entry.rules.as_ref();
        let in_force = in_force.map(|rules| InForceStatus { id: rules.id.clone(), since: entry.since });
        let on_trial = entry
            .candidate
            .as_ref()
            .map(|candidate| TrialStatus { digest: candidate.rules.id.digest.clone(), terms: candidate.terms.clone() });
        Self { in_force, refused: entry.refused.clone(), on_trial }
    }
}

/// The status file, written by the host that owns the data folder.
pub struct StatusFile {
    folder: PathBuf,
    written: Option<Status>,
}

impl StatusFile {
    /// Creates a handle for the file of a data folder. Writes nothing yet.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.to_owned(), written: None }
    }

    /// Writes the status if it has changed, and touches the file to show that the host is alive.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written or touched.
    pub fn keep(&mut self, catalogue: &Catalogue, clock: &dyn Clock) -> io::Result<()> {
        let status = catalogue.all().iter().map(|(country, entry)| (*country, CountryStatus::of(entry))).collect();
        if self.written.as_ref() != Some(&status) {
            write(&self.folder, &status)?;
            self.written = Some(status);
        }
        let touched = files::touch(&self.folder.join(FILE), system(clock.now()));
        if touched.is_err() {
            self.written = None;
        }
        touched
    }
}

/// Reads the status of the host on a data folder; none if no host runs there.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn read(data: &Path, clock: &dyn Clock) -> io::Result<Option<Status>> {
    let path = data.join(FILE);
    let touched = match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
        Ok(touched) => touched,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let age = system(clock.now()).duration_since(touched).unwrap_or_default();
    if age > FRESH {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&files::read(&path, MAX_BYTES)?)?))
}

fn system(now: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs()
}

/// Replaces the file, so that a reader sees the whole old or the whole new one. The file need not survive a power loss,
/// so this does not wait for the disk.
fn write(folder: &Path, status: &Status) -> io::Result<()> {
    files::replace(&folder.join(FILE), &serde_json::to_vec_pretty(status)?, Access::Private, Durability::Unsynced)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::system::SystemClock;

    struct Later(jiff::SignedDuration);

    impl Clock for Later {
        fn now(&self) -> Timestamp {
            Timestamp::now() + self.0
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn why_a_version_is_not_in_force_is_read_as_the_host_has_it() {
        let data = tempfile::tempdir().unwrap();
        let (catalogue, pe) = (Catalogue::default(), "pe".parse().unwrap());
        let mut file = StatusFile::new(data.path());
        file.keep(&catalogue, &SystemClock).unwrap();
        assert_eq!(read(data.path(), &SystemClock).unwrap(), Some(Status::new()));

        let why = || "it imports a function".to_owned();
        catalogue.refuse(
            pe,
            &RefusedVersion { at: Timestamp::UNIX_EPOCH, what: "version 2.0.0".into(), why: why(), on_trial: false },
        );
        file.keep(&catalogue, &SystemClock).unwrap();
        let status = read(data.path(), &SystemClock).unwrap().unwrap();
        assert_eq!(status[&pe].refused.as_ref().unwrap().why, why());
        assert_eq!(status[&pe].in_force, None);
    }

    #[test]
    fn a_host_that_has_ended_says_nothing() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(read(data.path(), &SystemClock).unwrap(), None);
        StatusFile::new(data.path()).keep(&Catalogue::default(), &SystemClock).unwrap();
        let later = Later(jiff::SignedDuration::from_secs(11));
        assert_eq!(read(data.path(), &later).unwrap(), None);
    }

    #[test]
    fn a_file_that_somebody_removed_is_written_again() {
        let data = tempfile::tempdir().unwrap();
        let mut file = StatusFile::new(data.path());
        file.keep(&Catalogue::default(), &SystemClock).unwrap();
        fs::remove_file(data.path().join(FILE)).unwrap();
        assert!(file.keep(&Catalogue::default(), &SystemClock).is_err());
        file.keep(&Catalogue::default(), &SystemClock).unwrap();
        assert_eq!(read(data.path(), &SystemClock).unwrap(), Some(Status::new()));
    }

    #[test]
    fn a_host_whose_rules_do_not_change_stays_alive() {
        let data = tempfile::tempdir().unwrap();
        let mut file = StatusFile::new(data.path());
        file.keep(&Catalogue::default(), &SystemClock).unwrap();
        let later = Later(jiff::SignedDuration::from_secs(60));
        file.keep(&Catalogue::default(), &later).unwrap();
        assert_eq!(read(data.path(), &later).unwrap(), Some(Status::new()));
    }
}
