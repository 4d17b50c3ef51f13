//! Makes components of countries' sources, each language with its own tools. Runs programs; knows nothing of what the
//! component does.

mod interpreted;
mod rust;

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(super) use self::interpreted::{JAVASCRIPT, PYTHON};
pub(super) use self::rust::Rust;
use self::rust::TARGET;

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool that is not there.
    #[error("`{tool}` does not start; {remedy}")]
    NoTool {
        /// The program.
        tool: String,
        /// What to look after.
        remedy: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Rust cannot build for WebAssembly here.
    #[error("the target {TARGET} is not installed, and `rustup target add {TARGET}` says: {0}")]
    NoTarget(String),
    /// The tools of an interpreted language cannot be put where they belong.
    #[error("what makes components of {language} cannot be installed in {}: {cause}", .place.display())]
    NotInstalled {
        /// The language.
        language: &'static str,
        /// Where.
        place: PathBuf,
        /// What the installer says.
        cause: String,
    },
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
        /// The cargo package, or the folder of another language.
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
    /// What was made cannot be read.
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

/// Runs a program to its end; `remedy` is what to look after where it does not start.
fn output(command: &mut Command, remedy: &'static str) -> Result<Output, BuildError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|source| BuildError::NoTool { tool, remedy, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
