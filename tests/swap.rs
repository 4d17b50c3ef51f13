//! New rules come into force while the program serves: no request fails because of it, and a refused version changes
//! nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use citas::local::registry::FolderRegistry;
use citas_core::ports::Registry as _;
use citas_core::release::{Followers, Following};
use serde_json::{Value, json};

use crate::registry_contract::{artifact, channel, with_cases};
use crate::support::components::{chaos, chaos_with, folder};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::{Client, with};
use crate::support::mail::Spool;
use crate::support::process::{Process, citas, publish_file, run, token};
use crate::support::requests::{day, pe, xx};
use crate::support::workspace::{Workspace, with_holiday};

/// Maximum time until a promoted version is in force.
const PROMOTED_WITHIN: Duration = Duration::from_secs(1);

/// Maximum time until a saved source is in force.
const SAVED_WITHIN: Duration = Duration::from_secs(10);

/// Does `work` while `clients` clients book without a pause. Every booking must succeed. Returns the result and the
/// bookings.
pub fn under_load<T>(
    clients: usize,
    book: impl Fn(usize) -> Value + Sync,
    work: impl FnOnce() -> T,
) -> (T, Vec<Value>) {
    /// Ends the load, also if the work panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (over, next, booked) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let done = std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let appointment = book(next.fetch_add(1, Ordering::Relaxed));
                    booked.lock().unwrap().push(appointment);
                }
            });
        }
        let _over = Over(&over);
        eventually("the load has begun", Duration::from_secs(10), || {
            (!booked.lock().unwrap().is_empty()).then_some(())
        });
        work()
    });
    (done, booked.into_inner().unwrap())
}

/// Waits until the country's rules are as wanted. Returns the time that it takes.
pub fn time_until(client: &Client, country: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Duration {
    let started = Instant::now();
    eventually("the rules in force", within, || {
        let told = client.get(&format!("/v1/{country}/rules")).expect(200).json();
        wanted(&told).then_some(())
    });
    started.elapsed()
}

#[test]
fn a_promoted_version_is_in_force_within_a_second_and_so_is_a_rollback() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = data.path().join("registry");
    let at = registry.to_str().unwrap();
    let [first, second] =
        [("first.wasm", chaos().to_vec()), ("second.wasm", chaos_with(&["later"]))].map(|(name, rules)| {
            let file = files.path().join(name);
            fs::write(&file, rules).unwrap();
            file
        });
    let cases = folder("xx").join("cases");
    publish_file(&registry, "xx", &first, "1.0.0", &cases);
    let cases = cases.to_str().unwrap();
    run(&["rules", "publish", second.to_str().unwrap(), "--cases", cases, "--registry", at]).expect(0);

    let folder = data.path().to_str().unwrap();
    let process =
        Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--rate-limit", "0", "--log", "warn"]);
    let ana = process.client(&token(data.path(), &[]));
    let platform = process.client(&token(data.path(), &["--group", "platform"]));
    let version = |wanted: &'static str| move |told: &Value| told["rules"]["version"] == wanted;
    let (took, booked) = under_load(
        2,
        |number| ana.booked("xx", &xx(number)),
        || {
            [(); 3].map(|()| {
                run(&["rules", "promote", "xx", "1.1.0", "--why", "a test", "--registry", at]).expect(0);
                let promoted = time_until(&platform, "xx", Duration::from_secs(10), version("1.1.0"));
                run(&["rules", "rollback", "xx", "--why", "a test", "--registry", at]).expect(0);
                [promoted, time_until(&platform, "xx", Duration::from_secs(10), version("1.0.0"))]
            })
        },
    );
    println!("promoted and rolled back in {took:?} under {} bookings", booked.len());
    // Other tests share the machine, so each change has three tries. `cargo bench` has the machine to itself.
    for which in [0, 1] {
        assert!(took.iter().any(|took| took[which] <= PROMOTED_WITHIN), "{took:?}");
    }
    // A single version decided each booking entirely.
    for appointment in &booked {
        let minutes = if appointment["rules"]["version"] == "1.1.0" { 45 } else { 30 };
        assert_eq!(appointment["minutes"], minutes, "{appointment}");
    }
    assert!(booked.iter().any(|appointment| appointment["minutes"] == 45));
}

