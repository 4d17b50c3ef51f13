//! An operator at the command line, beside a host that runs: verdicts of the host, rollbacks, verification, help, and
//! output at a terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use citas::local::registry::FolderRegistry;
use citas_core::ports::Registry as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::registry_contract::{artifact, with_cases};
use crate::support::components::{chaos, chaos_with};
use crate::support::process::{Finished, Process, citas, run, run_command};

/// Long enough for a host on a busy machine.
const WAIT: [&str; 2] = ["--wait", "60s"];

/// A data folder with published versions of the chaos country: 1.0.0 and 1.1.0 are good, a host refuses 1.2.0 and 1.3.0.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let later = chaos_with(&["later"]);
        for (version, component) in
            [("1.0.0", chaos()), ("1.1.0", &later), ("1.2.0", b"no component"), ("1.3.0", b"no component either")]
        {
            place.publish(version, component);
        }
        place
    }

    /// Puts 1.0.0 into use and starts a host.
    fn serving() -> (Self, Process) {
        let place = Self::new();
        place.promote("1.0.0", &[]).expect(0);
        let process = place.serve();
        place.promote("1.0.0", &WAIT).expect(0);
        (place, process)
    }

    fn serve(&self) -> Process {
        Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", self.data(), "--log", "warn"])
    }

    fn publish(&self, version: &str, component: &[u8]) {
        let registry = FolderRegistry::new(&self.0.path().join("registry"));
        let artifact = with_cases(artifact("xx".parse().unwrap(), version, component), "[]");
        tokio::runtime::Runtime::new().unwrap().block_on(registry.publish(&artifact)).unwrap();
    }

    fn data(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("registry/xx").join(name)
    }

    fn rules(&self, arguments: &[&str]) -> Finished {
        run(&[&["rules"], arguments, &["--data", self.data()]].concat())
    }

    fn promote(&self, version: &str, more: &[&str]) -> Finished {
        self.rules(&[&["promote", "xx", version, "--why", "a test"], more].concat())
    }

    fn rollback(&self, more: &[&str]) -> Finished {
        self.rules(&[&["rollback", "xx", "--why", "a test"], more].concat())
    }

    fn status(&self, status: i32) -> Value {
        let told = self.rules(&["status", "xx", "--json"]).expect(status);
        serde_json::from_str::<Value>(&told.out).unwrap()[0].take()
    }
}

fn cut_short(file: &Path) {
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
}

#[test]
fn a_promotion_reports_the_verdict_of_the_host() {
    let (place, process) = Place::serving();
    let told = place.promote("1.1.0", &WAIT).expect(0).out;
    assert!(told.starts_with("xx 1.1.0 is to be in use; 1.0.0 → 1.1.0\n") && told.ends_with("\nin force\n"), "{told}");
    assert_eq!(place.status(0)["verdict"], "in-force");

    let told = place.promote("1.2.0", &WAIT).expect(1).out;
    assert!(told.contains("\nrefused: this is no WebAssembly component"), "{told}");
    assert!(told.ends_with("; 1.1.0 stays in force\n"), "{told}");
    let status = place.status(1);
    assert_eq!((&status["verdict"], &status["host"]["refused"]["version"]), (&"refused".into(), &"1.2.0".into()));
    let words = place.rules(&["status"]).expect(1).out;
    assert!(words.contains("    refused: the host has 1.1.0 in force since "), "{words}");
    assert!(words.contains("the host refused version 1.2.0 at "), "{words}");

    let ready = process.client("").get("/readyz").expect(200).json();
    assert_eq!(ready["refused"]["xx"], "version 1.2.0 is not in force; version 1.1.0 serves", "{ready}");

    // Whoever repeats it is told again.
    let told = place.promote("1.2.0", &[&WAIT[..], &["--json"]].concat()).expect(1).out;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["verdict"], &told["current"]), (&"refused".into(), &"1.2.0".into()));
    assert!(told["why"].as_str().unwrap().contains("WebAssembly"), "{told}");

    let told = place.rules(&["pin", "xx", "--why", "a test", WAIT[0], WAIT[1]]).expect(1).out;
    assert!(told.contains("xx is pinned at 1.2.0\nrefused: "), "{told}");
}

