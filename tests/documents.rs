//! Documents name things that exist: log messages, settings, decisions and the steps of CI. The unit file is one that systemd
//! takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::components::root;
use crate::support::process::{citas, run};

/// Texts in operations.md that look like messages of Citas, and are composed by it or come from SQLite.
const NOT_WRITTEN_HERE: [&str; 7] = [
    "it is a pipe",
    "database or disk is full",
    "database disk image is malformed",
    "file is not a database",
    "disk I/O error",
    "unable to open database file",
    "database is locked",
];

/// First words of command lines, and of the labels of metrics.
const COMMANDS: [&str; 12] = [
    "aws",
    "citas",
    "country",
    "current",
    "docker",
    "journalctl",
    "just",
    "minisign",
    "openssl",
    "sam",
    "sudo",
    "systemctl",
];

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds the text of every file below a folder that has this extension.
fn add_texts(folder: &Path, extension: &str, texts: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_texts(&path, extension, texts);
        } else if path.extension().is_some_and(|found| found == extension) {
            *texts += &fs::read_to_string(&path).unwrap();
        }
    }
}

/// The host's sources, with literals of several lines on one.
fn sources() -> String {
    let mut texts = String::new();
    add_texts(&root().join("host"), "rs", &mut texts);
    let mut lines = texts.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The texts between single backticks, on one line each.
fn quoted(markdown: &str) -> impl Iterator<Item = String> + '_ {
    let parts = markdown.split('`').skip(1).step_by(2);
    parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The parts of a message that stand in the sources as they are: `…` stands for what is filled in.
fn literal_parts(message: &str) -> impl Iterator<Item = &str> {
    let filled_in = |character: char| character == '…' || character == '/' || character.is_ascii_digit();
    message.split(filled_in).map(str::trim).filter(|part| part.split(' ').count() >= 3)
}

/// Returns whether a text stands in the arguments of a call that logs at this level.
fn is_logged(sources: &str, text: &str, level: &str) -> bool {
    let call = format!("tracing::{}!(", level.to_lowercase());
    sources.split(&*call).skip(1).any(|rest| rest.split(");").next().is_some_and(|arguments| arguments.contains(text)))
}

#[test]
fn every_log_message_that_the_manual_lists_is_logged_at_its_level() {
    let (manual, sources) = (read("docs/operations.md"), sources());
    let (_, table) = manual.split_once("| level, message | |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut found = 0;
    for row in rows {
        let cell = row.split('|').nth(1).unwrap().trim();
        let level = cell.split(' ').next().unwrap();
        for message in quoted(cell) {
            let text = message.trim_matches(|character| character == '…' || character == ' ');
            assert!(is_logged(&sources, text, level), "no source logs `{text}` at the level {level}");
            found += 1;
        }
    }
    assert!(found > 10, "the table of messages has {found}");
}

#[test]
fn every_message_that_the_manual_quotes_is_in_the_sources() {
    let (manual, sources) = (read("docs/operations.md"), sources());
    for message in quoted(&manual) {
        let mut words = message.split(' ');
        let first = words.next().unwrap_or_default();
        let is_prose = first.chars().all(|character| character.is_ascii_lowercase() || character == '…');
        if !is_prose || COMMANDS.contains(&first) || NOT_WRITTEN_HERE.contains(&message.as_str()) {
            continue;
        }
        for part in literal_parts(&message) {
            assert!(sources.contains(part), "docs/operations.md quotes `{message}`, and no source has `{part}`");
        }
    }
}

#[test]
fn every_setting_is_in_the_manual_or_in_a_template() {
    let unknown = citas(&["token"]).env("CITAS_NO_SUCH_SETTING", "1").output().unwrap();
    let complaint = String::from_utf8(unknown.stderr).unwrap();
    let (_, known) = complaint.split_once("it knows ").unwrap();
    let described = ["docs/operations.md", "docs/rules.md", "template.yaml"].map(read).concat();
    for setting in known.trim().split(", ") {
        assert!(described.contains(setting), "neither a document nor template.yaml has `{setting}`");
    }
}

#[test]
fn every_decision_that_code_cites_is_in_the_architecture() {
    let architecture = read("docs/architecture.md");
    let decisions: Vec<&str> =
        architecture.lines().filter_map(|line| line.strip_prefix("**D")?.split('.').next()).collect();
    let distinct: BTreeSet<_> = decisions.iter().collect();
    assert_eq!(distinct.len(), decisions.len(), "two decisions have one number: {decisions:?}");
    for citation in sources().split("decision D").skip(1) {
        let number: String = citation.chars().take_while(char::is_ascii_digit).collect();
        assert!(decisions.contains(&number.as_str()), "a source cites D{number}, which docs/architecture.md lacks");
    }
}

#[test]
fn the_workflow_runs_every_step_of_ci_in_order() {
    let listed = Command::new(root().join(".ci/run")).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let workflow = read(".github/workflows/ci.yml");
    let run: Vec<&str> = workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: .ci/run ")).collect();
    assert_eq!(run, listed.lines().collect::<Vec<_>>());
}

/// The unit file's command line, without the program.
fn unit_arguments(unit: &str) -> Vec<&str> {
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    start.split(' ').skip(1).collect()
}

#[test]
fn the_unit_starts_a_server_with_options_that_there_are() {
    let unit = read("deploy/citas.service");
    let arguments = unit_arguments(&unit);
    assert_eq!(arguments[0], "serve");
    run(&[&arguments[..], &["--help"]].concat()).expect(0);
}

/// Where there is no systemd, there is nothing that could verify it.
#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = read("deploy/citas.service").replace("/usr/local/bin/citas", env!("CARGO_BIN_EXE_citas"));
    let file = folder.path().join("citas.service");
    fs::write(&file, unit).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else { return };
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
