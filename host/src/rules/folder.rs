//! A country's folder as its team keeps it: built into a component, its golden cases read. Runs cargo and reads
//! files; knows nothing of what the component or the cases say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs, io};

use citas_core::appointment::CountryCode;
use serde::Deserialize;
use wit_component::ComponentEncoder;

/// Components import nothing, so they are built for the target that offers nothing.
const TARGET: &str = "wasm32-unknown-unknown";

/// Small and fast code in one piece; the size counts when a Lambda starts.
const PROFILE: [&str; 5] = [
    "profile.release.codegen-units=1",
    "profile.release.lto=true",
    "profile.release.opt-level=\"s\"",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
];

/// The stack in linear memory, in bytes: every call touches it anew, and rules need no deep one.
const STACK_ARGUMENT: &str = "link-arg=-zstack-size=65536";

/// What a surrounding cargo or its user may have set for the host's own build.
const FOREIGN: [&str; 8] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// `rules.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    country: CountryCode,
    package: String,
    language: Language,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Language {
    Rust,
}

/// A folder with a `rules.toml`.
#[derive(Debug)]
pub struct CountryFolder {
    path: PathBuf,
    manifest: Manifest,
}

/// Why a folder is no country's.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no `rules.toml` that can be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Its `rules.toml` is wrong.
    #[error("{} is wrong: {cause}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool that is not there.
    #[error("`{0}` does not start; is Rust installed with rustup?")]
    NoTool(String, #[source] io::Error),
    /// Rust cannot build for WebAssembly here.
    #[error("the target {TARGET} is not installed, and `rustup target add {TARGET}` says: {0}")]
    NoTarget(String),
    /// Cargo does not know the package.
    #[error("cargo does not understand {}: {cause}", .folder.display())]
    Workspace {
        /// The country's folder.
        folder: PathBuf,
        /// What cargo says.
        cause: String,
    },
    /// The compiler says no.
    #[error("{package} does not compile:\n{diagnostics}")]
    Compile {
        /// The cargo package.
        package: String,
        /// What the compiler says, as it says it.
        diagnostics: String,
    },
    /// Cargo was content, and made nothing.
    #[error("{package} gives no WebAssembly module; its library has to be a `lib` or a `cdylib`")]
    NoModule {
        /// The cargo package.
        package: String,
    },
    /// The module cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The module does not fit the contract that it claims.
    #[error("{package} does not become a component: {cause}")]
    Encode {
        /// The cargo package.
        package: String,
        /// Why.
        cause: String,
    },
}

/// Why golden cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The folder or a file in it.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// Not JSON, or without a name.
    #[error("{}:{}: {cause}", .path.display(), .cause.line())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// Two cases with one name.
    #[error("{}:{line}: there is a case named `{name}` in {} already", .path.display(), .first.display())]
    SameName {
        /// The later file.
        path: PathBuf,
        /// The line of its name.
        line: usize,
        /// The name.
        name: String,
        /// The earlier file.
        first: PathBuf,
    },
}

impl CountryFolder {
    /// Reads the folder's `rules.toml`.
    ///
    /// # Errors
    /// When there is none, or it says too little or too much.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let file = path.join("rules.toml");
        let text = fs::read_to_string(&file).map_err(|cause| FolderError::Unreadable(file.clone(), cause))?;
        let manifest =
            toml::from_str(&text).map_err(|cause| FolderError::Manifest { path: file, cause: Box::new(cause) })?;
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// The country whose rules these are.
    #[must_use]
    pub fn country(&self) -> CountryCode {
        self.manifest.country
    }

    /// Builds the component, with these features of its cargo package. Takes as long as the compiler does; builds in one
    /// workspace wait for one another, but not for a cargo that builds the host.
    ///
    /// # Errors
    /// When a tool is missing or the country's code is wrong; the compiler's words are in the error.
    pub fn build(&self, features: &[&str]) -> Result<Vec<u8>, BuildError> {
        let Language::Rust = self.manifest.language;
        self.require_target()?;
        let module = self.compile(features)?;
        let module = fs::read(&module).map_err(|cause| BuildError::Unreadable(module, cause))?;
        encode(&module)
            .map_err(|cause| BuildError::Encode { package: self.manifest.package.clone(), cause: format!("{cause:#}") })
    }

    /// The golden cases in its `cases/`; none where there is no such folder.
    ///
    /// # Errors
    /// See [`cases_in`].
    pub fn cases(&self) -> Result<String, CasesError> {
        let folder = self.path.join("cases");
        if folder.exists() { cases_in(&folder) } else { Ok("[]".into()) }
    }