/// Swaps through the registry, its follower and the checks, like a promotion. The test counts the versions left in
/// memory, because other tests share the process and its memory.
#[test]
fn a_thousand_swaps_under_load_fail_no_request_mix_no_versions_and_leave_nothing_behind() {
    const SWAPS: u64 = 1000;
    let (host, country) = (Host::of(&["xx"]), "xx".parse().unwrap());
    let registry = Arc::new(FolderRegistry::new(&host.data().join("swaps")));
    for (version, component) in [("1.0.0", chaos().to_vec()), ("1.1.0", chaos_with(&["later"]))] {
        host.block_on(registry.publish(&with_cases(artifact(country, version, &component), "[]"))).unwrap();
    }
    let ana = host.patient("ana");
    let mut follower = Followers::new(Following::new(registry.clone(), host.platform.swapper.clone(), None));
    let (loaded, booked) = under_load(
        2,
        |number| ana.booked("xx", &xx(number)),
        || {
            let mut loaded = Vec::new();
            let mut before = None;
            for sequence in 1..=SWAPS {
                let version = if sequence % 2 == 0 { "1.0.0" } else { "1.1.0" };
                let next = channel(version, None, sequence);
                host.block_on(registry.set_channel(country, before.as_ref(), &next)).unwrap();
                host.block_on(follower.look());
                let rules = host.platform.catalogue.rules(country).unwrap();
                assert_eq!(rules.id.version, version);
                loaded.push(Arc::downgrade(&rules));
                before = Some(next);
            }
            loaded
        },
    );
    for appointment in &booked {
        let minutes = if appointment["rules"]["version"] == "1.1.0" { 45 } else { 30 };
        assert_eq!(appointment["minutes"], minutes, "{appointment}");
    }
    let of = |version: &str| booked.iter().filter(|appointment| appointment["rules"]["version"] == version).count();
    println!("{SWAPS} swaps under {} bookings", booked.len());
    assert!(of("1.0.0") > 10 && of("1.1.0") > 10, "{} and {}", of("1.0.0"), of("1.1.0"));
    // Requests and the host's own upkeep finish with the version that they started with.
    eventually("all versions but the one in force are gone", Duration::from_secs(10), || {
        (loaded.iter().filter(|rules| rules.upgrade().is_some()).count() == 1).then_some(())
    });
}

#[test]
fn a_published_file_that_was_altered_is_refused_and_the_last_good_version_stays() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = data.path().join("registry");
    let at = registry.to_str().unwrap();
    for (name, rules) in [("1.0.0", chaos().to_vec()), ("1.1.0", chaos_with(&["later"]))] {
        let file = files.path().join(name);
        fs::write(&file, rules).unwrap();
        let (file, cases) = (file.to_str().unwrap(), folder("xx").join("cases"));
        run(&["rules", "publish", file, "--cases", cases.to_str().unwrap(), "--registry", at]).expect(0);
    }
    run(&["rules", "promote", "xx", "1.0.0", "--why", "a test", "--registry", at]).expect(0);
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()]);
    let platform = process.client(&token(data.path(), &["--group", "platform"]));

    let component = registry.join("xx/versions/1.1.0/rules.wasm");
    let good = fs::read(&component).unwrap();
    fs::write(&component, chaos()).unwrap();
    run(&["rules", "promote", "xx", "1.1.0", "--why", "a test", "--registry", at]).expect(0);
    let long = Duration::from_secs(10);
    time_until(&platform, "xx", long, |told| {
        told["refused"]["why"].as_str().is_some_and(|why| why.contains("the digest is"))
    });
    let told = platform.get("/v1/xx/rules").json();
    assert_eq!((&told["rules"]["version"], &told["swaps"]), (&json!("1.0.0"), &json!(1)), "{told}");
    platform.booked("xx", &xx(1));

    fs::write(&component, good).unwrap();
    run(&["rules", "rollback", "xx", "--why", "a test", "--registry", at]).expect(0);
    run(&["rules", "promote", "xx", "1.1.0", "--why", "a test", "--registry", at]).expect(0);
    time_until(&platform, "xx", long, |told| told["rules"]["version"] == "1.1.0" && told["refused"].is_null());
}

/// Returns a working day that no golden case of Peru uses.
fn day_of_no_case() -> String {
    let cases = citas::toolkit::cases_in(&folder("pe").join("cases")).unwrap();
    // The load books on the first one.
    (1..40).map(|number| day("pe", number)).find(|day| !cases.contains(day)).unwrap()
}

/// Starts `citas dev` in the copy, as a newcomer does.
fn dev(workspace: &Workspace, data: &Path) -> Process {
    let mut command =
        citas(&["dev", "--port", "0", "--rate-limit", "0", "--data", data.to_str().unwrap(), "--log", "warn"]);
    // This machine has everything that the countries need, or this test would not have been built.
    Process::spawn(command.current_dir(&workspace.path).env("CARGO_NET_OFFLINE", "true"))
}