#[test]
fn a_rollback_leads_to_the_last_version_that_was_in_force_and_clears_the_refusal() {
    let (place, process) = Place::serving();
    place.promote("1.1.0", &WAIT).expect(0);
    place.promote("1.2.0", &WAIT).expect(1);
    place.promote("1.3.0", &WAIT).expect(1);
    let before = place.status(1)["channel"].clone();
    let told = place.rules(&["rollback", "xx", "--dry-run"]).expect(0).out;
    assert!(told.contains("1.3.0 → 1.1.0") && told.contains("nothing is changed"), "{told}");
    assert_eq!(place.status(1)["channel"], before);
    let told = place.rollback(&WAIT).expect(0).out;
    assert_eq!(told, "xx 1.1.0 is to be in use; 1.3.0 → 1.1.0\nin force\n");
    assert_eq!(place.status(0)["host"]["refused"], Value::Null);

    let told = place.rollback(&WAIT).expect(1).err;
    assert!(told.contains("no version of xx was in use before this one") && told.contains("--to"), "{told}");
    let told = place.rollback(&["--to", "1.1.0"]).expect(1).err;
    assert!(told.contains("xx 1.1.0 is in use already"), "{told}");
    let told = place.rollback(&["--to", "0.9.0"]).expect(1).err;
    assert!(told.contains("there is no version 0.9.0"), "{told}");
    let told = place.rollback(&[&["--to", "1.0.0"], &WAIT[..]].concat()).expect(0).out;
    assert!(told.contains("1.1.0 → 1.0.0\nin force"), "{told}");

    // A host that is away for a while has forgotten nothing.
    place.promote("1.2.0", &WAIT).expect(1);
    drop(process);
    let _process = place.serve();
    place.promote("1.3.0", &WAIT).expect(1);
    let told = place.rollback(&WAIT).expect(0).out;
    assert_eq!(told, "xx 1.0.0 is to be in use; 1.3.0 → 1.0.0\nin force\n");
}

#[test]
fn a_damaged_version_is_named_and_its_refusal_ends_with_the_rollback() {
    let (place, _process) = Place::serving();
    cut_short(&place.file("versions/1.1.0/rules.wasm"));
    let told = place.promote("1.1.0", &["--wait", "3s"]).expect(1).out;
    assert!(told.contains("not in force within 3 s: ") && told.contains("half copied; the host tries again"), "{told}");
    let status = place.status(1);
    assert_eq!((&status["verdict"], &status["host"]["refused"]["what"]), (&"waiting".into(), &"version 1.1.0".into()));
    let words = place.rules(&["status"]).expect(1).out;
    assert!(words.contains("the host refused version 1.1.0 at ") && words.contains("; it tries again"), "{words}");

    let told = place.rollback(&WAIT).expect(0).out;
    assert!(told.contains("1.1.0 → 1.0.0\nin force"), "{told}");
    eventually_cleared(&place);

    // So does that of a channel which could not be read for a while.
    let channel = place.file("channel.json");
    let whole = fs::read(&channel).unwrap();
    cut_short(&channel);
    until(&place, |host| host["refused"]["what"] == "the registry's version");
    fs::write(&channel, whole).unwrap();
    eventually_cleared(&place);
}

