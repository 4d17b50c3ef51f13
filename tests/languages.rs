//! Countries in every language of `citas rules new`: the languages' real tools build them, the real engine runs them,
//! and they need no more than the limits that they declare.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use citas::local::registry::FolderRegistry;
use citas::toolkit::CountryFolder;
use citas_core::model::json::flatten;
use citas_core::model::{
    Appointment, Artifact, ChangeNote, Channel, FactQuery, Limits, Manifest, Party, Phase, Role, RulesPackage, Step,
    Verdict, digest,
};
use citas_core::ports::{CONTRACTS, Registry as _};
use citas_core::rules::{DecisionRequest, LoadedRules, cases, decide};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::support::components::{chaos, child_admission, engine, folder};
use crate::support::eventually::eventually;
use crate::support::http::{Client, with};
use crate::support::languages::{Begun, Language, ZONE, build, countries, with_node};
use crate::support::process::{Process, citas, run, token};

/// Maximum time to compile a component of 19 MB, on a machine that runs all other tests at the same time.
const COMPILED_WITHIN: Duration = Duration::from_mins(8);

fn request() -> Value {
    json!({ "doctor": "45678", "hospital": "H-1", "date": "2026-12-01", "time": "09:30", "patient": "12345678",
            "email": "ana@example.com" })
}

/// Returns a request for a working day at least a week ahead that is not New Year's Day.
pub fn soon(number: usize) -> Value {
    let today = Timestamp::now().in_tz("America/Santiago").unwrap().date();
    let days = (7..).map(|ahead| today.checked_add(ahead.days()).unwrap());
    let day =
        days.filter(|day| day.weekday().to_monday_zero_offset() < 5 && day.day_of_year() > 1).nth(number).unwrap();
    with(&request(), json!({ "date": day.to_string() }))
}

/// Publishes a country and puts it into use, without the command, which would compile it once more.
async fn put_into_use(registry: &FolderRegistry, begun: &Begun) {
    let manifest = Manifest {
        country: begun.country,
        version: "1.0.0".parse().unwrap(),
        digest: digest(&begun.component),
        cases_digest: digest(begun.cases.as_bytes()),
        contract: CONTRACTS[CONTRACTS.len() - 1].into(),
        source: None,
        published_at: Timestamp::now(),
        limits: begun.limits,
    };
    let version = manifest.version.clone();
    let artifact =
        Artifact { manifest, component: begun.component.clone(), cases: begun.cases.clone(), signature: None };
    registry.publish(&artifact).await.unwrap();
    let note = ChangeNote { at: Timestamp::now(), by: "a test".into(), why: "to see".into() };
    let channel = Channel::first(version, note);
    registry.set_channel(begun.country, None, &channel).await.unwrap();
}

/// Starts `citas serve` at low priority, because it compiles for a minute.
fn serve(data: &Path) -> Process {
    let mut command = Command::new("nice");
    command.args(["-n", "10", env!("CARGO_BIN_EXE_citas"), "serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"]);
    Process::spawn(command.arg("--data").arg(data))
}

