//! `citas rules` from outside: its output, its exit status, and its changes to the registry.

use std::path::Path;
use std::process::{Command, Output};

use citas::local::registry::FolderRegistry;
use citas_core::model::{Artifact, Channel, Limits, Manifest};
use citas_core::ports::Registry as _;
use jiff::Timestamp;
use serde_json::Value;

fn rules(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CITAS_")) {
        command.env_remove(name);
    }
    command.arg("rules").args(arguments).env("CITAS_DATA", data).current_dir(data).output().unwrap()
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn registry(data: &Path) -> FolderRegistry {
    FolderRegistry::new(&data.join("registry"))
}

/// Creates a data folder whose registry has these versions of Peru.
async fn published(versions: &[&str]) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for version in versions {
        let manifest = Manifest {
            country: "pe".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: citas_core::model::digest(b"rules"),
            cases_digest: citas_core::model::digest(b"[]"),
            contract: "2.0.0".into(),
            source: None,
            published_at: Timestamp::UNIX_EPOCH,
            limits: Limits::default(),
        };
        let artifact = Artifact { manifest, component: b"rules".into(), cases: "[]".into(), signature: None };
        registry(data.path()).publish(&artifact).await.unwrap();
    }
    data
}

async fn channel(data: &Path) -> Option<Channel> {
    registry(data).channel("pe".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn promoting_what_is_in_use_changes_nothing() {
    let data = published(&["1.0.0", "1.1.0"]).await;
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(rules(data.path(), &["promote", "pe", version, "--why", "a test"]).status.code(), Some(0));
    }
    let before = channel(data.path()).await;
    let again = rules(data.path(), &["promote", "pe", "1.1.0", "--why", "a test"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text_of(&again).contains("is in use already"), "{}", text_of(&again));
    assert_eq!(channel(data.path()).await, before, "a rollback still leads to 1.0.0");
}

#[tokio::test]
async fn a_second_rollback_does_not_bring_back_what_the_first_removed() {
    let data = published(&["1.0.0", "1.1.0"]).await;
    for version in ["1.0.0", "1.1.0"] {
        rules(data.path(), &["promote", "pe", version, "--why", "a test"]);
    }
    assert_eq!(rules(data.path(), &["rollback", "pe", "--why", "a test"]).status.code(), Some(0));
    let again = rules(data.path(), &["rollback", "pe", "--why", "a test"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text_of(&again).contains("citas rules promote"), "{}", text_of(&again));
    assert_eq!(channel(data.path()).await.unwrap().current.to_string(), "1.0.0");
}

#[tokio::test]
async fn the_status_says_why_the_host_refused_a_version() {
    let data = published(&["1.0.0"]).await;
    let promoted = text_of(&rules(data.path(), &["promote", "pe", "1.0.0", "--why", "a test"]));
    assert!(promoted.contains("is to be in use"), "{promoted}");
    let alone = text_of(&rules(data.path(), &["status"]));
    assert!(alone.contains("no host runs on"), "{alone}");

    let host = r#"{ "pe": { "inForce": null, "refused": {
        "what": "version 1.0.0", "why": "it imports a function", "at": "2026-11-24T15:00:00Z" } } }"#;
    std::fs::write(data.path().join("rules-status.json"), host).unwrap();
    let status = text_of(&rules(data.path(), &["status"]));
    assert!(status.contains("refused version 1.0.0") && status.contains("it imports a function"), "{status}");
    let json: Value = serde_json::from_slice(&rules(data.path(), &["status", "--json"]).stdout).unwrap();
    assert_eq!(json[0]["host"]["refused"]["why"], "it imports a function");
}

#[test]
fn what_is_not_there_is_misuse() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("some.wasm"), "").unwrap();
    for arguments in [
        &["check", "absent.wasm"][..],
        &["test", "absent"],
        &["build", "absent"],
        &["publish", "some.wasm", "--cases", "absent"],
        &["test", "some.wasm", "--cases", "absent", "--json"],
    ] {
        let output = rules(data.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text_of(&output));
        assert!(text_of(&output).contains("there is no absent"), "{}", text_of(&output));
    }
}

