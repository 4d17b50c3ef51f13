//! A country's folder as its team keeps it. Reads its `rules.toml` and its golden cases, and builds its component.
//! Knows nothing of the component's content, and runs no case.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use citas_core::model::{CountryCode, Limits};
use citas_core::ports::FailedCall;
use citas_core::rules::cases as golden;
use serde::Deserialize;

use super::build::{BuildError, Contract, JAVASCRIPT, PYTHON, Rust};
use crate::files;

/// Maximum size of a `rules.toml`, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Maximum size of one golden case, in bytes. All cases are published as one file, which has a limit too.
const MAX_CASE_BYTES: u64 = 1 << 20;

/// Content of a `rules.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    country: CountryCode,
    /// Cargo package of a country in Rust.
    package: Option<String>,
    language: Language,
    /// Contract of the country. In Rust the kit determines it.
    contract: Option<Contract>,
    #[serde(default)]
    limits: Limits,
}

/// Language of a country's sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// The fastest, with a kit for the code that countries share.
    Rust,
    /// JavaScript or TypeScript.
    #[serde(alias = "ts")]
    Js,
    /// Python.
    Python,
}

/// A folder with a `rules.toml`.
#[derive(Debug)]
pub struct CountryFolder {
    path: PathBuf,
    manifest: Manifest,
}

/// Reason why a folder is not a country's.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The `rules.toml` is absent or cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The `rules.toml` is wrong.
    #[error("{} is wrong: {cause}", .path.display())]
    Manifest {
        /// Path of the file.
        path: PathBuf,
        /// Position and cause of the error.
        cause: Box<toml::de::Error>,
    },
}

/// Reason why golden cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The folder or a file in it cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A case is not JSON, or its members are wrong.
    #[error("{}:{}: {cause}", .path.display(), .cause.line().max(1))]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Position and cause of the error.
        cause: serde_json::Error,
    },
    /// Two cases have the same name.
    #[error("{}:{line}: there is a case named `{name}` in {} already", .path.display(), .first.display())]
    SameName {
        /// Path of the later file.
        path: PathBuf,
        /// Line of the name in that file.
        line: usize,
        /// Name of both cases.
        name: String,
        /// Path of the earlier file.
        first: PathBuf,
    },
}

impl CountryFolder {
    /// Reads the folder's `rules.toml`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or a key in it is missing, unknown or wrong.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Ok(Self { path: path.to_owned(), manifest: manifest(&path.join("rules.toml"))? })
    }

    /// Returns the code of the country.
    pub fn country(&self) -> CountryCode {
        self.manifest.country
    }

    /// Returns the limits that the component declares.
    pub fn limits(&self) -> Limits {
        self.manifest.limits
    }

    /// Builds the component. `features` are those of the cargo package of a country in Rust. Takes as long as the
    /// compiler does. Builds in one workspace wait for each other, but not for a cargo that builds the host.
    ///
    /// # Errors
    /// Returns an error if a tool is missing or the country's code is wrong. The error contains the compiler's output.
    pub fn build(&self, features: &[&str]) -> Result<Vec<u8>, BuildError> {
        let (folder, Manifest { country, package, language, contract, .. }) = (&self.path, &self.manifest);
        let contract = contract.unwrap_or_default();
        match language {
            Language::Rust => {
                let package = package.clone().unwrap_or_else(|| format!("citas-{country}"));
                Rust { folder, package }.build(features)
            }
            Language::Js => JAVASCRIPT.build(folder, contract),
            Language::Python => PYTHON.build(folder, contract),
        }
    }

    /// Repeats calls that failed in the component outside it, and returns what is wrong with each, in words. Returns one
    /// text for all if they cannot be repeated, and nothing for a country in Rust, whose own tests repeat calls. Runs
    /// the country's sources with this user's rights, but without the environment.
    pub fn repeated(&self, calls: &[FailedCall]) -> Vec<String> {
        if calls.is_empty() {
            return Vec::new();
        }
        let contract = self.manifest.contract.unwrap_or_default();
        let repeated = match self.manifest.language {
            Language::Rust => return Vec::new(),
            Language::Js => JAVASCRIPT.replay(&self.path, contract, calls),
            Language::Python => PYTHON.replay(&self.path, contract, calls),
        };
        repeated.unwrap_or_else(|error| vec![format!("the call cannot be repeated outside the component: {error}")])
    }

    /// Reads the golden cases in the folder's `cases/`; none if there is no such folder.
    ///
    /// # Errors
    /// See [`cases_in`].
    pub fn cases(&self) -> Result<String, CasesError> {
        let folder = self.path.join("cases");
        if folder.exists() { cases_in(&folder) } else { Ok("[]".into()) }
    }
}

/// Reads the limits that a `rules.toml` declares.
///
/// # Errors
/// Returns an error if the file cannot be read, or a key in it is missing, unknown or wrong.
pub fn limits_in(file: &Path) -> Result<Limits, FolderError> {
    Ok(manifest(file)?.limits)
}

fn manifest(file: &Path) -> Result<Manifest, FolderError> {
    let text =
        files::read_text(file, MAX_MANIFEST_BYTES).map_err(|cause| FolderError::Unreadable(file.to_owned(), cause))?;
    let wrong = |cause| FolderError::Manifest { path: file.to_owned(), cause: Box::new(cause) };
    let manifest: Manifest = toml::from_str(&text).map_err(wrong)?;
    if manifest.package.is_some() && manifest.language != Language::Rust {
        return Err(wrong(serde::de::Error::custom("only a country in Rust has a `package`")));
    }
    if manifest.contract.is_some() && manifest.language == Language::Rust {
        return Err(wrong(serde::de::Error::custom("the `contract` of a country in Rust is that of its kit")));
    }
    Ok(manifest)
}

/// Reads the golden cases in a folder, as one JSON array in the order of the file names.
///
/// # Errors
/// Returns an error if there is no such folder, a file is not one case, or two cases have the same name.
pub fn cases_in(folder: &Path) -> Result<String, CasesError> {
    let mut first_with: HashMap<String, PathBuf> = HashMap::new();
    let mut cases = Vec::new();
    for path in case_files(folder)? {
        let case =
            files::read_text(&path, MAX_CASE_BYTES).map_err(|cause| CasesError::Unreadable(path.clone(), cause))?;
        let read = golden::read_one(&case).map_err(|cause| CasesError::Malformed { path: path.clone(), cause })?;
        if let Some(first) = first_with.get(&read.name) {
            let (line, first) = (line_of_name(&case), first.clone());
            return Err(CasesError::SameName { path, line, name: read.name, first });
        }
        first_with.insert(read.name, path);
        cases.push(case.trim().to_owned());
    }
    Ok(format!("[{}]", cases.join(",\n")))
}

fn case_files(folder: &Path) -> Result<Vec<PathBuf>, CasesError> {
    let unreadable = |cause| CasesError::Unreadable(folder.to_owned(), cause);
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

/// Returns the line of a case's name, counted from 1.
fn line_of_name(case: &str) -> usize {
    case.lines().position(|line| line.contains("\"name\"")).map_or(1, |before| before + 1)
}
