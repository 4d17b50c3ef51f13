//! `citas rules impact` and `citas rules replay`: stored decisions, evaluated again beside the host that made them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citas::system::{SystemClock, UuidIds};
use citas_core::booking::{ActionRequest, Booking};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::aws_steps::{ana, peru};
use crate::ledger_dynamo::Tables;
use crate::support::components::{chaos_with, component};
use crate::support::host::Host;
use crate::support::http::{Client, with};
use crate::support::process::{Finished, citas, publish, run};
use crate::support::requests::{day, pe, xx};
use crate::support::workspace::{Workspace, with_holiday};

/// Runs `citas rules` on the data folder of a running host.
fn rules(host: &Host, arguments: &[&str]) -> Finished {
    run(&[&["rules"], arguments, &["--data", host.data().to_str().unwrap()]].concat())
}

fn json_of(told: &Finished) -> Value {
    serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {}{}", told.out, told.err))
}

/// Writes a component to a file.
fn file(folder: &Path, name: &str, component: &[u8]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, component).unwrap();
    file
}

fn id(appointment: &Value) -> &str {
    appointment["id"].as_str().unwrap()
}

fn act(client: &Client, booked: &Value, action: &str, input: &Value) -> Value {
    client
        .post(&format!("/v1/{}/appointments/{}/{action}", booked["country"].as_str().unwrap(), id(booked)), input)
        .expect(200)
        .json()
}

/// Builds Peru's component with an additional holiday on this day.
fn with_one_more_holiday(folder: &Path, day: &str) -> PathBuf {
    let workspace = Workspace::copied();
    let source = workspace.source("holidays.rs");
    fs::write(&source, with_holiday(&fs::read_to_string(&source).unwrap(), day)).unwrap();
    let file = folder.join("holiday.wasm");
    let mut command = citas(&["rules", "build", "countries/pe", "--output", file.to_str().unwrap()]);
    let built = command.current_dir(&workspace.path).env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    file
}

#[test]
fn a_holiday_decreed_later_would_refuse_the_appointments_of_that_day_and_no_others() {
    let (host, files) = (Host::of(&["pe"]), tempfile::tempdir().unwrap());
    let ana = host.patient("ana");
    let [before, decreed, after] = [0, 1, 2].map(|number| day("pe", number));
    let on = |number: usize, day: &str| ana.booked("pe", &with(&pe(number), json!({ "date": day })));
    on(1, &before);
    let stays = on(2, &decreed);
    let moved_there = on(3, &before);
    act(&ana, &moved_there, "reschedule", &json!({ "date": decreed, "time": "10:00" }));
    let moved_away = on(4, &decreed);
    act(&ana, &moved_away, "reschedule", &json!({ "date": after, "time": "10:00" }));
    act(&ana, &on(5, &decreed), "cancel", &json!({}));

    let candidate = with_one_more_holiday(files.path(), &decreed);
    let candidate = candidate.to_str().unwrap();
    let told = rules(&host, &["impact", candidate, "--json"]).expect(1);
    let impact = json_of(&told);
    let sums = ["judged", "refused", "unanswered", "differing"].map(|name| impact[name].as_u64().unwrap());
    assert_eq!(sums, [4, 2, 0, 0], "{impact}");
    let mut refused: Vec<&str> = impact["appointments"].as_array().unwrap().iter().map(id).collect();
    refused.sort_unstable();
    let mut expected = [id(&stays), id(&moved_there)];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    for appointment in impact["appointments"].as_array().unwrap() {
        let [reason] = appointment["violations"].as_array().unwrap().as_slice() else { panic!("{appointment}") };
        assert_eq!((&reason["pointer"], &reason["code"]), (&json!("/date"), &json!("pe.date.holiday")));
        assert!(reason["message"].as_str().unwrap().contains("Día de la prueba"), "{reason}");
        assert!(appointment["slot"]["start"].as_str().unwrap().starts_with(&decreed), "{appointment}");
    }
    assert!(!told.out.contains("example.com") && !told.out.contains("dni"), "{}", told.out);
    let words = rules(&host, &["impact", candidate]).expect(1).out;
    assert!(words.contains(id(&stays)) && words.contains("2 would be refused"), "{words}");

    let same = file(files.path(), "same.wasm", component("pe"));
    let told = rules(&host, &["impact", same.to_str().unwrap()]).expect(0).out;
    assert!(told.contains(": 4 appointments to come, 0 would be refused"), "{told}");
}

