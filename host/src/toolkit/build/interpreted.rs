//! Builds a country in a language whose interpreter becomes part of the component. The tools are installed once per
//! workspace, in exactly the versions that the files here name, in a folder with the hash of those files. A later build
//! finds them there.

use std::env;
use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use citas_core::model::digest;
use citas_core::ports::FailedCall;

use super::contract::{Contract, FUNCTIONS, WITS};
use super::{BuildError, output, text};

/// Maximum time for repeating calls outside the component. Each call has a limit of its own, too.
const REPLAY_TIMEOUT: Duration = Duration::from_mins(1);

/// Interval at which a running replay is looked at.
const REPLAY_INTERVAL: Duration = Duration::from_millis(20);

/// A language and the tools that build its components.
pub(in crate::toolkit) struct Interpreted {
    /// Name of the language for people.
    language: &'static str,
    /// Files to write into the tools' folder.
    files: &'static [(&'static str, &'static str)],
    /// Commands that install the tools, run in their folder.
    install: &'static [&'static [&'static str]],
    /// Command that builds a component, run in the tools' folder with a country's folder, the contract's version and the
    /// component's file as arguments.
    build: &'static [&'static str],
    /// Command that repeats calls, run in the tools' folder with a country's folder, the contract's version, a file of
    /// calls and the output as arguments.
    replay: &'static [&'static str],
    /// Advice to the user if a program does not start.
    remedy: &'static str,
}

// The interpreter is QuickJS. With SpiderMonkey (componentize-js) the same sources become a component of 12 MB instead
// of 1.7 MB, which takes eight times as long to compile and three times as long to call.
pub(in crate::toolkit) const JAVASCRIPT: Interpreted = Interpreted {
    language: "JavaScript",
    files: &[
        ("package.json", include_str!("js/package.json")),
        ("package-lock.json", include_str!("js/package-lock.json")),
        ("contract.mjs", include_str!("js/contract.mjs")),
        ("bundle.mjs", include_str!("js/bundle.mjs")),
        ("build.mjs", include_str!("js/build.mjs")),
        ("replay.mjs", include_str!("js/replay.mjs")),
        ("call.mjs", include_str!("js/call.mjs")),
        ("faults.mjs", include_str!("js/faults.mjs")),
    ],
    // No package needs to run a script of its own to be installed.
    install: &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
    build: &["node", "build.mjs"],
    replay: &["node", "replay.mjs"],
    remedy: "is Node.js installed, version 20 or later, with npm?",
};

pub(in crate::toolkit) const PYTHON: Interpreted = Interpreted {
    language: "Python",
    files: &[
        ("requirements.txt", include_str!("python/requirements.txt")),
        ("build.py", include_str!("python/build.py")),
        ("replay.py", include_str!("python/replay.py")),
        ("citas_contract.py", include_str!("python/citas_contract.py")),
        ("citas_exports.py", include_str!("python/citas_exports.py")),
    ],
    install: &[
        &["python3", "-m", "venv", "venv"],
        &[
            "venv/bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--requirement",
            "requirements.txt",
        ],
    ],
    build: &["venv/bin/python", "build.py"],
    replay: &["venv/bin/python", "replay.py"],
    remedy: "is Python installed, version 3.10 or later, with its module `venv`?",
};

impl Interpreted {
    /// Builds the component of a country's folder for a contract.
    pub fn build(&self, folder: &Path, contract: Contract) -> Result<Vec<u8>, BuildError> {
        let unreadable = |cause| BuildError::Unreadable(folder.to_owned(), cause);
        let folder = folder.canonicalize().map_err(unreadable)?;
        let tools = self.tools(&folder)?;
        let scratch = tempfile::tempdir().map_err(unreadable)?;
        let component = scratch.path().join("rules.wasm");
        let mut command = program(&tools, self.build);
        command.arg(&folder).arg(contract.version()).arg(&component);
        let built = output(&mut command, self.remedy)?;
        if !built.status.success() {
            let package = folder.display().to_string();
            return Err(BuildError::Compile { package, diagnostics: text(&built.stderr) });
        }
        fs::read(&component).map_err(|cause| BuildError::Unreadable(component, cause))
    }

    /// Repeats calls that failed in a component of a contract, with the country's sources in the language's own program.
    /// Returns the error text of each.
    pub fn replay(&self, folder: &Path, contract: Contract, calls: &[FailedCall]) -> Result<Vec<String>, BuildError> {
        let unreadable = |cause| BuildError::Unreadable(folder.to_owned(), cause);
        let folder = folder.canonicalize().map_err(unreadable)?;
        let tools = self.tools(&folder)?;
        let scratch = tempfile::tempdir().map_err(unreadable)?;
        let [given, found] = ["calls.json", "found.json"].map(|name| scratch.path().join(name));
        fs::write(&given, serde_json::to_vec(calls).expect("calls are JSON")).map_err(unreadable)?;
        let mut command = program(&tools, self.replay);
        command.arg(&folder).arg(contract.version()).args([&given, &found]);
        // The environment has secrets of the host, and a time zone.
        command.env_clear().env("TZ", "UTC").envs(env::var_os("PATH").map(|path| ("PATH", path)));
        let said = self.ended(&mut command, REPLAY_TIMEOUT)?;
        let words = fs::read(&found).ok().and_then(|found| serde_json::from_slice(&found).ok());
        words.ok_or_else(|| BuildError::NotRepeated(said.trim().to_owned()))
    }

