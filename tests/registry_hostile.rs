//! Hostile files in the registry of a host that serves: one country's files are refused, the other countries go on, and
//! the process neither grows nor hangs. Also the permissions of a data folder's files, whichever verb creates them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use citas_core::model::{Channel, CountryCode, written};
use citas_core::ports::Registry as _;
use tempfile::TempDir;

use crate::registry_contract::{artifact, channel, with_cases};
use crate::support::appointments::pe;
use crate::support::components::{chaos_with, folder};
use crate::support::eventually::eventually;
use crate::support::hostile::{HOSTILE, Hostile, pipe, remove};
use crate::support::http::Client;
use crate::support::process::{Finished, Process, publish, run, run_command, token};
use crate::support::requests::xx;

/// Maximum time until a host takes up a change: it polls every 250 ms, and the tests share the machine.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);

/// Maximum time until a host without requests under way ends after a signal.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Maximum growth of a host while it refuses files and compiles a component, in bytes. A host that read `/dev/zero`
/// would grow by 200 MB a second.
const GROWS_AT_MOST: u64 = 400 << 20;

/// A host on a registry with the 1.0.0 of Peru and of the chaos country in use, and the chaos country's 1.1.0
/// published.
struct Served {
    data: TempDir,
    registry: TempDir,
    process: Process,
    sequence: u64,
}

impl Served {
    fn new() -> Self {
        let (data, registry) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        publish(registry.path(), &["xx", "pe"]);
        let country: CountryCode = "xx".parse().unwrap();
        let next = with_cases(artifact(country, "1.1.0", &chaos_with(&["later"])), "[]");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(citas::local::registry::FolderRegistry::new(registry.path()).publish(&next)).unwrap();
        let [at, rules] = [data.path(), registry.path()].map(|path| path.to_str().unwrap().to_owned());
        let serve = ["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data", &at, "--registry", &rules];
        let process = Process::start(&serve);
        Self { data, registry, process, sequence: 1_000 }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.registry.path().join(key)
    }

    /// Returns the next channel of a country, with this version in use.
    fn next_channel(&mut self, version: &str) -> Vec<u8> {
        self.sequence += 1;
        written::<Channel>(&channel(version, None, self.sequence))
    }

    fn use_version(&mut self, country: &str, version: &str) {
        let (new, place) =
            (self.path(&format!("{country}/.new-channel")), self.path(&format!("{country}/channel.json")));
        fs::write(&new, self.next_channel(version)).unwrap();
        if place.is_dir() {
            remove(&place);
        }
        fs::rename(new, place).unwrap();
    }