/// Returns what `dev` prints for a newcomer: the token with the command that finds a free slot in Peru, and with the one that
/// books there.
fn pasted(process: &Process) -> [String; 2] {
    let export = process.line_with("export TOKEN=");
    process.line_with("What is free in pe:");
    let search = [process.line_with("curl "), process.line_with("Authorization: ")];
    process.line_with("Book in pe:");
    let booking = [process.line_with("curl -i "), process.line_with("Content-Type: application/json")];
    [search, booking].map(|lines| format!("{export}\n{} --silent", lines.join("\n")))
}

fn output_of(commands: &str) -> String {
    let output = Command::new("sh").args(["-c", commands]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn dev_books_with_its_own_line_and_takes_a_new_holiday_while_it_serves() {
    let (workspace, data) = (Workspace::copied(), tempfile::tempdir().unwrap());
    let process = dev(&workspace, data.path());
    let [search, booking] = pasted(&process);
    let free = output_of(&search);
    let answer = output_of(&booking);
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    let (_, booked) = answer.split_once("\r\n\r\n").unwrap();
    let booked: Value = serde_json::from_str(booked).unwrap();
    let starts = format!("\"startsAt\":{}", booked["startsAt"]);
    assert!(free.contains(&starts) && !output_of(&search).contains(&starts), "{booked} was free in {free}");
    let letters = Spool::in_data(data.path()).wait_for(1);
    assert!(letters[0].subject.starts_with("Su cita médica está reservada"), "{letters:?}");

    let ana = process.client(&token(data.path(), &[]));
    let platform = process.client(&token(data.path(), &["--group", "platform"]));
    let rules = || platform.get("/v1/pe/rules").expect(200).json();
    let before = rules();
    let holiday = day_of_no_case();
    let on_holiday = with(&pe(900_000), json!({ "doctor": "99999", "dni": "90000000", "date": holiday }));
    let booked = ana.booked("pe", &on_holiday);
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());

    let file = workspace.source("holidays.rs");
    let source = fs::read_to_string(&file).unwrap();
    let changed = with_holiday(&source, &holiday);
    let (took, load) = under_load(
        1,
        |number| {
            assert_eq!(ana.get(&place).expect(200).json(), booked);
            platform.booked("pe", &pe(number))
        },
        || {
            fs::write(&file, &changed).unwrap();
            time_until(&platform, "pe", Duration::from_mins(1), |told| told["rules"] != before["rules"])
        },
    );
    println!("a saved holiday was in force in {took:?}, under {} bookings", load.len());
    assert!(took <= SAVED_WITHIN, "{took:?}");
    let refused = ana.book("pe", &with(&on_holiday, json!({ "doctor": "99998", "dni": "90000001" })));
    assert_eq!(refused.violations(), [("/date".to_owned(), "pe.date.holiday".to_owned())]);
    assert!(refused.text.contains("Día de la prueba"), "{}", refused.text);
    let (before, after) = (rules()["swaps"].clone(), rules()["rules"].clone());

    fs::write(&file, changed.replace("pub const HOLIDAYS", "pub cnst HOLIDAYS")).unwrap();
    time_until(&platform, "pe", Duration::from_mins(1), |told| !told["refused"].is_null());
    let told = rules();
    let why = told["refused"]["why"].as_str().unwrap();
    assert!(why.contains("citas-pe does not compile") && why.contains("holidays.rs"), "{why}");
    assert_eq!((&told["rules"], &told["swaps"]), (&after, &before), "the last good version stays");
    ana.booked("pe", &pe(800_000));

    let case = workspace.path.join("countries/pe/cases/wrong.json");
    fs::write(&file, &source).unwrap();
    fs::write(&case, r#"{ "name": "no", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }"#)
        .unwrap();
    let cases_fail = |told: &Value| told["refused"]["why"].as_str().is_some_and(|why| why.contains("golden cases"));
    time_until(&platform, "pe", Duration::from_mins(1), cases_fail);
    assert_eq!(rules()["rules"], after, "what fails a golden case does not come into force");

    fs::remove_file(&case).unwrap();
    time_until(&platform, "pe", Duration::from_mins(1), |told| told["refused"].is_null());
    ana.booked("pe", &with(&on_holiday, json!({ "doctor": "99998", "dni": "90000001" })));
}
