//! Folders that hold patients' data: for their owner alone. What is in them is as safe as they are, so files inside need
//! no care of their own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// What others than the owner may do, in a file's mode.
const OTHERS: u32 = 0o077;

/// Makes a folder, and those above it that are absent, if there is none. One that others can enter is used as it is, and
/// the log says how to close it: whoever opened it may have meant to.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if let Some(mode) = open_to_others(folder)? {
        let remedy = format!("chmod 700 {}", folder.display());
        let mode = format!("{mode:o}");
        tracing::warn!(folder = %folder.display(), mode, remedy, "other users of this machine can read patients' data");
    }
    Ok(())
}

/// The folder's mode, if it lets in others than its owner.
fn open_to_others(folder: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(folder)?.permissions().mode() & 0o777;
    Ok((mode & OTHERS != 0).then_some(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_for_its_owner_alone() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("over/there");
        make_folder(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(open_to_others(&folder).unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_enter_stays_so_and_is_noticed() {
        let here = tempfile::tempdir().unwrap();
        fs::set_permissions(here.path(), fs::Permissions::from_mode(0o750)).unwrap();
        make_folder(here.path()).unwrap();
        assert_eq!(open_to_others(here.path()).unwrap(), Some(0o750));
    }
}