#[test]
fn a_trial_reports_the_verdict_of_the_host_and_its_refusal_ends_with_it() {
    let (place, _process) = Place::serving();
    let trial = |arguments: &[&str]| place.rules(&[arguments, &["--why", "a test"], &WAIT[..]].concat());
    let told = trial(&["shadow", "xx", "1.1.0"]).expect(0).out;
    assert!(told.ends_with("\non trial\n"), "{told}");
    assert_eq!(place.status(0)["verdict"], "in-force");
    let told = trial(&["canary", "xx", "1.2.0", "--share", "5"]).expect(1).out;
    assert!(told.contains("\nrefused: this is no WebAssembly component"), "{told}");
    assert_eq!(place.status(1)["verdict"], "refused");
    let told = trial(&["withdraw", "xx"]).expect(0).out;
    assert_eq!(told, "xx 1.0.0 is to decide alone again\nwithdrawn\n");
    eventually_cleared(&place);

    cut_short(&place.file("versions/1.1.0/rules.wasm"));
    let arguments = ["shadow", "xx", "1.1.0", "--why", "a test", "--wait", "2s"];
    let told = place.rules(&arguments).expect(1).out;
    assert!(told.contains("not on trial within 2 s: ") && told.contains("half copied"), "{told}");
    trial(&["withdraw", "xx"]).expect(0);
    eventually_cleared(&place);
}

fn until(place: &Place, wanted: impl Fn(&Value) -> bool) {
    crate::support::eventually::eventually("the host's status", std::time::Duration::from_secs(20), || {
        let status = fs::read(place.0.path().join("rules-status.json")).unwrap();
        wanted(&serde_json::from_slice::<Value>(&status).unwrap()["xx"]).then_some(())
    });
}

fn eventually_cleared(place: &Place) {
    until(place, |host| host["refused"].is_null());
}

#[test]
fn whoever_asks_for_a_verdict_is_told_that_no_host_runs() {
    let place = Place::new();
    let told = place.promote("1.0.0", &[]).expect(0).out;
    assert!(told.contains(&format!("no host runs on {}", place.data())), "{told}");
    let told = place.promote("1.1.0", &["--wait", "1s"]).expect(1).out;
    assert!(told.contains("no host runs on "), "{told}");
    assert_eq!(place.status(0)["verdict"], "no-host");
    let told = place.promote("1.0.0", &["--wait", "soon"]).expect(2).err;
    assert!(told.contains("such as 30s or 2m"), "{told}");
}

#[test]
fn a_folder_that_is_not_there_does_not_look_like_an_empty_platform() {
    let (place, empty) = (Place::new(), tempfile::tempdir().unwrap());
    place.promote("1.0.0", &[]).expect(0);
    let [absent, empty_registry] = ["absent", "registry"].map(|name| empty.path().join(name));
    fs::create_dir(&empty_registry).unwrap();
    let absent = absent.to_str().unwrap();
    let nothing = tempfile::tempdir().unwrap();
    for verb in [
        &["status"][..],
        &["history", "xx"],
        &["versions", "xx"],
        &["verify", "xx"],
        &["diff", "xx"],
        &["replay", "xx", "01935f00-5a5b-7c6d-8e9f-0123456789ab"],
        &["promote", "xx", "1.0.0", "--why", "a test"],
        &["rollback", "xx", "--why", "a test"],
        &["pin", "xx", "--why", "a test"],
        &["shadow", "xx", "1.1.0", "--why", "a test"],
        &["canary", "xx", "1.1.0", "--share", "5", "--why", "a test"],
        &["withdraw", "xx", "--why", "a test"],
    ] {
        for (option, name) in [("--data", absent), ("--registry", absent), ("--data", nothing.path().to_str().unwrap())]
        {
            if option == "--registry" && verb[0] == "replay" {
                continue;
            }
            let told = run(&[&["rules"], verb, &[option, name]].concat());
            assert_eq!(told.status, 2, "{verb:?} {option}: {}{}", told.out, told.err);
            assert!(told.err.contains(name), "{verb:?} {option}: {}", told.err);
        }
    }
    assert!(!Path::new(absent).exists(), "who reads leaves nothing behind");
    let told = run(&["token", "--data", absent]).expect(2);
    assert!(told.err.contains(absent) && told.out.is_empty() && !Path::new(absent).exists(), "{}", told.err);
    let told = place.rules(&["status", "zz"]).expect(1).err;
    assert!(told.contains("the registry has nothing of zz"), "{told}");
    // A host whose registry is elsewhere is told of with its data folder.
    let registry = empty_registry.to_str().unwrap();
    run(&["rules", "status", "--data", place.data(), "--registry", registry]).expect(0);
}

