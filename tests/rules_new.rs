//! A country from `citas rules new` builds, passes its own golden cases and books, without a change.

use std::fs;

use citas::toolkit::CountryFolder;
use citas_core::model::Limits;
use citas_core::rules::{LoadedRules, cases};

use crate::support::components::engine;
use crate::support::process::run;
use crate::support::workspace::Workspace;

#[test]
fn a_new_country_builds_passes_its_cases_and_books() {
    let workspace = Workspace::copied();
    let countries = workspace.path.join("countries");
    let at = countries.to_str().unwrap();
    run(&["rules", "new", "ec", "--zone", "America/Guayaquil", "--countries", at]).expect(0);

    let folder = CountryFolder::open(&countries.join("ec")).unwrap();
    let component = folder.build(&[]).unwrap();
    let rules = LoadedRules::load(engine(), &component, &Limits::default()).unwrap();
    assert_eq!((rules.country.as_str(), &rules.descriptor.zones[..]), ("ec", &["America/Guayaquil".to_owned()][..]));
    let cases = cases::read(&folder.cases().unwrap()).unwrap();
    assert_eq!(cases.len(), 8);
    let failures: Vec<_> = cases::run(&rules, &cases).into_iter().filter_map(|outcome| outcome.failure).collect();
    assert!(failures.is_empty(), "{failures:?}");

    // An existing country stays as it is.
    let before = fs::read_to_string(countries.join("ec/src/lib.rs")).unwrap();
    let manifest = fs::read_to_string(countries.parent().unwrap().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\"countries/ec\""), "{manifest}");
    let again = run(&["rules", "new", "ec", "--countries", at]).expect(1);
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert_eq!(fs::read_to_string(countries.join("ec/src/lib.rs")).unwrap(), before);
    assert_eq!(fs::read_to_string(countries.parent().unwrap().join("Cargo.toml")).unwrap(), manifest);
}

#[test]
fn where_the_workspace_cannot_list_it_nothing_is_left() {
    let there = tempfile::tempdir().unwrap();
    let countries = there.path().join("countries");
    fs::create_dir_all(countries.join("kit")).unwrap();
    fs::write(countries.join("kit/Cargo.toml"), "").unwrap();
    fs::write(there.path().join("Cargo.toml"), "[package]\n").unwrap();
    let told = run(&["rules", "new", "co", "--countries", countries.to_str().unwrap()]).expect(1);
    assert!(told.err.contains("no list `members`"), "{}", told.err);
    assert!(!countries.join("co").exists());
}

#[test]
fn a_country_in_javascript_or_python_needs_no_workspace_to_begin() {
    for (language, page) in [("js", "src/rules.js"), ("python", "rules.py")] {
        let there = tempfile::tempdir().unwrap();
        let countries = there.path().join("countries");
        run(&["rules", "new", "co", "--lang", language, "--countries", countries.to_str().unwrap()]).expect(0);
        assert!(countries.join("co").join(page).is_file());
        let ignored = fs::read_to_string(countries.join("co/.gitignore")).unwrap();
        assert!(ignored.lines().any(|line| line == "target/"), "what a build installs is no source: {ignored}");
    }
}

#[test]
fn what_is_wrong_in_a_folder_is_told_with_its_place() {
    let there = tempfile::tempdir().unwrap();
    run(&["rules", "new", "co", "--lang", "js", "--countries", there.path().to_str().unwrap()]).expect(0);
    let folder = there.path().join("co");
    for (manifest, told) in [
        ("country = \"co\"\nlanguage = \"ts\"", ""),
        (
            "country = \"co\"\nlanguage = \"perl\"",
            "unknown variant `perl`, expected one of `rust`, `js`, `ts`, `python`",
        ),
        ("country = \"co\"\nlanguage = \"js\"\ncases = []", "unknown field `cases`, expected one of `country`"),
        ("language = \"js\"", "missing field `country`"),
        ("country = \"co\"\nlanguage = \"js\"\n[limits]\nfuell = 3", "unknown field `fuell`"),
        (
            "country = \"co\"\nlanguage = \"js\"\ncontract = \"3.0.0\"",
            "unknown variant `3.0.0`, expected `1.0.0` or `2.0.0`",
        ),
        (
            "country = \"co\"\nlanguage = \"rust\"\ncontract = \"2.0.0\"",
            "the `contract` of a country in Rust is that of its kit",
        ),
    ] {
        fs::write(folder.join("rules.toml"), manifest).unwrap();
        let said = CountryFolder::open(&folder).err().map_or_else(String::new, |error| error.to_string());
        assert!(said.contains(told) && said.is_empty() == told.is_empty(), "expected `{told}`; came `{said}`");
    }
    fs::write(folder.join("rules.toml"), "country = \"co\"\nlanguage = \"js\"").unwrap();
    let country = CountryFolder::open(&folder).unwrap();
    for (case, told) in [
        ("{ \"name\": \"x\",\n \"bok\": {} }", "a.json:2: unknown field `bok`, expected one of `name`"),
        (
            "{ \"name\": \"x\", \"now\": \"2026-11-24T15:00:00Z\", \"book\": {},\n \"expect\": { \"paln\": {} } }",
            "a.json:2: unknown field `paln`, expected one of `violations`",
        ),
        (
            "{ \"name\": \"x\", \"now\": \"2026-11-24T15:00:00Z\", \"book\": {}, \"expect\": {} }",
            "a.json:1: a case with `book` expects plan or violations",
        ),
        ("[]", "a.json:1: a file has one case, a JSON object"),
    ] {
        fs::write(folder.join("cases/a.json"), case).unwrap();
        let said = country.cases().unwrap_err().to_string();
        assert!(said.contains(told), "expected `{told}`; came `{said}`");
    }
}

#[test]
fn a_country_that_cannot_begin_leaves_nothing() {
    let there = tempfile::tempdir().unwrap();
    let at = there.path().to_str().unwrap();
    let told = run(&["rules", "new", "co", "--countries", at]).expect(1);
    assert!(told.err.contains("has no kit/: a country in Rust begins in a clone of Citas"), "{}", told.err);
    let told = run(&["rules", "new", "co", "--zone", "America/Macondo", "--countries", at]).expect(1);
    assert!(told.err.contains("there is no zone `America/Macondo`"), "{}", told.err);
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
}
