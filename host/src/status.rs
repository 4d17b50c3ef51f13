//! Keeps the state of the running host's rules in a file of the data folder. `citas rules status` reads it, so that the
//! platform team sees why a promoted version is not in force. Decides nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use citas_core::model::{Candidate, Channel, CountryCode, RulesId};
use citas_core::ports::Clock;
use citas_core::release::{Catalogue, Entry, RefusedVersion};
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, Durability};

/// Name of the file in the data folder.
const FILE: &str = "rules-status.json";

/// Maximum size of the file, in bytes: 676 countries, each with a refusal of some KB.
const MAX_BYTES: u64 = 16 << 20;

/// Maximum age of the file of a running host, which touches it each second. An older file belongs to a host that has
/// ended.
const FRESH: Duration = Duration::from_secs(10);

/// Maximum number of versions of a country that the file remembers.
const REMEMBERED_VERSIONS: usize = 50;

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
    /// Versions that came into force on the data folder, each once, the latest last. They survive a restart.
    #[serde(default)]
    pub was_in_force: Vec<Version>,
}

/// A host's verdict on a version that its registry wants in force or on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version is in force, or on trial as the channel says.
    Reached,
    /// The host refuses the version.
    Refused(RefusedVersion),
    /// The host has not come to a verdict yet. The refusal is one that the host tries again, if any.
    Waiting(Option<RefusedVersion>),
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
    fn of(entry: &Entry, mut was_in_force: Vec<Version>) -> Self {
        let in_force = entry.rules.as_ref();
        let in_force = in_force.map(|rules| InForceStatus { id: rules.id.clone(), since: entry.since });
        let on_trial = entry
            .candidate
            .as_ref()
            .map(|candidate| TrialStatus { digest: candidate.rules.id.digest.clone(), terms: candidate.terms.clone() });
        if let Some(version) = entry.rules.as_ref().and_then(|rules| rules.id.version.parse().ok()) {
            was_in_force.retain(|earlier| *earlier != version);
            was_in_force.push(version);
            was_in_force.drain(..was_in_force.len().saturating_sub(REMEMBERED_VERSIONS));
        }
        Self { in_force, refused: entry.refused.clone(), on_trial, was_in_force }
    }

    /// Returns the verdict on the version that the channel wants in force.
    pub fn verdict(&self, channel: &Channel) -> Verdict {
        let wanted = channel.current.to_string();
        if self.in_force.as_ref().is_some_and(|rules| rules.id.version == wanted) {
            return Verdict::Reached;
        }
        self.unreached(channel, false, &channel.current)
    }

    /// Returns the verdict on the trial that the channel wants, or on its end.
    pub fn trial_verdict(&self, channel: &Channel) -> Verdict {
        let on_trial = self.on_trial.as_ref().map(|trial| &trial.terms);
        match &channel.candidate {
            wanted if wanted.as_ref() == on_trial => Verdict::Reached,
            Some(wanted) => self.unreached(channel, true, &wanted.version),
            None => Verdict::Waiting(None),
        }
    }

    /// Returns the verdict on a version that is not where it should be. A refusal from before the channel's last change
    /// says nothing: the host tries again after each change.
    fn unreached(&self, channel: &Channel, on_trial: bool, wanted: &Version) -> Verdict {
        let concerns = |refused: &&RefusedVersion| {
            let is_wanted = refused.version.as_ref().is_none_or(|version| version == wanted);
            refused.on_trial == on_trial && is_wanted && refused.at >= channel.changed_at
        };
        match self.refused.as_ref().filter(concerns) {
            Some(refused) if !refused.retried => Verdict::Refused(refused.clone()),
            refused => Verdict::Waiting(refused.cloned()),
        }
    }
}

/// The status file, written by the host that owns the data folder.
pub struct StatusFile {
    folder: PathBuf,
    /// Status in the file; none if it is to be written again.
    written: Option<Status>,
    /// Versions that came into force, also before this process.
    was_in_force: BTreeMap<CountryCode, Vec<Version>>,
}

