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
    run(&["rules", "new", "co", "--zone", "America/Bogota", "--countries", at]).expect(0);

    let folder = CountryFolder::open(&countries.join("co")).unwrap();
    let component = folder.build(&[]).unwrap();
    let rules = LoadedRules::load(engine(), &component, &Limits::default()).unwrap();
    assert_eq!((rules.country.as_str(), &rules.descriptor.zones[..]), ("co", &["America/Bogota".to_owned()][..]));
    let cases = cases::read(&folder.cases().unwrap()).unwrap();
    assert_eq!(cases.len(), 4);
    let failures: Vec<_> = cases::run(&rules, &cases).into_iter().filter_map(|outcome| outcome.failure).collect();
    assert!(failures.is_empty(), "{failures:?}");

    // An existing country stays as it is.
    let before = fs::read_to_string(countries.join("co/src/lib.rs")).unwrap();
    let manifest = fs::read_to_string(countries.parent().unwrap().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\"countries/co\""), "{manifest}");
    let again = run(&["rules", "new", "co", "--countries", at]).expect(1);
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert_eq!(fs::read_to_string(countries.join("co/src/lib.rs")).unwrap(), before);
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
fn a_country_that_cannot_begin_leaves_nothing() {
    let there = tempfile::tempdir().unwrap();
    let at = there.path().to_str().unwrap();
    let told = run(&["rules", "new", "co", "--countries", at]).expect(1);
    assert!(told.err.contains("has no kit/"), "{}", told.err);
    let told = run(&["rules", "new", "co", "--zone", "America/Macondo", "--countries", at]).expect(1);
    assert!(told.err.contains("there is no zone `America/Macondo`"), "{}", told.err);
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
}
