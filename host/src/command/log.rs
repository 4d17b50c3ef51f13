//! Writes the log to standard error: JSON for machines, lines for a person at a terminal. Standard output is only for
//! results. A panic is logged, too.
//!
//! Lines gather in memory and a thread of its own writes them, so no request waits for the reader of the log. When the
//! memory is full, lines are dropped and counted. `tracing-appender` does the same, but it bounds lines instead of
//! bytes, makes a system call for each, and loses lines that a non-blocking pipe does not accept at once.

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::mem;
use std::panic::{self, PanicHookInfo};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use crate::json_lines::JsonLines;

/// Interval at which gathered lines are written. A write for each line would cost a request more than the work that the
/// line reports.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// Number of gathered bytes that are written without waiting for more.
const BATCH: usize = 1 << 20;

/// Maximum size of the lines that wait to be written, in bytes. Lines beyond it are dropped.
const MAX_PENDING: usize = 8 << 20;

/// Delay before another write to an output that accepts nothing now: a full pipe, a full disk, a pipe without a reader.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Maximum time that the end of the process waits for lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time that a panic waits for its line to be written.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

static LOG: Pending = Pending::new();

/// Lines that wait to be written.
struct Pending {
    lines: Mutex<Lines>,
    changed: Condvar,
}

struct Lines {
    text: Vec<u8>,
    dropped: u64,
    /// True while the thread writes the lines that it has taken.
    writing: bool,
    /// True if a caller waits until all lines are written.
    flush: bool,
    /// Time for which lines gather before they are written.
    interval: Duration,
}

/// A guard that waits a limited time for the remaining lines to be written when it is dropped.
pub struct Log;

impl Drop for Log {
    fn drop(&mut self) {
        flush();
    }
}

impl Pending {
    const fn new() -> Self {
        let lines = Lines { text: Vec::new(), dropped: 0, writing: false, flush: false, interval: WRITE_INTERVAL };
        Self { lines: Mutex::new(lines), changed: Condvar::new() }
    }

    /// Adds whole lines, or drops them if too many wait.
    fn add(&self, text: &[u8]) {
        let mut lines = self.lines();
        if lines.text.len() + text.len() > MAX_PENDING {
            lines.drop_lines(text);
            return;
        }
        let due = lines.text.is_empty() || lines.text.len() < BATCH && lines.text.len() + text.len() >= BATCH;
        lines.text.extend_from_slice(text);
        if due {
            self.changed.notify_all();
        }
    }

    /// Waits until all lines are written, for at most `timeout`.
    fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut lines = self.lines();
        while lines.writing || !lines.text.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            lines.flush = true;
            self.changed.notify_all();
            lines = self.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes lines for as long as the process lives.
    fn write_to(&self, mut output: impl Write) {
        let (mut batch, mut partial) = (Vec::new(), false);
        loop {
            self.take(&mut batch);
            let rest = write_all(&mut output, &batch, &mut partial);
            let mut lines = self.lines();
            lines.drop_lines(&batch[rest..]);
            lines.writing = false;
            let dropped = if rest == batch.len() { mem::take(&mut lines.dropped) } else { 0 };
            drop(lines);
            self.changed.notify_all();
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped: standard error did not take them");
            }
            if rest < batch.len() {
                thread::sleep(RETRY_DELAY);
            }
        }
    }

    /// Waits for lines and takes them all.
    fn take(&self, batch: &mut Vec<u8>) {
        let wait = |lines, timeout| self.changed.wait_timeout(lines, timeout).unwrap_or_else(PoisonError::into_inner).0;
        let mut lines = self.lines();
        while lines.text.is_empty() {
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        let due = Instant::now() + lines.interval;
        while !lines.flush && lines.text.len() < BATCH {
            let Some(left) = due.checked_duration_since(Instant::now()) else { break };
            lines = wait(lines, left);
        }
        batch.clear();
        mem::swap(&mut lines.text, batch);
        (lines.writing, lines.flush) = (true, false);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn drop_lines(&mut self, text: &[u8]) {
        let count = text.split_inclusive(|byte| *byte == b'\n').count();
        if count > 0 {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.dropped += count;
            metrics::counter!("citas_log_lines_dropped_total").increment(count);
        }
    }
}

/// Writes as much as the output accepts, and retries an output that would block. Returns the number of bytes written.
/// `partial` is true if the last line written is incomplete; the next call then begins a new line.
fn write_all(output: &mut impl Write, text: &[u8], partial: &mut bool) -> usize {
    let mut written = 0;
    while written < text.len() {
        let next: &[u8] = if *partial && written == 0 { b"\n" } else { &text[written..] };
        match output.write(next) {
            Ok(0) => break,
            Ok(_) if *partial && written == 0 => *partial = false,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_DELAY),
            Err(_) => break,
        }
    }
    if written > 0 {
        *partial = text[written - 1] != b'\n';
    }
    written
}