    fn platform(&self) -> Client {
        self.process.client(&token(self.data.path(), &["--group", "platform"]))
    }

    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

fn refused(platform: &Client, country: &str, parts: &[&str]) {
    let what = format!("{country} is refused with the words {parts:?}");
    eventually(&what, TAKEN_WITHIN, || {
        let told = platform.get(&format!("/v1/{country}/rules")).expect(200).json();
        let why = told["refused"]["why"].as_str()?;
        parts.iter().all(|part| why.contains(part)).then_some(())
    });
}

fn in_force(platform: &Client, version: &str) {
    eventually(&format!("{version} is in force"), TAKEN_WITHIN, || {
        let told = platform.get("/v1/xx/rules").expect(200).json();
        (told["rules"]["version"] == version && told["refused"].is_null()).then_some(())
    });
}

#[test]
fn one_countrys_files_stop_no_other_country_and_itself_only_while_they_are_there() {
    let mut served = Served::new();
    let platform = served.platform();
    in_force(&platform, "1.0.0");
    let ana = served.process.client(&token(served.data.path(), &[]));
    let before = served.peak_memory();
    let (channel, component) = ("xx/channel.json", "xx/versions/1.1.0/rules.wasm");
    let mut harms: Vec<(String, &Hostile)> = Vec::new();
    for hostile in &HOSTILE {
        harms.extend([channel, component].map(|key| (key.to_owned(), hostile)));
    }
    let others = ["manifest.json", "manifest.json.minisig", "cases.json"];
    harms.extend(others.map(|name| (format!("xx/versions/1.1.0/{name}"), &HOSTILE[0])));
    for (number, (key, Hostile { what, put, why })) in harms.into_iter().enumerate() {
        let place = served.path(&key);
        let whole = fs::read(&place).unwrap();
        remove(&place);
        put(&place);
        if key != channel {
            served.use_version("xx", "1.1.0");
        }
        refused(&platform, "xx", &[&format!("`{key}`"), why]);
        let absent = format!("9.9.{number}");
        served.use_version("pe", &absent);
        refused(&platform, "pe", &[&absent]);
        assert_eq!(platform.get("/v1/xx/rules").expect(200).json()["rules"]["version"], "1.0.0", "{what} as {key}");
        ana.booked("xx", &xx(number));

        remove(&place);
        fs::write(&place, whole).unwrap();
        served.use_version("xx", "1.1.0");
        in_force(&platform, "1.1.0");
        served.use_version("xx", "1.0.0");
        in_force(&platform, "1.0.0");
    }
    let grown = served.peak_memory().saturating_sub(before);
    assert!(grown < GROWS_AT_MOST, "it has grown by {grown} bytes");

    for name in ["rules.wasm", "manifest.json", "cases.json"] {
        let place = served.path(&format!("xx/versions/1.1.0/{name}"));
        remove(&place);
        pipe(&place);
    }
    served.use_version("xx", "1.1.0");
    refused(&platform, "xx", &["it is a pipe"]);
    let id = served.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    eventually("the process ends", ENDS_WITHIN, || served.process.ended());
}

#[test]
fn a_channel_whose_sequence_is_the_largest_changes_no_more_and_says_so() {
    let registry = tempfile::tempdir().unwrap();
    publish(registry.path(), &["xx"]);
    let place = registry.path().join("xx/channel.json");
    let on_trial = citas_core::model::Candidate { version: "1.0.1".parse().unwrap(), trial: u64::MAX, canary: None };
    let last = Channel { candidate: Some(on_trial), ..channel("1.0.0", Some("0.9.0"), u64::MAX) };
    fs::write(&place, written(&last)).unwrap();
    let at = registry.path().to_str().unwrap();
    for verb in [&["pin"][..], &["rollback"], &["withdraw"]] {
        let told = run(&[&["rules"], verb, &["xx", "--why", "a test", "--registry", at]].concat()).expect(1);
        assert!(told.err.contains("18446744073709551615 and cannot rise any further"), "{verb:?}: {}", told.err);
    }
    assert_eq!(fs::read(&place).unwrap(), written(&last));
}

#[test]
fn a_reason_that_is_too_long_is_misuse() {
    let registry = tempfile::tempdir().unwrap();
    publish(registry.path(), &["xx"]);
    let (why, at) = ("x".repeat(2_001), registry.path().to_str().unwrap());
    let told = run(&["rules", "pin", "xx", "--why", &why, "--registry", at]).expect(2);
    assert!(told.err.contains("--why has 2001 bytes; it may have 2000"), "{}", told.err);
}

#[test]
fn files_that_a_command_names_are_regular_ones_of_a_size() {
    let here = tempfile::tempdir().unwrap();
    let at = |name: &str| here.path().join(name).to_str().unwrap().to_owned();
    pipe(Path::new(&at("pipe")));
    fs::File::create(at("large")).unwrap().set_len(100 << 30).unwrap();
    let (cases, xx) = (folder("xx").join("cases").to_str().unwrap().to_owned(), at("xx.wasm"));
    fs::write(&xx, crate::support::components::chaos()).unwrap();
    let registry = at("registry");
    for file in [at("pipe"), at("large"), "/dev/zero".to_owned()] {
        let commands: [&[&str]; 5] = [
            &["rules", "check", &file],
            &["rules", "test", &xx, "--cases", &cases, "--limits", &file],
            &["rules", "publish", &xx, "--cases", &cases, "--registry", &registry, "--key", &file],
            &["serve", "--listen", "127.0.0.1:0", "--data", &at("data"), "--trust", &file],
            &["token", "--data", &at("keys")],
        ];
        fs::create_dir_all(at("keys")).unwrap();
        let _ = fs::remove_file(at("keys/issuer.pem"));
        std::os::unix::fs::symlink(&file, at("keys/issuer.pem")).unwrap();
        for command in commands {
            let told = within_a_minute(command).expect(1);
            let is_refused = told.err.contains("not a regular file") || told.err.contains("it is larger than");
            assert!(is_refused, "{command:?}: {}", told.err);
        }
    }
}

/// Runs a command that is killed after a minute.
fn within_a_minute(arguments: &[&str]) -> Finished {
    let mut command = Command::new("timeout");
    run_command(command.args(["60", env!("CARGO_BIN_EXE_citas")]).args(arguments))
}

/// Returns a command that runs with a umask of 022.
fn with_open_umask(arguments: &[&str]) -> Command {
    let mut plain = Command::new("sh");
    plain.args(["-c", "umask 022; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_citas")]).args(arguments);
    plain
}

/// Lists the paths below a folder that others than the owner can access, except the registry's own files.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut open = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.ends_with("data/registry") {
            continue;
        }
        let found = fs::symlink_metadata(&path).unwrap();
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            open.push(format!("{} {mode:o}", path.display()));
        }
        if found.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    open
}

