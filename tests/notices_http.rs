//! Mail about bookings that clients make over HTTP.

use std::time::Duration;

use citas_core::model::{Limits, RulesPackage};
use citas_core::release::admit;
use citas_core::rules::{LoadedRules, cases};
use serde_json::{Value, json};

use crate::support::components::{SharedEngine, chaos, chaos_with};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::with;
use crate::support::mail::MailServer;
use crate::support::process::{Process, publish, token};
use crate::support::requests::{cl, day, pe, xx};

#[test]
fn a_life_of_an_appointment_in_peru_is_told_in_three_mails() {
    let host = Host::set_up(&["pe"], |options| {
        options.mail_reply_to = Some("Ayuda <help@example.org>".parse().unwrap());
    });
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(7));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    ana.post(&format!("{place}/reschedule"), &json!({ "date": day("pe", 1), "time": "16:15" })).expect(200);
    ana.post(&format!("{place}/cancel"), &json!({})).expect(200);

    let mut letters = host.spool().wait_for(3);
    letters.sort_by_key(|letter| letter.property("SEQUENCE").parse::<u32>().unwrap());
    let told = |start: &str| letters.iter().position(|letter| letter.subject.starts_with(start));
    assert_eq!(told("Su cita médica está reservada: "), Some(0));
    assert_eq!(told("Su cita médica fue reprogramada: "), Some(1));
    assert_eq!(told("Su cita médica fue cancelada: "), Some(2));
    for (number, letter) in letters.iter().enumerate() {
        assert_eq!(letter.to, "patient7@example.com");
        assert!(letter.text.contains("CMP 10007") && letter.html.contains("CMP 10007"), "{letter:?}");
        assert!(letter.text.contains("Miraflores") && letter.text.contains(booked["id"].as_str().unwrap()));
        assert_eq!(letter.property("UID"), booked["id"].as_str().unwrap());
        assert_eq!(letter.property("SEQUENCE"), number.to_string());
        assert!(letter.html.starts_with("<!doctype html>"), "{}", letter.html);
        assert_eq!(letter.attachment, letter.calendar);
        assert_eq!(letter.property("SUMMARY"), r"Cita médica\, CMP 10007");
        assert_eq!(letter.property("LOCATION"), r"IPRESS 00006219\, Miraflores\, Lima");
        assert_eq!(letter.auto_submitted, "auto-generated");
        assert_eq!(letter.reply_to, "Ayuda <help@example.org>");
        assert_eq!(letter.property("METHOD"), letter.method);
    }
    let column = |name| letters.iter().map(|letter| letter.property(name)).collect::<Vec<_>>();
    assert_eq!(column("METHOD"), ["REQUEST", "REQUEST", "CANCEL"]);
    assert_eq!(column("STATUS"), ["CONFIRMED", "CONFIRMED", "CANCELLED"]);
    let utc = |date: &str, time: &str| format!("{}T{time}00Z", date.replace('-', ""));
    let (first, second) = (day("pe", 0), day("pe", 1));
    assert_eq!(column("DTSTART"), [utc(&first, "1430"), utc(&second, "2115"), utc(&second, "2115")]);
    assert_eq!(column("DTEND"), [utc(&first, "1500"), utc(&second, "2145"), utc(&second, "2145")]);
}

