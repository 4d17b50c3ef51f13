//! Counts on disk the attempts to judge a package. Attempts that ended are not counted. So a package that takes the machine
//! down is not tried for ever, and one or two power cuts do not count against it. A package's file exists while an attempt
//! runs or is counted.
//!
//! ```text
//! <data>/attempts/<package's digest>      number of attempts that began
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use citas_core::ports::Refusal;

use crate::files::{Access, Durability, make_folder, replace};

/// Number of unfinished attempts after which a package is refused.
const MAX_ATTEMPTS: u32 = 3;

/// Attempts that are running or never ended.
pub(super) struct Attempts {
    folder: PathBuf,
}

/// A running attempt. Dropping it removes its file, also when the host cancels the attempt.
pub(super) struct Attempt {
    file: Option<PathBuf>,
    /// Number of earlier attempts that did not end.
    before: u32,
}

impl Attempts {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Begins an attempt. Its count is on disk before this returns, or the log says that it is not.
    pub(super) fn begin(&self, package: &str) -> Result<Attempt, Refusal> {
        let file = self.folder.join(package);
        let attempts = begun(&file);
        if attempts >= MAX_ATTEMPTS {
            return Err(Refusal::NeverEnded { attempts, file: file.display().to_string() });
        }
        if let Err(error) = make_folder(&self.folder, Access::Private).and_then(|()| write(&file, attempts + 1)) {
            tracing::warn!(file = %file.display(), %error, "an attempt to judge rules is not counted");
        }
        Ok(Attempt { file: Some(file), before: attempts })
    }
}

fn write(file: &Path, attempts: u32) -> io::Result<()> {
    replace(file, attempts.to_string().as_bytes(), Access::Private, Durability::Synced)
}

/// Returns the number of attempts that began. An empty file, left by a power cut, counts as one attempt.
fn begun(file: &Path) -> u32 {
    fs::read_to_string(file).map_or(0, |text| text.trim().parse().unwrap_or(1))
}

impl Attempt {
    /// Leaves the attempt counted. It failed in a way that says nothing of the package.
    pub(super) fn leave(mut self) {
        self.file = None;
    }

    /// Takes the attempt back, because the host did not make it. Earlier attempts stay counted.
    pub(super) fn take_back(mut self) -> io::Result<()> {
        match self.file.take_if(|_| self.before > 0) {
            Some(file) => write(&file, self.before),
            None => Ok(()),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // A file that cannot be removed counts against the package, whose refusal then names the file to remove.
        self.file.as_ref().map(fs::remove_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_refused_after_three_attempts_that_did_not_end() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::new(&folder.path().join("attempts"));
        for _ in 0..MAX_ATTEMPTS {
            // A power cut drops nothing either.
            std::mem::forget(attempts.begin("sha256:ab").unwrap());
        }
        let refused = attempts.begin("sha256:ab").err().unwrap().to_string();
        assert!(refused.contains("3 attempts") && refused.contains("attempts/sha256:ab"), "{refused}");
        assert!(attempts.begin("sha256:cd").is_ok(), "another one is not concerned");
        fs::remove_file(folder.path().join("attempts/sha256:ab")).unwrap();
        assert!(attempts.begin("sha256:ab").is_ok(), "it is tried again");
    }

    #[test]
    fn an_attempt_that_ends_is_forgotten_and_one_that_a_power_cut_ended_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let attempts = Attempts::new(folder.path());
        let file = folder.path().join("sha256:ab");
        for _ in 0..10 {
            drop(attempts.begin("sha256:ab").unwrap());
            assert!(!file.exists());
        }
        attempts.begin("sha256:ab").unwrap().leave();
        assert_eq!(begun(&file), 1);
        attempts.begin("sha256:ab").unwrap().take_back().unwrap();
        assert_eq!(begun(&file), 1, "what the host did not begin counts for nothing");
        fs::write(&file, "").unwrap();
        assert_eq!(begun(&file), 1);
        drop(attempts.begin("sha256:ab").unwrap());
        attempts.begin("sha256:ab").unwrap().take_back().unwrap();
        assert!(!file.exists());
    }
}