#[test]
fn what_a_candidate_would_store_otherwise_or_not_answer_is_told_apart_from_what_it_refuses() {
    let (host, files) = (Host::of(&["xx"]), tempfile::tempdir().unwrap());
    let ana = host.patient("ana");
    let to_come = Date::constant(2999, 12, 1);
    let on = |number: usize| {
        with(
            &xx(number),
            json!({ "date": to_come.checked_add(i32::try_from(number).unwrap().days()).unwrap().to_string() }),
        )
    };
    // More appointments than one page, and one in the past.
    for number in 0..201 {
        ana.booked("xx", &on(number));
    }
    ana.booked("xx", &with(&xx(300), json!({ "date": "2001-01-01" })));
    let later = file(files.path(), "later.wasm", &chaos_with(&["later"]));
    let impact = json_of(&rules(&host, &["impact", later.to_str().unwrap(), "--json"]).expect(0));
    assert_eq!(
        (&impact["judged"], &impact["differing"], &impact["appointments"]),
        (&json!(201), &json!(201), &json!([]))
    );
    assert_eq!(impact["otherwise"].as_array().unwrap().len(), 5);
    assert!(impact["otherwise"][0]["members"].as_array().unwrap().contains(&json!("/slot/minutes")), "{impact}");
}

#[test]
fn no_answer_counts_like_a_refusal_and_a_reason_says_nothing_personal() {
    let (host, files) = (Host::of(&["xx"]), tempfile::tempdir().unwrap());
    let booked = host.patient("ana").booked("xx", &with(&xx(1), json!({ "date": "2999-12-01" })));
    let [mute, gossip] = ["mute", "gossip"].map(|feature| {
        let candidate = file(files.path(), feature, &chaos_with(&[feature]));
        rules(&host, &["impact", candidate.to_str().unwrap(), "--json"]).expect(1)
    });
    let impact = json_of(&mute);
    assert_eq!((&impact["refused"], &impact["unanswered"]), (&json!(0), &json!(1)));
    assert_eq!(impact["appointments"][0]["id"], booked["id"]);
    assert_eq!(impact["appointments"][0]["fault"], "the call trapped: it panicked");
    let reasons = &json_of(&gossip)["appointments"][0]["violations"];
    assert_eq!(reasons[0]["message"], "… is no time of day.", "the candidate repeats the mail address");
}

#[test]
fn it_reads_a_ledger_that_no_host_has_open_and_leaves_it_to_the_next() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let book = |number| {
        let host = Host::in_folder(&["xx"], data.path());
        host.patient("ana").booked("xx", &with(&xx(number), json!({ "date": "2999-12-01" })))
    };
    let (booked, own) = (book(1), file(files.path(), "own.wasm", component("xx")));
    let (own, at) = (own.to_str().unwrap(), data.path().to_str().unwrap());
    run(&["rules", "replay", "xx", id(&booked), "--rules", own, "--data", at]).expect(0);
    assert_eq!(json_of(&run(&["rules", "impact", own, "--data", at, "--json"]).expect(0))["judged"], 1);
    book(2);
    assert_eq!(json_of(&run(&["rules", "impact", own, "--data", at, "--json"]).expect(0))["judged"], 2);
}

