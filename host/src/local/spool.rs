//! Writes mail to a folder, one file per message, for development and for mail that another program delivers. Sends
//! nothing and deletes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use citas_core::ports::{Mail, MailError, Mailer};
use tokio::sync::Mutex;

use crate::files::{self, Access, Durability};

/// Writes each mail to `<folder>/<mail id>.eml`. A repeat writes the same file, so one mail remains.
///
/// Files, and a folder that this creates, can be read by their owner only: they hold patients' data.
#[derive(Clone, Debug)]
pub struct SpoolMailer {
    folder: PathBuf,
    /// Held while a file is written. Many writes at once in one folder make the kernel spin on its lock, and bookings
    /// wait for it.
    turn: Arc<Mutex<()>>,
}

impl SpoolMailer {
    /// Opens a spool in `folder`, which is created if it is absent.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created.
    pub fn open(folder: &Path) -> io::Result<Self> {
        files::make_data_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), turn: Arc::default() })
    }
}

#[async_trait]
impl Mailer for SpoolMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let (folder, name, message) = (self.folder.clone(), file_name(&mail.id), mail.message.clone());
        let _turn = self.turn.lock().await;
        let write = move || files::replace(&folder.join(name), &message, Access::Private, Durability::Synced);
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(io::Error::other).flatten().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidFilename => MailError::Refused(error.to_string()),
            _ => MailError::Unavailable(error.to_string()),
        })
    }
}

/// Returns the file name for a mail's id. Letters, digits, `-`, `_` and inner dots are kept; every other byte becomes
/// `%` and its two hexadecimal digits. So no id leaves the folder, is hidden, or shares a file with another.
fn file_name(id: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(id.len() + ".eml".len());
    for (at, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            _ => write!(name, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    name + ".eml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let here = tempfile::tempdir().unwrap();
        SpoolMailer::open(&here.path().join("mail")).unwrap();
        let mode = std::fs::metadata(here.path().join("mail")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_name_stays_in_the_folder_and_is_no_other_ids() {
        assert_eq!(file_name("0193-ab_c.booked"), "0193-ab_c.booked.eml");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd.eml");
        assert_ne!(file_name("a/b"), file_name("a%2Fb"));
    }
}
