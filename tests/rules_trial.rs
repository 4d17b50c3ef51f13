//! A version on trial beside the version in use: a shadow that decides nothing, a canary that decides for some
//! patients.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use citas::local::registry::FolderRegistry;
use citas_core::ports::Registry as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry_contract::{artifact, with_cases};
use crate::support::components::{chaos, chaos_with};
use crate::support::eventually::eventually;
use crate::support::http::{Client, with};
use crate::support::process::{Finished, Process, run, token};
use crate::support::requests::xx;
use crate::swap::under_load;

const WITHIN: Duration = Duration::from_secs(10);

/// `citas serve` with version 1.0.0 in use and another version published.
struct Trial {
    data: TempDir,
    process: Process,
}

impl Trial {
    /// Starts the host. Version 1.1.0 is the chaos country with these features.
    fn of(features: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let registry = FolderRegistry::new(&data.path().join("registry"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let later = chaos_with(&[&["later"], features].concat());
        for (version, component) in [("1.0.0", chaos()), ("1.1.0", &later)] {
            let artifact = with_cases(artifact("xx".parse().unwrap(), version, component), "[]");
            runtime.block_on(registry.publish(&artifact)).unwrap();
        }
        rules_in(&data, &["promote", "xx", "1.0.0", "--why", "a test"]).expect(0);
        let process = serve(&data);
        Self { data, process }
    }

    fn rules(&self, arguments: &[&str]) -> Finished {
        rules_in(&self.data, arguments)
    }

    fn client(&self, arguments: &[&str]) -> Client {
        self.process.client(&token(self.data.path(), arguments))
    }

    /// Puts 1.1.0 on trial and waits until the host has done so.
    fn begin(&self, arguments: &[&str]) {
        self.rules(&[arguments, &["--why", "a test"]].concat()).expect(0);
        self.until_on_trial(true);
    }

    fn until_on_trial(&self, on_trial: bool) {
        let platform = self.client(&["--group", "platform"]);
        eventually("the trial", WITHIN, || {
            let told = platform.get("/v1/xx/rules").expect(200).json();
            (told["candidate"].is_null() != on_trial).then_some(())
        });
    }

    /// Returns the findings once `compared` calls are compared.
    fn found(&self, compared: u64) -> Value {
        self.found_when(|found| found["compared"].as_u64().unwrap() >= compared)
    }

    /// Returns the canary's counts once it has made `decided` decisions.
    fn decided(&self, decided: usize) -> Value {
        let found = self.found_when(|found| found["canary"]["decided"].as_u64().unwrap() >= decided as u64);
        found["canary"].clone()
    }

    fn found_when(&self, enough: impl Fn(&Value) -> bool) -> Value {
        eventually("what is found", WITHIN, || {
            let told = self.rules(&["diff", "xx", "--json"]);
            let found = serde_json::from_str::<Value>(&told.out).unwrap()["found"].clone();
            enough(&found).then_some(found)
        })
    }

    fn history(&self) -> Vec<Value> {
        serde_json::from_str(&self.rules(&["history", "xx", "--json"]).expect(0).out).unwrap()
    }
}

fn serve(data: &TempDir) -> Process {
    let folder = data.path().to_str().unwrap();
    Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--rate-limit", "0", "--log", "warn"])
}

fn rules_in(data: &TempDir, arguments: &[&str]) -> Finished {
    run(&[&["rules"], arguments, &["--data", data.path().to_str().unwrap()]].concat())
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

fn places(found: &Value) -> Vec<(&str, u64)> {
    let places = found["places"].as_object().unwrap().iter();
    places.map(|(name, place)| (name.as_str(), place["count"].as_u64().unwrap())).collect()
}

#[test]
fn a_shadow_decides_nothing_and_is_compared_field_by_field() {
    let trial = Trial::of(&[]);
    let ana = trial.client(&[]);
    ana.booked("xx", &xx(0));
    trial.begin(&["shadow", "xx", "1.1.0"]);
    for number in 1..=3 {
        let booked = ana.booked("xx", &xx(number));
        assert_eq!((&booked["minutes"], &booked["rules"]["version"]), (&json!(30), &json!("1.0.0")));
    }
    // Both versions refuse it, for the same reason.
    ana.book("xx", &with(&xx(4), json!({ "time": "9:30" }))).expect(422);

    let found = trial.found(4);
    assert_eq!((&found["compared"], &found["differed"]), (&json!(4), &json!(3)), "{found}");
    assert_eq!(places(&found), [("book /slot/minutes", 3)]);
    let sample = &found["places"]["book /slot/minutes"]["sample"];
    assert_eq!((&sample["used"], &sample["candidate"]), (&json!(30), &json!(45)));
    assert_eq!(
        (&sample["role"], &sample["input"]["time"], &sample["input"]["email"]),
        (&json!("patient"), &json!("09:30"), &json!("…"))
    );

    let words = trial.rules(&["diff", "xx"]).expect(1).out;
    assert!(words.starts_with("xx 1.1.0, trial 2: 4 calls compared, 3 differ"), "{words}");
    assert!(words.contains("       3  book /slot/minutes"), "{words}");
    assert!(!words.contains("example.com"), "{words}");

    // The trial is over. Its findings stay, also after a restart of the host.
    trial.rules(&["withdraw", "xx", "--why", "seen enough"]).expect(0);
    trial.until_on_trial(false);
    ana.booked("xx", &xx(5));
    let Trial { data, process } = trial;
    drop(process);
    let process = serve(&data);
    let trial = Trial { data, process };
    assert_eq!(trial.found(4), found);
    // Another trial of the same version starts from zero.
    trial.begin(&["shadow", "xx", "1.1.0"]);
    assert_eq!(trial.found(0)["compared"], 0);
}

#[test]
fn a_shadow_that_refuses_or_gives_no_answer_is_told_apart_and_repeats_nothing_personal() {
    for (feature, place) in [("gossip", "book refused xx.time.malformed"), ("mute", "book unanswered trapped")] {
        let trial = Trial::of(&[feature]);
        trial.begin(&["shadow", "xx", "1.1.0"]);
        let ana = trial.client(&[]);
        ana.booked("xx", &xx(1));
        let found = trial.found(1);
        assert_eq!(places(&found), [(place, 1)], "{found}");
        assert!(!found.to_string().contains("patient1@"), "{found}");
        let sample = &found["places"][place]["sample"]["candidate"];
        let said = if feature == "mute" { sample } else { &sample[0]["message"] };
        assert_eq!(said, if feature == "mute" { "the call trapped: it panicked" } else { "… is no time of day." });
    }
}

#[test]
fn a_patient_always_meets_the_same_version_and_half_of_them_the_canary() {
    let trial = Trial::of(&[]);
    trial.begin(&["canary", "xx", "1.1.0", "--share", "50"]);
    let staff = trial.client(&["--group", "xx:staff"]);
    let mut met = Vec::new();
    for number in 0..40 {
        let first = staff.booked("xx", &xx(number));
        let path = format!("/v1/xx/appointments/{}", first["id"].as_str().unwrap());
        let moved = staff.post(&format!("{path}/reschedule"), &json!({ "date": "2026-12-03", "time": "11:30" }));
        let moved = moved.expect(200).json();
        let again = staff.booked("xx", &with(&xx(number), json!({ "date": "2026-12-02" })));
        let version = first["rules"]["version"].as_str().unwrap().to_owned();
        let minutes = if version == "1.1.0" { 45 } else { 30 };
        for appointment in [&first, &moved, &again] {
            assert_eq!((&appointment["rules"]["version"], &appointment["minutes"]), (&json!(version), &json!(minutes)));
        }
        // The version that decided shows the appointment. Otherwise its tag would name another version.
        assert_eq!(staff.get(&path).expect(200).header("etag"), "\"2\"");
        met.push(version);
    }
    let canaries = met.iter().filter(|version| *version == "1.1.0").count();
    assert!((8..=32).contains(&canaries), "{canaries} of 40");
    let listed = staff.get("/v1/xx/appointments?limit=100").expect(200).json();
    let places: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| (text(item, "startsAt"), text(item, "id"))).collect();
    assert_eq!(places.len(), 80);
    assert!(places.is_sorted(), "{places:?}");

    assert_eq!(trial.decided(canaries * 3), json!({ "decided": canaries * 3, "refused": 0, "unanswered": 0 }));
    let words = trial.rules(&["status", "xx"]).expect(0).out;
    assert!(words.contains("1.1.0 on trial as a canary for 50 % of the patients"), "{words}");

    // A larger share keeps the patients of the smaller one, and a promotion ends the trial.
    trial.begin(&["canary", "xx", "1.1.0", "--share", "60"]);
    eventually("the larger share", WITHIN, || {
        let told = trial.client(&["--group", "platform"]).get("/v1/xx/rules").json();
        (told["candidate"]["canary"]["share"] == 60).then_some(())
    });
    for number in (0..40).filter(|number| met[*number] == "1.1.0") {
        let again = staff.booked("xx", &with(&xx(number), json!({ "date": "2026-12-04" })));
        assert_eq!(again["rules"]["version"], "1.1.0");
    }
    trial.rules(&["promote", "xx", "1.1.0", "--why", "it did well"]).expect(0);
    trial.until_on_trial(false);
    assert_eq!(staff.booked("xx", &xx(100))["rules"]["version"], "1.1.0");
}

#[test]
fn whoever_meets_a_canary_meets_it_too_while_it_is_promoted() {
    let trial = Trial::of(&[]);
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100"]);
    let ana = trial.client(&[]);
    let promote = || {
        trial.rules(&["promote", "xx", "1.1.0", "--why", "it did well"]).expect(0);
        trial.until_on_trial(false);
    };
    let ((), booked) = under_load(2, |number| ana.booked("xx", &xx(number)), promote);
    assert!(booked.iter().all(|appointment| appointment["rules"]["version"] == "1.1.0"), "{booked:?}");
}

#[test]
fn a_canary_that_gives_no_answer_costs_nobody_anything_and_is_taken_back_by_itself() {
    let trial = Trial::of(&["mute"]);
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100", "--margin", "0"]);
    let booked = trial.client(&[]).booked("xx", &xx(1));
    assert_eq!(booked["rules"]["version"], "1.0.0", "whoever could be served is");
    trial.until_on_trial(false);
    let last = trial.history().remove(0);
    assert_eq!((&last["verb"], &last["version"], &last["by"]), (&json!("withdraw"), &json!("1.1.0"), &json!("citas")));
    assert!(last["why"].as_str().unwrap().starts_with("1 of its 1 decisions got no answer"), "{last}");
    assert_eq!(trial.decided(1), json!({ "decided": 1, "refused": 0, "unanswered": 1 }));
    let status = trial.rules(&["status", "xx"]).expect(0).out;
    assert!(status.contains(": a test") && !status.contains("by citas"), "who put 1.0.0 into use: {status}");
}

#[test]
fn a_canary_that_cannot_show_an_appointment_is_counted_and_it_is_shown_all_the_same() {
    let trial = Trial::of(&["blind"]);
    let ana = trial.client(&[]);
    let booked = ana.booked("xx", &xx(1));
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100", "--margin", "50"]);
    let path = format!("/v1/xx/appointments/{}", text(&booked, "id"));
    assert_eq!(ana.get(&path).expect(200).json()["doctor"], booked["doctor"]);
    assert_eq!(ana.get("/v1/xx/appointments").expect(200).json()["items"][0]["id"], booked["id"]);
    assert_eq!(trial.decided(2), json!({ "decided": 2, "refused": 0, "unanswered": 2 }));
}

#[test]
fn what_is_no_longer_on_trial_decides_no_more_whatever_cannot_be_had() {
    let trial = Trial::of(&[]);
    let registry = FolderRegistry::new(&trial.data.path().join("registry"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (version, component) in [("1.2.0", &b"no component"[..]), ("1.3.0", chaos())] {
        let artifact = with_cases(artifact("xx".parse().unwrap(), version, component), "[]");
        runtime.block_on(registry.publish(&artifact)).unwrap();
    }
    let ana = trial.client(&["--group", "platform"]);
    let version_of = |number| ana.booked("xx", &xx(number))["rules"]["version"].as_str().unwrap().to_owned();
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100"]);
    assert_eq!(version_of(0), "1.1.0");
    let refused = |what: &str| {
        eventually("it is refused", WITHIN, || {
            let told = ana.get("/v1/xx/rules").expect(200).json();
            told["refused"]["what"].as_str().is_some_and(|said| said == what).then_some(told)
        })
    };

    // A refused version replaces the canary, under the same terms or others.
    for share in ["100", "50"] {
        trial.rules(&["canary", "xx", "1.2.0", "--share", share, "--why", "a test"]).expect(0);
        assert_eq!(refused("the candidate 1.2.0")["candidate"], Value::Null);
        assert_eq!(version_of(share.len()), "1.0.0");
    }
    // A promotion ends a canary's trial, even if the promoted version is refused.
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100"]);
    assert_eq!(ana.get("/v1/xx/rules").json()["refused"], Value::Null, "what was refused is tried no more");
    std::fs::write(trial.data.path().join("registry/xx/versions/1.3.0/rules.wasm"), "damaged").unwrap();
    trial.rules(&["promote", "xx", "1.3.0", "--why", "a test"]).expect(0);
    assert_eq!(refused("version 1.3.0")["candidate"], Value::Null);
    assert_eq!(version_of(4), "1.0.0");
}

#[test]
fn a_canary_that_refuses_more_than_its_margin_is_taken_back_and_not_before() {
    let trial = Trial::of(&["gossip"]);
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100", "--margin", "3"]);
    let ana = trial.client(&[]);
    // Three refusals of at least a hundred decisions are within the margin.
    for number in 0..3 {
        let problem = ana.book("xx", &xx(number)).expect_problem(422, "rules-violated");
        let said = problem["violations"][0]["message"].as_str().unwrap();
        assert!(said.ends_with("is no time of day."), "in the words of the one that decided: {said}");
    }
    let before = trial.history();
    assert_eq!(before[0]["verb"], "canary");
    ana.book("xx", &xx(3)).expect(422);
    // This host stops the canary at once, however long the registry takes.
    ana.booked("xx", &xx(4));
    trial.until_on_trial(false);
    let last = trial.history().remove(0);
    assert_eq!(last["verb"], "withdraw");
    assert!(last["why"].as_str().unwrap().contains("4 of its 4 decisions were refused"), "{last}");
}

#[test]
fn what_both_refuse_is_no_fault_of_the_canary() {
    let trial = Trial::of(&[]);
    trial.begin(&["canary", "xx", "1.1.0", "--share", "100", "--margin", "0"]);
    let ana = trial.client(&[]);
    let malformed = with(&xx(1), json!({ "time": "9:30" }));
    let problem = ana.book("xx", &malformed).expect_problem(422, "rules-violated");
    assert_eq!(problem["violations"][0]["code"], "schema.pattern");
    assert_eq!(ana.booked("xx", &xx(2))["rules"]["version"], "1.1.0", "the canary goes on");
}

#[test]
fn what_cannot_be_tried_is_said_and_changes_nothing() {
    let trial = Trial::of(&[]);
    let why = ["--why", "a test"];
    let told = |status: i32, arguments: &[&str]| trial.rules(&[arguments, &why].concat()).expect(status).err;
    assert!(told(1, &["shadow", "xx", "1.0.0"]).contains("the version in use"));
    assert!(told(1, &["shadow", "xx", "3.0.0"]).contains("no version 3.0.0"));
    assert!(told(1, &["shadow", "yy", "1.0.0"]).contains("promote one first"));
    assert!(told(1, &["withdraw", "xx"]).contains("no version of xx is on trial"));
    assert!(told(2, &["canary", "xx", "1.1.0", "--share", "0"]).contains("1..=100"));
    assert!(told(2, &["canary", "xx", "1.1.0"]).contains("--share"));
    assert!(trial.rules(&["diff", "xx"]).expect(1).err.contains("was ever on trial"));
    told(0, &["pin", "xx"]);
    assert!(told(1, &["canary", "xx", "1.1.0", "--share", "5"]).contains("pinned"));
    told(0, &["shadow", "xx", "1.1.0"]);
    let words = trial.rules(&["shadow", "xx", "1.1.0", "--why", "again"]).expect(0).out;
    assert!(words.contains("nothing is changed"), "{words}");
    let verbs: BTreeSet<String> =
        trial.history().iter().map(|change| change["verb"].as_str().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["pin", "promote", "shadow"].map(str::to_owned).into());
}

#[test]
fn a_candidate_that_was_altered_is_not_tried_and_says_why() {
    let trial = Trial::of(&[]);
    let component: PathBuf = trial.data.path().join("registry/xx/versions/1.1.0/rules.wasm");
    std::fs::write(&component, chaos()).unwrap();
    trial.rules(&["shadow", "xx", "1.1.0", "--why", "a test"]).expect(0);
    let platform = trial.client(&["--group", "platform"]);
    let told = eventually("the refusal", WITHIN, || {
        let told = platform.get("/v1/xx/rules").expect(200).json();
        (!told["refused"].is_null()).then_some(told)
    });
    assert!(told["refused"]["why"].as_str().unwrap().contains("altered"), "{told}");
    assert_eq!((&told["candidate"], &told["rules"]["version"]), (&Value::Null, &json!("1.0.0")));
    eventually("the status file has it", WITHIN, || {
        let told = trial.rules(&["diff", "xx"]).expect(1).out;
        (told.contains("the host refused it") && told.contains("altered")).then_some(())
    });
}