/// A reschedule to the same time says nothing of the date, as a confirmation does. The candidate books nothing.
#[test]
fn the_decision_that_set_the_time_is_judged_as_well_as_the_latest_action() {
    let (host, files) = (Host::of(&["xx"]), tempfile::tempdir().unwrap());
    let ana = host.patient("ana");
    let on = |number| ana.booked("xx", &with(&xx(number), json!({ "date": "2999-12-01" })));
    let (booked, confirmed, moved) = (on(1), on(2), on(3));
    act(&ana, &confirmed, "reschedule", &json!({ "date": "2999-12-01", "time": "09:30" }));
    act(&ana, &confirmed, "reschedule", &json!({ "date": "2999-12-01", "time": "09:30" }));
    act(&ana, &moved, "reschedule", &json!({ "date": "2999-12-02", "time": "09:30" }));

    let mute = file(files.path(), "mute.wasm", &chaos_with(&["mute"]));
    let impact = json_of(&rules(&host, &["impact", mute.to_str().unwrap(), "--json"]).expect(1));
    assert_eq!((&impact["judged"], &impact["unanswered"]), (&json!(3), &json!(2)), "{impact}");
    for appointment in [&booked, &confirmed] {
        let listed = impact["appointments"].as_array().unwrap().iter().find(|listed| id(listed) == id(appointment));
        let listed = listed.unwrap_or_else(|| panic!("{impact}"));
        assert_eq!((&listed["revision"], &listed["action"]), (&json!(1), &json!("book")), "{impact}");
    }
}