impl StatusFile {
    /// Creates a handle for the file of a data folder. Writes nothing yet. Reads the versions that were in force before.
    pub fn new(data: &Path) -> Self {
        let before = parse(data).inspect_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(%error, "the versions that were in force before are not known: the status file cannot be read");
            }
        });
        let was_in_force =
            before.unwrap_or_default().into_iter().map(|(country, status)| (country, status.was_in_force));
        Self { folder: data.to_owned(), written: None, was_in_force: was_in_force.collect() }
    }

    /// Writes the status if it has changed, and touches the file to show that the host is alive.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written or touched.
    pub fn keep(&mut self, catalogue: &Catalogue, clock: &dyn Clock) -> io::Result<()> {
        let entries = catalogue.all();
        let status = entries.iter().map(|(country, entry)| {
            let was_in_force = self.was_in_force.entry(*country).or_default();
            let status = CountryStatus::of(entry, std::mem::take(was_in_force));
            was_in_force.clone_from(&status.was_in_force);
            (*country, status)
        });
        let status = status.collect();
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
    if age > FRESH { Ok(None) } else { parse(data).map(Some) }
}

/// Returns the versions that came into force in a country, the latest last, whether or not the host still runs; none if
/// no host has told.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn were_in_force(data: &Path, country: CountryCode) -> io::Result<Vec<Version>> {
    match parse(data) {
        Ok(mut status) => Ok(status.remove(&country).map_or_else(Vec::new, |status| status.was_in_force)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse(data: &Path) -> io::Result<Status> {
    Ok(serde_json::from_slice(&files::read(&data.join(FILE), MAX_BYTES)?)?)
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
    use citas_core::model::ChangeNote;

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
            &RefusedVersion {
                at: Timestamp::UNIX_EPOCH,
                what: "version 2.0.0".into(),
                version: Some(Version::new(2, 0, 0)),
                why: why(),
                on_trial: false,
                retried: false,
            },
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

    fn in_force(version: &str, was: &[&str]) -> CountryStatus {
        let id = RulesId { version: version.into(), digest: "sha256:00".into() };
        CountryStatus {
            in_force: Some(InForceStatus { id, since: None }),
            refused: None,
            on_trial: None,
            was_in_force: was.iter().map(|version| version.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_verdict_is_about_the_version_that_the_channel_wants_now() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let note = |second| ChangeNote { at: at(second), by: "ana".into(), why: "a test".into() };
        let first = Channel::first(Version::new(1, 0, 0), note(1));
        let wanted = first.promote(Version::new(1, 1, 0), note(5)).unwrap();
        let refused = |version: Option<Version>, second, retried| RefusedVersion {
            what: "it".into(),
            version,
            why: "it imports a function".into(),
            at: at(second),
            on_trial: false,
            retried,
        };
        let verdict = |refused: &RefusedVersion| {
            CountryStatus { refused: Some(refused.clone()), ..in_force("1.0.0", &[]) }.verdict(&wanted)
        };
        assert_eq!(in_force("1.1.0", &[]).verdict(&wanted), Verdict::Reached);
        assert_eq!(in_force("1.0.0", &[]).verdict(&wanted), Verdict::Waiting(None));
        let this = refused(Some(Version::new(1, 1, 0)), 6, false);
        assert_eq!(verdict(&this), Verdict::Refused(this.clone()));
        assert_eq!(verdict(&RefusedVersion { on_trial: true, ..this.clone() }), Verdict::Waiting(None));
        let again = RefusedVersion { retried: true, ..this };
        assert_eq!(verdict(&again), Verdict::Waiting(Some(again.clone())));
        let earlier = refused(Some(Version::new(1, 1, 0)), 4, false);
        assert_eq!(verdict(&earlier), Verdict::Waiting(None), "it is tried again after each change");
        let other = refused(Some(Version::new(1, 2, 0)), 6, false);
        assert_eq!(verdict(&other), Verdict::Waiting(None));
    }

    #[test]
    fn the_versions_that_were_in_force_are_remembered_over_a_restart() {
        let (data, pe) = (tempfile::tempdir().unwrap(), "pe".parse().unwrap());
        assert_eq!(were_in_force(data.path(), pe).unwrap(), []);
        let before = Status::from([(pe, in_force("1.1.0", &["1.0.0", "1.1.0"]))]);
        write(data.path(), &before).unwrap();
        let catalogue = Catalogue::default();
        let refused = RefusedVersion {
            what: "version 2.0.0".into(),
            version: None,
            why: "no".into(),
            at: Timestamp::UNIX_EPOCH,
            on_trial: false,
            retried: false,
        };
        catalogue.refuse(pe, &refused);
        let mut file = StatusFile::new(data.path());
        file.keep(&Catalogue::default(), &SystemClock).unwrap();
        file.keep(&catalogue, &SystemClock).unwrap();
        let were: Vec<String> = were_in_force(data.path(), pe).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(were, ["1.0.0", "1.1.0"]);
    }
}