#[test]
fn a_version_is_verified_before_it_is_promoted() {
    let place = Place::new();
    let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let trust = place.0.path().join("trust");
    fs::write(&trust, format!("xx {} a team\n", keys.pk.to_base64())).unwrap();
    let trust = ["--trust", trust.to_str().unwrap()];
    let sign = |version: &str| {
        let folder = place.file(&format!("versions/{version}"));
        let manifest = fs::read(folder.join("manifest.json")).unwrap();
        let signature = minisign::sign(None, &keys.sk, &manifest[..], None, None).unwrap().into_string();
        fs::write(folder.join("manifest.json.minisig"), signature).unwrap();
    };
    for version in ["1.0.0", "1.2.0"] {
        sign(version);
    }
    let told = place.rules(&[&["verify", "xx"], &trust[..]].concat()).expect(1).out;
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("xx 1.0.0  good: its files are whole, signed with a trusted key, "), "{told}");
    assert!(lines[1].starts_with("xx 1.1.0  no: manifest.json.minisig is no minisign signature"), "{told}");
    assert!(lines[2].starts_with("xx 1.2.0  no: this is no WebAssembly component"), "{told}");
    let told = place.rules(&["verify", "xx", "1.0.0", "--json"]).expect(0).out;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["good"], &told[0]["signature"]), (&true.into(), &"unchecked".into()), "{told}");

    for (version, why) in [("1.1.0", "no minisign signature"), ("1.2.0", "no WebAssembly component")] {
        let change = ["promote", "xx", version, "--why", "a test"];
        let told = place.rules(&[&change, &trust[..]].concat()).expect(1).err;
        assert!(told.contains(why) && told.contains("Nothing is changed"), "{told}");
    }
    assert!(!place.file("channel.json").exists());
    place.promote("1.0.0", &trust).expect(0);
    let told = place.rules(&[&["shadow", "xx", "1.1.0", "--why", "a test"], &trust[..]].concat()).expect(1).err;
    assert!(told.contains("no minisign signature"), "{told}");
    cut_short(&place.file("versions/1.0.0/rules.wasm"));
    let told = place.rules(&["verify", "xx", "1.0.0"]).expect(1).out;
    assert!(told.contains("rules.wasm` in the registry cannot be read: the digest is"), "{told}");
    // The version and the country are those that the component itself names.
    place.publish("1.4.0", chaos());
    let told = place.rules(&["verify", "xx", "1.4.0"]).expect(1).out;
    assert!(told.contains("the version is `1.0.0` where the manifest says `1.4.0`"), "{told}");
}

#[test]
fn versions_and_history_are_listed_for_programs_and_for_people() {
    let place = Place::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        place.promote(version, &[]).expect(0);
    }
    let told = place.rules(&["versions", "xx"]).expect(0).out;
    let columns: Vec<Vec<&str>> = told.lines().map(|line| line.split('\t').collect()).collect();
    let first: Vec<_> = columns.iter().map(|cells| (cells[0], cells[2])).collect();
    assert_eq!(first, [("1.3.0", ""), ("1.2.0", "wanted"), ("1.1.0", "before"), ("1.0.0", "")]);
    let listed: Value = serde_json::from_str(&place.rules(&["versions", "xx", "--json"]).expect(0).out).unwrap();
    assert_eq!((&listed[1]["version"], &listed[1]["places"][0]), (&"1.2.0".into(), &"wanted".into()));

    let told = place.rules(&["history", "xx", "--limit", "2"]).expect(0).out;
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.starts_with("   3  ") && told.contains("  promote   1.2.0  by "), "{told}");
    let times: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert!(times.iter().all(|time| time.len() == "2026-11-24T15:00:00Z".len()), "{times:?}");
    let changes: Value =
        serde_json::from_str(&place.rules(&["history", "xx", "--limit", "1", "--json"]).expect(0).out).unwrap();
    assert_eq!(changes.as_array().unwrap().len(), 1);

    let told = at_terminal(&["rules", "history", "xx", "--limit", "1", "--data", place.data()], &[]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].contains("CHANGE  TIME") && lines[1].contains("promote  1.2.0"), "{told}");
}