#[test]
fn chile_tells_nobody() {
    let host = Host::of(&["cl", "pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("cl", &cl(1));
    let place = format!("/v1/cl/appointments/{}", booked["id"].as_str().unwrap());
    ana.post(&format!("{place}/cancel"), &json!({ "reason": "patient" })).expect(200);
    // Peru's mail is written after any mail of Chile would be.
    ana.booked("pe", &pe(1));
    let letters = host.spool().wait_for(1);
    assert_eq!(letters[0].to, "patient1@example.com");
    assert!(letters[0].subject.starts_with("Su cita médica"));
}

#[test]
fn mail_that_the_server_does_not_take_goes_out_once_when_it_does() {
    let server = MailServer::down();
    let host = Host::set_up(&["pe"], |options| {
        options.smtp = Some(server.url());
    });
    let ana = host.patient("ana");
    let booked = [1, 2].map(|number| ana.booked("pe", &pe(number)));
    let cancel = format!("/v1/pe/appointments/{}/cancel", booked[0]["id"].as_str().unwrap());
    ana.post(&cancel, &json!({})).expect(200);
    let long = Duration::from_secs(20);
    eventually("mail is turned away", long, || (server.turned_away() >= 2).then_some(()));

    server.come_up();
    let taken = eventually("three mails", long, || {
        let taken = server.taken();
        (taken.len() >= 3).then_some(taken)
    });
    let of_first: Vec<_> = taken.iter().filter(|letter| letter.to == "patient1@example.com").collect();
    assert_eq!(of_first.iter().map(|letter| letter.property("SEQUENCE")).collect::<Vec<_>>(), ["0", "1"]);

    // The next booking's mail comes after any repeat of the earlier ones.
    ana.booked("pe", &pe(3));
    let taken = eventually("the next one's mail", long, || {
        let taken = server.taken();
        taken.iter().any(|letter| letter.to == "patient3@example.com").then_some(taken)
    });
    assert_eq!(taken.len(), 4, "{taken:?}");
}

#[test]
fn notices_beyond_the_bounds_send_nothing_and_are_told() {
    let server = MailServer::up();
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["xx"]);
    let folder = data.path().to_str().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", folder, "--smtp", &server.url()];
    let process = Process::start(&serve);
    let ana = process.client(&token(data.path(), &[]));
    ana.booked("xx", &with(&xx(1), json!({ "mode": "many-notices" })));
    ana.booked("xx", &with(&xx(2), json!({ "mode": "carriage-return" })));
    ana.booked("xx", &with(&xx(3), json!({ "mode": "long-locale" })));
    let long = Duration::from_secs(20);
    let log = eventually("each is told of", long, || {
        let log = process.log();
        let words = [
            "1000 notices for one event, and 10 are allowed",
            "notice 1: `text` has the control character U+000D",
            "notice 1: `locale` is no BCP 47 tag",
        ];
        words.iter().all(|words| log.contains(words)).then_some(log)
    });
    assert!(log.contains("an event waits"), "they are tried again: {log}");
    let counter = r#"citas_rules_calls_total{country="xx",call="notices",outcome="bad-answer"}"#;
    assert!(ana.get("/metrics").text.contains(counter));

    ana.booked("xx", &xx(4));
    let taken = eventually("the next one's mail", long, || {
        let taken = server.taken();
        (!taken.is_empty()).then_some(taken)
    });
    assert_eq!(taken.iter().map(|letter| letter.to.as_str()).collect::<Vec<_>>(), ["patient4@example.com"]);
}

#[test]
fn golden_cases_hold_notices_to_the_bounds() {
    let rules = LoadedRules::load(&SharedEngine, chaos(), &Limits::default()).unwrap();
    let now = "2026-11-24T15:00:00Z";
    let case = |mode: &str, expected: Value| {
        let booked = with(&xx(1), json!({ "mode": mode }));
        json!([{
            "name": mode, "now": now,
            "notices": { "event": "booked", "current": { "booked": booked, "at": now } },
            "expect": { "notices": expected },
        }])
    };
    let failure = |cases: &Value| {
        let cases = cases::read(&cases.to_string()).unwrap();
        cases::run(&rules, &cases).remove(0).failure.map(|failure| failure.to_string())
    };
    let one = json!([{ "to": "patient1@example.com" }]);
    assert_eq!(failure(&case("", one.clone())), None);
    let why = failure(&case("many-notices", json!(vec![&one[0]; 1_000]))).unwrap();
    assert!(why.contains("1000 notices for one event"), "{why}");
    let why = failure(&case("carriage-return", one)).unwrap();
    assert!(why.contains("`text` has the control character U+000D"), "{why}");
}

#[test]
fn an_example_whose_notices_break_the_bounds_is_not_admitted() {
    let component = chaos_with(&["chatter"]);
    let now = "2026-11-24T15:00:00Z".parse().unwrap();
    let package = RulesPackage { component, limits: Limits::default(), cases: "[]".into() };
    let refusal = admit(&SharedEngine, &package, now).unwrap_err().to_string();
    assert!(refusal.contains("notices of `booked`") && refusal.contains("1000 notices"), "{refusal}");
}