#[test]
fn a_booking_and_a_reschedule_come_out_the_same_again() {
    let host = Host::of(&["pe"]);
    publish(&host.data().join("registry"), &["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    act(&ana, &booked, "reschedule", &json!({ "date": day("pe", 1), "time": "11:00" }));

    let replay = |arguments: &[&str]| {
        json_of(&rules(&host, &[&["replay", "pe", id(&booked), "--json"], arguments].concat()).expect(0))
    };
    let (first, latest) = (replay(&["--revision", "1"]), replay(&[]));
    let told = |replayed: &Value| json!([replayed["same"], replayed["revision"], replayed["action"], replayed["role"]]);
    assert_eq!(told(&first), json!([true, 1, "book", "patient"]));
    assert_eq!(told(&latest), json!([true, 2, "reschedule", "patient"]));
    assert_eq!(first["input"], with(&pe(1), json!({ "dni": "…", "email": "…" })), "what is personal is not shown");
    assert_eq!(latest["input"], json!({ "date": day("pe", 1), "time": "11:00" }));

    let words = rules(&host, &["replay", "pe", id(&booked), "--revision", "1"]).expect(0).out;
    assert!(words.contains("the same decision again: booked"), "{words}");
    assert!(!words.contains("example.com") && !words.contains("00000002"), "{words}");
    let absent = rules(&host, &["replay", "pe", id(&booked), "--revision", "3"]).expect(2);
    assert!(absent.err.contains("no revision 3 of"), "{}", absent.err);
}

#[test]
fn a_decision_is_judged_by_the_very_rules_that_made_it_or_not_at_all() {
    let (host, files) = (Host::of(&["xx"]), tempfile::tempdir().unwrap());
    let booked = host.patient("ana").booked("xx", &xx(1));
    let replay = |arguments: &[&str]| rules(&host, &[&["replay", "xx", id(&booked)], arguments].concat());
    let digest = citas_core::model::digest(component("xx"));

    let unpublished = replay(&[]).expect(1).err;
    assert!(unpublished.contains(&digest) && unpublished.contains("--rules"), "{unpublished}");
    let [other, own] = [("other.wasm", chaos_with(&["later"])), ("own.wasm", component("xx").to_vec())]
        .map(|(name, bytes)| file(files.path(), name, &bytes));
    let refused = replay(&["--rules", other.to_str().unwrap()]).expect(1).err;
    assert!(refused.contains("other.wasm is sha256:") && refused.contains(&digest), "{refused}");
    assert!(replay(&["--rules", own.to_str().unwrap()]).expect(0).out.contains("the same decision again"));

    publish(&host.data().join("registry"), &["xx"]);
    replay(&[]).expect(0);
    fs::write(host.data().join("registry/xx/versions/1.0.0/rules.wasm"), fs::read(&other).unwrap()).unwrap();
    let altered = replay(&[]).expect(1).err;
    assert!(altered.contains("somebody altered"), "{altered}");
}

/// The ledger's content differs from the rules' result, as if somebody had written into it.
#[test]
fn a_stored_appointment_that_was_tampered_with_comes_out_otherwise() {
    let (host, files) = (Host::of(&["xx"]), tempfile::tempdir().unwrap());
    let booked = host.patient("ana").booked("xx", &xx(1));
    let ledger = rusqlite::Connection::open(host.data().join("xx.db")).unwrap();
    let changed = "UPDATE appointment SET body = replace(body, '\"minutes\":30', '\"minutes\":60')";
    assert_eq!(ledger.execute(changed, []).unwrap(), 1);
    let own = file(files.path(), "own.wasm", component("xx"));
    let replayed = rules(&host, &["replay", "xx", id(&booked), "--rules", own.to_str().unwrap(), "--json"]).expect(1);
    let differences = json!([{ "path": "/slot/minutes", "stored": 60, "came": 30 }]);
    assert_eq!(json_of(&replayed)["differences"], differences);
}

#[test]
fn without_a_ledger_it_is_misuse_and_nothing_is_made() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = file(files.path(), "own.wasm", component("xx"));
    let (at, own) = (data.path().to_str().unwrap(), own.to_str().unwrap());
    let impact = run(&["rules", "impact", own, "--data", at]).expect(2);
    let replay = run(&["rules", "replay", "xx", "01935f00-0000-7000-8000-000000000000", "--data", at]).expect(2);
    for told in [impact, replay] {
        assert!(told.err.contains("has no appointments of xx"), "{}", told.err);
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_dynamodb_is_judged_again_too() {
    let (tables, files) = (Tables::new().await, tempfile::tempdir().unwrap());
    let ledger = Arc::new(tables.ledger());
    let booking = Booking::new(
        peru(),
        ledger,
        Arc::new(SystemClock),
        Arc::new(UuidIds),
        citas_core::model::Pseudonyms::new(b"key"),
        "test",
    );
    let book = async |number| booking.book(&ana(), "pe".parse().unwrap(), pe(number), None).await.unwrap();
    let act = async |id, action, input| {
        let request = ActionRequest { id, action, input, slot: None, if_match: None, key: None };
        booking.act(&ana(), "pe".parse().unwrap(), request).await.unwrap();
    };
    let [stays, moves, goes] = [book(1).await, book(2).await, book(3).await].map(|view| view.revision.appointment.id);
    act(moves, "reschedule", json!({ "date": day("pe", 1), "time": "10:00" })).await;
    act(goes, "cancel", json!({})).await;

    let same = file(files.path(), "same.wasm", component("pe"));
    let same = same.to_str().unwrap();
    let rules = |arguments: &[&str], status: i32| {
        let told = tables.on(&mut citas(&[&["rules"], arguments].concat())).output().unwrap();
        let [out, err] = [told.stdout, told.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(told.status.code(), Some(status), "{arguments:?}: {out}{err}");
        out + &err
    };
    let told = rules(&["impact", same], 0);
    assert!(told.contains(": 2 appointments to come, 0 would be refused"), "{told}");
    for (id, revision) in [(stays, "1"), (moves, "1"), (moves, "2"), (goes, "2")] {
        let told = rules(&["replay", "pe", &id.to_string(), "--revision", revision, "--rules", same], 0);
        assert!(told.contains("the same decision again"), "{told}");
    }
    let told = rules(&["replay", "pe", &uuid::Uuid::nil().to_string(), "--rules", same], 2);
    assert!(told.contains("pe has no appointment"), "{told}");
    let told = rules(&["replay", "xx", &stays.to_string(), "--rules", same], 1);
    assert!(told.contains("DynamoDB answers 400 ResourceNotFoundException"), "{told}");
}
