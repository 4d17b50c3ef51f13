//! The log: JSON for machines, lines for a person at a terminal. On standard error, so that standard output is the answer.
//! A panic is a line of it too.

use std::io::IsTerminal as _;
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts it with a filter such as `info` or `citas=debug`.
pub fn start(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.compact().init();
    } else {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    panic::set_hook(Box::new(report));
    Ok(())
}

/// Says where, and not what: a panic's message may hold a patient's data.
fn report(panic: &PanicHookInfo) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, thread = thread::current().name(), "a panic, which is a bug: report it with this line");
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let lines = Lines::default();
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
