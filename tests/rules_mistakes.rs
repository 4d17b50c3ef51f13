//! Mistakes in JavaScript and Python: `test`, `check` and `dev` report the error and its place, from the component's error
//! text or, after a trap, by repeating the call outside the component.
//!
//! `languages/mistakes.js` and `.py` have one mistake a line, with the words that tell it. After `@`, its place is
//! told, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::languages::soon;
use crate::support::eventually::eventually;
use crate::support::http::with;
use crate::support::languages::{Language, ZONE, build, countries, with_node};
use crate::support::process::{Finished, Process, citas, run_command, token};

/// A mistake, and the words that tell it.
struct Mistake {
    name: String,
    /// Its place in the sources, if an exception tells it.
    place: Option<String>,
    words: String,
}

/// A country whose bookings end in a mistake that the hospital names, and whose other functions have one each.
struct Mistaken {
    folder: PathBuf,
    mistakes: Vec<Mistake>,
}

impl Mistaken {
    /// Begins the country in the folder `countries`, with a case for each mistake. `source` is its first page.
    fn begin(language: Language, countries: &Path, source: &str) -> Self {
        let folder = language.begin(countries);
        let (page, sound, comment) = match language {
            Language::Python => ("rules.py", "sound.py", " # "),
            _ => ("src/rules.js", "src/sound.js", " // "),
        };
        fs::rename(folder.join(page), folder.join(sound)).unwrap();
        fs::write(folder.join(page), source).unwrap();
        fs::remove_dir_all(folder.join("cases")).unwrap();
        fs::create_dir(folder.join("cases")).unwrap();
        let mistake = |(index, line): (usize, &str)| {
            let (code, words) = line.split_once(comment)?;
            let name = code.trim().strip_prefix('"')?.split('"').next()?.to_owned();
            let (at, words) = words.strip_prefix("@ ").map_or((false, words), |words| (true, words));
            Some(Mistake { name, place: at.then(|| format!("{page}:{}:", index + 1)), words: words.to_owned() })
        };
        let mistakes: Vec<Mistake> = source.lines().enumerate().filter_map(mistake).collect();
        for Mistake { name, .. } in &mistakes {
            let case = with(&json!({ "name": name, "now": "2026-11-24T15:00:00Z" }), case(name));
            fs::write(folder.join("cases").join(format!("{name}.json")), case.to_string()).unwrap();
        }
        Self { folder, mistakes }
    }

    /// Checks that `citas rules test` tells every mistake.
    fn expect_told(&self) {
        let told = rules("test", &self.folder, &["--json"]).expect(1);
        let told: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}{}", told.out, told.err));
        let failed = told["failed"].as_array().unwrap();
        assert_eq!(told["passed"], 0, "a mistake went unnoticed: {}", told["fuel"]);
        for Mistake { name, place, words } in &self.mistakes {
            let failed = failed.iter().find(|failed| failed["name"] == *name).unwrap_or_else(|| panic!("{name}"));
            let said = [&failed["why"], &failed["repeated"]].map(|said| said.as_str().unwrap_or_default()).join("\n");
            let is_told = said.contains(words) && place.as_ref().is_none_or(|place| said.contains(place));
            assert!(is_told, "{name}: expected `{words}` at {place:?}; came `{said}`");
        }
    }
}

/// Returns the members of a case that makes a mistake.
fn case(name: &str) -> Value {
    let current = json!({ "booked": request("H-1"), "at": "2026-11-24T14:00:00Z" });
    let opening = json!({ "start": "2026-12-01T09:30", "minutes": 30, "zone": ZONE });
    match name {
        "act" => json!({ "act": { "action": "cancel", "input": { "reason": "patient" }, "current": current },
                         "expect": { "plan": {} } }),
        "offers" => {
            json!({ "offers": { "place": { "doctor": "45678" }, "openings": [opening] }, "expect": { "offers": [] } })
        }
        "notices" => json!({ "notices": { "event": "reminder", "current": current }, "expect": { "notices": [] } }),
        hospital => json!({ "book": request(hospital), "expect": { "plan": {} } }),
    }
}

fn request(hospital: &str) -> Value {
    json!({ "doctor": "45678", "hospital": hospital, "date": "2026-12-01", "time": "09:30", "patient": "12345678",
            "email": "ana@example.com" })
}

/// Runs a verb of `citas rules` on a country's folder.
fn rules(verb: &str, folder: &Path, more: &[&str]) -> Finished {
    run_command(with_node(&mut citas(&[&["rules", verb, folder.to_str().unwrap()], more].concat())))
}

#[test]
fn each_mistake_in_javascript_is_told_with_its_line_or_its_member() {
    let countries = countries();
    let country = Mistaken::begin(Language::Js, countries.path(), include_str!("languages/mistakes.js"));
    assert!(country.mistakes.len() > 40);
    country.expect_told();

    let only = country.folder.join("only");
    fs::create_dir(&only).unwrap();
    fs::copy(country.folder.join("cases/NULL-MEMBER.json"), only.join("one.json")).unwrap();
    let told = rules("check", &country.folder, &["--cases", only.to_str().unwrap()]).expect(1).out;
    assert!(told.starts_with("no: ") && told.contains("TypeError: cannot read property 'at' of undefined"), "{told}");
}

#[test]
fn each_mistake_in_python_is_told_with_its_line_or_its_member() {
    let countries = countries();
    let country = Mistaken::begin(Language::Python, countries.path(), include_str!("languages/mistakes.py"));
    assert!(country.mistakes.len() > 40);
    country.expect_told();
}

