//! Reports for a country's team before it publishes: changes that clients will notice, reasons of failed golden cases,
//! and the cost of calls.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::components::{chaos, chaos_with, folder};
use crate::support::process::run;

/// A folder with some of the chaos country's versions and an empty registry.
struct Team(TempDir);

impl Team {
    fn new() -> Self {
        let team = Self(tempfile::tempdir().unwrap());
        fs::create_dir(team.0.path().join("registry")).unwrap();
        fs::write(team.0.path().join("1.0.0.wasm"), chaos()).unwrap();
        team
    }

    fn has(&self, version: &str, features: &[&str]) {
        fs::write(self.0.path().join(format!("{version}.wasm")), chaos_with(features)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn rules(&self, verb: &str, version: &str, status: i32) -> String {
        let (file, registry) = (self.path(&format!("{version}.wasm")), self.path("registry"));
        let told = run(&["rules", verb, &file, "--cases", &cases(), "--registry", &registry]).expect(status);
        format!("{}{}", told.out, told.err)
    }

    fn check_json(&self, version: &str, status: i32) -> Value {
        let (file, registry) = (self.path(&format!("{version}.wasm")), self.path("registry"));
        let told = run(&["rules", "check", &file, "--registry", &registry, "--json"]).expect(status);
        serde_json::from_str(&told.out).unwrap()
    }
}

fn cases() -> String {
    folder("xx").join("cases").to_str().unwrap().into()
}

/// Creates a folder with one case: the chaos country's own, changed to expect this plan.
fn expecting(plan: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut case: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&cases()).join("booking.json")).unwrap()).unwrap();
    case["expect"]["plan"] = plan.clone();
    fs::write(folder.path().join("case.json"), case.to_string()).unwrap();
    folder
}

fn on_cases(verb: &str, cases: &TempDir, more: &[&str]) -> Vec<String> {
    let component = cases.path().join("xx.wasm");
    fs::write(&component, chaos()).unwrap();
    let [component, cases] = [&component, cases.path()].map(|path| path.to_str().unwrap().to_owned());
    let options = ["rules", verb, &component, "--cases", &cases].map(str::to_owned);
    options.into_iter().chain(more.iter().map(ToString::to_string)).collect()
}

fn output_of(arguments: &[String], status: i32) -> String {
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(status).out
}

