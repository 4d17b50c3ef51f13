//! `citas rules build`: builds a folder into a component.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use citas_core::model::digest;
use serde_json::json;

use super::{Answer, Outcome, Report, present};
use crate::files::{self, Access, Durability};
use crate::toolkit::CountryFolder;

pub(super) fn build(folder: &Path, output: Option<PathBuf>, report: &Report) -> Outcome {
    present(folder)?;
    let folder = CountryFolder::open(folder)?;
    let component = folder.build(&[])?;
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.wasm", folder.country())));
    write(&output, &component).map_err(|cause| format!("{} cannot be written: {cause}", output.display()))?;
    let (bytes, digest) = (component.len(), digest(&component));
    let words = format!("{}  {bytes} bytes  {digest}", output.display());
    report.say(&words, &json!({ "file": output, "bytes": bytes, "digest": digest }));
    Ok(Answer::Done)
}

/// Writes a component as a whole. Follows links to a file. Writes directly into a pipe or a device, such as
/// `/dev/stdout`.
fn write(output: &Path, component: &[u8]) -> io::Result<()> {
    let Ok(real) = fs::canonicalize(output) else {
        return files::replace(output, component, Access::Shared, Durability::Unsynced);
    };
    if real.is_file() {
        files::replace(&real, component, Access::Shared, Durability::Unsynced)
    } else {
        fs::write(output, component)
    }
}