/// Publishes, serves and books in a data folder that the verb `first` uses first.
#[track_caller]
fn used_after(first: &[&str]) -> TempDir {
    let here = tempfile::tempdir().unwrap();
    let (data, xx_wasm) = (here.path().join("data"), here.path().join("xx.wasm"));
    fs::write(&xx_wasm, crate::support::components::chaos()).unwrap();
    let cases = folder("xx").join("cases");
    let [at, xx_wasm, cases] = [&data, &xx_wasm, &cases].map(|path| path.to_str().unwrap());
    let publishing = ["rules", "publish", xx_wasm, "--cases", cases, "--data", at];
    let first = if first == ["rules", "publish"] { publishing.to_vec() } else { [first, &["--data", at]].concat() };
    if first[0] == "serve" {
        Process::spawn(&mut with_open_umask(&first)).kill();
    } else {
        // A verb without anything to read fails with a message.
        let _ = run_command(&mut with_open_umask(&first));
    }
    if data.exists() {
        assert_eq!(open_to_others(&data), [""; 0], "after {first:?}");
    }
    if first != publishing {
        run_command(&mut with_open_umask(&publishing)).expect(0);
    }
    run_command(&mut with_open_umask(&["rules", "promote", "xx", "1.0.0", "--why", "a test", "--data", at])).expect(0);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data", at];
    let process = Process::spawn(&mut with_open_umask(&serve));
    process.client(&token(&data, &[])).booked("xx", &xx(1));
    for made in ["xx.db-wal", "xx.db-shm", "issuer.pem", "mail", "last-good/xx/channel.json", "rules-status.json"] {
        eventually(made, TAKEN_WITHIN, || data.join(made).exists().then_some(()));
    }
    assert_eq!(open_to_others(&data), [""; 0], "after {first:?} and all the rest");
    here
}

#[test]
fn a_data_folder_is_its_owners_alone_whichever_verb_comes_first() {
    for first in [
        &["rules", "publish"][..],
        &["token"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["rules", "status"],
        &["rules", "history", "xx"],
        &["rules", "diff", "xx"],
        &["rules", "promote", "xx", "1.0.0", "--why", "a test"],
    ] {
        let here = used_after(first);
        let registry = here.path().join("data/registry/xx/versions/1.0.0/rules.wasm");
        assert_eq!(fs::metadata(registry).unwrap().permissions().mode() & 0o777, 0o644, "the registry is shared");
    }
}

#[test]
fn a_registry_elsewhere_has_the_modes_of_the_umask_and_an_open_data_folder_is_noticed() {
    let here = tempfile::tempdir().unwrap();
    let (data, registry) = (here.path().join("data"), here.path().join("shared/registry"));
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let xx_wasm = here.path().join("xx.wasm");
    fs::write(&xx_wasm, crate::support::components::chaos()).unwrap();
    let cases = folder("xx").join("cases");
    let [at, shared, xx_wasm, cases] = [&data, &registry, &xx_wasm, &cases].map(|path| path.to_str().unwrap());
    let publishing = ["rules", "publish", xx_wasm, "--cases", cases, "--data", at, "--registry", shared];
    run_command(&mut with_open_umask(&publishing)).expect(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for open in ["", "xx", "xx/versions", "xx/versions/1.0.0"] {
        assert_eq!(mode(&registry.join(open)), 0o755, "{open}");
    }
    assert_eq!(mode(&registry.join("xx/versions/1.0.0/rules.wasm")), 0o644);

    let serve = ["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data", at, "--registry", shared];
    let process = Process::spawn(&mut with_open_umask(&serve));
    eventually("the open folder is said", TAKEN_WITHIN, || process.log().contains("chmod 700").then_some(()));
    assert_eq!(mode(&data), 0o755, "whoever opened it may have meant to");
    assert_eq!(mode(&data.join("lock")), 0o600);
}

/// The file is named `pe`, so it counts as a country: the error is that country's.
#[test]
fn a_file_in_the_place_of_a_country_is_that_countrys_own_trouble() {
    let registry = tempfile::tempdir().unwrap();
    publish(registry.path(), &["xx"]);
    fs::write(registry.path().join(pe().as_str()), "no folder").unwrap();
    let at = registry.path().to_str().unwrap();
    let told = run(&["rules", "status", "xx", "--registry", at]).expect(0);
    assert!(told.out.contains("xx: 1.0.0 to be in use"), "{}", told.out);
    let told = run(&["rules", "status", "pe", "--registry", at]).expect(1);
    assert!(told.err.contains("`pe/channel.json` in the registry cannot be read"), "{}", told.err);
    let told = run(&["rules", "status", "--registry", at]).expect(1);
    assert!(told.out.contains("pe: `pe/channel.json` in the registry cannot be read"), "{}", told.out);
    assert!(told.out.contains("xx: 1.0.0 to be in use"), "{}", told.out);
}
