//! The effects of loading a hostile version stay in the process that judges it. The version is refused with the limit
//! in the message, and the host and all other countries go on.

#[path = "chaos/hostile.rs"]
mod artefacts;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use citas::local::registry::FolderRegistry;
use citas::wasm::judge::{Budget, ChildJudge, NotAccepted};
use citas::wasm::{WasmEngine, census};
use citas_core::model::{Candidate, Channel, Limits, RulesPackage};
use citas_core::ports::{Engine as _, Registry as _};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::artefacts::{Hostile, all, endless_cases, hostile, module_of, with_module};
use crate::registry_contract::{artifact, channel, with_cases};
use crate::support::components::{chaos, chaos_with, child_admission, component, engine, folder, judge};
use crate::support::eventually::eventually;
use crate::support::http::Client;
use crate::support::memory_group::MemoryGroup;
use crate::support::process::{Process, citas, publish, publish_file, run, token};
use crate::support::requests::{pe, xx};
use crate::swap::time_until;

/// Maximum time to judge a version, on a machine that runs all other tests at the same time.
const JUDGED_WITHIN: Duration = Duration::from_mins(9);

/// Maximum memory of the host's process while hostile versions are judged, in bytes.
const MAX_HOST_MEMORY: u64 = 1 << 30;

/// Memory of a small machine, in bytes.
const SMALL_MACHINE: u64 = 2 << 30;

/// Maximum p99 time of Peru's bookings. A host on a machine of its own promises 100 ms; other tests share this machine.
/// Without limits a single artefact takes 14 s.
const P99: Duration = Duration::from_secs(1);

fn package(component: &[u8], cases: &str) -> RulesPackage {
    RulesPackage { component: component.to_vec(), limits: Limits::default(), cases: cases.into() }
}

fn judge_code(judge: &ChildJudge, package: &RulesPackage) -> Result<Vec<u8>, NotAccepted> {
    let judged = Runtime::new().unwrap().block_on(judge.judge_package(package, None, Timestamp::now()));
    judged.map(|judgement| judgement.code)
}

fn refusal(hostile: &Hostile) -> String {
    match judge_code(&judge(), &package(&hostile.component, &hostile.cases)) {
        Err(NotAccepted::Refused(refusal)) => refusal.to_string(),
        Err(unjudged) => panic!("{}: {unjudged}", hostile.name),
        Ok(_) => panic!("{} is accepted", hostile.name),
    }
}

#[test]
fn every_hostile_artefact_is_refused_in_words() {
    let heavy =
        hostile("schemas that take gigabytes", chaos_with(&["heavy-schema"]), &["compiling and trying", "schema"]);
    for hostile in all(chaos()).into_iter().chain([heavy]) {
        let started = Instant::now();
        let why = refusal(&hostile);
        println!("{}: {} bytes, {:?}: {why}", hostile.name, hostile.component.len(), started.elapsed());
        assert!(hostile.why.iter().any(|part| why.contains(part)), "{}: {why}", hostile.name);
    }
}

/// The limits of the children of this process that judge, by the system's names for them; none where there is no limit.
fn limits_of_judges() -> Vec<HashMap<String, Option<u64>>> {
    let read = |id: &str, file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let own = std::process::id().to_string();
    let is_judge = |id: &String| {
        let stat = read(id, "stat");
        let parent = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1));
        parent == Some(&own) && read(id, "cmdline").split('\0').nth(1) == Some("judge")
    };
    let limit = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        Some((name.trim().to_owned(), rest.split_whitespace().next()?.parse().ok()))
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(is_judge).map(|id| read(&id, "limits").lines().filter_map(limit).collect()).collect()
}

