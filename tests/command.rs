//! The command line: its answers, the stream that they go to, and its exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citas::local::issuer::LocalIssuer;
use citas::system::SystemClock;
use citas_core::ports::TokenVerifier as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::components::{chaos, chaos_with, component, folder, version};
use crate::support::process::{citas, run};

fn file(folder: &TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn cases(country: &str) -> String {
    text(&folder(country).join("cases"))
}

#[test]
fn misuse_is_exit_status_2() {
    for wrong in [
        &[][..],
        &["book"],
        &["serve", "--port"],
        &["serve", "--listen", "nowhere"],
        &["token", "--scope", "everything"],
        &["rules"],
        &["rules", "promote", "peru", "1.0.0"],
        &["rules", "promote", "pe", "latest"],
        &["serve", "--audience", "citas"],
        &["serve", "--identity", "pe=dni:{/doc}"],
        &["serve", "--issuer", "http://127.0.0.1:1", "--identity", "pe=dni:{doc}"],
        &["token", "--identity", "dni:10117410"],
        &["token", "--identity", "peru=dni:10117410"],
        &["token", "--identity", "pe="],
        &["serve", "--smtp", "nonsense"],
        &["serve", "--log", "citas=loud"],
    ] {
        let told = run(wrong);
        assert_eq!(told.status, 2, "{wrong:?}: {}{}", told.out, told.err);
        assert!(told.out.is_empty(), "{wrong:?}: {}", told.out);
    }
    let unknown = citas(&["token"]).env("CITAS_ISUER", "http://127.0.0.1").output().unwrap();
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{said}");
    assert!(said.contains("CITAS_ISUER") && said.contains("CITAS_ISSUER"), "{said}");
}

#[test]
fn help_and_version_are_no_misuse() {
    assert!(run(&["--help"]).expect(0).out.contains("rules"));
    assert!(run(&["--version"]).expect(0).out.starts_with("citas "));
}

#[test]
fn a_token_is_all_that_is_printed() {
    let data = tempfile::tempdir().unwrap();
    let told = run(&["token", "--data", &text(data.path()), "--subject", "luis"]).expect(0);
    assert_eq!((told.out.lines().count(), told.out.trim().split('.').count()), (1, 3), "{}", told.out);
}

#[test]
fn a_token_has_the_identities_and_the_groups_that_are_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let data = text(data.path());
    let asked = ["--identity", "pe=dni:10117410", "--identity", "cl=run:1=2", "--group", "pe:staff:00006219"];
    let token = run(&[&["token", "--data", &data], &asked[..]].concat()).expect(0).out;
    let issuer = LocalIssuer::open(Path::new(&data), Arc::new(SystemClock)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let claims = runtime.block_on(issuer.verify(token.trim())).unwrap();
    let identities = claims.identities.iter().map(|(country, identity)| (country.as_str(), identity.as_str()));
    assert_eq!(identities.collect::<Vec<_>>(), [("cl", "run:1=2"), ("pe", "dni:10117410")]);
    assert_eq!(claims.groups, ["pe:staff:00006219".to_owned()].into());
}

#[test]
fn a_bad_mail_server_is_refused_without_its_password() {
    let told = run(&["serve", "--smtp", "smtp://ana:geheim@mail.example.com"]).expect(2);
    assert!(told.err.contains("?tls=required") && !told.err.contains("geheim"), "{}", told.err);
}

#[test]
fn whoever_closes_the_answer_unread_is_no_trouble() {
    let data = tempfile::tempdir().unwrap();
    let (read, written) = std::io::pipe().unwrap();
    drop(read);
    let told = citas(&["token", "--data", &text(data.path())]).stdout(written).output().unwrap();
    assert_eq!((told.status.code(), &*told.stderr), (Some(0), &b""[..]));
}

#[test]
fn a_component_that_would_be_taken_is_good() {
    let files = tempfile::tempdir().unwrap();
    let peru = file(&files, "pe.wasm", component("pe"));
    let told = run(&["rules", "check", &peru]).expect(0);
    assert!(told.out.starts_with(&format!("good: pe {}, ", version("pe"))), "{}", told.out);
    let told: Value = serde_json::from_str(&run(&["rules", "check", &peru, "--json"]).expect(0).out).unwrap();
    assert_eq!((&told["good"], &told["country"]), (&Value::Bool(true), &"pe".into()));
}

#[test]
fn a_component_that_would_be_refused_is_told_why_in_plain_words() {
    let files = tempfile::tempdir().unwrap();
    for (name, bytes, why) in [
        ("zone", chaos_with(&["zone"]), "there is no such zone in the IANA time zone database"),
        ("schema", chaos_with(&["schema"]), "`describe` gives request-schema"),
        ("import", chaos_with(&["import"]), "rules import no function"),
        ("slow", chaos_with(&["slow-describe"]), "used up its budget of fuel"),
        ("empty", Vec::new(), "this is no WebAssembly component"),
        ("text", b"hello".to_vec(), "this is no WebAssembly component"),
        ("native", b"\x7fELF\x02\x01\x01".to_vec(), "precompiled native code"),
        ("module", b"\0asm\x01\0\0\0".to_vec(), "it is a core module"),
        ("torn", component("pe")[..5_000].to_vec(), "this is no WebAssembly component"),
    ] {
        let path = file(&files, name, &bytes);
        let told = run(&["rules", "check", &path]).expect(1);
        assert!(told.out.starts_with("no: ") && told.out.contains(why), "{name}: {}{}", told.out, told.err);
        assert!(!told.out.contains("panicked") && !told.err.contains("panicked"), "{name}: {}", told.err);
        let told: Value = serde_json::from_str(&run(&["rules", "check", &path, "--json"]).expect(1).out).unwrap();
        assert_eq!(told["good"], false, "{name}");
    }
}

#[test]
fn golden_cases_pass_and_a_wrong_one_is_shown() {
    let files = tempfile::tempdir().unwrap();
    for country in ["pe", "cl", "co"] {
        let rules = file(&files, country, component(country));
        let told = run(&["rules", "test", &rules, "--cases", &cases(country)]).expect(0);
        assert!(told.out.contains(" cases passed, 0 failed"), "{}", told.out);
    }
    let wrong = tempfile::tempdir().unwrap();
    let mut case: Value = serde_json::from_slice(&fs::read(some_refusal("pe")).unwrap()).unwrap();
    case["expect"]["violations"][0]["code"] = "pe.never.so".into();
    file(&wrong, "wrong.json", case.to_string().as_bytes());
    let rules = file(&files, "pe.wasm", component("pe"));
    let told = run(&["rules", "test", &rules, "--cases", &text(wrong.path())]).expect(1);
    assert!(told.out.contains("FAILED") && told.out.contains("pe.never.so"), "{}", told.out);
    let told = run(&["rules", "publish", &rules, "--cases", &text(wrong.path()), "--registry", &text(wrong.path())]);
    assert!(told.expect(1).err.contains("golden cases"), "what fails its cases is not published");
}

/// Returns the path of a case that expects violations.
fn some_refusal(country: &str) -> PathBuf {
    let files = fs::read_dir(folder(country).join("cases")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|file| fs::read_to_string(file).unwrap().contains("\"violations\"")).unwrap()
}

#[test]
fn a_code_that_cases_lead_to_and_that_has_no_words_is_named() {
    let files = tempfile::tempdir().unwrap();
    let rules = files.path().join("xx.wasm");
    fs::write(&rules, chaos()).unwrap();
    let case = r#"{ "name": "a case", "now": "2026-11-24T15:00:00Z", "book": {},
        "expect": { "violations": [{ "path": "", "code": "xx.never.said" }, { "path": "", "code": "xx.time.malformed" },
                                   { "path": "/date", "code": "schema.required" }] } }"#;
    fs::create_dir(files.path().join("cases")).unwrap();
    fs::write(files.path().join("cases/one.json"), case).unwrap();
    let [rules, cases] = [rules, files.path().join("cases")].map(|path| path.to_str().unwrap().to_owned());
    let told = run(&["rules", "test", &rules, "--cases", &cases]).expect(1).out;
    let named: Vec<&str> = told.lines().filter(|line| line.starts_with("no text")).collect();
    assert_eq!(named.len(), 1, "{told}");
    assert!(named[0].contains("xx.never.said"), "{told}");
}

