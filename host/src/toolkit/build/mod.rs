//! Builds components from countries' sources, each language with its own tools. Runs programs; knows nothing of the
//! component's behaviour.

mod contract;
mod interpreted;
mod rust;

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(super) use self::contract::Contract;
pub(super) use self::interpreted::{JAVASCRIPT, PYTHON};
pub(super) use self::rust::Rust;
use self::rust::TARGET;

/// Reason why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool does not start.
    #[error("`{tool}` does not start; {remedy}")]
    NoTool {
        /// Name of the program.
        tool: String,
        /// Advice to the user.
        remedy: &'static str,
        /// Error from the system.
        source: io::Error,
    },
    /// Rust cannot build for WebAssembly here.
    #[error("the target {TARGET} is not installed, and `rustup target add {TARGET}` says: {0}")]
    NoTarget(String),
    /// The tools of an interpreted language cannot be installed.
    #[error("what makes components of {language} cannot be installed in {}: {cause}", .place.display())]
    NotInstalled {
        /// Name of the language.
        language: &'static str,
        /// Path of the tools' folder.
        place: PathBuf,
        /// Cause, or the installer's output.
        cause: String,
    },
    /// Cargo cannot read the package's workspace.
    #[error("cargo does not understand {}: {cause}", .folder.display())]
    Workspace {
        /// Path of the country's folder.
        folder: PathBuf,
        /// Cause, or cargo's output.
        cause: String,
    },
    /// The code does not compile.
    #[error("{package} does not compile:\n{diagnostics}")]
    Compile {
        /// Cargo package, or the folder of a country in another language.
        package: String,
        /// Output of the compiler, unchanged.
        diagnostics: String,
    },
    /// Calls were not repeated outside the component.
    #[error("{0}")]
    NotRepeated(String),
    /// The build succeeded without a WebAssembly module.
    #[error("{package} gives no WebAssembly module; its library has to be a `lib` or a `cdylib`")]
    NoModule {
        /// Name of the cargo package.
        package: String,
    },
    /// A file or folder of the build cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The module does not match the contract that it declares.
    #[error("{package} does not become a component: {cause}")]
    Encode {
        /// Name of the cargo package.
        package: String,
        /// Cause of the error.
        cause: String,
    },
}

/// Runs a program to its end. `remedy` is the advice if it does not start.
fn output(command: &mut Command, remedy: &'static str) -> Result<Output, BuildError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|source| BuildError::NoTool { tool, remedy, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
