//! A country on the bindings of contract 1.0.0 alone, in Rust and in JavaScript: its components run as those do that teams
//! built before there was another contract.

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

/// Creates the country in JavaScript in another folder, where a test may change it.
fn in_javascript() -> (tempfile::TempDir, PathBuf) {
    let there = countries();
    let (from, to) = (folder("ut"), there.path().join("ut/js"));
    for (from, to) in
        [(from.join("src/schema"), there.path().join("ut/src/schema")), (from.join("js/src"), to.join("src"))]
    {
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    for name in ["rules.toml", "package.json"] {
        fs::copy(from.join("js").join(name), to.join(name)).unwrap();
    }
    (there, to)
}

/// Returns the component in JavaScript.
fn javascript() -> Vec<u8> {
    let (there, folder) = in_javascript();
    let file = there.path().join("ut.wasm");
    build(&folder, &file).expect(0);
    fs::read(file).unwrap()
}

#[test]
fn both_components_pass_the_same_cases() {
    let cases = cases::read(&CountryFolder::open(&folder("ut")).unwrap().cases().unwrap()).unwrap();
    assert_eq!(cases.len(), 3);
    for component in [component("ut"), &javascript()] {
        let rules = LoadedRules::load(engine(), component, &Limits::default()).unwrap();
        let failures: Vec<_> = cases::run(&rules, &cases).into_iter().filter_map(|outcome| outcome.failure).collect();
        assert!(failures.is_empty(), "{failures:?}");
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
fn a_mistake_is_told_although_the_contract_has_no_words_for_it() {
    let (there, sources) = in_javascript();
    let page = sources.join("src/rules.js");
    let source = fs::read_to_string(&page).unwrap();
    let cases = there.path().join("cases");
    fs::create_dir(&cases).unwrap();
    fs::copy(folder("ut").join("cases/booking.json"), cases.join("booking.json")).unwrap();
    for (mistake, told) in [
        ("return plan.nothing.at;", "TypeError: Cannot read properties of undefined (reading 'at')"),
        (
            "return { ...plan(\"booked\", [], request, \"booked\"), claims: [5] };",
            "`plan.claims[0]`: 5; expected a text",
        ),
    ] {
        let mistaken =
            source.replace("    return plan(\"booked\"", &format!("    {mistake}\n    return plan(\"booked\""));
        fs::write(&page, mistaken).unwrap();
        let mut test = citas(&["rules", "test", sources.to_str().unwrap(), "--cases", cases.to_str().unwrap()]);
        let said = run_command(with_node(&mut test)).expect(1);
        assert!(said.out.contains(told) || said.err.contains(told), "{}{}", said.out, said.err);
    }
}

#[test]
fn an_export_that_only_a_later_contract_has_is_told_with_those_of_this_one() {
    let (there, folder) = in_javascript();
    let file = there.path().join("ut.wasm");
    let page = folder.join("src/rules.js");
    let source = fs::read_to_string(&page).unwrap();
    fs::write(&page, format!("{source}export const factRules = {{}};\n")).unwrap();
    let told = build(&folder, &file).expect(1).err;
    let all =
        "src/rules.js exports factRules; the host calls appointmentRules, noticeRules, slotRules in contract 1.0.0";
    assert!(told.contains(all), "{told}");
}