#[test]
fn versions_are_published_once_put_into_use_and_taken_back() {
    let (files, registry) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = text(registry.path());
    let rules = |arguments: &[&str]| run(&[&["rules"], arguments, &["--registry", &at]].concat());
    let first = file(&files, "first.wasm", chaos());
    let second = file(&files, "second.wasm", &chaos_with(&["later"]));

    assert_eq!(rules(&["status"]).expect(0).out, "nothing is in use; name a country to see what is published of it\n");
    let told = rules(&["promote", "xx", "1.0.0", "--why", "a test"]).expect(1);
    assert!(told.err.contains("there is no version 1.0.0 of xx"), "{}", told.err);
    let told = rules(&["publish", &first, "--cases", &cases("xx")]).expect(0);
    assert!(told.out.contains("citas rules promote xx 1.0.0"), "{}", told.out);
    let told = rules(&["publish", &first, "--cases", &cases("xx")]).expect(1);
    assert!(told.err.contains("a published version never changes"), "{}", told.err);
    let told = rules(&["rollback", "xx", "--why", "a test"]).expect(1);
    assert!(told.err.contains("no version of xx was in use before"), "{}", told.err);

    rules(&["promote", "xx", "1.0.0", "--why", "a test"]).expect(0);
    rules(&["publish", &second, "--source", "abc123", "--cases", &cases("xx")]).expect(0);
    assert!(rules(&["status", "xx"]).expect(0).out.starts_with("xx: 1.0.0 to be in use since "));
    rules(&["promote", "xx", "1.1.0", "--why", "a test"]).expect(0);
    let told = rules(&["status"]).expect(0).out;
    assert!(told.starts_with("xx: 1.1.0 to be in use since ") && told.contains("before it 1.0.0"), "{told}");
    assert!(told.contains("published: 1.0.0, 1.1.0"), "{told}");
    let told = rules(&["rollback", "xx", "--why", "a test"]).expect(0).out;
    assert!(told.starts_with("xx 1.0.0 is to be in use; "), "{told}");
    let told: Value = serde_json::from_str(&rules(&["status", "--json"]).expect(0).out).unwrap();
    assert_eq!((&told[0]["channel"]["current"], &told[0]["channel"]["sequence"]), (&"1.0.0".into(), &3.into()));
}

#[test]
fn a_data_folder_in_use_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let first = ["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()];
    let _running = crate::support::process::Process::start(&first);
    let told = run(&first).expect(1);
    assert!(told.err.contains("is in use by another citas"), "{}", told.err);
}
