//! The log: JSON for machines, lines for a person at a terminal. On standard error, so that standard output is the answer.
//! A panic is a line of it too.

use std::io::{self, IsTerminal as _, Write as _};
use std::mem;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How long a line may wait for others before they are written together: a write for each would cost a request more than
/// all that its line is about.
const WAIT: Duration = Duration::from_millis(100);

/// So many bytes are written without waiting longer.
const PLENTY: usize = 1 << 20;

/// What has gathered.
static GATHERED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What is being written; whoever writes has this, while others gather on.
static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes the rest when it is dropped.
pub struct Log;

impl Drop for Log {
    fn drop(&mut self) {
        write_out();
    }
}

/// Where the lines gather.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plenty = {
            let mut gathered = locked(&GATHERED);
            gathered.extend_from_slice(bytes);
            gathered.len() >= PLENTY
        };
        if plenty {
            write_out();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        write_out();
        Ok(())
    }
}

/// Starts it with a filter such as `info` or `citas=debug`.
pub fn start(filter: &str) -> Result<Log, ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    if io::stderr().is_terminal() {
        log.with_writer(io::stderr).compact().init();
    } else {
        let log = log.with_writer(|| Lines).json();
        log.flatten_event(true).with_current_span(false).with_span_list(false).init();
        tokio::spawn(write_what_gathers());
    }
    panic::set_hook(Box::new(report));
    Ok(Log)
}

async fn write_what_gathers() {
    loop {
        tokio::time::sleep(WAIT).await;
        write_out();
    }
}

fn write_out() {
    let mut written = locked(&WRITTEN);
    mem::swap(&mut *written, &mut *locked(&GATHERED));
    // A log that cannot be written has nowhere to say so.
    let _ = io::stderr().write_all(&written);
    written.clear();
}

fn locked(lines: &'static Mutex<Vec<u8>>) -> MutexGuard<'static, Vec<u8>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says where, and not what: a panic's message may hold a patient's data.
fn report(panic: &PanicHookInfo) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, thread = thread::current().name(), "a panic, which is a bug: report it with this line");
    // The program may not live as long as the next line.
    write_out();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let lines = Heard::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let usual = panic::take_hook();
        panic::set_hook(Box::new(report));
        let panicked =
            tracing::subscriber::with_default(log, || panic::catch_unwind(|| panic!("ana@example.com has no slot")));
        panic::set_hook(usual);
        assert!(panicked.is_err());
        let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line["fields"]["location"].as_str().unwrap().contains("log.rs:"), "{line}");
        assert!(!line.to_string().contains("ana@"), "{line}");
    }
}