#[test]
fn a_breaking_change_without_a_new_major_version_is_refused() {
    let team = Team::new();
    team.has("1.1.0", &["insurance", "later"]);
    team.has("2.0.0", &["insurance", "major"]);
    assert!(team.rules("check", "1.1.0", 0).contains("no version is published"));
    team.rules("publish", "1.0.0", 0);

    let told = team.rules("check", "1.1.0", 1);
    assert!(told.starts_with("no: 1.1.0 would break clients of 1.0.0"), "{told}");
    for line in [
        "breaking  the request: `/mode` is gone; who sends it is refused",
        "noticed   the request: `/insurance` is new, and may be left out",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let told = team.rules("publish", "1.1.0", 1);
    assert!(
        told.contains("a breaking change needs a new major version: 2.0.0 or above: the request: `/mode`"),
        "{told}"
    );

    let told = team.rules("check", "2.0.0", 0);
    assert!(told.starts_with("good: xx 2.0.0") && told.contains("breaking  the request: `/mode`"), "{told}");
    team.rules("publish", "2.0.0", 0);
}

#[test]
fn what_is_compared_with_is_the_version_in_use_else_the_highest_published() {
    let team = Team::new();
    team.has("2.0.0", &["insurance", "major"]);
    team.rules("publish", "1.0.0", 0);
    team.rules("publish", "2.0.0", 0);
    let told = team.check_json("1.0.0", 0);
    assert_eq!(told["compared"]["with"], "1.0.0", "in its own line, as clients of 2.0.0 will not get it");
    assert_eq!(team.check_json("2.0.0", 0)["compared"]["with"], "2.0.0");
    run(&["rules", "promote", "xx", "1.0.0", "--why", "a test", "--registry", &team.path("registry")]).expect(0);
    let told = team.check_json("2.0.0", 0);
    assert_eq!(told["compared"]["with"], "1.0.0");
    assert_eq!(told["compared"]["changes"][0]["breaking"], true);
    let told = team.check_json("1.0.0", 0);
    assert_eq!(told["compared"]["changes"], json!([]), "itself is no change");
}

#[test]
fn versions_rise_within_their_line_and_a_check_says_what_publishing_will_say() {
    let team = Team::new();
    team.has("1.1.0", &["later"]);
    team.has("2.0.0", &["insurance", "major"]);
    let registry = team.path("registry");
    let promote = |version: &str| {
        run(&["rules", "promote", "xx", version, "--why", "a test", "--registry", &registry]).expect(0);
    };
    team.rules("publish", "1.0.0", 0);
    team.rules("publish", "2.0.0", 0);
    promote("1.0.0");
    promote("2.0.0");
    run(&["rules", "rollback", "xx", "--why", "a test", "--registry", &registry]).expect(0);
    assert!(team.rules("check", "1.1.0", 0).starts_with("good: "));
    team.rules("publish", "1.1.0", 0);
    let told = team.rules("check", "1.1.0", 0);
    assert!(told.contains("publish  1.1.0 is published already, with the same content"), "{told}");

    // What is below the highest of its line is refused by both, in the same words.
    promote("1.1.0");
    fs::remove_dir_all(format!("{registry}/xx/versions/1.0.0")).unwrap();
    for verb in ["check", "publish"] {
        let told = team.rules(verb, "1.0.0", 1);
        assert!(told.contains("version 1.0.0 of xx is not above 1.1.0, which is published"), "{verb}: {told}");
    }
}

#[test]
fn a_change_under_a_published_version_is_refused_by_a_check() {
    let team = Team::new();
    team.rules("publish", "1.0.0", 0);
    assert!(team.rules("check", "1.0.0", 0).starts_with("good: "));
    team.has("1.0.0", &["insurance"]);
    let told = run(&["rules", "check", &team.path("1.0.0.wasm"), "--registry", &team.path("registry")]).expect(1).out;
    let why = "no: version 1.0.0 of xx is published already with another content (component)";
    assert!(told.starts_with(why) && told.contains("raise the version"), "{told}");
}

#[test]
fn a_version_that_clients_cannot_tell_from_the_one_before_is_good() {
    let team = Team::new();
    team.has("1.1.0", &["later"]);
    team.rules("publish", "1.0.0", 0);
    let told = team.rules("check", "1.1.0", 0);
    assert!(told.contains("compared with 1.0.0: clients will notice nothing"), "{told}");
}

#[test]
fn a_check_names_the_contract_and_the_lowest_host_and_needs_no_registry() {
    let team = Team::new();
    let (file, data) = (team.path("1.0.0.wasm"), team.path("absent"));
    let told = run(&["rules", "check", &file, "--data", &data]).expect(0).out;
    assert!(told.contains("contract 1.0.0, which hosts from 0.1.0 on run"), "{told}");
    let judging = told.lines().find(|line| line.starts_with("judging  ")).unwrap();
    assert!(judging.contains(" of 10 s of processor time, ") && judging.contains(" MiB of memory"), "{judging}");
    assert!(!Path::new(&data).exists(), "who checks leaves nothing behind");
    let told = run(&["rules", "check", &file, "--registry", &data]).expect(2);
    assert!(told.err.contains("there is no "), "a registry that was named is to be read: {}", told.err);

    let broken = team.path("registry/xx");
    fs::create_dir(&broken).unwrap();
    fs::write(format!("{broken}/channel.json"), "{").unwrap();
    let told = run(&["rules", "check", &file, "--data", &team.path("")]).expect(0).out;
    assert!(told.contains("compared with nothing: ") && told.contains("channel.json"), "{told}");
    run(&["rules", "check", &file, "--registry", &team.path("registry")]).expect(1);
}

#[test]
fn a_failing_case_is_shown_as_a_diff_of_expected_and_actual() {
    let cases = expecting(&json!({ "phase": "booked", "doctor": "99999", "slot": { "minutes": 30 } }));
    let words = output_of(&on_cases("test", &cases, &[]), 1);
    assert!(words.contains("plan.doctor: expected \"99999\"; came \"45678\""), "{words}");
    for line in [
        "--- expected",
        "+++ actual",
        "-    \"doctor\": \"99999\",",
        "+    \"doctor\": \"45678\",",
        "     \"phase\": \"booked\",",
    ] {
        assert!(words.lines().any(|told| told.strip_prefix("        ") == Some(line)), "{line}: {words}");
    }
    assert!(!words.contains("claims"), "what a case leaves free is no difference: {words}");

    let json: Value = serde_json::from_str(&output_of(&on_cases("test", &cases, &["--json"]), 1)).unwrap();
    assert_eq!(json["failed"][0]["expected"]["plan"]["doctor"], "99999");
    assert_eq!(json["failed"][0]["actual"]["plan"]["doctor"], "45678");
}

#[test]
fn the_fuel_of_each_case_and_the_headroom_are_printed() {
    let cases = expecting(&json!({ "phase": "booked" }));
    let words = output_of(&on_cases("test", &cases, &[]), 0);
    let line = words.lines().find(|line| line.starts_with("ok      a plain request is booked (fuel ")).unwrap();
    let used: u64 = line.split_once("(fuel ").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
    assert!((1_000..1_000_000).contains(&used), "{line}");
    assert!(line.ends_with(" %)") && line.contains("headroom 9"), "{line}");
    let json: Value = serde_json::from_str(&output_of(&on_cases("test", &cases, &["--json"]), 0)).unwrap();
    assert_eq!((&json["fuel"][0]["used"], &json["fuelLimit"]), (&json!(used), &json!(10_000_000)), "{json}");
}

#[test]
fn a_country_whose_full_page_takes_more_calls_than_a_list_makes_is_told_so() {
    let words = output_of(&on_cases("test", &expecting(&json!({ "phase": "booked" })), &[]), 0);
    assert!(words.contains("one call presents 100 of a page of 100, which takes 1 calls"), "{words}");

    let heavy = expecting(&json!({ "phase": "booked" }));
    let file = heavy.path().join("case.json");
    let mut case: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    case["book"]["mode"] = "heavy".into();
    fs::write(&file, case.to_string()).unwrap();
    let registry = heavy.path().join("registry");
    fs::create_dir(&registry).unwrap();
    let there = ["--registry", registry.to_str().unwrap()];
    for (verb, more) in [("check", &there[..]), ("test", &[]), ("publish", &there)] {
        let arguments = on_cases(verb, &heavy, more);
        let refused = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(1);
        let words = format!("{}{}", refused.out, refused.err);
        assert!(words.contains("a list makes at most 10 and ends early: make `present` cheaper"), "{verb}: {words}");
    }
    assert_eq!(fs::read_dir(registry).unwrap().count(), 0, "it is not published");
}

#[test]
fn a_check_names_the_links_of_notices_and_what_stands_in_their_place() {
    let registry = tempfile::tempdir().unwrap();
    let there = ["--registry", registry.path().to_str().unwrap()];
    let sources = folder("ut2");
    let check = [&["rules", "check", sources.to_str().unwrap()], &there[..]].concat();
    let told = run(&check).expect(0).out;
    let line =
        "links    cancel, confirm; a host without --public-url writes `use the app, or call the hospital` instead\n";
    assert!(told.contains(line), "{told}");
    let told: Value = serde_json::from_str(&run(&[&check[..], &["--json"]].concat()).expect(0).out).unwrap();
    assert_eq!(told["links"], json!(["cancel", "confirm"]));
}

#[test]
fn a_bench_prints_what_a_call_takes() {
    let cases = expecting(&json!({ "phase": "booked" }));
    let words = output_of(&on_cases("bench", &cases, &[]), 0);
    assert!(words.contains(" bytes, loaded in ") && words.contains("µs"), "{words}");
    let json: Value = serde_json::from_str(&output_of(&on_cases("bench", &cases, &["--json"]), 0)).unwrap();
    assert_eq!(json["bytes"], chaos().len());
    let book = &json["calls"][0];
    assert_eq!(book["function"], "book");
    let number = |name: &str| book[name].as_f64().unwrap();
    assert!(number("calls") > 1.0 && number("medianSeconds") > 0.0, "{book}");
    assert!(number("p99Seconds") >= number("medianSeconds") && number("fuelMax") >= number("fuelMedian"), "{book}");
    assert!(number("memoryBytes") >= 65_536.0 && number("memoryBytes") <= number_of(&json["memoryLimit"]), "{book}");

    let none = tempfile::tempdir().unwrap();
    let refused = on_cases("bench", &none, &[]);
    let refused = run(&refused.iter().map(String::as_str).collect::<Vec<_>>()).expect(1);
    assert!(refused.err.contains("no golden case"), "{}", refused.err);
}

fn number_of(value: &Value) -> f64 {
    value.as_f64().unwrap()
}
