//! Writes mail to a folder, one file per message, for development and for mail that another program delivers. Sends
//! nothing and deletes nothing.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use citas_core::ports::{Mail, MailError, Mailer};
use tokio::sync::{mpsc, oneshot};

use crate::files::{self, Access};

/// Maximum number of mails that are written together.
const BATCH: usize = 32;

/// A mail for the thread that writes: the file's name, its content, and who waits for it.
type Waiting = (String, Vec<u8>, oneshot::Sender<io::Result<()>>);

/// Writes each mail to `<folder>/<mail id>.eml`. A repeat writes the same file, so one mail remains.
///
/// One thread writes: many writes at once in one folder make the kernel spin on its lock, and bookings wait for it. Mails
/// that wait are written together, and the folder is synced once for all of them.
///
/// Files, and a folder that this creates, can be read by their owner only: they hold patients' data.
#[derive(Clone, Debug)]
pub struct SpoolMailer {
    mails: mpsc::Sender<Waiting>,
}

impl SpoolMailer {
    /// Opens a spool in `folder`, which is created if it is absent.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created, or the thread cannot be started.
    pub fn open(folder: &Path) -> io::Result<Self> {
        files::make_data_folder(folder)?;
        let ((mails, waiting), folder) = (mpsc::channel(BATCH), folder.to_owned());
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || write(&folder, waiting))?;
        Ok(Self { mails })
    }
}

#[async_trait]
impl Mailer for SpoolMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let stopped = || MailError::Unavailable("the thread that writes mail has stopped".to_owned());
        let (written, answer) = oneshot::channel();
        let waiting = (file_name(&mail.id), mail.message.clone(), written);
        self.mails.send(waiting).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidFilename => MailError::Refused(error.to_string()),
            _ => MailError::Unavailable(error.to_string()),
        })
    }
}

/// Writes the mails that arrive, until no more can come.
fn write(folder: &Path, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let split = |(name, message, answer): Waiting| ((name, message), answer);
        let (files, answers): (Vec<_>, Vec<_>) = batch.drain(..).map(split).unzip();
        for (answer, written) in answers.into_iter().zip(files::replace_all(folder, &files, Access::Private)) {
            // A sender that has gone away sends the mail again.
            let _ = answer.send(written);
        }
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