/// A single host accepts a country of each language after its golden cases. The countries book over HTTP and decide
/// alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn countries_in_three_languages_pass_the_same_cases_book_and_decide_alike() {
    let data = tempfile::tempdir().unwrap();
    let process = serve(data.path());
    let registry = FolderRegistry::new(&data.path().join("registry"));
    let platform = process.client(&token(data.path(), &["--group", "platform"]));
    let ana = process.client(&token(data.path(), &[]));
    for (number, language) in Language::ALL.into_iter().enumerate() {
        let (country, begun) = (language.country(), language.begun());
        put_into_use(&registry, begun).await;
        eventually("it is in force", COMPILED_WITHIN, || {
            // The host has not seen the version yet, or is compiling it.
            let told = platform.get(&format!("/v1/{country}/rules"));
            let told = (told.status == 200).then(|| told.json())?;
            assert_eq!(told["refused"], Value::Null, "{told}");
            (told["rules"]["version"] == "1.0.0").then_some(())
        });
        let booked = ana.booked(country, &soon(number));
        assert_eq!((&booked["phase"], &booked["minutes"]), (&json!("booked"), &json!(30)), "{booked}");
        let place = format!("/v1/{country}/appointments/{}", booked["id"].as_str().unwrap());
        assert_eq!(ana.get(&place).expect(200).json(), booked);
        let refused = ana.book(country, &with(&soon(number), json!({ "time": "09:10" })));
        assert_eq!(refused.violations(), [("/time".to_owned(), format!("{country}.time.off-grid"))]);
        assert!(refused.text.contains("Appointments start every 30 minutes"), "{}", refused.text);
        let taken = ana.book(country, &soon(number)).expect_problem(409, "slot-taken");
        assert_eq!(taken["violations"][0]["code"], format!("{country}.doctor.taken"), "{taken}");
        let cancelled = ana.post(&format!("{place}/cancel"), &json!({ "reason": "patient" })).expect(200).json();
        assert_eq!(cancelled["cancellation"], json!({ "reason": "patient" }), "{cancelled}");
        list_a_hundred(&ana, country, number);
    }
    drop(process);

    // The code that the host compiled is on this machine.
    let admission = child_admission(data.path());
    let [rust, js, python] = Language::ALL.map(|language| {
        let begun = language.begun();
        let (component, cases) = (begun.component.clone(), begun.cases.clone());
        let package = Arc::new(RulesPackage { component, limits: begun.limits, cases });
        let rules = tokio::task::block_in_place(|| Handle::current().block_on(admission.recall(&package)));
        let rules = rules.expect("it was accepted");
        let outcomes = cases::run(&rules, &cases::read(&begun.cases).unwrap());
        assert_eq!(outcomes.len(), 8);
        assert_eq!(rules.contract(), "2.0.0");
        let failures: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.failure).collect();
        assert!(failures.is_empty(), "{language:?}: {failures:?}");
        rules
    });
    let decided = decisions(&rust);
    for other in [&js, &python] {
        for (other, rust) in decisions(other).into_iter().zip(&decided) {
            assert_eq!(other, *rust);
        }
    }
    for other in [&js, &python] {
        assert_eq!(described(other), described(&rust));
        assert_eq!(answers(other), answers(&rust));
    }
}

