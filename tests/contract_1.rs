//! A country on the bindings of contract 1.0.0 alone, in Rust, JavaScript and Python. Its components stand for those that
//! teams built before contract 2.0.0.

use std::fs;
use std::path::PathBuf;

use citas::toolkit::CountryFolder;
use citas_core::model::Limits;
use citas_core::rules::{LoadedRules, cases};
use serde_json::json;

use crate::support::components::{component, engine, folder};
use crate::support::host::Host;
use crate::support::languages::{build, countries, with_node};
use crate::support::process::{citas, run_command};
use crate::support::requests::ut;

/// Copies the country in JavaScript or Python to a temporary folder, where a test may change it.
fn copied(language: &str) -> (tempfile::TempDir, PathBuf) {
    let (there, from) = (countries(), folder("ut"));
    let to = there.path().join("ut").join(language);
    // Python reads only files of the country's folder.
    let schemas = if language == "python" { to.join("schema") } else { there.path().join("ut/src/schema") };
    let all =
        [(from.join("src/schema"), schemas), (from.join(language), to.clone()), (from.join("js/src"), to.join("src"))];
    for (from, to) in all {
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    (there, to)
}

/// Loads the component of the country in Rust, JavaScript or Python.
fn loaded(language: &str) -> LoadedRules {
    if language == "rust" {
        return LoadedRules::load(engine(), component("ut"), &Limits::default()).unwrap();
    }
    let (there, sources) = copied(language);
    let file = there.path().join("ut.wasm");
    build(&sources, &file).expect(0);
    LoadedRules::load(engine(), &fs::read(file).unwrap(), &CountryFolder::open(&sources).unwrap().limits()).unwrap()
}

#[test]
fn components_in_every_language_pass_the_same_cases() {
    let cases = cases::read(&CountryFolder::open(&folder("ut")).unwrap().cases().unwrap()).unwrap();
    assert_eq!(cases.len(), 3);
    for language in ["rust", "js", "python"] {
        let rules = loaded(language);
        assert_eq!(rules.contract(), "1.0.0");
        let failures: Vec<_> = cases::run(&rules, &cases).into_iter().filter_map(|outcome| outcome.failure).collect();
        assert!(failures.is_empty(), "{language}: {failures:?}");
    }
}

#[test]
fn an_appointment_lives_as_before() {
    let host = Host::of(&["ut"]);
    let ana = host.patient("ana");
    let booked = ana.booked("ut", &ut(0));
    assert_eq!((&booked["phase"], &booked["doctor"]), (&json!("booked"), &json!("400")), "{booked}");
    ana.book("ut", &ut(0)).expect_problem(409, "slot-taken");
    let place = format!("/v1/ut/appointments/{}", booked["id"].as_str().unwrap());
    assert_eq!(ana.get(&place).expect(200).json(), booked);
    let cancelled = ana.post(&format!("{place}/cancel"), &json!({})).expect(200).json();
    assert_eq!(cancelled["phase"], "cancelled");
    let again = ana.post(&format!("{place}/cancel"), &json!({})).expect(409);
    assert_eq!(again.violations(), [(String::new(), "ut.cancel.not-allowed-now".to_owned())]);
    ana.booked("ut", &ut(0));
}

#[test]
fn a_mistake_is_reported_although_the_contract_has_no_error_text() {
    for (language, page, before, mistake, told) in [
        (
            "js",
            "src/rules.js",
            "    return plan(\"booked\"",
            "return plan.nothing.at;",
            "src/rules.js:31: TypeError: Cannot read properties of undefined (reading 'at')",
        ),
        (
            "python",
            "rules.py",
            "        return plan(Phase.BOOKED",
            "return plan(Phase.BOOKED, [5], request, \"booked\")",
            "`plan.claims[0]`: 5, of the type int; expected a str",
        ),
    ] {
        let (there, sources) = copied(language);
        let page = sources.join(page);
        let source = fs::read_to_string(&page).unwrap();
        let indent = &before[..before.len() - before.trim_start().len()];
        fs::write(&page, source.replace(before, &format!("{indent}{mistake}\n{before}"))).unwrap();
        let cases = there.path().join("cases");
        fs::create_dir(&cases).unwrap();
        fs::copy(folder("ut").join("cases/booking.json"), cases.join("booking.json")).unwrap();
        let mut test = citas(&["rules", "test", sources.to_str().unwrap(), "--cases", cases.to_str().unwrap()]);
        let said = run_command(with_node(&mut test)).expect(1);
        assert!([&said.out, &said.err].iter().any(|text| text.contains(told)), "{}{}", said.out, said.err);
    }
}

#[test]
fn an_export_of_a_later_contract_is_refused_with_the_names_of_this_one() {
    let (there, sources) = copied("js");
    let file = there.path().join("ut.wasm");
    let page = sources.join("src/rules.js");
    let source = fs::read_to_string(&page).unwrap();
    fs::write(&page, format!("{source}export const factRules = {{}};\n")).unwrap();
    let told = build(&sources, &file).expect(1).err;
    let all =
        "src/rules.js exports factRules; the host calls appointmentRules, noticeRules, slotRules in contract 1.0.0";
    assert!(told.contains(all), "{told}");
}