#[test]
fn a_module_without_what_the_host_calls_does_not_become_a_component() {
    let countries = countries();
    let folder = Language::Js.begin(countries.path());
    let page = folder.join("src/rules.js");
    let source = fs::read_to_string(&page).unwrap();
    for (from, to, told) in [
        (
            "appointmentRules = {",
            "appointmentrules = {",
            "src/rules.js exports appointmentrules; the host calls appointmentRules",
        ),
        ("export const appointmentRules", "const appointmentRules", "src/rules.js exports noticeRules; the host calls"),
        ("present(", "presents(", "`appointmentRules` has no function `present`"),
        ("function patientKey", "export const slotRule = {}; function patientKey", "exports slotRule; the host calls"),
        ("from \"../package.json\"", "from \"../packages.json\"", "Could not resolve \"../packages.json\""),
    ] {
        fs::write(&page, source.replace(from, to)).unwrap();
        let said = build(&folder, &countries.path().join("uy.wasm")).expect(1).err;
        assert!(said.contains(told), "expected `{told}`; came `{said}`");
    }
}

#[test]
fn a_class_that_the_host_does_not_call_is_refused_with_the_names_that_it_calls() {
    let countries = countries();
    let folder = Language::Python.begin(countries.path());
    let page = folder.join("rules.py");
    let source = fs::read_to_string(&page).unwrap();
    for (from, to, told) in [
        (
            "class AppointmentRules(Rules)",
            "class AppointmentRule(Rules)",
            "rules.py has AppointmentRule; the host calls",
        ),
        (
            "class AppointmentRules(Rules)",
            "class Peru(Rules)",
            "rules.py has NoticeRules, Peru; the host calls AppointmentRules",
        ),
        ("def against(", "class Slot_Rules:\n    pass\n\n\ndef against(", "rules.py has Slot_Rules; the host calls"),
    ] {
        fs::write(&page, source.replace(from, to)).unwrap();
        let said = build(&folder, &countries.path().join("bo.wasm")).expect(1).err;
        assert!(said.contains(told), "expected `{told}`; came `{said}`");
    }
}

#[test]
fn a_description_that_fails_is_told_and_typescript_has_its_own_lines() {
    let countries = countries();
    let folder = Language::Js.begin(countries.path());
    fs::rename(folder.join("src/rules.js"), folder.join("src/sound.js")).unwrap();
    let described = |describe: &str| {
        let source = format!(
            "import {{ appointmentRules as sound }} from \"./sound.js\";\n\
             interface Described {{\n  country: string;\n  zones: string[];\n}}\n\
             export const appointmentRules = {{\n  ...sound,\n  describe(): Described {{\n    {describe}\n  }},\n}};\n"
        );
        fs::write(folder.join("src/rules.ts"), source).unwrap();
        rules("check", &folder, &[]).expect(1).out
    };
    let told = described("return { ...sound.describe(), zones: undefined };");
    assert!(
        told.contains("the rules failed: `describe` returns `descriptor.zones`: it is missing; expected"),
        "{told}"
    );
    let told = described("throw new Error(\"no zones\" as string);");
    assert!(told.contains("the rules failed: src/rules.ts:9: Error: no zones"), "{told}");
}

#[test]
fn an_error_of_describe_in_python_is_reported() {
    let countries = countries();
    let folder = Language::Python.begin(countries.path());
    let page = folder.join("rules.py");
    let source = fs::read_to_string(&page).unwrap();
    let described = |from: &str, to: &str| {
        let line = source.lines().position(|line| line.contains(from)).unwrap() + 1;
        fs::write(&page, source.replacen(from, to, 1)).unwrap();
        (line, rules("check", &folder, &[]).expect(1).out)
    };
    let (_, told) = described("zones=ZONES", "zones=None");
    assert!(told.contains("the rules failed: `describe` returns `descriptor.zones`: None; expected a list"), "{told}");
    let (line, told) = described("zones=ZONES", "zones=ZONES[7:][0]");
    let expected = format!("the rules failed: rules.py:{line}: IndexError: list index out of range");
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn dev_tells_the_mistake_of_a_version_that_it_refuses_and_of_a_request() {
    let (countries, data) = (countries(), tempfile::tempdir().unwrap());
    let country = Mistaken::begin(Language::Js, countries.path(), include_str!("languages/mistakes.js"));
    let cases = country.folder.join("cases");
    let kept = ["DATE-NOW", "NO-RETURN"];
    for Mistake { name, .. } in country.mistakes.iter().filter(|mistake| !kept.contains(&mistake.name.as_str())) {
        fs::remove_file(cases.join(format!("{name}.json"))).unwrap();
    }
    let [at, data_at] = [countries.path(), data.path()].map(|path| path.to_str().unwrap());
    let arguments = ["dev", "--port", "0", "--rate-limit", "0", "--countries", at, "--data", data_at];
    let process = Process::spawn(with_node(&mut citas(&arguments)));
    let logged = |words: &str| {
        eventually(words, Duration::from_mins(2), || process.log().contains(words).then_some(()));
    };
    logged("`book` returns nothing; expected an object with phase");
    logged("`book` of ");
    logged("Error: a component has no clock; `context.now` has the time");

    // Without these cases the version comes into force, and requests make the mistakes.
    for name in kept {
        fs::remove_file(cases.join(format!("{name}.json"))).unwrap();
    }
    let ana = process.client(&token(data.path(), &[]));
    eventually("the version is in force", Duration::from_mins(2), || {
        (ana.book("uy", &soon(0)).status == 201).then_some(())
    });
    process.line_with("Book in uy:");
    ana.book("uy", &with(&soon(1), json!({ "hospital": "NULL-MEMBER" }))).expect(503);
    logged("TypeError: cannot read property 'at' of undefined");
}