/// Books a hundred appointments, each with a doctor and a patient of its own, and lists them on one page.
fn list_a_hundred(client: &Client, country: &str, day: usize) {
    for number in 0..100 {
        let own = json!({ "doctor": (50_000 + number).to_string(), "patient": (20_000_000 + number).to_string() });
        client.booked(country, &with(&soon(day), own));
    }
    let list = |limit: usize| {
        let page = client.get(&format!("/v1/{country}/appointments?phase=booked&limit={limit}")).expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    // The first list learns how many appointments fit one call.
    assert!(list(100) > 0);
    assert_eq!(list(100), 100);
    assert_eq!(list(20), 20);
}

/// Returns the rules' decisions on a range of requests and actions, each with its input, without the country's code.
fn decisions(rules: &LoadedRules) -> Vec<(String, Verdict)> {
    let mut all = Vec::new();
    // Clocks in Santiago go back on 4 April 2027.
    for (now, dates) in [
        ("2026-11-24T15:00:00Z", ["2026-11-24", "2026-11-25", "2026-12-01", "2026-12-05", "2026-12-06", "2027-01-01"]),
        ("2027-02-15T12:30:00Z", ["2027-02-15", "2027-04-02", "2027-04-05", "2027-02-30", "2027-05-16", "2027-05-17"]),
    ] {
        let now: Timestamp = now.parse().unwrap();
        let context = rules.context(now, Role::Patient);
        for date in dates {
            for time in ["07:30", "08:00", "09:10", "12:30", "13:00", "13:30", "17:30", "18:00"] {
                for doctor in [json!("45678"), Value::Null] {
                    let request = with(&request(), json!({ "date": date, "time": time, "doctor": doctor }));
                    let asked = DecisionRequest { context: &context, document: &request, action: None };
                    let decision = decide(rules, &asked).unwrap();
                    let asked = format!("{date} {time} of {doctor} at {now}");
                    if let Ok(planned) = &decision {
                        let step = Step { action: "book".into(), role: Role::Patient, at: now };
                        let booked = planned.appointment(Uuid::nil(), None, step, &context.caller);
                        all.extend(acted(rules, &booked).map(|(what, verdict)| (format!("{what} {asked}"), verdict)));
                    }
                    all.push((asked, decision.map(|planned| planned.plan)));
                }
            }
        }
    }
    let codes = all.iter_mut().filter_map(|(_, verdict)| verdict.as_mut().err()).flatten().map(|said| &mut said.code);
    codes.for_each(|code| *code = code.strip_prefix(rules.country.as_str()).unwrap().to_owned());
    all
}

/// Does every action with each of its roles, a day and an hour before the start, in every phase.
fn acted<'a>(rules: &'a LoadedRules, booked: &'a Appointment) -> impl Iterator<Item = (String, Verdict)> + 'a {
    let start = booked.starts_at.unwrap();
    let actions = [
        ("cancel", Role::Patient, json!({ "reason": "other" })),
        ("cancel", Role::Staff, json!({ "reason": "other" })),
        ("arrive", Role::Staff, json!({})),
        ("complete", Role::Staff, json!({})),
        ("remind", Role::Clock, json!({})),
    ];
    let phases = [Phase::Booked, Phase::Arrived, Phase::Cancelled];
    actions.into_iter().flat_map(move |(action, role, input)| {
        let asked = phases.into_iter().flat_map(|phase| [24, 1].map(|hours| (phase, hours)));
        asked.map(move |(phase, hours)| {
            let current = Appointment { phase, ..booked.clone() };
            let context = rules.context((start - hours.hours()).max(booked.created_at), role);
            let asked = DecisionRequest { context: &context, document: &input, action: Some((action, &current)) };
            let verdict = decide(rules, &asked).unwrap().map(|planned| planned.plan);
            (format!("{action} by {role:?} {hours} h before, {phase:?},"), verdict)
        })
    })
}

/// Returns the keys of spellings, and the mails of each event.
fn answers(rules: &LoadedRules) -> Vec<Value> {
    let spellings = ["12345678", " id:1-a ", "ID:9", "h-1", "45678", "0", "", "no key", "ñ", "123456789012345678901"];
    let parties = [Party::Patient, Party::Doctor, Party::Hospital];
    let keys = parties.into_iter().flat_map(|of| spellings.map(|spelling| json!(rules.key(of, spelling).unwrap())));
    let now = "2026-11-24T15:00:00Z".parse().unwrap();
    let context = rules.context(now, Role::Patient);
    let asked = DecisionRequest { context: &context, document: &request(), action: None };
    let step = Step { action: "book".into(), role: Role::Patient, at: now };
    let booked = decide(rules, &asked).unwrap().unwrap().appointment(Uuid::nil(), None, step, &context.caller);
    let notices = ["booked", "cancelled", "reminder", "arrived"];
    let notices = notices.map(|event| json!(rules.notices(event, &booked).unwrap()));
    keys.chain(notices).collect()
}

/// Returns the descriptor as JSON, without the country's code.
fn described(rules: &LoadedRules) -> Value {
    let described = &rules.descriptor;
    let code = rules.country.as_str();
    let messages: Vec<_> = described
        .messages
        .iter()
        .map(|message| json!([message.code.strip_prefix(code), message.locale, message.text]))
        .collect();
    json!({
        "version": described.version, "zones": described.zones, "locales": described.locales, "messages": messages,
        "claims": described.claims.iter().map(|words| json!([words.prefix, words.path])).collect::<Vec<_>>(),
        "limits": [json!(described.keep_days), json!(described.horizon_days), json!(described.adult_age)],
        "request": rules.request_schema, "appointment": rules.appointment_schema,
        "actions": rules.actions.iter().map(|(name, action)| json!([name, action.roles, action.schema])).collect::<Vec<_>>(),
    })
}

#[test]
fn a_country_in_javascript_or_python_has_every_interface_of_the_contract() {
    let refuse = [
        (
            "    if (broken.length > 0) {",
            "    if (context.facts[0]?.more) broken.push(violation(\"\", \"too-many\"));\n",
        ),
        (
            "        if broken:\n",
            "        if context.facts and context.facts[0].more:\n            broken.append(violation(\"\", \"too-many\"))\n",
        ),
    ];
    let more = [include_str!("languages/interfaces.js"), include_str!("languages/interfaces.py")];
    for ((language, (before, added)), more) in [Language::Js, Language::Python].into_iter().zip(refuse).zip(more) {
        let countries = countries();
        let folder = language.begin(countries.path());
        let page = folder.join(["src/rules.js", "rules.py"][usize::from(more.contains("import"))]);
        let source = fs::read_to_string(&page).unwrap();
        fs::write(&page, source.replace(before, &format!("{added}{before}")) + more).unwrap();
        let file = countries.path().join("rules.wasm");
        build(&folder, &file).expect(0);
        let limits = CountryFolder::open(&folder).unwrap().limits();
        let rules = LoadedRules::load(engine(), &fs::read(file).unwrap(), &limits).unwrap();

        let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
        let queries = rules.queries(&rules.context(now, Role::Patient), None, &flatten(&request()).unwrap()).unwrap();
        let live = FactQuery {
            name: "live".into(),
            of: Party::Patient,
            key: "id:12345678".into(),
            phases: vec![Phase::Booked, Phase::NoShow],
            since: Some(now.as_second()),
            until: None,
            at_most: 2,
        };
        assert_eq!(queries, [live]);
        let code = |what| format!("{}.{what}", language.country());
        let current = json!({ "booked": request(), "at": now });
        let opening = |time| json!({ "start": format!("2026-12-01T{time}"), "minutes": 30, "zone": ZONE });
        let room = |number| json!({ "claims": [{ "key": format!("room/{number}"), "places": 2, "personal": false }] });
        let offer = |time| json!({ "start": format!("2026-12-01T{time}"), "choices": [room(1), room(2)] });
        let cases = json!([
            { "name": "a fact", "now": now, "facts": { "live": { "appointments": [current], "more": true } },
              "book": request(), "expect": { "violations": [{ "path": "", "code": code("too-many") }] } },
            { "name": "offers", "now": now,
              "offers": { "place": {}, "doctor": "45678", "openings": [opening("09:30"), opening("10:00")] },
              "expect": { "offers": [offer("09:30"), offer("10:00")] } },
            { "name": "a reason", "now": now, "offers": { "place": {}, "doctor": "45678", "openings": [] },
              "expect": { "reason": { "path": "/date", "code": code("date.too-far") } } },
        ]);
        let outcomes = cases::run(&rules, &cases::read(&cases.to_string()).unwrap());
        let failures: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.failure).collect();
        assert!(failures.is_empty(), "{language:?}: {failures:?}");
    }
}