    /// Installs the standard library for WebAssembly where rustup can.
    fn require_target(&self) -> Result<(), BuildError> {
        let asked = self.run("rustc", &["--print", "target-libdir", "--target", TARGET])?;
        if asked.status.success() && Path::new(text(&asked.stdout).trim()).exists() {
            return Ok(());
        }
        match self.run("rustup", &["target", "add", TARGET]) {
            Ok(added) if added.status.success() => Ok(()),
            Ok(refused) => Err(BuildError::NoTarget(text(&refused.stderr))),
            Err(absent) => Err(BuildError::NoTarget(absent.to_string())),
        }
    }

    /// The core module's file.
    fn compile(&self, features: &[&str]) -> Result<PathBuf, BuildError> {
        let package = self.manifest.package.clone();
        let (features, target_folder) = (features.join(","), self.target_folder()?);
        let mut arguments = vec!["rustc", "--package", &package, "--lib", "--crate-type", "cdylib", "--release"];
        arguments.extend(["--target", TARGET, "--target-dir", &target_folder, "--features", &features]);
        arguments.extend(["--message-format", "json-render-diagnostics"]);
        arguments.extend(PROFILE.iter().flat_map(|setting| ["--config", setting]));
        arguments.extend(["--", "-C", STACK_ARGUMENT]);
        let built = self.run("cargo", &arguments)?;
        if !built.status.success() {
            return Err(BuildError::Compile { package, diagnostics: text(&built.stderr) });
        }
        module_among(&text(&built.stdout)).ok_or(BuildError::NoModule { package })
    }

    /// A target folder beside the host's, so that neither build waits for the other's lock.
    fn target_folder(&self) -> Result<String, BuildError> {
        #[derive(Deserialize)]
        struct Workspace {
            target_directory: String,
        }
        let wrong = |cause| BuildError::Workspace { folder: self.path.clone(), cause };
        let asked = self.run("cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
        if !asked.status.success() {
            return Err(wrong(text(&asked.stderr)));
        }
        let workspace: Workspace = serde_json::from_slice(&asked.stdout).map_err(|cause| wrong(cause.to_string()))?;
        Ok(format!("{}/rules", workspace.target_directory))
    }

    /// Runs a tool in the country's folder, so that its own toolchain file and cargo configuration hold.
    fn run(&self, tool: &str, arguments: &[&str]) -> Result<Output, BuildError> {
        let mut command = Command::new(tool);
        command.args(arguments).current_dir(&self.path);
        for name in FOREIGN {
            command.env_remove(name);
        }
        // Where a cargo started us, these describe the package that it runs.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command.output().map_err(|cause| BuildError::NoTool(tool.to_owned(), cause))
    }
}

/// The golden cases in a folder, one JSON array in the order of the files' names.
///
/// # Errors
/// When there is no such folder, a file is no JSON object with a `name`, or two have the same.
pub fn cases_in(folder: &Path) -> Result<String, CasesError> {
    let mut first_with: HashMap<String, PathBuf> = HashMap::new();
    let mut cases = Vec::new();
    for path in case_files(folder)? {
        let case = fs::read_to_string(&path).map_err(|cause| CasesError::Unreadable(path.clone(), cause))?;
        let name = case_name(&case).map_err(|cause| CasesError::Malformed { path: path.clone(), cause })?;
        if let Some(first) = first_with.get(&name) {
            let (line, first) = (line_of_name(&case), first.clone());
            return Err(CasesError::SameName { path, line, name, first });
        }
        first_with.insert(name, path);
        cases.push(case.trim().to_owned());
    }
    Ok(format!("[{}]", cases.join(",\n")))
}

/// The module's own description of its world makes the component; nothing is adapted.
fn encode(module: &[u8]) -> Result<Vec<u8>, impl std::fmt::Display + use<>> {
    ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode())
}

/// The WebAssembly file among what cargo says that it made.
fn module_among(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        filenames: Vec<PathBuf>,
    }
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.flat_map(|artifact| artifact.filenames).rfind(|file| file.extension().is_some_and(|it| it == "wasm"))
}

fn case_files(folder: &Path) -> Result<Vec<PathBuf>, CasesError> {
    let unreadable = |cause| CasesError::Unreadable(folder.to_owned(), cause);
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

fn case_name(case: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_str(case).map(|Named { name }| name)
}

/// From 1, as editors count.
fn line_of_name(case: &str) -> usize {
    case.lines().position(|line| line.contains("\"name\"")).map_or(1, |before| before + 1)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
