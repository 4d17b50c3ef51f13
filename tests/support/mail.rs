//! Mail as its reader finds it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mailparse::{MailHeaderMap, ParsedMail};

use super::eventually::eventually;

/// In which a mail is written after its event, on a machine that others use too.
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// The folder that mail is written into.
pub struct Spool(PathBuf);

/// What a mail says.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The calendar among the alternatives.
    pub calendar: String,
    /// The same as a file.
    pub attachment: String,
    /// The `method` of the calendar's content type.
    pub method: String,
}

impl Spool {
    pub fn in_data(data: &Path) -> Self {
        Self(data.join("mail"))
    }

    /// Every mail that is whole, in no order.
    pub fn letters(&self) -> Vec<Letter> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.unwrap().path());
        let whole = files.filter(|file| file.extension().is_some_and(|extension| extension == "eml"));
        whole.map(|file| Letter::read(&std::fs::read(file).unwrap())).collect()
    }

    /// Waits for exactly so many.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Letter> {
        let letters = eventually(&format!("{count} mails"), DELIVERED_WITHIN, || {
            let letters = self.letters();
            (letters.len() >= count).then_some(letters)
        });
        assert_eq!(letters.len(), count);
        letters
    }
}

impl Letter {
    pub fn read(message: &[u8]) -> Self {
        let mail = mailparse::parse_mail(message).unwrap();
        let header = |name| mail.headers.get_first_value(name).unwrap_or_default();
        let mut letter = Self { to: header("To"), subject: header("Subject"), ..Self::default() };
        letter.take(&mail);
        letter
    }

    fn take(&mut self, part: &ParsedMail<'_>) {
        let body = || part.get_body().unwrap();
        match part.ctype.mimetype.as_str() {
            "text/plain" => self.text = body(),
            "text/html" => self.html = body(),
            "text/calendar" => {
                self.calendar = body();
                self.method = part.ctype.params.get("method").cloned().unwrap_or_default();
            }
            // A file is its bytes.
            "application/ics" => self.attachment = String::from_utf8(part.get_body_raw().unwrap()).unwrap(),
            _ => part.subparts.iter().for_each(|part| self.take(part)),
        }
    }

    /// A property of the calendar, its lines unfolded (RFC 5545, section 3.1).
    pub fn property(&self, name: &str) -> String {
        let unfolded = self.calendar.replace("\r\n ", "").replace("\n ", "");
        let prefix = format!("{name}:");
        unfolded.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
    }
}
