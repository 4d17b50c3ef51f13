//! Reads and writes files. Reading accepts regular files only, up to a limit, and never waits for another program.
//! Writing puts a whole file in place or nothing. Knows nothing of the files' content.
//!
//! A path may lead to anything: a pipe that nobody writes, a device without an end, a file of 100 GB. So a file is
//! opened without waiting, and the opened file is examined, not the path.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Prefix of a file or folder that is not complete yet. No reader looks for such a name.
pub const UNFINISHED: &str = ".new-";

/// Permission bits of everybody except the owner.
const OTHERS: u32 = 0o077;

/// Access to a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Access for the owner alone.
    Private,
    /// Access as the umask permits.
    Shared,
}

impl Access {
    fn file(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Shared => 0o666,
        }
    }

    fn folder(self) -> u32 {
        match self {
            Self::Private => 0o700,
            Self::Shared => 0o777,
        }
    }
}

/// Durability of a written file when the machine loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The file survives: writing waits for the disk.
    Synced,
    /// The file may be lost, or be empty.
    Unsynced,
}

/// Reads a regular file of at most `limit` bytes. Follows a symbolic link.
///
/// # Errors
/// Returns an error if the file cannot be read, is not a regular file, or is larger ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_opened(OpenOptions::new().read(true).custom_flags(no_wait()).open(path).map_err(explain_not_regular)?, limit)
}

/// Reads a regular file of at most `limit` bytes of UTF-8.
///
/// # Errors
/// See [`read`].
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Reads a file that was opened with [`no_wait`], as [`read`] does.
///
/// # Errors
/// See [`read`].
pub fn read_opened(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    require_regular(metadata.file_type())?;
    read_up_to(limit, file, metadata.len())
}

/// Reads a source that reports this length. A file may have grown since, and a file of the system reports no length.
fn read_up_to(limit: u64, from: impl io::Read, length: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes, its limit"));
    if length > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read <= limit) { Ok(bytes) } else { Err(too_large()) }
}

/// Returns the flags to open a file for reading. Opening a pipe or a device then does not wait for its other end.
pub fn no_wait() -> i32 {
    flags(OFlags::NONBLOCK | OFlags::CLOEXEC)
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("flags of `open` are an int")
}

/// Replaces `ENXIO` with a readable error.
pub fn explain_not_regular(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
        return io::Error::other("it is a socket or a device, not a regular file");
    }
    error
}

fn require_regular(kind: fs::FileType) -> io::Result<()> {
    let kind = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "folder",
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    Err(io::Error::other(format!("it is a {kind}, not a regular file")))
}

/// Creates a folder and its missing parents. Does not change an existing folder.
///
/// # Errors
/// Returns an error if the folder cannot be created.
pub fn make_folder(folder: &Path, access: Access) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(access.folder()).create(folder)
}

/// Creates a folder for patients' data that only its owner can enter. An existing folder that others can enter is used
/// as it is, because that may be intended; the log says how to close it.
///
/// # Errors
/// Returns an error if the folder cannot be created.
pub fn make_data_folder(folder: &Path) -> io::Result<()> {
    make_folder(folder, Access::Private)?;
    if let Some(mode) = open_to_others(folder)? {
        let remedy = format!("chmod 700 {}", folder.display());
        let mode = format!("{mode:o}");
        tracing::warn!(folder = %folder.display(), mode, remedy, "other users of this machine can read patients' data");
    }
    Ok(())
}

/// Returns the folder's mode if users other than its owner have access.
fn open_to_others(folder: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(folder)?.permissions().mode() & 0o777;
    Ok((mode & OTHERS != 0).then_some(mode))
}

/// Creates a folder for unfinished work beside complete ones. It is removed when it is dropped.
///
/// # Errors
/// Returns an error if the folder cannot be created.
pub fn unfinished_folder(parent: &Path, access: Access) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED).permissions(Permissions::from_mode(access.folder())).tempdir_in(parent)
}

/// Replaces a file, or creates it. Readers see the old file or the whole new one.
///
/// # Errors
/// Returns an error if the file cannot be written. The old file is then still there, unless only the sync of the folder failed.
pub fn replace(path: &Path, content: &[u8], access: Access, durability: Durability) -> io::Result<()> {
    let (folder, unfinished) = unfinished_file(path, content, access, durability)?;
    unfinished.persist(path)?;
    if durability == Durability::Synced { sync_folder(&folder) } else { Ok(()) }
}

/// Replaces or creates files of one folder by their names, which the disk has when this returns. The folder is synced once
/// for all of them. Returns the outcome of each.
pub fn replace_all(folder: &Path, files: &[(String, Vec<u8>)], access: Access) -> Vec<io::Result<()>> {
    let replace = |(name, content): &(String, Vec<u8>)| {
        let path = folder.join(name);
        let (_, unfinished) = unfinished_file(&path, content, access, Durability::Synced)?;
        unfinished.persist(path)?;
        Ok(())
    };
    let replaced: Vec<io::Result<()>> = files.iter().map(replace).collect();
    match sync_folder(folder) {
        Ok(()) => replaced,
        Err(error) => replaced.into_iter().map(|one| one.and(Err(error.kind().into()))).collect(),
    }
}

/// Creates a file that does not exist yet, whole and on disk. If several processes do so at once, one succeeds.
///
/// # Errors
/// Returns an error if the file cannot be written, or exists already ([`ErrorKind::AlreadyExists`]).
pub fn create(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let (folder, unfinished) = unfinished_file(path, content, access, Durability::Synced)?;
    unfinished.persist_noclobber(path)?;
    sync_folder(&folder)
}