/// They hold before it reads the first byte of what it judges. That something else stops an artefact in the end is not enough:
/// without a limit of memory the machine may have none left by then.
#[test]
fn the_process_that_judges_has_limits_of_memory_time_and_files() {
    let endless = package(chaos(), &endless_cases(20_003));
    let budget = Budget::of(endless.component.len() as u64);
    let runtime = Runtime::new().unwrap();
    let judging = runtime.spawn(async move { judge().judge_package(&endless, None, Timestamp::now()).await.is_ok() });
    eventually("its limits are set", JUDGED_WITHIN, || {
        assert!(!judging.is_finished(), "it has ended, and had: {:?}", limits_of_judges());
        let has_limits = |limits: &HashMap<String, Option<u64>>| {
            let limit = |name: &str| limits.get(name).copied().flatten();
            limit("Max data size") == Some(budget.memory)
                && limit("Max address space").is_some_and(|space| space <= budget.memory + (1 << 30))
                && limit("Max cpu time") == Some(budget.cpu_seconds)
                && limit("Max core file size") == Some(0)
                && limit("Max open files").is_some_and(|files| files <= 32)
        };
        limits_of_judges().iter().any(has_limits).then_some(())
    });
    judging.abort();
}

#[test]
fn code_from_the_process_is_that_of_the_pooled_engine() {
    let package = package(chaos(), "[]");
    assert_eq!(judge_code(&judge(), &package).unwrap(), engine().compile(chaos()).unwrap());
    let portable = judge_code(&judge().portable(), &package).unwrap();
    assert_eq!(portable, WasmEngine::portable().unwrap().compile(chaos()).unwrap());
    assert!(engine().load_native(&portable, &Limits::default()).is_ok());
}

#[test]
fn a_program_that_fails_or_is_not_there_is_no_fault_of_the_component() {
    let package = package(chaos(), "[]");
    for program in ["/bin/false", "/bin/true"] {
        let failed = judge_code(&ChildJudge::new(Path::new(program)), &package).unwrap_err();
        assert!(matches!(failed, NotAccepted::Failed(_)), "{program}: {failed}");
    }
    let not_run = judge_code(&ChildJudge::new(Path::new("/nowhere/citas")), &package).unwrap_err();
    assert!(matches!(not_run, NotAccepted::Interrupted(_)), "{not_run}");
}

#[test]
fn what_good_components_consist_of_is_far_below_the_bounds() {
    for country in ["pe", "cl", "xx"] {
        println!("{country}: {:?}", census(component(country)).unwrap());
    }
}

/// A crash of the host leaves the attempt's file; a refusal and a success remove it.
#[test]
fn after_three_attempts_that_did_not_end_a_version_is_refused_until_their_file_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let package = Arc::new(package(chaos(), "[]"));
    let file = data.path().join("attempts").join(package.digest());
    let admit = || {
        let admission = child_admission(data.path());
        Runtime::new().unwrap().block_on(admission.admit(&package, Timestamp::now()))
    };
    fs::create_dir(data.path().join("attempts")).unwrap();
    fs::write(&file, "3").unwrap();
    let why = admit().unwrap_err().to_string();
    assert!(why.contains("3 attempts") && why.contains(file.to_str().unwrap()), "{why}");
    fs::write(&file, "2").unwrap();
    assert!(admit().is_ok());
    assert!(!file.exists());
}

/// A host with Peru in force and a registry to which strangers publish.
struct Place {
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { data: tempfile::tempdir().unwrap() };
        publish(&place.registry(), &["pe"]);
        place
    }

    fn registry(&self) -> std::path::PathBuf {
        self.data.path().join("registry")
    }

    fn serve(&self) -> Process {
        self.serve_within(None)
    }

    /// Starts the host, with no more memory than the group has if there is one.
    fn serve_within(&self, memory: Option<&MemoryGroup>) -> Process {
        let data = self.data.path().to_str().unwrap();
        let command = ["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--log", "warn", "--data", data];
        let mut command = citas(&command);
        if let Some(memory) = memory {
            command = memory.confine(&command);
        }
        Process::spawn(&mut command)
    }

    /// Puts a hostile version into use. `citas rules publish` would refuse it.
    fn promote(&self, country: &str, component: &[u8], cases: &str) {
        let country = country.parse().unwrap();
        let mut artifact = with_cases(artifact(country, "1.0.0", component), cases);
        artifact.manifest.limits = Limits::default();
        let registry = FolderRegistry::new(&self.registry());
        Runtime::new().unwrap().block_on(async {
            registry.publish(&artifact).await.unwrap();
            registry.set_channel(country, None, &channel("1.0.0", None, 1)).await.unwrap();
        });
    }

    fn platform(&self, process: &Process) -> Client {
        process.client(&token(self.data.path(), &["--group", "platform"]))
    }
}

