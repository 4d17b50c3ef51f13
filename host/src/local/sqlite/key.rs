//! Secret key of the data folder, which makes the opaque names of people. Without it no appointment can be found by its
//! patient, so it belongs to every backup.

use std::io;
use std::path::Path;

use citas_core::model::{CountryCode, Pseudonyms};

use super::{OpenError, schema};
use crate::files::{self, Access};
use crate::local::secret::new_key;

/// Name of the key's file in the data folder: hexadecimal digits, readable by its owner only.
pub const KEY: &str = "key";

/// Maximum size of the key's file, in bytes.
const MAX_KEY_BYTES: u64 = 1024;

/// Opens the key of a folder that this process has locked. Creates it if no file of the folder was written with a key.
pub(super) fn open(folder: &Path) -> Result<Pseudonyms, OpenError> {
    let path = folder.join(KEY);
    let io = |cause| OpenError::Io { folder: folder.to_owned(), cause };
    let text = match files::read_text(&path, MAX_KEY_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(file) = written_with_a_key(folder).map_err(io)? {
                return Err(OpenError::NoKey { folder: folder.to_owned(), file });
            }
            let key = new_key();
            files::create(&path, key.as_bytes(), Access::Private).map_err(io)?;
            key
        }
        Err(cause) => return Err(OpenError::Key { path, cause: cause.to_string() }),
    };
    text.trim_end().parse().map_err(|cause| OpenError::Key { path, cause: format!("{cause}") })
}

/// Returns the name of a country's file in the folder that was written with a key.
fn written_with_a_key(folder: &Path) -> io::Result<Option<String>> {
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_country = name.strip_suffix(".db").is_some_and(|country| country.parse::<CountryCode>().is_ok());
        // A file that cannot be read is reported when its country is used.
        if is_country && schema::has_key(&folder.join(&name)).unwrap_or(false) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn pe() -> CountryCode {
        "pe".parse().unwrap()
    }

    #[test]
    fn a_folder_has_one_key_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let names = open(folder.path()).unwrap();
        assert_eq!(open(folder.path()).unwrap().patient(pe(), "p"), names.patient(pe(), "p"));
        let path = folder.path().join(KEY);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(open(other.path()).unwrap().patient(pe(), "p"), names.patient(pe(), "p"));
    }

    #[test]
    fn a_folder_whose_key_is_lost_or_damaged_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let names = open(folder.path()).unwrap();
        let (path, kept) = (folder.path().join(KEY), folder.path().join("kept"));
        schema::open_writer(&folder.path().join("pe.db"), pe(), &names).unwrap();
        std::fs::rename(&path, &kept).unwrap();
        let refused = open(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("pe.db was written with") && refused.contains("backup"), "{refused}");
        assert!(!path.exists(), "no other key is made");
        std::fs::write(&path, "not a key").unwrap();
        let refused = open(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("64 hexadecimal digits"), "{refused}");
        std::fs::rename(&kept, &path).unwrap();
        open(folder.path()).unwrap();
    }
}