#[test]
fn dev_builds_a_country_in_javascript_books_in_it_and_takes_what_is_saved() {
    let (countries, data) = (countries(), tempfile::tempdir().unwrap());
    let country = Language::Js.begin(countries.path());
    let [at, data_at] = [countries.path(), data.path()].map(|path| path.to_str().unwrap());
    let arguments = ["dev", "--port", "0", "--rate-limit", "0", "--countries", at, "--data", data_at, "--log", "warn"];
    let process = Process::spawn(with_node(&mut citas(&arguments)));
    let ana = process.client(&token(data.path(), &[]));
    let platform = process.client(&token(data.path(), &["--group", "platform"]));
    let refused = || platform.get("/v1/uy/rules").expect(200).json()["refused"]["why"].clone();
    ana.booked("uy", &soon(0));

    let source = fs::read_to_string(country.join("src/rules.js")).unwrap();
    let day = soon(1)["date"].as_str().unwrap().to_owned();
    let changed = source.replace("HOLIDAYS = {", &format!("HOLIDAYS = {{ \"{}\": \"Feast\",", &day[5..]));
    fs::write(country.join("src/rules.js"), &changed).unwrap();
    eventually("the holiday is in force", Duration::from_mins(2), || {
        assert_eq!(refused(), Value::Null);
        let told = platform.get("/v1/uy/rules").expect(200).json();
        (told["swaps"] == 2).then_some(())
    });
    assert_eq!(ana.book("uy", &soon(1)).violations(), [("/date".to_owned(), "uy.date.holiday".to_owned())]);

    fs::write(country.join("src/rules.js"), changed.replace("const HOLIDAYS", "cnst HOLIDAYS")).unwrap();
    let why = eventually("it does not compile", Duration::from_mins(2), || refused().as_str().map(str::to_owned));
    assert!(why.contains("uy does not compile") && why.contains("src/rules.js:"), "{why}");
    ana.booked("uy", &soon(2));
}

#[test]
fn what_is_wrong_is_said_in_the_languages_own_words() {
    let countries = countries();
    let file = countries.path().join("rules.wasm");
    let python = Language::Python.begin(countries.path());
    fs::write(python.join("rules.py"), "def broken(:\n").unwrap();
    let told = build(&python, &file).expect(1).err;
    assert!(told.contains("bo does not compile") && told.contains("rules.py") && told.contains("line 1"), "{told}");
    let js = Language::Js.begin(countries.path());
    let source = fs::read_to_string(js.join("src/rules.js")).unwrap();
    fs::write(js.join("src/rules.js"), format!("{source}nowhere();\n")).unwrap();
    let told = build(&js, &file).expect(1).err;
    let place = format!("at src/rules.js:{}", source.lines().count() + 1);
    let told_all = ["uy does not compile", "nowhere is not defined", &place].map(|part| told.contains(part));
    assert_eq!(told_all, [true; 3], "{told}");
    assert!(!file.exists());
}

