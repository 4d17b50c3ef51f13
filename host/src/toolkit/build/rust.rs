//! Builds a country in Rust. Runs cargo and rustup.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use serde::Deserialize;
use wit_component::ComponentEncoder;

use super::{BuildError, output, text};

/// Target of the build. Components import nothing, so the target provides nothing.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Settings for small and fast code in one unit. The size counts when a Lambda starts.
const PROFILE: [&str; 5] = [
    "profile.release.codegen-units=1",
    "profile.release.lto=true",
    "profile.release.opt-level=\"s\"",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
];

/// Linker argument for the stack in linear memory, in bytes. Every call touches the stack anew, and rules need no deep
/// one.
const STACK_ARGUMENT: &str = "link-arg=-zstack-size=65536";

/// Environment variables that a surrounding cargo or its user may have set for the host's own build.
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

/// Cargo package of a country.
pub(in crate::toolkit) struct Rust<'a> {
    pub folder: &'a Path,
    pub package: String,
}

impl Rust<'_> {
    /// Builds the component with these features of the package.
    pub fn build(&self, features: &[&str]) -> Result<Vec<u8>, BuildError> {
        self.require_target()?;
        let module = self.compile(features)?;
        let module = fs::read(&module).map_err(|cause| BuildError::Unreadable(module, cause))?;
        encode(&module)
            .map_err(|cause| BuildError::Encode { package: self.package.clone(), cause: format!("{cause:#}") })
    }

    /// Installs the standard library for WebAssembly if it is absent and rustup can.
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

    /// Compiles the package. Returns the path of the core module.
    fn compile(&self, features: &[&str]) -> Result<PathBuf, BuildError> {
        let package = self.package.clone();
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

    /// Returns a target folder beside the host's, so that neither build waits for the other's lock.
    fn target_folder(&self) -> Result<String, BuildError> {
        #[derive(Deserialize)]
        struct Workspace {
            target_directory: String,
        }
        let wrong = |cause| BuildError::Workspace { folder: self.folder.to_owned(), cause };
        let asked = self.run("cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
        if !asked.status.success() {
            return Err(wrong(text(&asked.stderr)));
        }
        let workspace: Workspace = serde_json::from_slice(&asked.stdout).map_err(|cause| wrong(cause.to_string()))?;
        Ok(format!("{}/rules", workspace.target_directory))
    }

    /// Runs a tool in the country's folder, so that its own toolchain file and cargo configuration apply.
    fn run(&self, tool: &str, arguments: &[&str]) -> Result<Output, BuildError> {
        let mut command = Command::new(tool);
        command.args(arguments).current_dir(self.folder);
        for name in FOREIGN {
            command.env_remove(name);
        }
        // If a cargo started this program, these variables describe the package that it runs.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        output(&mut command, "is Rust installed with rustup?")
    }
}

/// Makes a component of the module, from the module's own description of its world and without an adapter.
fn encode(module: &[u8]) -> Result<Vec<u8>, impl std::fmt::Display + use<>> {
    ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode())
}

/// Returns the WebAssembly file that cargo's messages name.
fn module_among(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        filenames: Vec<PathBuf>,
    }
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.flat_map(|artifact| artifact.filenames).rfind(|file| file.extension().is_some_and(|it| it == "wasm"))
}
