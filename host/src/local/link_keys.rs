//! Secret keys of the data folder that sign the links in mail. Without them the links in sent mail are invalid. No stored
//! data depends on them.

use std::io;
use std::path::{Path, PathBuf};

use citas_core::model::{Keyring, NotAKeyring};

use super::secret::new_key;
use crate::files::{self, Access};

/// Name of the keys' file in the data folder: a line for each key, the newest first, readable by its owner only.
const KEYS: &str = "link-keys";

/// Maximum size of the keys' file, in bytes.
const MAX_BYTES: u64 = 1024;

/// Error for keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkKeysError {
    /// The file cannot be read or written.
    #[error("the keys of links in {} cannot be read or written: {cause}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        cause: io::Error,
    },
    /// The file has no keys.
    #[error("{}: {cause}; restore it from a backup, or remove it to get a new key, which ends the links in sent mail", path.display())]
    Keys {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error, which does not contain a key.
        cause: NotAKeyring,
    },
}

/// Opens the keys of a data folder. Creates one if there is none.
///
/// # Errors
/// See [`LinkKeysError`].
pub fn open(data: &Path) -> Result<Keyring, LinkKeysError> {
    let path = data.join(KEYS);
    let text = match files::read_text(&path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = new_key();
            files::create(&path, key.as_bytes(), Access::Private).map(|()| key)
        }
        read => read,
    };
    let text = text.map_err(|cause| LinkKeysError::File { path: path.clone(), cause })?;
    text.parse().map_err(|cause| LinkKeysError::Keys { path, cause })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_gets_a_key_for_its_owner_alone_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let token = open(folder.path()).unwrap().sign("link", b"pe");
        assert!(open(folder.path()).unwrap().verify("link", &token).is_some());
        let path = folder.path().join(KEYS);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let rotated = new_key() + &std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, rotated).unwrap();
        assert!(open(folder.path()).unwrap().verify("link", &token).is_some(), "the key before still counts");
        std::fs::remove_file(&path).unwrap();
        assert!(open(folder.path()).unwrap().verify("link", &token).is_none(), "another key");
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEYS);
        std::fs::write(&path, "s3cret").unwrap();
        let refused = open(folder.path()).err().unwrap().to_string();
        assert!(
            refused.contains("link-keys: a key is 64 hexadecimal digits") && !refused.contains("s3cret"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "s3cret");
    }
}