    /// Returns the tools' folder. Installs the tools if they are absent, whole or not at all; one of several concurrent
    /// builds does it.
    fn tools(&self, country: &Path) -> Result<PathBuf, BuildError> {
        let place = cache(country).join(self.name());
        let failed = |cause: String| BuildError::NotInstalled { language: self.language, place: place.clone(), cause };
        if !place.exists() {
            let unfinished = place.with_extension("new");
            let _lock = locked(&place.with_extension("lock")).map_err(|cause| failed(cause.to_string()))?;
            if !place.exists() {
                self.write(&unfinished).map_err(|cause| failed(cause.to_string()))?;
                for line in self.install {
                    let ran = output(&mut program(&unfinished, line), self.remedy)?;
                    succeeded(&ran).map_err(failed)?;
                }
                fs::rename(&unfinished, &place).map_err(|cause| failed(cause.to_string()))?;
            }
        }
        Ok(place)
    }

    /// Returns the name of the tools' folder. Other files give another name.
    fn name(&self) -> String {
        let all: Vec<u8> = self.files().flat_map(|(name, text)| [name, text]).flat_map(str::bytes).collect();
        let hash = digest(&all);
        let (language, hash) = (self.language.to_lowercase(), hash.trim_start_matches("sha256:"));
        format!("{language}-{}", &hash[..16])
    }

    /// Runs a program to its end, and stops it if it takes too long. Returns what it writes to its standard error.
    fn ended(&self, command: &mut Command, timeout: Duration) -> Result<String, BuildError> {
        let tool = command.get_program().to_string_lossy().into_owned();
        let failed = |cause: io::Error| BuildError::NotRepeated(cause.to_string());
        let mut errors = tempfile::tempfile().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.try_clone().map_err(failed)?);
        let no_tool = |source| BuildError::NoTool { tool, remedy: self.remedy, source };
        let (mut child, started) = (command.spawn().map_err(no_tool)?, Instant::now());
        while child.try_wait().map_err(failed)?.is_none() {
            if started.elapsed() > timeout {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(BuildError::NotRepeated(format!("it does not end within {timeout:?}")));
            }
            thread::sleep(REPLAY_INTERVAL);
        }
        errors.rewind().and_then(|()| io::read_to_string(errors)).map_err(failed)
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        self.files().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.files.iter().copied().chain(WITS).chain([("contract.json", FUNCTIONS.as_str())])
    }
}

/// Returns a command in the tools' folder, with a program of that folder or of the system.
fn program(tools: &Path, line: &[&str]) -> Command {
    let (program, arguments) = line.split_first().expect("a command line");
    let program = if program.contains('/') { tools.join(program) } else { program.into() };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(tools);
    command
}

/// Returns the folder for tools: in the target folder of the workspace around a country, or of the country itself if
/// there is no workspace.
fn cache(country: &Path) -> PathBuf {
    let workspace = country.ancestors().find(|folder| folder.join("Cargo.toml").is_file());
    workspace.unwrap_or(country).join("target/rules")
}

/// Locks a file. Waits until nobody else has the lock.
fn locked(file: &Path) -> io::Result<File> {
    fs::create_dir_all(file.parent().expect("a file in the cache"))?;
    let file = File::create(file)?;
    file.lock()?;
    Ok(file)
}

fn succeeded(ran: &Output) -> Result<(), String> {
    if ran.status.success() { Ok(()) } else { Err(text(&ran.stderr)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a language whose calls are repeated by this command line.
    fn repeated_by(replay: &'static [&'static str]) -> Interpreted {
        Interpreted { language: "Test", files: &[], install: &[], build: &[], replay, remedy: "install it" }
    }

    fn replay(line: &'static [&'static str]) -> Result<Vec<String>, String> {
        let country = tempfile::tempdir().unwrap();
        repeated_by(line).replay(country.path(), Contract::V2, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn calls_are_repeated_without_the_environment_of_the_host() {
        let found = replay(&["sh", "-c", r#"printf '["%s"]' "$(env | cut -d= -f1 | tr '\n' ' ')" > "$3""#]).unwrap();
        // The shell sets the last three.
        let mut names: Vec<&str> = found[0].split_whitespace().collect();
        names.retain(|name| !["PATH", "TZ", "PWD", "SHLVL", "_"].contains(name));
        assert!(names.is_empty() && env::var_os("CARGO_MANIFEST_DIR").is_some(), "{names:?}");
    }

    #[test]
    fn a_missing_program_is_named_and_one_that_fails_says_why() {
        assert_eq!(replay(&["no-such-program"]).unwrap_err(), "`no-such-program` does not start; install it");
        assert_eq!(replay(&["sh", "-c", "echo no module >&2"]).unwrap_err(), "no module");
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let mut sleep = Command::new("sleep");
        let ended = repeated_by(&[]).ended(sleep.arg("600"), Duration::from_millis(50));
        assert_eq!(ended.unwrap_err().to_string(), "it does not end within 50ms");
    }
}
