//! Links in mail: their page, and the action that they do without signing in.

use std::path::Path;
use std::time::Duration;

use citas_core::ports::Clock as _;
use jiff::SignedDuration;
use jiff::tz::Offset;
use serde_json::{Value, json};

use crate::support::components::{component, folder, version};
use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::mail::{Letter, Spool};
use crate::support::process::{Process, publish_file, token};

const BASE: &str = "https://citas.example/app";
const HOUR: Duration = Duration::from_hours(1);

fn host() -> Host {
    Host::set_up(&["ut2"], |options| options.public_url = Some(BASE.parse().unwrap()))
}

/// Returns a visit of a patient on a day in December 2027, or in some days by the host's clock.
fn visit(patient: usize, day: u8) -> Value {
    json!({
        "patient": patient.to_string(), "doctor": "45678", "date": format!("2027-12-{day:02}"), "time": "09:30",
        "email": format!("p{patient}@example.com"),
    })
}

fn visit_in(host: &Host, days: i64) -> Value {
    let day = host.clock.now() + SignedDuration::from_hours(24 * days);
    with(&visit(1, 1), json!({ "date": Offset::UTC.to_datetime(day).date().to_string() }))
}

fn place(appointment: &Value) -> String {
    format!("/v1/ut/appointments/{}", appointment["id"].as_str().unwrap())
}

/// Returns the paths of the links of a mail, in their order.
fn links(letter: &Letter) -> Vec<String> {
    let words = letter.text.split_whitespace();
    let links = words.filter_map(|word| word.strip_prefix(BASE)).map(|path| path.trim_end_matches('.').to_owned());
    links.filter(|path| path.starts_with("/links/")).collect()
}

/// Waits for the mail about an event to a patient, and returns its links: to confirm, and to cancel.
fn mailed(host: &Host, patient: usize, event: &str) -> [String; 2] {
    let to = format!("p{patient}@example.com");
    let letter = eventually("the mail", Duration::from_secs(20), || {
        host.spool().letters().into_iter().find(|letter| letter.to == to && letter.subject == event)
    });
    links(&letter).try_into().unwrap_or_else(|links| panic!("{links:?} in {}", letter.text))
}

/// Books a visit, and returns it with the links of its mail.
fn booked(host: &Host, request: &Value) -> (Value, [String; 2]) {
    let booked = host.patient("ana").booked("ut", request);
    let patient = request["patient"].as_str().unwrap().parse().unwrap();
    (booked, mailed(host, patient, "booked"))
}

fn anybody(host: &Host) -> Client {
    host.with_token(None)
}

fn post(host: &Host, link: &str) -> Answer {
    anybody(host).request("POST", link).send()
}

