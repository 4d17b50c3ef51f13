//! Tests the refusals of components that are loaded, and the required content of a country folder. `tests/chaos.rs`
//! tests calls, with compiled components.

use std::fs;
use std::path::Path;

use citas_core::model::Limits;
use citas_core::ports::{Engine, Fault, Refusal};
use tempfile::TempDir;

use super::WasmEngine;
use super::limits::{CEILING, STANDARD};
use crate::toolkit::{BuildError, CountryFolder};

fn refusal(component: &[u8]) -> Refusal {
    let loaded = WasmEngine::new().unwrap().load(component, &Limits::default());
    loaded.err().expect("a refusal")
}

fn refusal_of_text(component: &str) -> Refusal {
    refusal(&wat::parse_str(component).unwrap())
}

#[test]
fn a_core_module_is_refused_as_one() {
    let refusal = refusal_of_text("(module)");
    assert!(matches!(&refusal, Refusal::NotAComponent(why) if why.contains("core module")), "{refusal}");
}

#[test]
fn what_is_no_webassembly_is_refused() {
    assert!(matches!(refusal(b"hello"), Refusal::NotAComponent(_)));
    assert!(matches!(refusal(b""), Refusal::NotAComponent(_)));
    assert!(matches!(refusal(b"\0asm\x0d\0\x01\0and then nonsense"), Refusal::NotAComponent(_)));
}

#[test]
fn native_code_is_refused_whoever_made_it() {
    let engine = WasmEngine::new().unwrap();
    let native = engine.engine().precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
    assert_eq!(refusal(&native), Refusal::Precompiled);
    assert_eq!(refusal(b"\x7fELF and the rest"), Refusal::Precompiled);
}

#[test]
fn a_component_that_is_too_large_is_refused_unread() {
    let limit = STANDARD.component;
    let refusal = refusal(&vec![0; usize::try_from(limit).unwrap() + 1]);
    assert_eq!(refusal, Refusal::TooLarge { size: limit + 1, limit });
    assert!(refusal.to_string().contains("its limit `component`"), "{refusal}");
}

#[test]
fn what_declares_more_than_the_ceiling_is_refused_by_the_limits_name() {
    let more = |ceiling: u64| Some(ceiling + 1);
    let none = Limits::default();
    for (limits, limit, ceiling) in [
        (Limits { component: more(CEILING.component), ..none }, "component", CEILING.component),
        (Limits { memory: more(CEILING.memory), ..none }, "memory", CEILING.memory),
        (Limits { table: more(CEILING.table), ..none }, "table", CEILING.table),
        (Limits { fuel: more(CEILING.fuel), ..none }, "fuel", CEILING.fuel),
    ] {
        let engine = WasmEngine::new().unwrap();
        for refused in [engine.load(b"", &limits), engine.load_native(b"", &limits)] {
            let refusal = refused.err().expect("a refusal");
            assert_eq!(refusal, Refusal::OverCeiling { limit, asked: ceiling + 1, ceiling });
        }
    }
}

#[test]
fn a_table_beyond_the_standard_is_refused_unless_it_is_declared() {
    let component = wat::parse_str(
        "(component
            (core module $code (table 20000 funcref))
            (core instance (instantiate $code)))",
    );
    let component = component.unwrap();
    let Refusal::NoDescriptor(Fault::Trapped(why)) = refusal(&component) else { panic!("it has the table") };
    assert_eq!(why, "it asked for a table of more than 10000 entries, its limit `table`");
    let limits = Limits { table: Some(20_000), ..Limits::default() };
    let refusal = WasmEngine::new().unwrap().load(&component, &limits).err();
    assert!(matches!(refusal, Some(Refusal::MissingExport { .. })), "{refusal:?}");
}

#[test]
fn an_import_of_a_function_is_refused_by_its_name() {
    let bare = refusal_of_text(r#"(component (import "now" (func (result u64))))"#);
    assert_eq!(bare, Refusal::Imports("now".into()));
    let within = refusal_of_text(
        r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance
            (type (record (field "seconds" u64))) (export "datetime" (type (eq 0)))
            (export "now" (func (result 1))))))"#,
    );
    assert_eq!(within, Refusal::Imports("wasi:clocks/wall-clock@0.2.0#now".into()));
}

#[test]
fn a_component_without_the_contracts_interface_is_refused() {
    let refusal = refusal_of_text("(component)");
    let Refusal::MissingExport { export, cause } = refusal else { panic!("{refusal}") };
    assert_eq!(export, "citas:rules/appointment-rules");
    assert_eq!(cause, "there is none; the host runs the contracts 1.0.0 and 2.0.0");
}