#[test]
fn a_version_without_golden_cases_is_neither_tested_nor_published() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("some.wasm"), "").unwrap();
    for verb in ["test", "publish"] {
        let output = rules(data.path(), &[verb, "some.wasm"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text_of(&output).contains("golden case") && text_of(&output).contains("--cases"),
            "{}",
            text_of(&output)
        );
    }
}

#[test]
fn a_no_is_in_json_for_whoever_asked_for_json() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("some.wasm"), "no component").unwrap();
    std::fs::create_dir(data.path().join("cases")).unwrap();
    let case = r#"{ "name": "a case", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }"#;
    std::fs::write(data.path().join("cases/a.json"), case).unwrap();
    for verb in ["check", "test", "publish"] {
        let output = rules(data.path(), &[verb, "some.wasm", "--cases", "cases", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["good"], false);
        assert!(!answer["why"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_history_says_who_did_what_and_why_the_last_first() {
    let data = published(&["1.0.0", "1.1.0"]).await;
    for version in ["1.0.0", "1.1.0"] {
        let done = rules(data.path(), &["promote", "pe", version, "--why", "a holiday", "--by", "ana"]);
        assert_eq!(done.status.code(), Some(0));
    }
    rules(data.path(), &["rollback", "pe", "--why", "it was another day", "--by", "luis"]);
    let history: Value = serde_json::from_slice(&rules(data.path(), &["history", "pe", "--json"]).stdout).unwrap();
    let told = |change: &Value| ["verb", "version", "by", "why"].map(|name| change[name].as_str().unwrap().to_owned());
    let told: Vec<_> = history.as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        told,
        [
            ["rollback", "1.0.0", "luis", "it was another day"],
            ["promote", "1.1.0", "ana", "a holiday"],
            ["promote", "1.0.0", "ana", "a holiday"],
        ]
    );
    let status = text_of(&rules(data.path(), &["status", "pe"]));
    assert!(status.contains("by luis: it was another day"), "{status}");
    let words = text_of(&rules(data.path(), &["history", "pe"]));
    assert!(words.lines().next().unwrap().contains("by luis: it was another day"), "{words}");
}

#[tokio::test]
async fn what_is_pinned_changes_once_it_is_released() {
    let data = published(&["1.0.0", "1.1.0"]).await;
    let code = |arguments: &[&str]| rules(data.path(), arguments).status.code();
    assert_eq!(code(&["pin", "pe", "--why", "too early"]), Some(1));
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(code(&["promote", "pe", version, "--why", "a test"]), Some(0));
    }
    assert_eq!(code(&["pin", "pe", "--why", "election day", "--by", "ana"]), Some(0));
    let pinned = channel(data.path()).await;
    for arguments in [&["promote", "pe", "1.0.0", "--why", "a test"][..], &["rollback", "pe", "--why", "a test"]] {
        let refused = rules(data.path(), arguments);
        assert_eq!(refused.status.code(), Some(1));
        let told = text_of(&refused);
        assert!(told.contains("by ana (election day)") && told.contains("pin pe --release"), "{told}");
        assert_eq!(channel(data.path()).await, pinned);
    }
    assert!(text_of(&rules(data.path(), &["status", "pe"])).contains("pinned"));
    assert_eq!(code(&["pin", "pe", "--release", "--why", "it is over"]), Some(0));
    assert_eq!(code(&["rollback", "pe", "--why", "a test"]), Some(0));
    assert_eq!(channel(data.path()).await.unwrap().current.to_string(), "1.0.0");
}

#[tokio::test]
async fn nothing_is_changed_without_a_reason() {
    let data = published(&["1.0.0"]).await;
    for why in [&[][..], &["--why", " "]] {
        let arguments = [&["promote", "pe", "1.0.0"], why].concat();
        assert_eq!(rules(data.path(), &arguments).status.code(), Some(2));
        assert_eq!(channel(data.path()).await, None);
    }
}
