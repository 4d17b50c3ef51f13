//! Creates a country: a folder of sources that builds, passes its own cases and books appointments, as a start for its
//! team. Writes files and builds nothing.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use citas_core::model::CountryCode;
use jiff::civil::{DateTime, datetime};
use jiff::{SignedDuration, Timestamp};
use toml_edit::DocumentMut;

use super::folder::Language;

type Files = &'static [(&'static str, &'static str)];

/// Schemas, the same in every language. They go beside the sources.
const SCHEMAS: Files = &[
    ("request.json", include_str!("template/schema/request.json")),
    ("appointment.json", include_str!("template/schema/appointment.json")),
    ("cancel.json", include_str!("template/schema/cancel.json")),
    ("empty.json", include_str!("template/schema/empty.json")),
];

/// Start of the appointments in the cases, by the clocks of the country's zone.
const CASES_START: DateTime = datetime(2026, 12, 1, 9, 30, 0, 0);

/// Time from the reminder to the start.
const REMINDER: SignedDuration = SignedDuration::from_hours(24);

/// Golden cases, the same in every language.
const CASES: Files = &[
    ("booking.json", include_str!("template/cases/booking.json")),
    ("group.json", include_str!("template/cases/group.json")),
    ("holiday.json", include_str!("template/cases/holiday.json")),
    ("cancel.json", include_str!("template/cases/cancel.json")),
    ("cancel-too-late.json", include_str!("template/cases/cancel-too-late.json")),
    ("complete.json", include_str!("template/cases/complete.json")),
    ("reminder.json", include_str!("template/cases/reminder.json")),
    ("reminder-mail.json", include_str!("template/cases/reminder-mail.json")),
];

impl Language {
    /// Returns the files that depend on the language. Rust files and manifests have other names here, so that neither
    /// cargo nor rustfmt takes them for its own.
    fn files(self) -> Files {
        match self {
            Self::Rust => &[
                ("rules.toml", include_str!("template/rust/rules.toml")),
                ("Cargo.toml", include_str!("template/rust/Cargo.toml.txt")),
                ("src/lib.rs", include_str!("template/rust/lib.rs.txt")),
            ],
            Self::Js => &[
                ("rules.toml", include_str!("template/js/rules.toml")),
                ("package.json", include_str!("template/js/package.json")),
                (".gitignore", "target/\nnode_modules/\n"),
                ("src/rules.js", include_str!("template/js/rules.js")),
                ("src/facts.js", include_str!("template/js/facts.js")),
            ],
            Self::Python => &[
                ("rules.toml", include_str!("template/python/rules.toml")),
                ("pyproject.toml", include_str!("template/python/pyproject.toml")),
                (".gitignore", "target/\n__pycache__/\n"),
                ("rules.py", include_str!("template/python/rules.py")),
                ("facts.py", include_str!("template/python/facts.py")),
            ],
        }
    }

    fn schemas(self) -> &'static str {
        match self {
            Self::Rust | Self::Js => "src/schema",
            Self::Python => "schema",
        }
    }

    /// Returns the file in which the country's own rules begin.
    pub fn first_page(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Js => "src/rules.js",
            Self::Python => "rules.py",
        }
    }
}

/// Reason why a country was not created.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// The folder is there already.
    #[error("{} is there already, and nothing in it is touched", .0.display())]
    Exists(PathBuf),
    /// The IANA time zone database has no such zone.
    #[error("there is no zone `{0}` in the IANA time zone database")]
    Zone(String),
    /// The kit is missing, so the country would not compile.
    #[error(
        "{} has no kit/: a country in Rust begins in a clone of Citas; run this there, or name its folder `countries` with --countries",
        .0.display()
    )]
    NoKit(PathBuf),
    /// The workspace cannot take another member.
    #[error("{} cannot list a new member: {cause}", .manifest.display())]
    Workspace {
        /// Path of the workspace's manifest.
        manifest: PathBuf,
        /// Cause of the error.
        cause: String,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", .0.display())]
    Unwritten(PathBuf, #[source] io::Error),
}

/// Creates the folder `<countries>/<country>`. Adds a country in Rust to the workspace around `countries`.
///
/// # Errors
/// See [`NotBegun`].
pub fn begin(countries: &Path, country: CountryCode, language: Language, zone: &str) -> Result<PathBuf, NotBegun> {
    let unknown = |_| NotBegun::Zone(zone.into());
    let start = CASES_START.in_tz(zone).map_err(unknown)?.timestamp();
    let rust = language == Language::Rust;
    if rust && !countries.join("kit/Cargo.toml").is_file() {
        return Err(NotBegun::NoKit(countries.to_owned()));
    }
    let folder = countries.join(country.as_str());
    let created = fs::create_dir_all(countries).and_then(|()| fs::create_dir(&folder));
    created.map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists if folder.exists() => NotBegun::Exists(folder.clone()),
        _ => NotBegun::Unwritten(folder.clone(), cause),
    })?;
    let listed = || if rust { list(countries, country) } else { Ok(()) };
    filled(&folder, country, language, zone, start).and_then(|()| listed()).inspect_err(|_| {
        // Half a country would keep the workspace from building.
        let _ = fs::remove_dir_all(&folder);
    })?;
    Ok(folder)
}

/// Writes the files. `start` is that of the cases' appointments, which claims and reminders name in UTC.
fn filled(
    folder: &Path,
    country: CountryCode,
    language: Language,
    zone: &str,
    start: Timestamp,
) -> Result<(), NotBegun> {
    let blanks = [
        ("{{code}}", country.to_string()),
        ("{{zone}}", zone.to_owned()),
        ("{{start}}", start.strftime("%Y-%m-%dT%H:%MZ").to_string()),
        ("{{reminder}}", (start - REMINDER).to_string()),
    ];
    let all = [("", language.files()), (language.schemas(), SCHEMAS), ("cases", CASES)];
    for (within, files) in all {
        for (name, text) in files {
            let text = blanks.iter().fold((*text).to_owned(), |text, (blank, value)| text.replace(blank, value));
            write(&folder.join(within).join(name), &text)?;
        }
    }
    Ok(())
}

/// Adds the country to the members of the workspace, as `cargo new` does.
fn list(countries: &Path, country: CountryCode) -> Result<(), NotBegun> {
    let unwritten = |cause| NotBegun::Unwritten(countries.to_owned(), cause);
    let countries = countries.canonicalize().map_err(unwritten)?;
    let Some(root) = countries.ancestors().skip(1).find(|root| root.join("Cargo.toml").is_file()) else {
        return Ok(());
    };
    let manifest = root.join("Cargo.toml");
    let wrong = |cause: String| NotBegun::Workspace { manifest: manifest.clone(), cause };
    let text = fs::read_to_string(&manifest).map_err(|cause| wrong(cause.to_string()))?;
    let mut document: DocumentMut = text.parse().map_err(|cause: toml_edit::TomlError| wrong(cause.to_string()))?;
    let members = document.get_mut("workspace").and_then(|workspace| workspace.get_mut("members"));
    let members = members.and_then(|members| members.as_array_mut());
    let members = members.ok_or_else(|| wrong("it has no list `members` in [workspace]".into()))?;
    let within = countries.strip_prefix(root).expect("an ancestor").join(country.as_str());
    members.push(within.display().to_string());
    write(&manifest, &document.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), NotBegun> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|cause| NotBegun::Unwritten(path.to_owned(), cause))
}