/// Asserts that the page has this status and this heading, and headers that keep its address private.
#[track_caller]
fn page(answer: Answer, status: u16, heading: &str) -> String {
    let answer = answer.expect(status);
    let text = answer.text.clone();
    assert!(text.contains(&format!("<h1>{heading}</h1>")), "{heading} in {text}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex, nofollow"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    for foreign in ["<script", "http:", "https:", "src=", "<link", "@import", "url(", "onclick"] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    text
}

/// Asserts that an appointment is as it was booked.
#[track_caller]
fn untouched(host: &Host, appointment: &Value) {
    let now = host.staff("ut").get(&place(appointment)).expect(200).json();
    assert_eq!((&now["revision"], &now["phase"]), (&json!(1), &json!("pending")));
}

#[test]
fn the_link_in_a_mail_shows_the_appointment_and_its_button_confirms_it_once() {
    let host = host();
    let (visit, [confirm, _]) = booked(&host, &visit(1, 1));
    for method in ["GET", "HEAD", "GET", "OPTIONS"] {
        // The client would decompress the body, which a response to HEAD does not have.
        let status = anybody(&host).request(method, &confirm).header("Accept-Encoding", "identity").send().status;
        assert_eq!(status, if method == "OPTIONS" { 204 } else { 200 }, "{method}");
    }
    untouched(&host, &visit);
    let shown = page(anybody(&host).get(&confirm), 200, "Confirm the appointment");
    for part in ["Wednesday 1 December 2027", "09:30 (UTC)", "45678", "<form method=\"post\">", "<html lang=\"en\">"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    for private in ["p1@example.com", visit["id"].as_str().unwrap(), &confirm] {
        assert!(!shown.contains(private), "{private} in {shown}");
    }

    let done = page(post(&host, &confirm), 200, "The appointment is confirmed");
    assert!(!done.contains("<form"), "{done}");
    let history = host.staff("ut").get(&format!("{}/history", place(&visit))).expect(200).json();
    let last = &history["items"][1];
    assert_eq!((&last["action"], &last["by"]), (&json!("confirm"), &json!({ "role": "patient", "subject": "link" })));
    assert_eq!(last["appointment"]["phase"], "booked");

    for answer in [post(&host, &confirm), anybody(&host).get(&confirm), post(&host, &confirm)] {
        page(answer, 200, "This is done already");
    }
    assert_eq!(host.staff("ut").get(&place(&visit)).json()["revision"], 2);
}

#[test]
fn many_presses_at_once_act_once() {
    let host = host();
    let (visit, [confirm, _]) = booked(&host, &visit(1, 1));
    let titles: Vec<String> = std::thread::scope(|scope| {
        let press = || post(&host, &confirm).expect(200).text;
        let presses: Vec<_> = (0..10).map(|_| scope.spawn(press)).collect();
        presses.into_iter().map(|press| press.join().unwrap()).collect()
    });
    let confirmed = titles.iter().filter(|title| title.contains("<h1>The appointment is confirmed</h1>")).count();
    let already = titles.iter().filter(|title| title.contains("<h1>This is done already</h1>")).count();
    assert_eq!((confirmed, already), (1, 9), "{titles:?}");
    assert_eq!(host.staff("ut").get(&place(&visit)).json()["revision"], 2);
}

#[test]
fn a_link_that_was_forged_or_altered_leads_to_one_page_and_does_nothing() {
    let (host, other) = (host(), host());
    let (visit, [confirm, _]) = booked(&host, &visit(1, 1));
    let (_, [foreign, _]) = booked(&other, &with(&visit_in(&other, 20), json!({})));
    let unknown = page(anybody(&host).get("/links/x"), 404, "This link does not work");
    let token = confirm.strip_prefix("/links/").unwrap();
    let altered = (0..token.len()).step_by(7).map(|place| {
        let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
        ["/links/", &token[..place], other, &token[place + 1..]].concat()
    });
    let others = [
        foreign,
        format!("{confirm}A"),
        confirm[..confirm.len() - 1].to_owned(),
        format!("/links/{}", "A".repeat(4_000)),
        "/links/%00".to_owned(),
        "/links/%ff%fe".to_owned(),
        format!("/links/{}", visit["id"].as_str().unwrap()),
    ];
    for link in altered.chain(others) {
        assert_eq!(anybody(&host).get(&link).expect(404).text, unknown, "{link}");
        assert_eq!(post(&host, &link).expect(404).text, unknown, "{link}");
    }
    untouched(&host, &visit);
}

#[test]
fn a_link_reveals_no_other_appointment_and_opens_no_other_page() {
    let host = host();
    let (first, [confirm, _]) = booked(&host, &visit(1, 1));
    let (second, _) = booked(&host, &with(&visit(2, 2), json!({ "doctor": "99999" })));
    let shown = anybody(&host).get(&confirm).expect(200).text;
    for private in ["99999", "2 December", second["id"].as_str().unwrap()] {
        assert!(!shown.contains(private), "{private} in {shown}");
    }
    let bearer = host.with_token(Some(confirm.trim_start_matches("/links/").to_owned()));
    for appointment in [&first, &second] {
        bearer.get(&place(appointment)).expect_problem(401, "unauthenticated");
        bearer.post(&format!("{}/confirm", place(appointment)), &json!({})).expect_problem(401, "unauthenticated");
    }
    page(post(&host, &confirm), 200, "The appointment is confirmed");
    untouched(&host, &second);
}

#[test]
fn a_link_acts_as_the_patient_whoever_is_signed_in() {
    let host = host();
    let forged = host.with_token(Some("garbage".to_owned()));
    let clients =
        [anybody(&host), host.patient("luis"), host.staff("ut"), host.staff("pe"), host.platform_team(), forged];
    for (number, client) in (1..).zip(clients) {
        let visit = host.staff("ut").booked("ut", &visit(usize::from(number), number));
        let [confirm, _] = mailed(&host, number.into(), "booked");
        page(client.get(&confirm), 200, "Confirm the appointment");
        page(client.request("POST", &confirm).send(), 200, "The appointment is confirmed");
        let history = host.staff("ut").get(&format!("{}/history", place(&visit))).expect(200).json();
        assert_eq!(history["items"][1]["by"], json!({ "role": "patient", "subject": "link" }), "{history}");
        for method in ["PUT", "DELETE", "PATCH"] {
            client.request(method, &confirm).send().expect(405);
        }
    }
}

#[test]
fn a_link_ends_at_the_start() {
    let host = host();
    let (visit, [confirm, _]) = booked(&host, &visit_in(&host, 1));
    host.clock.advance(47 * HOUR);
    page(anybody(&host).get(&confirm), 410, "This link has expired");
    let expired = page(post(&host, &confirm), 410, "This link has expired");
    assert!(!expired.contains("45678"), "{expired}");
    untouched(&host, &visit);
}

#[test]
fn a_link_to_what_is_no_longer_possible_says_why_and_what_to_do() {
    let host = host();
    let (visit, [confirm, cancel]) = booked(&host, &visit(1, 1));
    host.staff("ut").post(&format!("{}/cancel", place(&visit)), &json!({})).expect(200);
    for answer in [anybody(&host).get(&confirm), post(&host, &confirm)] {
        let refused = page(answer, 409, "This is not possible now");
        assert!(refused.contains("<li>Not now.</li>") && refused.contains("call the hospital"), "{refused}");
        assert!(!refused.contains("<form"), "{refused}");
    }
    page(post(&host, &cancel), 200, "This is done already");
    assert_eq!(host.staff("ut").get(&place(&visit)).json()["revision"], 2);
}

#[test]
fn a_link_never_confirms_a_time_that_its_mail_does_not_show() {
    let host = host();
    let (visit, [confirm, _]) = booked(&host, &visit(1, 1));
    let moved = json!({ "date": "2027-12-02", "time": "10:30" });
    host.staff("ut").post(&format!("{}/reschedule", place(&visit)), &moved).expect(200);
    for answer in [anybody(&host).get(&confirm), post(&host, &confirm)] {
        let changed = page(answer, 409, "The appointment has changed");
        assert!(changed.contains("Thursday 2 December 2027") && !changed.contains("<form"), "{changed}");
    }
    assert_eq!(host.staff("ut").get(&place(&visit)).json()["phase"], "pending");
    let [latest, _] = mailed(&host, 1, "rescheduled");
    page(post(&host, &latest), 200, "The appointment is confirmed");
    page(post(&host, &confirm), 200, "This is done already");
}

#[test]
fn a_page_is_in_the_language_of_its_reader_when_no_mail_says_which() {
    let host = host();
    let spanish = anybody(&host).request("GET", "/links/x").header("Accept-Language", "es-CO, en;q=0.5").send();
    let text = page(spanish, 404, "Este enlace no funciona");
    assert!(text.contains("<html lang=\"es\">"), "{text}");
}

#[test]
fn rules_that_fail_are_tried_again_later_and_nothing_is_done() {
    let host = host();
    let failing = with(&visit(1, 1), json!({ "email": "fault@example.com" }));
    let visit = host.patient("ana").booked("ut", &failing);
    let [confirm, _] = links(&host.spool().wait_for(1)[0]).try_into().unwrap();
    for answer in [anybody(&host).get(&confirm), post(&host, &confirm)] {
        assert!(!answer.header("retry-after").is_empty());
        page(answer, 503, "This does not work at the moment");
    }
    untouched(&host, &visit);
}

#[test]
fn a_link_to_an_appointment_that_is_not_here_looks_like_a_forged_one() {
    let host = host();
    let (_, [confirm, _]) = booked(&host, &visit(1, 1));
    let unknown = anybody(&host).get("/links/x").expect(404).text;
    for countries in [&["ut2"], &["pe"]] {
        let data = tempfile::tempdir().unwrap();
        std::fs::copy(host.data().join("link-keys"), data.path().join("link-keys")).unwrap();
        let elsewhere = Host::in_folder(countries, data.path());
        assert_eq!(anybody(&elsewhere).get(&confirm).expect(404).text, unknown, "{countries:?}");
        assert_eq!(post(&elsewhere, &confirm).expect(404).text, unknown, "{countries:?}");
    }
}

#[test]
fn a_host_without_a_public_address_warns_and_its_mail_says_how_else_to_act() {
    let data = tempfile::tempdir().unwrap();
    let (process, letter) = serve_and_book(data.path(), &[]);
    assert_eq!(
        letter.text.trim_end(),
        "You have an appointment. To confirm it: use the app, or call the hospital. To cancel it: use the app, or call the \
         hospital."
    );
    assert_eq!(letter.html, "");
    assert!(process.log().contains("no public address is set"), "{}", process.log());
}

#[test]
fn a_link_outlives_one_change_of_keys_and_no_second() {
    let data = tempfile::tempdir().unwrap();
    let start = || Host::set_up_in(&["ut2"], data.path(), |options| options.public_url = Some(BASE.parse().unwrap()));
    let (visit, [confirm, _]) = booked(&start(), &visit(1, 1));
    let keys = data.path().join("link-keys");
    let old = std::fs::read_to_string(&keys).unwrap();
    std::fs::write(&keys, format!("{}\n{old}", "0b".repeat(32))).unwrap();
    page(anybody(&start()).get(&confirm), 200, "Confirm the appointment");
    std::fs::write(&keys, format!("{}\n{}\n", "0c".repeat(32), "0b".repeat(32))).unwrap();
    let host = start();
    page(post(&host, &confirm), 404, "This link does not work");
    untouched(&host, &visit);
}

#[test]
fn a_link_has_a_rate_limit_of_its_own() {
    let host = Host::set_up(&["ut2"], |options| {
        options.public_url = Some(BASE.parse().unwrap());
        options.rate_limit = 2;
    });
    let [(_, [one, _]), (_, [other, _])] = [(1, "ana"), (2, "bea")].map(|(number, subject)| {
        let booked = host.patient(subject).booked("ut", &visit(number.into(), number));
        (booked, mailed(&host, number.into(), "booked"))
    });
    let limited = (0..100).map(|_| anybody(&host).get(&one)).find(|answer| answer.status != 200).unwrap();
    assert!(!limited.header("retry-after").is_empty());
    limited.expect_problem(429, "slow-down");
    page(anybody(&host).get(&other), 200, "Confirm the appointment");
}

#[test]
fn the_html_of_a_mail_has_the_same_link() {
    let host = host();
    let (_, [confirm, _]) = booked(&host, &visit(1, 1));
    let letter = host.spool().letters().remove(0);
    assert!(letter.html.contains(&format!("<a href=\"{BASE}{confirm}\">Confirm</a>")), "{}", letter.html);
}

/// Starts the program with the rules in use, and books a visit. Returns its mail.
fn serve_and_book(data: &Path, options: &[&str]) -> (Process, Letter) {
    let file = data.join("ut.wasm");
    std::fs::write(&file, component("ut2")).unwrap();
    publish_file(&data.join("registry"), "ut", &file, &version("ut2"), &folder("ut2").join("cases"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--log", "debug"];
    let process = Process::start(&[&serve, options].concat());
    process.client(&token(data, &[])).booked("ut", &visit(1, 1));
    let letter = Spool::in_data(data).wait_for(1).remove(0);
    (process, letter)
}

#[test]
fn a_host_never_logs_the_address_of_a_link() {
    let data = tempfile::tempdir().unwrap();
    let (process, letter) = serve_and_book(data.path(), &["--public-url", BASE]);
    let [confirm, _]: [String; 2] = links(&letter).try_into().unwrap();
    let anybody = Client::new(&process.base, None);
    anybody.get(&confirm).expect(200);
    anybody.request("POST", &confirm).send().expect(200);
    anybody.request("PUT", &confirm).send().expect(405);
    let log = eventually("the last request", Duration::from_secs(20), || {
        let log = process.log();
        log.contains("405").then_some(log)
    });
    assert!(log.contains("/links/{token}"), "{log}");
    assert!(!log.contains(confirm.trim_start_matches("/links/")), "{log}");
}