/// Waits until a country's version is refused. Returns the reason.
fn refused(platform: &Client, country: &str) -> String {
    eventually("it is refused", JUDGED_WITHIN, || {
        // A host that gets no memory for long closes the connection.
        let told = platform.request("GET", &format!("/v1/{country}/rules")).try_send().ok()?;
        let told = (told.status == 200).then(|| told.json())?;
        assert_eq!(told["rules"], Value::Null, "{told}");
        told["refused"]["why"].as_str().map(str::to_owned)
    })
}

/// Does `work` while Peru books. Returns the result and the p99 time of the bookings.
fn p99_while<T>(staff: &Client, first: usize, work: impl FnOnce() -> T) -> (T, Duration) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let booking = scope.spawn(|| {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) || took.len() < 50 {
                let started = Instant::now();
                staff.booked("pe", &pe(first + took.len()));
                took.push(started.elapsed());
                std::thread::park_timeout(Duration::from_millis(20));
            }
            took.sort_unstable();
            took[(took.len() * 99).div_ceil(100) - 1]
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let p99 = booking.join().unwrap();
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), p99)
    })
}

fn peak_memory(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
fn a_host_survives_every_hostile_artefact_answers_peru_meanwhile_and_starts_again_with_all_of_them() {
    let place = Place::new();
    let memory = MemoryGroup::new(SMALL_MACHINE);
    let process = place.serve_within(memory.as_ref());
    let platform = place.platform(&process);
    let ((), quiet) = p99_while(&platform, 0, || ());
    let codes: Vec<String> = ('a'..='z').map(|letter| format!("z{letter}")).collect();
    let strangers: Vec<(String, Hostile)> = codes.into_iter().zip(all(chaos())).collect();
    let ((), busy) = p99_while(&platform, 100_000, || {
        for (country, hostile) in &strangers {
            place.promote(country, &hostile.component, &hostile.cases);
            let why = refused(&platform, country);
            assert!(hostile.why.iter().any(|part| why.contains(part)), "{}: {why}", hostile.name);
        }
    });
    println!("Peru's p99 {quiet:?} before, {busy:?} meanwhile; {} MiB", peak_memory(&process) >> 20);
    assert!(busy <= P99, "p99 {busy:?}; {quiet:?} before");
    assert!(peak_memory(&process) < MAX_HOST_MEMORY, "{} bytes", peak_memory(&process));
    drop(process);

    let started = Instant::now();
    let process = place.serve_within(memory.as_ref());
    println!("served again after {:?}", started.elapsed());
    let (platform, ana) = (place.platform(&process), process.client(&token(place.data.path(), &[])));
    ana.booked("pe", &pe(800_000));
    for (country, _) in &strangers {
        refused(&platform, country);
    }
    ana.booked("pe", &pe(800_001));
    assert!(peak_memory(&process) < MAX_HOST_MEMORY, "{} bytes", peak_memory(&process));
}

/// A version on trial decides nothing, but it is compiled and tried like every other version.
#[test]
fn a_hostile_version_on_trial_is_judged_in_a_process_and_the_version_in_use_goes_on() {
    let place = Place::new();
    place.promote("xx", chaos(), "[]");
    let xx = "xx".parse().unwrap();
    let mut hostile = with_cases(artifact(xx, "1.1.0", chaos()), &endless_cases(20_004));
    hostile.manifest.limits = Limits::default();
    let candidate = Candidate { version: hostile.manifest.version.clone(), trial: 2, canary: None };
    let on_trial = Channel { candidate: Some(candidate), ..channel("1.0.0", None, 2) };
    let registry = FolderRegistry::new(&place.registry());
    Runtime::new().unwrap().block_on(async {
        registry.publish(&hostile).await.unwrap();
        registry.set_channel(xx, Some(&channel("1.0.0", None, 1)), &on_trial).await.unwrap();
    });
    let process = place.serve();
    let (platform, ana) = (place.platform(&process), process.client(&token(place.data.path(), &[])));
    let why = eventually("it is refused", JUDGED_WITHIN, || {
        ana.booked("xx", &xx_request());
        let told = platform.get("/v1/xx/rules").expect(200).json();
        assert_eq!(told["rules"]["version"], "1.0.0", "{told}");
        told["refused"]["why"].as_str().map(str::to_owned)
    });
    assert!(why.contains("compiling and trying it takes more than"), "{why}");
}

/// Returns a request of the chaos country that conflicts with no other.
fn xx_request() -> Value {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    xx(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The limit of the process that judges exceeds the memory of this machine.
#[test]
fn a_machine_without_enough_memory_ends_the_process_that_judges_and_never_the_host() {
    let Some(memory) = MemoryGroup::new(192 << 20) else {
        println!("this machine permits no memory cgroup");
        return;
    };
    let place = Place::new();
    let mut process = place.serve_within(Some(&memory));
    let (platform, ana) = (place.platform(&process), process.client(&token(place.data.path(), &[])));
    let greedy = all(chaos()).into_iter().find(|hostile| hostile.name == "loops that change many locals").unwrap();
    place.promote("zz", &greedy.component, &greedy.cases);
    eventually("it is given up", JUDGED_WITHIN, || refused(&platform, "zz").contains("3 attempts").then_some(()));
    assert!(memory.killed() >= 3, "{}", memory.killed());
    ana.booked("pe", &pe(1));
    assert!(process.ended().is_none());
}

#[test]
fn a_country_is_promoted_and_rolled_back_while_others_are_judged() {
    let place = Place::new();
    let registry = place.registry();
    let (at, files) = (registry.to_str().unwrap(), tempfile::tempdir().unwrap());
    let cases = folder("xx").join("cases");
    let file = files.path().join("rules.wasm");
    fs::write(&file, chaos()).unwrap();
    publish_file(&registry, "xx", &file, "1.0.0", &cases);
    fs::write(&file, chaos_with(&["later"])).unwrap();
    let later = ["rules", "publish", file.to_str().unwrap(), "--cases", cases.to_str().unwrap(), "--registry", at];
    run(&later).expect(0);
    let process = place.serve();
    let platform = place.platform(&process);
    let version = |wanted: &'static str| move |told: &Value| told["rules"]["version"] == wanted;
    let change = |arguments: &[&str], wanted| {
        run(&[&["rules"], arguments, &["--why", "a test", "--registry", at]].concat()).expect(0);
        time_until(&platform, "xx", JUDGED_WITHIN, version(wanted));
    };
    // Both versions have been accepted before, so they need no turn.
    change(&["promote", "xx", "1.1.0"], "1.1.0");
    change(&["rollback", "xx"], "1.0.0");

    let slow = with_module(chaos(), &module_of(&vec![additions(200_000); 2]));
    for (country, cases) in [("za", 20_000), ("zb", 20_001), ("zc", 20_002)] {
        place.promote(country, &slow, &endless_cases(cases));
    }
    let attempts = || place.data.path().join("attempts").read_dir().map_or(0, Iterator::count);
    eventually("two are judged", JUDGED_WITHIN, || (attempts() == 2).then_some(()));
    change(&["promote", "xx", "1.1.0"], "1.1.0");
    change(&["rollback", "xx"], "1.0.0");
    assert!(attempts() > 0, "they were over before");
    process.client(&token(place.data.path(), &[])).booked("xx", &xx(1));
}

/// Returns a function of `count` additions: more work than its size suggests.
fn additions(count: usize) -> Vec<u8> {
    let addition = [0x20, 0, 0x42, 3, 0x7c, 0x21, 0];
    [&[1, 1, 0x7e][..], &addition.repeat(count), &[0x0b]].concat()
}