/// Runs the program at a terminal. Returns what the terminal shows.
fn at_terminal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let script = "import pty, sys\nsys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let program = citas(arguments);
    let mut terminal = Command::new("python3");
    terminal.args(["-c", script]).arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    run_command(&mut terminal).out.replace('\r', "")
}

#[test]
fn colour_and_tables_are_for_terminals() {
    let place = Place::new();
    place.promote("1.0.0", &[]).expect(0);
    let status = ["rules", "status", "--data", place.data()];
    let shown = at_terminal(&status, &[]);
    assert!(shown.contains("\u{1b}[") && shown.contains("COUNTRY  VERDICT"), "{shown}");
    let shown = at_terminal(&status, &[("NO_COLOR", "1")]);
    assert!(!shown.contains('\u{1b}') && shown.starts_with("COUNTRY  VERDICT  WANTED"), "{shown}");
    let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["xx", "no", "host", "1.0.0"], "{shown}");
    let piped = run(&status).expect(0).out;
    assert!(piped.starts_with("xx: 1.0.0 to be in use since ") && !piped.contains('\u{1b}'), "{piped}");

    let cases = place.0.path().join("cases");
    fs::create_dir(&cases).unwrap();
    let case = r#"{ "name": "a case", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }"#;
    fs::write(cases.join("a.json"), case).unwrap();
    fs::write(cases.join("b.json"), case.replace("a case", "another")).unwrap();
    let file = place.0.path().join("xx.wasm");
    fs::write(&file, chaos()).unwrap();
    let test = ["rules", "test", file.to_str().unwrap(), "--cases", cases.to_str().unwrap()];
    let shown = at_terminal(&test, &[]);
    assert!(shown.contains("\u{1b}[1m\u{1b}[31mFAILED\u{1b}[0m  a case"), "{shown}");
    let told = run(&[&test[..], &["--only", "another"]].concat()).expect(1).out;
    assert!(told.starts_with("FAILED  another") && !told.contains("a case"), "{told}");
    let told = run(&[&test[..], &["--only", "a third"]].concat()).expect(1).err;
    assert!(told.contains("none of the 2 golden cases has `a third` in its name"), "{told}");
}

#[test]
fn a_terminal_waits_for_the_verdict_of_its_own_accord() {
    let (place, _process) = Place::serving();
    let promote = ["rules", "promote", "xx", "1.2.0", "--why", "a test", "--data", place.data()];
    let shown = at_terminal(&promote, &[("NO_COLOR", "1")]);
    assert!(shown.contains("refused: this is no WebAssembly component"), "{shown}");
    assert!(shown.contains("waiting for the verdict of the host … "), "{shown}");
}

#[test]
fn help_has_sentences_and_examples_and_a_shell_completes() {
    let told = run(&["rules", "promote", "--help"]).expect(0).out;
    assert!(
        told.contains("Examples:\n  citas rules promote pe 1.0.1 --why 'a holiday was decreed' --wait 30s"),
        "{told}"
    );
    assert!(told.contains("Country code, for example `pe`"), "{told}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).expect(0).out;
        assert!(script.contains("rollback") && script.contains("dry-run"), "{shell}");
        assert!(!script.contains(" judge"), "{shell} completes what is internal");
    }
    let place = Place::new();
    place.promote("1.0.0", &[]).expect(0);
    let told = run(&["--data", place.data(), "rules", "--json", "status"]).expect(0).out;
    assert!(serde_json::from_str::<Value>(&told).unwrap()[0]["channel"]["current"] == "1.0.0", "{told}");
}