/// A writer that adds the subscriber's lines to the log.
struct Writer;

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.add(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds a plain line for people to the log.
pub fn note(line: &str) {
    LOG.add(format!("{line}\n").as_bytes());
}

/// Waits a limited time until all lines are written.
pub fn flush() {
    LOG.flush(FLUSH_TIMEOUT);
}

/// Starts the log with a filter such as `info` or `citas=debug`.
pub fn start(filter: &str) -> Result<Log, Box<dyn std::error::Error>> {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(|| Writer);
    if io::stderr().is_terminal() {
        LOG.lines().interval = Duration::ZERO;
        log.compact().init();
    } else {
        log.fmt_fields(JsonFields::new()).event_format(JsonLines::default()).init();
    }
    thread::Builder::new().name("log".to_owned()).spawn(|| LOG.write_to(io::stderr()))?;
    panic::set_hook(Box::new(report));
    Ok(Log)
}

/// Logs the location of a panic. Leaves out the message, which may contain a patient's data.
fn report(panic: &PanicHookInfo) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, thread = thread::current().name(), "a panic, which is a bug: report it with this line");
    // The program may end before the next batch is written.
    LOG.flush(PANIC_FLUSH_TIMEOUT);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output whose writes a closure decides, and which sends the bytes that it accepts.
    struct Output<F>(F, Sender<Vec<u8>>);

    impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Output<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0(bytes)?;
            self.1.send(bytes[..taken].to_vec()).unwrap();
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pending() -> &'static Pending {
        Box::leak(Box::new(Pending::new()))
    }

    #[test]
    fn lines_that_nobody_reads_take_bounded_memory_and_keep_nobody_waiting() {
        let log = pending();
        let (blocked, is_blocked) = channel();
        let output = Output(
            move |_: &[u8]| {
                blocked.send(()).unwrap();
                loop {
                    thread::park();
                }
            },
            channel().0,
        );
        thread::spawn(move || log.write_to(output));
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        log.add(&line);
        is_blocked.recv().unwrap();
        for _ in 0..3 * MAX_PENDING / line.len() {
            log.add(&line);
        }
        let lines = log.lines();
        assert!(lines.text.len() <= MAX_PENDING, "{}", lines.text.len());
        assert_eq!(lines.dropped, u64::try_from(2 * MAX_PENDING / line.len()).unwrap());
        drop(lines);
        let began = Instant::now();
        log.flush(Duration::from_millis(10));
        assert!(began.elapsed() < Duration::from_secs(5), "the end of the process does not wait for ever");
    }

    #[test]
    fn a_pipe_that_takes_nothing_at_the_moment_gets_all_lines_later() {
        let log = pending();
        let (sender, taken) = channel();
        let mut calls = 0;
        let patchy = move |bytes: &[u8]| {
            calls += 1;
            if calls % 2 == 1 { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len().min(10)) }
        };
        thread::spawn(move || log.write_to(Output(patchy, sender)));
        log.add(b"the first line\n");
        log.add(b"the second line\n");
        log.flush(Duration::from_secs(20));
        let text: Vec<u8> = taken.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(text).unwrap(), "the first line\nthe second line\n");
    }

    #[test]
    fn after_a_full_disk_the_log_goes_on_with_a_line_of_its_own() {
        let mut full = [Ok(6), Err(ErrorKind::StorageFull), Ok(1), Ok(7)].into_iter();
        let (sender, taken) = channel();
        let mut output = Output(|_: &[u8]| full.next().unwrap().map_err(io::Error::from), sender);
        let mut partial = false;
        assert_eq!(write_all(&mut output, b"a line that is cut\n", &mut partial), 6);
        assert_eq!(write_all(&mut output, b"a line\n", &mut partial), 7);
        let text: Vec<u8> = taken.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(text).unwrap(), "a line\na line\n");
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
