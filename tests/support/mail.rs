//! Mail as its recipient gets it.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailparse::{MailHeaderMap, ParsedMail};

use super::eventually::eventually;

/// Maximum time from an event to its mail, on a machine that other tests share.
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// The folder into which the host writes mail.
pub struct Spool(PathBuf);

/// A parsed mail.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub message_id: String,
    pub reply_to: String,
    pub auto_submitted: String,
    /// Number of the client's life in which the mail arrived. Only a [`MailServer`] sets it.
    pub life: usize,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Calendar among the alternatives.
    pub calendar: String,
    /// Calendar attached as a file.
    pub attachment: String,
    /// Parameter `method` of the calendar's content type.
    pub method: String,
}

impl Spool {
    pub fn in_data(data: &Path) -> Self {
        Self(data.join("mail"))
    }

    /// Returns every complete mail, in no order.
    pub fn letters(&self) -> Vec<Letter> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.unwrap().path());
        let whole = files.filter(|file| file.extension().is_some_and(|extension| extension == "eml"));
        whole.map(|file| Letter::read(&std::fs::read(file).unwrap())).collect()
    }

    /// Waits for exactly `count` mails.
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
        let mut letter = Self {
            message_id: header("Message-ID"),
            reply_to: header("Reply-To"),
            auto_submitted: header("Auto-Submitted"),
            to: header("To"),
            subject: header("Subject"),
            ..Self::default()
        };
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
            // The body of an attached file is its bytes.
            "application/ics" => self.attachment = String::from_utf8(part.get_body_raw().unwrap()).unwrap(),
            _ => part.subparts.iter().for_each(|part| self.take(part)),
        }
    }

    /// Returns a property of the calendar, with its lines unfolded (RFC 5545, section 3.1).
    pub fn property(&self, name: &str) -> String {
        let unfolded = self.calendar.replace("\r\n ", "").replace("\n ", "");
        let prefix = format!("{name}:");
        unfolded.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
    }
}

/// An SMTP server that counts every mail that it takes. The spool writes a repeat into the same file.
pub struct MailServer {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// True if it takes all mail. Otherwise it turns connections or recipients away.
    up: AtomicBool,
    /// Prefix of the recipients that it turns away; `None` for all.
    refuses: Option<&'static str>,
    /// Time between a mail's last line and the answer to it.
    delay: Duration,
    begun: AtomicUsize,
    life: AtomicUsize,
    turned_away: AtomicUsize,
    taken: Mutex<Vec<Letter>>,
}

impl MailServer {
    pub fn up() -> Self {
        Self::start(true, None, Duration::ZERO)
    }

    pub fn down() -> Self {
        Self::start(false, None, Duration::ZERO)
    }

    /// Starts a server that turns away recipients with this prefix, until it comes up.
    pub fn refusing(recipients: &'static str) -> Self {
        Self::start(false, Some(recipients), Duration::ZERO)
    }

    /// Starts a server that takes `delay` to answer a mail.
    pub fn slow(delay: Duration) -> Self {
        Self::start(true, None, delay)
    }

    fn start(up: bool, refuses: Option<&'static str>, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State {
            up: up.into(),
            refuses,
            delay,
            begun: AtomicUsize::default(),
            life: AtomicUsize::default(),
            turned_away: AtomicUsize::default(),
            taken: Mutex::default(),
        });
        let server = Self { address: listener.local_addr().unwrap(), state: state.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                // A client that disconnects ends its conversation.
                std::thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn come_up(&self) {
        self.state.up.store(true, Ordering::SeqCst);
    }

    /// Begins another life of the client.
    pub fn begin_life(&self) {
        self.state.life.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of connections and recipients that it has turned away.
    pub fn turned_away(&self) -> usize {
        self.state.turned_away.load(Ordering::SeqCst)
    }

    /// Returns the number of mails that arrived completely, answered or not.
    pub fn begun(&self) -> usize {
        self.state.begun.load(Ordering::SeqCst)
    }

    /// Returns every mail that it has taken, repeats included.
    pub fn taken(&self) -> Vec<Letter> {
        self.state.taken.lock().unwrap().clone()
    }

    /// Returns the number of copies of each mail, by Message-ID.
    pub fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        for letter in self.taken() {
            *copies.entry(letter.message_id).or_default() += 1;
        }
        copies
    }
}

impl State {
    fn refuses(&self, command: &str) -> bool {
        let recipient = command.strip_prefix("RCPT TO:<").unwrap_or_default();
        self.refuses.is_some_and(|start| recipient.starts_with(&start.to_ascii_uppercase()))
    }

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        let (up, life) = (self.up.load(Ordering::SeqCst), self.life.load(Ordering::SeqCst));
        if !up && self.refuses.is_none() {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return stream.write_all(b"421 closed for now\r\n");
        }
        stream.write_all(b"220 test ESMTP\r\n")?;
        let mut message = None::<String>;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let Some(text) = &mut message else {
                let reply = match line.to_ascii_uppercase().as_str() {
                    "DATA" => {
                        message = Some(String::new());
                        "354 go on"
                    }
                    command if !up && self.refuses(command) => {
                        self.turned_away.fetch_add(1, Ordering::SeqCst);
                        "451 not now"
                    }
                    "QUIT" => return stream.write_all(b"221 bye\r\n"),
                    _ => "250 fine",
                };
                stream.write_all(format!("{reply}\r\n").as_bytes())?;
                continue;
            };
            if line == "." {
                self.begun.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(self.delay);
                // The server takes the mail even if the client no longer waits for the answer.
                self.taken.lock().unwrap().push(Letter { life, ..Letter::read(text.as_bytes()) });
                message = None;
                stream.write_all(b"250 taken\r\n")?;
            } else {
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
                text.push_str("\r\n");
            }
        }
        Ok(())
    }
}
