//! Builds a country in a language whose interpreter becomes part of the component. The tools are installed once per
//! workspace, in exactly the versions that the files here name, in a folder with the hash of those files. A later build
//! finds them there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use citas_core::model::digest;

use super::{BuildError, output, text};

/// The contract, which every tool reads.
const WIT: (&str, &str) = ("rules.wit", include_str!("../../../../wit/rules.wit"));

/// A language and the tools that build its components.
pub(in crate::toolkit) struct Interpreted {
    /// Name of the language for people.
    language: &'static str,
    /// Files to write into the tools' folder.
    files: &'static [(&'static str, &'static str)],
    /// Commands that install the tools, run in their folder.
    install: &'static [&'static [&'static str]],
    /// Command that builds a component, run in the tools' folder with a country's folder, the contract and the
    /// component's file as arguments.
    build: &'static [&'static str],
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
        ("build.mjs", include_str!("js/build.mjs")),
        WIT,
    ],
    // No package needs to run a script of its own to be installed.
    install: &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
    build: &["node", "build.mjs"],
    remedy: "is Node.js installed, version 20 or later, with npm?",
};

pub(in crate::toolkit) const PYTHON: Interpreted = Interpreted {
    language: "Python",
    files: &[
        ("requirements.txt", include_str!("python/requirements.txt")),
        ("build.py", include_str!("python/build.py")),
        WIT,
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
    remedy: "is Python installed, version 3.10 or later, with its module `venv`?",
};

impl Interpreted {
    /// Builds the component of a country's folder.
    pub fn build(&self, folder: &Path) -> Result<Vec<u8>, BuildError> {
        let unreadable = |cause| BuildError::Unreadable(folder.to_owned(), cause);
        let folder = folder.canonicalize().map_err(unreadable)?;
        let tools = self.tools(&folder)?;
        let component = tempfile::NamedTempFile::new().map_err(unreadable)?;
        let mut command = program(&tools, self.build);
        command.arg(&folder).arg(tools.join(WIT.0)).arg(component.path());
        let built = output(&mut command, self.remedy)?;
        if !built.status.success() {
            let package = folder.display().to_string();
            return Err(BuildError::Compile { package, diagnostics: text(&built.stderr) });
        }
        fs::read(component.path()).map_err(|cause| BuildError::Unreadable(component.path().to_owned(), cause))
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
        let all: Vec<u8> = self.files.iter().flat_map(|(name, text)| [*name, *text]).flat_map(str::bytes).collect();
        let hash = digest(&all);
        let (language, hash) = (self.language.to_lowercase(), hash.trim_start_matches("sha256:"));
        format!("{language}-{}", &hash[..16])
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        self.files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
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