fn unfinished_file(
    path: &Path,
    content: &[u8],
    access: Access,
    durability: Durability,
) -> io::Result<(PathBuf, NamedTempFile)> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED).permissions(Permissions::from_mode(access.file()));
    let mut unfinished = builder.tempfile_in(folder)?;
    unfinished.write_all(content)?;
    if durability == Durability::Synced {
        unfinished.as_file().sync_all()?;
    }
    Ok((folder.to_owned(), unfinished))
}

/// Writes a new file into a folder that nobody reads yet.
///
/// # Errors
/// Returns an error if the file cannot be written, or exists already.
pub fn write_new(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(access.file()).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Waits until a folder's entries are on disk. Only then a rename is durable.
///
/// # Errors
/// Returns an error if the disk fails.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Opens a regular file for a lock, or for a library that writes it. Creates an empty file if there is none, and does
/// not change the content of an existing one.
///
/// # Errors
/// Returns an error if the file cannot be opened, or is not a regular file.
pub fn open_or_create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(access.file()).custom_flags(no_wait());
    require_file(options.open(path).map_err(explain_not_regular)?)
}

/// Returns the opened file if it is a regular one.
///
/// # Errors
/// Returns an error if it is not a regular file.
pub fn require_file(file: File) -> io::Result<File> {
    require_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Sets the modification time of a regular file.
///
/// # Errors
/// Returns an error if the file does not exist or cannot be changed.
pub fn touch(path: &Path, at: SystemTime) -> io::Result<()> {
    let file = OpenOptions::new().append(true).custom_flags(no_wait()).open(path).map_err(explain_not_regular)?;
    require_file(file)?.set_modified(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Runs `work` with a time limit, because opening a pipe the wrong way would wait forever.
    fn soon<T: Send + 'static>(path: &Path, work: impl FnOnce(&Path) -> T + Send + 'static) -> T {
        let (sender, done) = std::sync::mpsc::channel();
        let path = path.to_owned();
        std::thread::spawn(move || sender.send(work(&path)));
        done.recv_timeout(std::time::Duration::from_secs(20)).expect("it does not wait for another program")
    }

    #[test]
    fn a_file_up_to_its_limit_is_read_and_a_larger_one_is_not() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        fs::write(&file, [7; 100]).unwrap();
        assert_eq!(read(&file, 100).unwrap(), [7; 100]);
        assert_eq!(read(&file, u64::MAX).unwrap(), [7; 100]);
        let refused = read(&file, 99).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        assert_eq!(refused.to_string(), "it is larger than 99 bytes, its limit");
        File::options().write(true).open(&file).unwrap().set_len(100 << 30).unwrap();
        assert_eq!(read(&file, 1 << 20).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn of_what_has_no_end_no_more_is_read_than_its_limit() {
        const ALL: u64 = 16 << 20;
        let mut endless = io::repeat(7).take(ALL);
        let refused = read_up_to(100, &mut endless, 0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        assert_eq!(ALL - endless.limit(), 101, "one byte more shows that there is more");
    }

    #[test]
    fn only_a_regular_file_is_read_or_opened() {
        let here = tempfile::tempdir().unwrap();
        let pipe = here.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let socket = here.path().join("socket");
        let _listening = UnixListener::bind(&socket).unwrap();
        for (path, kind) in
            [(here.path(), "folder"), (&*pipe, "pipe"), (&*socket, "socket"), (Path::new("/dev/zero"), "device")]
        {
            let refused = soon(path, |path| read(path, 100)).unwrap_err().to_string();
            assert!(refused.contains(kind) && refused.ends_with("not a regular file"), "{refused}");
        }
        for path in [&pipe, &socket] {
            soon(path, |path| open_or_create(path, Access::Private)).unwrap_err();
            soon(path, |path| touch(path, SystemTime::now())).unwrap_err();
        }
        let file = here.path().join("file");
        open_or_create(&file, Access::Private).unwrap();
        fs::write(&file, "kept").unwrap();
        open_or_create(&file, Access::Private).unwrap();
        assert_eq!((read_text(&file, 100).unwrap(), mode(&file)), ("kept".into(), 0o600));
    }

    #[test]
    fn a_file_is_replaced_whole_and_made_once() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        create(&file, b"first", Access::Private).unwrap();
        assert_eq!(create(&file, b"second", Access::Private).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"first".to_vec(), 0o600));
        for durability in [Durability::Synced, Durability::Unsynced] {
            replace(&file, b"third", Access::Private, durability).unwrap();
            assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"third".to_vec(), 0o600));
        }
        let plain = here.path().join("plain");
        fs::write(&plain, "").unwrap();
        replace(&file, b"fourth", Access::Shared, Durability::Unsynced).unwrap();
        assert_eq!(mode(&file), mode(&plain), "the umask decides");
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn a_new_data_folder_is_for_its_owner_alone() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("over/there");
        make_data_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&here.path().join("over"))), (0o700, 0o700));
        assert_eq!(open_to_others(&folder).unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_enter_stays_so_and_is_noticed() {
        let here = tempfile::tempdir().unwrap();
        fs::set_permissions(here.path(), Permissions::from_mode(0o750)).unwrap();
        make_data_folder(here.path()).unwrap();
        assert_eq!(open_to_others(here.path()).unwrap(), Some(0o750));
    }
}
