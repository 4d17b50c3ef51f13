//! Histories in a process that is killed at a random moment and started again, or whose disk is full for a while. The process is
//! this test binary. It writes a line for each request and for each answer, so that what was acknowledged is known whenever it
//! dies.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use citas::local::sqlite::SqliteLedger;
use rlimit::Resource;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::desk::{Answer, Entry, History, Ports, Script, Witness};
use super::{Answers, Folder, check_all, play_all, runtime, script};
use crate::support::chance::Chance;

/// Variable with the [`Life`] of a process that plays histories.
const LIFE: &str = "CITAS_TEST_LIFE";

/// Number of folders, in each of which a process is killed this number of times.
const FOLDERS: usize = 10;
const KILLS: usize = 10;

/// Maximum number of lines of a process before it is killed.
const LINES: usize = 300;

/// Maximum number of rounds of histories in a process.
const ROUNDS: usize = 50;

/// Maximum time from one line of a process to the next.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// Number of histories with a full disk.
const FULL_DISKS: usize = 10;

/// Number of rounds in which the disk is full.
const FULL_ROUNDS: usize = 3;

/// Work of a process.
#[derive(Serialize, Deserialize)]
struct Life {
    folder: PathBuf,
    /// Seed of its first history.
    first: usize,
    /// Clinic of an earlier process, at which the first history goes on.
    clinic: Option<String>,
    /// Maximum size of a file in the first rounds, in bytes. There is room again in as many rounds after them.
    disk: Option<u64>,
}

/// A line of its output.
#[derive(Serialize, Deserialize)]
struct Line {
    clinic: String,
    round: usize,
    entry: Entry,
}

/// Plays histories, if this process was started for that.
fn live() -> bool {
    let Ok(life) = std::env::var(LIFE) else { return false };
    let Life { folder, first, mut clinic, disk } = serde_json::from_str(&life).unwrap();
    let ledger = Arc::new(SqliteLedger::open(&folder).unwrap());
    let ports = Ports { ledger: ledger.clone(), names: ledger.pseudonyms(), wakes: ledger };
    let runtime = runtime();
    let (_, unlimited) = Resource::FSIZE.get().unwrap();
    for round in 0..if disk.is_some() { 2 * FULL_ROUNDS } else { ROUNDS } {
        let size = disk.filter(|_| round < FULL_ROUNDS).unwrap_or(unlimited);
        Resource::FSIZE.set(size, unlimited).unwrap();
        let fresh = script(first + round);
        let script = match clinic.take() {
            None => fresh,
            Some(clinic) => Script { clinic, continues: true, ..fresh },
        };
        let witness = |script: &Script| -> Witness {
            let clinic = script.clinic.clone();
            Arc::new(move |entry| {
                let line = Line { clinic: clinic.clone(), round, entry: entry.clone() };
                println!("{}", serde_json::to_string(&line).unwrap());
            })
        };
        runtime.block_on(play_all(&ports, std::slice::from_ref(&script), witness));
        // The first round with room goes on at the clinic of those without, and the others are elsewhere.
        clinic = (disk.is_some() && round < FULL_ROUNDS).then_some(script.clinic);
    }
    true
}

/// Starts a process for the test of this name, and kills it after some lines. Returns its lines.
fn lines(test: &str, life: &Life, kill_after: Option<usize>) -> Vec<Line> {
    // A file that may not grow is an error for the process, and no signal.
    let mut process = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("{}::{test}", module_path!().split_once("::").unwrap().1))
        .env(LIFE, serde_json::to_string(life).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(process.stdout.take().unwrap());
    let (said, heard) = channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|text| said.send(text)));
    let mut lines = Vec::new();
    loop {
        let text = match heard.recv_timeout(ANSWERS_WITHIN) {
            Ok(text) => text,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                process.kill().unwrap();
                panic!("the process hangs");
            }
        };
        // The harness has lines of its own, and the last one may be cut off.
        let Ok(mut line) = serde_json::from_str::<Line>(&text) else { continue };
        if let Answer::Stored(revision) = &mut line.entry.answer {
            // JSON does not have them. The clinic's schema names none of its attributes, so all are personal.
            revision.personal = revision.appointment.attributes.iter().map(|field| field.path.clone()).collect();
        }
        lines.push(line);
        if kill_after == Some(lines.len()) {
            process.kill().unwrap();
        }
    }
    let status = process.wait().unwrap();
    assert!(status.success() || kill_after.is_some(), "{status}");
    lines
}

