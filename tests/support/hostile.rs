//! Entries that somebody may put in a file's place. None of them is a file that can be read to its end.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// An entry in a file's place.
pub struct Hostile {
    pub what: &'static str,
    /// Creates the entry at a path where nothing exists.
    pub put: fn(&Path),
    /// Part of the refusal.
    pub why: &'static str,
}

pub const HOSTILE: [Hostile; 8] = [
    Hostile { what: "a pipe that nobody writes", put: pipe, why: "it is a pipe, not a regular file" },
    Hostile { what: "a socket", put: socket, why: "it is a socket" },
    Hostile { what: "a folder", put: |path| fs::create_dir(path).unwrap(), why: "it is a folder, not a regular file" },
    Hostile { what: "a file of 100 GB", put: sparse, why: "is larger than" },
    Hostile { what: "a link to an endless device", put: |path| symlink("/dev/zero", path).unwrap(), why: LEADS_OUT },
    Hostile { what: "a link to a file outside", put: |path| symlink("/proc/self/exe", path).unwrap(), why: LEADS_OUT },
    Hostile { what: "a link up and out", put: up_and_out, why: LEADS_OUT },
    Hostile {
        what: "a link to itself",
        put: |path| symlink(path.file_name().unwrap(), path).unwrap(),
        why: "symbolic",
    },
];

const LEADS_OUT: &str = "a symbolic link leads out of the registry";

pub fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Creates a socket. The path of a socket must be short, so it is created elsewhere and moved.
fn socket(path: &Path) {
    let near = tempfile::tempdir().unwrap();
    let short = near.path().join("s");
    drop(UnixListener::bind(&short).unwrap());
    fs::rename(short, path).unwrap();
}

fn sparse(path: &Path) {
    File::create(path).unwrap().set_len(100 << 30).unwrap();
}

fn up_and_out(path: &Path) {
    symlink("../".repeat(30) + "dev/zero", path).unwrap();
}

/// Removes the entry at a path.
pub fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}