#[test]
fn a_function_of_another_shape_is_refused_by_its_name() {
    let refusal = refusal_of_text(
        r#"(component
            (core module $code (func (export "describe") (result i32) i32.const 7))
            (core instance $made (instantiate $code))
            (func $describe (result u32) (canon lift (core func $made "describe")))
            (instance $rules (export "describe" (func $describe)))
            (export "citas:rules/appointment-rules@1.0.0" (instance $rules)))"#,
    );
    let Refusal::MissingExport { export, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(export, "citas:rules/appointment-rules@1.0.0#describe");
}

#[test]
fn memories_are_limited_together() {
    let refusal = refusal_of_text(
        "(component
            (core module $code (memory 150))
            (core instance (instantiate $code))
            (core instance (instantiate $code)))",
    );
    let Refusal::NoDescriptor(Fault::Trapped(why)) = &refusal else { panic!("{refusal}") };
    assert_eq!(why, "it asked for more than 16777216 bytes of memory, its limit `memory`");
}

#[test]
fn a_start_function_has_the_budget_of_a_call() {
    let refusal = refusal_of_text(
        "(component
            (core module $code (func $turn loop br 0 end) (start $turn))
            (core instance (instantiate $code)))",
    );
    assert_eq!(refusal, Refusal::NoDescriptor(Fault::OverBudget("fuel")));
}

#[test]
fn the_clock_ends_with_its_engine() {
    let weak = WasmEngine::new().unwrap().engine().weak();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < deadline, "something keeps the engine");
        std::thread::yield_now();
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

const MANIFEST: (&str, &str) = ("rules.toml", "country = \"zz\"\npackage = \"zz\"\nlanguage = \"rust\"\n");

fn opened(path: &Path) -> CountryFolder {
    CountryFolder::open(path).unwrap()
}

#[test]
fn a_key_that_nobody_knows_is_named() {
    let folder =
        folder(&[("rules.toml", "country = \"pe\"\npackage = \"p\"\nlanguage = \"rust\"\nzone = \"America/Lima\"\n")]);
    let error = CountryFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`zone`") && error.contains("line 4"), "{error}");
}

#[test]
fn a_language_that_nobody_builds_is_named() {
    let folder = folder(&[("rules.toml", "country = \"pe\"\npackage = \"p\"\nlanguage = \"cobol\"\n")]);
    let error = CountryFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("`cobol`") && error.contains("`rust`"), "{error}");
}

#[test]
fn a_compile_error_comes_in_the_compilers_words() {
    let folder = folder(&[
        MANIFEST,
        ("Cargo.toml", "[package]\nname = \"zz\"\nedition = \"2024\"\n[workspace]\n"),
        ("src/lib.rs", "pub fn broken() -> u8 { \"text\" }\n"),
    ]);
    let error = opened(folder.path()).build(&[]).unwrap_err();
    assert!(matches!(error, BuildError::Compile { .. }), "{error}");
    assert!(error.to_string().contains("src/lib.rs:1") && error.to_string().contains("mismatched types"), "{error}");
}

#[test]
fn a_package_that_cargo_does_not_find_is_an_error_in_cargos_words() {
    let error = opened(folder(&[MANIFEST]).path()).build(&[]).unwrap_err();
    assert!(matches!(error, BuildError::Workspace { .. }), "{error}");
}

/// Returns a golden case with its name in the second line.
fn case(name: &str) -> String {
    format!(
        r#"{{ "now": "2026-11-24T15:00:00Z",
  "name": "{name}", "book": {{}}, "expect": {{ "violations": [] }} }}"#
    )
}

#[test]
fn cases_come_in_the_order_of_their_files() {
    let (first, second) = (case("first"), case("second"));
    let folder = folder(&[
        MANIFEST,
        ("cases/b.json", &format!("{second}\n")),
        ("cases/a.json", &first),
        ("cases/notes.txt", "not a case"),
    ]);
    assert_eq!(opened(folder.path()).cases().unwrap(), format!("[{first},\n{second}]"));
}

#[test]
fn a_country_without_cases_has_none() {
    assert_eq!(opened(folder(&[MANIFEST]).path()).cases().unwrap(), "[]");
}

#[test]
fn two_cases_of_one_name_are_both_named() {
    let same = case("same");
    let folder = folder(&[MANIFEST, ("cases/a.json", &same), ("cases/b.json", &same)]);
    let error = opened(folder.path()).cases().unwrap_err().to_string();
    assert!(error.contains("b.json:2") && error.contains("`same`") && error.contains("a.json"), "{error}");
}

#[test]
fn a_malformed_case_is_found_by_file_and_line() {
    let folder = folder(&[MANIFEST, ("cases/a.json", "{\n  \"name\": oops\n}")]);
    let error = opened(folder.path()).cases().unwrap_err().to_string();
    assert!(error.contains("a.json:2"), "{error}");
}