/// The histories of one folder.
#[derive(Default)]
struct Told {
    entries: BTreeMap<String, Vec<Entry>>,
    /// Stamp after all of those so far.
    next: u64,
}

impl Told {
    /// Adds the lines of a process. What it did not answer, it did before its end or never.
    fn add(&mut self, lines: Vec<Line>) {
        let mut entries = BTreeMap::new();
        for Line { clinic, round, entry } in lines {
            // Each round counts from zero.
            entries.insert((round, clinic, entry.asked), entry);
        }
        let rounds = entries.keys().map(|(round, ..)| *round).max().unwrap_or_default();
        for current in 0..=rounds {
            let of_round = || entries.iter().filter(|((round, ..), _)| *round == current);
            let stamps = of_round().flat_map(|(_, entry)| [entry.asked, entry.answered]);
            let end = stamps.filter(|stamp| *stamp < u64::MAX).max().unwrap_or_default() + 1;
            for ((_, clinic, _), entry) in of_round() {
                let (asked, answered) = (self.next + entry.asked, self.next + entry.answered.min(end));
                let entry = Entry { asked, answered, ..entry.clone() };
                self.entries.entry(clinic.clone()).or_default().push(entry);
            }
            self.next += end + 1;
        }
    }

    /// Checks all histories with what is in the folder.
    fn check(self, folder: TempDir) -> Answers {
        let history = |(clinic, entries)| History { seed: 0, clinic, entries };
        let histories: Vec<History> = self.entries.into_iter().map(history).collect();
        let checked = runtime().block_on(check_all(&Folder::open(folder), &histories));
        checked.unwrap_or_else(|broken| panic!("{broken}"))
    }
}

fn life(folder: &Path, first: usize) -> Life {
    Life { folder: folder.to_owned(), first, clinic: None, disk: None }
}

#[test]
fn histories_of_a_process_that_is_killed_keep_every_promise() {
    if live() {
        return;
    }
    let test = "histories_of_a_process_that_is_killed_keep_every_promise";
    let mut total = Answers::new();
    for number in 0..FOLDERS {
        let (folder, mut chance) = (tempfile::tempdir().unwrap(), Chance::seeded(u64::try_from(number).unwrap() + 1));
        let (mut told, mut clinic) = (Told::default(), None);
        for kill in 0..KILLS {
            let life = Life { clinic, ..life(folder.path(), (number * KILLS + kill) * 1000) };
            let lines = lines(test, &life, Some(1 + chance.below(LINES)));
            clinic = lines.last().map(|line| line.clinic.clone());
            told.add(lines);
        }
        for (name, count) in told.check(folder) {
            *total.entry(name).or_default() += count;
        }
    }
    println!("{} kills: {total:?}", FOLDERS * KILLS);
    assert!(total["the process was killed"] > 0, "it dies while it is asked for something");
}

#[test]
fn histories_with_a_full_disk_keep_every_promise() {
    if live() {
        return;
    }
    let test = "histories_with_a_full_disk_keep_every_promise";
    let (mut chance, mut total) = (Chance::seeded(1), Answers::new());
    for number in 0..FULL_DISKS {
        let folder = tempfile::tempdir().unwrap();
        // The tables take some of it, and may be too large for it themselves.
        let disk = u64::try_from((60 + chance.below(200)) << 10).unwrap();
        let mut lines = lines(test, &Life { disk: Some(disk), ..life(folder.path(), number * 1000) }, None);
        let is_full = |line: &Line| matches!(line.entry.answer, Answer::Unknown(_)) && line.entry.answered < u64::MAX;
        let is_stored = |line: &Line| line.round >= FULL_ROUNDS && matches!(line.entry.answer, Answer::Stored(_));
        assert!(lines.iter().any(is_full), "the disk is never full");
        assert!(lines.iter().any(is_stored), "nothing is stored once there is room again");
        for line in lines.iter_mut().filter(|line| is_full(line)) {
            // Nothing of a change that does not fit is stored.
            line.entry.answer = Answer::Refused("the disk is full".into());
        }
        let mut told = Told::default();
        told.add(lines);
        for (name, count) in told.check(folder) {
            *total.entry(name).or_default() += count;
        }
    }
    println!("{FULL_DISKS} full disks: {total:?}");
}
