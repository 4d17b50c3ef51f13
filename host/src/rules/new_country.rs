//! Begins a country: a folder of sources that builds, passes its own cases and books, for its team to make its own. Writes
//! files; builds nothing.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use citas_core::appointment::CountryCode;
use toml_edit::DocumentMut;

/// What a folder begins with. Rust files and manifests have names here that neither cargo nor rustfmt takes for their own.
const TEMPLATE: [(&str, &str); 10] = [
    ("rules.toml", include_str!("template/rules.toml")),
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("template/src/lib.rs.txt")),
    ("src/schema/request.json", include_str!("template/src/schema/request.json")),
    ("src/schema/appointment.json", include_str!("template/src/schema/appointment.json")),
    ("src/schema/cancel.json", include_str!("template/src/schema/cancel.json")),
    ("cases/booking.json", include_str!("template/cases/booking.json")),
    ("cases/holiday.json", include_str!("template/cases/holiday.json")),
    ("cases/cancel.json", include_str!("template/cases/cancel.json")),
    ("cases/cancel-too-late.json", include_str!("template/cases/cancel-too-late.json")),
];

/// Why there is no new country.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// It is there already.
    #[error("{} is there already, and nothing in it is touched", .0.display())]
    Exists(PathBuf),
    /// Nobody knows such a zone.
    #[error("there is no zone `{0}` in the IANA time zone database")]
    Zone(String),
    /// It would not compile.
    #[error("{} has no kit/: name the folder `countries` of Citas's sources with --countries", .0.display())]
    NoKit(PathBuf),
    /// The workspace cannot take another member.
    #[error("{} cannot list a new member: {cause}", .manifest.display())]
    Workspace {
        /// The workspace's manifest.
        manifest: PathBuf,
        /// Why.
        cause: String,
    },
    /// The disk does not do it.
    #[error("{} cannot be written", .0.display())]
    Unwritten(PathBuf, #[source] io::Error),
}

/// Makes the folder `<countries>/<country>` and lists it in the workspace that `countries` is in.
///
/// # Errors
/// When it is there already, or cannot be made.
pub fn begin(countries: &Path, country: CountryCode, zone: &str) -> Result<PathBuf, NotBegun> {
    if jiff::tz::TimeZone::get(zone).is_err() {
        return Err(NotBegun::Zone(zone.into()));
    }
    if !countries.join("kit/Cargo.toml").is_file() {
        return Err(NotBegun::NoKit(countries.to_owned()));
    }
    let folder = countries.join(country.as_str());
    fs::create_dir(&folder).map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => NotBegun::Exists(folder.clone()),
        _ => NotBegun::Unwritten(folder.clone(), cause),
    })?;
    filled(&folder, country, zone).and_then(|()| list(countries, country)).inspect_err(|_| {
        // Half a country would keep the workspace from building.
        let _ = fs::remove_dir_all(&folder);
    })?;
    Ok(folder)
}

fn filled(folder: &Path, country: CountryCode, zone: &str) -> Result<(), NotBegun> {
    for (name, text) in TEMPLATE {
        let text = text.replace("{{code}}", country.as_str()).replace("{{zone}}", zone);
        write(&folder.join(name), &text)?;
    }
    Ok(())
}

/// As `cargo new` does.
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