/// Creates a folder with a program named `tool` that always fails.
fn without(tool: &str) -> tempfile::TempDir {
    let bin = tempfile::tempdir().unwrap();
    let path = bin.path().join(tool);
    fs::write(&path, "#!/bin/sh\necho it was started >&2\nexit 1\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn a_second_build_installs_nothing_and_a_missing_tool_is_named() {
    Language::Js.begun();
    let countries = countries();
    let (country, file) = (Language::Js.begin(countries.path()), countries.path().join("uy.wasm"));
    let mut command = citas(&["rules", "build", country.to_str().unwrap(), "--output", file.to_str().unwrap()]);
    let path = with_node(&mut command)
        .get_envs()
        .find_map(|(name, value)| (name == "PATH").then(|| value.unwrap().to_owned()));
    let path = path.unwrap_or_else(|| std::env::var_os("PATH").unwrap()).into_string().unwrap();
    let broken = without("npm");
    let again = command.env("PATH", format!("{}:{path}", broken.path().display())).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    let told = command.env("PATH", "").output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("`node` does not start; is Node.js installed"), "{told}");

    // Nothing is installed in another folder yet.
    let elsewhere = tempfile::tempdir().unwrap();
    let country = Language::Python.begin(elsewhere.path());
    let mut command = citas(&["rules", "build", country.to_str().unwrap(), "--output", file.to_str().unwrap()]);
    let broken = without("python3");
    let told = command.env("PATH", broken.path()).output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("what makes components of Python cannot be installed") && told.contains("it was started"),
        "{told}"
    );
}

#[test]
fn python_needs_more_than_the_standard_and_whoever_does_not_say_so_is_told_which_limit() {
    let begun = Language::Python.begun();
    let there = tempfile::tempdir().unwrap();
    let [rules, limits, cases, registry] =
        ["bo.wasm", "rules.toml", "cases", "registry"].map(|name| there.path().join(name));
    fs::write(&rules, &begun.component).unwrap();
    fs::create_dir(&cases).unwrap();
    fs::write(
        cases.join("a.json"),
        r#"{ "name": "a", "now": "2026-11-24T15:00:00Z", "book": {}, "expect": { "plan": {} } }"#,
    )
    .unwrap();
    let [rules, at, cases, registry] = [&rules, &limits, &cases, &registry].map(|path| path.to_str().unwrap());
    for verb in ["test", "publish", "bench"] {
        let told = run(&["rules", verb, rules, "--cases", cases]).expect(1).err;
        assert!(told.contains("its limit `component` is 16777216"), "{told}");
        fs::write(&limits, "country = \"bo\"\nlanguage = \"python\"\n[limits]\ncomponent = 40_000_000\n").unwrap();
        let told = run(&["rules", verb, rules, "--cases", cases, "--limits", at]).expect(1).err;
        assert!(
            told.contains("it asks for a limit `component` of 40000000; this host allows at most 33554432"),
            "{told}"
        );
    }
    fs::create_dir(registry).unwrap();
    let told = run(&["rules", "check", rules, "--registry", registry]).expect(1).out;
    assert!(told.contains("its limit `component` is 16777216"), "{told}");
    assert!(begun.limits.component.is_some_and(|limit| limit > begun.component.len() as u64));
}

#[test]
fn limits_are_published_with_a_component_and_told() {
    let there = tempfile::tempdir().unwrap();
    let [rules, limits, data] =
        ["xx.wasm", "rules.toml", "data"].map(|name| there.path().join(name).to_str().unwrap().to_owned());
    fs::write(&rules, chaos()).unwrap();
    fs::write(&limits, "country = \"xx\"\nlanguage = \"rust\"\n[limits]\nmemory = 33_554_432\nfuel = 20_000_000\n")
        .unwrap();
    let cases = folder("xx").join("cases").to_str().unwrap().to_owned();
    let rules_of = |verb: &str, more: &[&str]| {
        run(&[&["rules", verb, &rules, "--cases", &cases, "--limits", &limits], more].concat())
    };
    let told = rules_of("test", &[]).expect(0).out;
    assert!(told.contains(" of 20000000, headroom 9"), "{told}");
    let told = rules_of("check", &["--data", &data]).expect(0).out;
    assert!(told.contains("memory 33554432 bytes, table 10000 entries, fuel 20000000"), "{told}");
    rules_of("publish", &["--data", &data]).expect(0);
    let manifest = fs::read_to_string(Path::new(&data).join("registry/xx/versions/1.0.0/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["limits"], json!({ "memory": 33_554_432, "fuel": 20_000_000 }));
    run(&["rules", "promote", "xx", "1.0.0", "--why", "a test", "--data", &data]).expect(0);
    let told = run(&["rules", "status", "xx", "--data", &data]).expect(0).out;
    assert!(told.contains("its limits: component 16777216 bytes, memory 33554432 bytes"), "{told}");
    let bounded: Limits = serde_json::from_value(manifest["limits"].clone()).unwrap();
    assert_eq!(bounded.table, None);
}
