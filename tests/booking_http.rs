//! The life of an appointment as a client of the API sees it: booking, reading, changing.

use citas_core::ports::Clock as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::components::version;
use crate::support::host::Host;
use crate::support::http::with;
use crate::support::requests::{cl, day, pe};

fn place(appointment: &Value) -> String {
    format!("/v1/{}/appointments/{}", appointment["country"].as_str().unwrap(), appointment["id"].as_str().unwrap())
}

fn action(appointment: &Value, name: &str) -> String {
    format!("{}/{name}", place(appointment))
}

#[test]
fn a_booking_answers_as_the_api_says() {
    let host = Host::of(&["pe"]);
    let request = with(&pe(1), json!({ "dni": "10117410-2" }));
    let answer = host.patient("ana").book("pe", &request).expect(201);
    let booked = answer.json();
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.header("location"), place(&booked));
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    let expected = [
        ("country", json!("pe")),
        ("phase", json!("booked")),
        ("status", json!("reservada")),
        ("revision", json!(1)),
        ("date", request["date"].clone()),
        ("time", json!("09:30")),
        ("startsAt", json!(format!("{}T14:30:00Z", request["date"].as_str().unwrap()))),
        ("startsAtLocal", json!(format!("{}T09:30:00-05:00", request["date"].as_str().unwrap()))),
        ("zone", json!("America/Lima")),
        ("minutes", json!(30)),
        ("dni", json!("10117410")),
        ("districtName", json!("Miraflores")),
    ];
    for (member, value) in expected {
        assert_eq!(booked[member], value, "{member}");
    }
    assert_eq!(booked["rules"]["version"], version("pe"));
    assert!(booked["rules"]["digest"].as_str().unwrap().starts_with("sha256:"));
    let found = host.patient("ana").get(&place(&booked)).expect(200);
    assert_eq!((found.json(), found.header("etag")), (booked, "\"1\""));
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let seen = ana.request("GET", &place(&booked)).header("If-None-Match", "\"1\"").send().expect(304);
    assert_eq!((seen.text.as_str(), seen.header("etag")), ("", "\"1\""));
    ana.post(&action(&booked, "cancel"), &json!({})).expect(200);
    ana.request("GET", &place(&booked)).header("If-None-Match", "\"1\"").send().expect(200);
}

#[test]
fn a_slot_is_taken_once_and_the_no_names_what_is_free() {
    let host = Host::of(&["pe"]);
    let first = pe(1);
    host.patient("ana").booked("pe", &first);
    let rival = with(&first, json!({ "dni": "20000002", "email": "luis@example.com" }));
    let answer = host.patient("luis").book("pe", &rival);
    assert!(!answer.text.contains("00000002"), "the other patient's name is in {}", answer.text);
    let problem = answer.expect_problem(409, "slot-taken");
    assert!(problem["claim"].as_str().unwrap().starts_with("doctor/10001/"), "{problem}");
    let free = problem["freeSlots"].as_array().unwrap();
    assert_eq!(free.len(), 3, "{problem}");
    let start = free[0]["start"].as_str().unwrap();
    assert_eq!(free[0]["startsAtLocal"], format!("{start}:00-05:00"));
    let time = start.split_once('T').unwrap().1;
    host.patient("luis").booked("pe", &with(&rival, json!({ "time": time })));
}

#[test]
fn a_patient_is_in_one_place_at_a_time() {
    let host = Host::of(&["pe"]);
    host.patient("ana").booked("pe", &pe(1));
    let elsewhere = with(&pe(1), json!({ "doctor": "99999", "time": "09:45" }));
    let problem = host.patient("ana").book("pe", &elsewhere).expect_problem(409, "slot-taken");
    assert!(problem["claim"].as_str().unwrap().starts_with("patient/"), "{problem}");

    let staff = host.staff("pe");
    staff.booked("pe", &pe(2));
    let elsewhere = with(&pe(2), json!({ "doctor": "99999", "time": "09:45" }));
    let problem = staff.book("pe", &elsewhere).expect_problem(409, "slot-taken");
    assert!(problem["claim"].as_str().unwrap().starts_with("patient/"), "{problem}");
}

/// Returns request `number` of one patient, each at another time and with another doctor.
fn of_one_patient(number: usize) -> Value {
    with(&pe(1), json!({ "doctor": (10_000 + number).to_string(), "time": format!("{:02}:00", 9 + number) }))
}

#[test]
fn a_patient_has_three_appointments_to_come_and_staff_may_book_more() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let booked: Vec<Value> = (0..3).map(|number| ana.booked("pe", &of_one_patient(number))).collect();
    let problem = ana.book("pe", &of_one_patient(3)).expect_problem(409, "slot-taken");
    let said = &problem["violations"][0];
    assert_eq!((&said["pointer"], &said["code"]), (&json!("/dni"), &json!("pe.patient.limit")), "{problem}");
    assert_eq!(problem["freeSlots"], json!([]), "no other time would do");

    let moved = json!({ "date": day("pe", 1), "time": "10:00" });
    ana.post(&action(&booked[0], "reschedule"), &moved).expect(200);
    for number in 3..8 {
        staff.booked("pe", &of_one_patient(number));
    }
    ana.book("pe", &of_one_patient(8)).expect_problem(409, "slot-taken");
    ana.post(&action(&booked[0], "cancel"), &json!({})).expect(200);
    ana.booked("pe", &of_one_patient(8));
}

#[test]
fn an_account_has_ten_appointments_to_come_for_whomever_it_books() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let first = ana.booked("pe", &pe(0));
    for number in 1..10 {
        ana.booked("pe", &pe(number));
    }
    let answer = ana.request("POST", "/v1/pe/appointments").header("Accept-Language", "en").json(&pe(10)).send();
    let problem = answer.expect_problem(409, "slot-taken");
    assert_eq!(problem["violations"][0]["code"], "pe.account.limit", "{problem}");
    assert!(problem["violations"][0]["message"].as_str().unwrap().contains("ten appointments"), "{problem}");
    host.patient("luis").booked("pe", &pe(11));
    ana.post(&action(&first, "cancel"), &json!({})).expect(200);
    let booked = ana.booked("pe", &pe(10));
    assert_eq!(booked.get("account"), None, "the account is not shown: {booked}");
}

#[test]
fn a_visit_takes_place_once_the_patient_has_arrived() {
    for (country, request) in [("pe", pe(1)), ("cl", cl(1))] {
        let host = Host::of(&[country]);
        let booked = host.patient("ana").booked(country, &request);
        let at = |action: &str| format!("/v1/{country}/appointments/{}/{action}", booked["id"].as_str().unwrap());
        let start: Timestamp = booked["startsAt"].as_str().unwrap().parse().unwrap();
        host.patient("ana").post(&at("arrive"), &json!({})).expect_problem(403, "forbidden");
        let early = host.staff(country).post(&at("arrive"), &json!({}));
        assert_eq!(early.violations(), [(String::new(), format!("{country}.arrive.too-early"))]);
        host.clock.advance(start.duration_since(host.clock.now()).try_into().unwrap());
        let staff = host.staff(country);
        staff.post(&at("complete"), &json!({})).expect_problem(409, "not-allowed-now");
        for (action, phase) in [("arrive", "arrived"), ("complete", "fulfilled")] {
            let answer = staff.post(&at(action), &json!({})).expect(200).json();
            assert_eq!(answer["phase"], phase);
        }
    }
}

#[test]
fn cancelling_frees_the_slot_and_happens_once() {
    let host = Host::of(&["pe"]);
    let (ana, luis) = (host.patient("ana"), host.patient("luis"));
    let booked = ana.booked("pe", &pe(1));
    let answer = ana.post(&action(&booked, "cancel"), &json!({ "reason": "Viaje" })).expect(200);
    let cancelled = answer.json();
    assert_eq!((&cancelled["phase"], &cancelled["revision"]), (&json!("cancelled"), &json!(2)));
    assert_eq!(answer.header("etag"), "\"2\"");

    luis.booked("pe", &with(&pe(1), json!({ "dni": "20000002" })));
    let again = ana.post(&action(&booked, "cancel"), &json!({}));
    assert_eq!(again.violations(), [(String::new(), "pe.cancel.not-allowed-now".to_owned())]);
    again.expect_problem(409, "not-allowed-now");
}

#[test]
fn rescheduling_moves_the_claims() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    // A quarter of an hour later: the appointment already holds half of the claims.
    let moved = ana.post(&action(&booked, "reschedule"), &json!({ "date": booked["date"], "time": "09:45" }));
    assert_eq!(moved.expect(200).json()["time"], "09:45");
    let later = json!({ "date": day("pe", 1), "time": "11:00" });
    let moved = ana.post(&action(&booked, "reschedule"), &later).expect(200).json();
    assert_eq!((&moved["date"], &moved["revision"]), (&later["date"], &json!(3)));

    let luis = host.patient("luis");
    let rival = with(&pe(1), json!({ "dni": "20000002" }));
    luis.booked("pe", &rival);
    let taken = with(&rival, json!({ "dni": "20000003", "date": later["date"], "time": "11:15" }));
    luis.book("pe", &taken).expect_problem(409, "slot-taken");
    let back = ana.post(&action(&booked, "reschedule"), &json!({ "date": booked["date"], "time": "09:30" }));
    back.expect_problem(409, "slot-taken");
    assert_eq!(ana.get(&place(&booked)).json(), moved, "a refused change changes nothing");
}

#[test]
fn a_change_of_an_old_revision_is_stale() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let cancel =
        |tag: &str| ana.request("POST", &action(&booked, "cancel")).header("If-Match", tag).json(&json!({})).send();
    cancel("\"7\"").expect_problem(412, "stale");
    cancel("W/\"1\"").expect_problem(412, "stale");
    for other in ["\"+1\"", "\"01\"", "\"1-anything\"", "\"x,y\"", "\"\"", ","] {
        cancel(other).expect_problem(412, "stale");
    }
    cancel("1").expect_problem(400, "malformed-request");
    cancel("\"7\", \"1\",").expect(200);
    cancel("\"1\"").expect_problem(412, "stale");
}

#[test]
fn of_two_changes_of_one_revision_one_wins() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let move_to = |time: &str| {
        let input = json!({ "date": booked["date"], "time": time });
        ana.request("POST", &action(&booked, "reschedule")).header("If-Match", "\"1\"").json(&input).send()
    };
    let times = ["10:00", "11:00", "12:00", "13:00"];
    let mut statuses = std::thread::scope(|scope| {
        let moves = times.map(|time| scope.spawn(move || move_to(time).status));
        moves.map(|moved| moved.join().unwrap())
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    assert_eq!(ana.get(&place(&booked)).json()["revision"], 2);
}

#[test]
fn the_history_says_what_was_done_by_whom_under_which_rules() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    ana.post(&action(&booked, "reschedule"), &json!({ "date": booked["date"], "time": "15:00" })).expect(200);
    let cancelled = host.staff("pe").post(&action(&booked, "cancel"), &json!({})).expect(200);
    let history = ana.get(&action(&booked, "history")).expect(200).json();
    let items = history["items"].as_array().unwrap();
    let column = |member: &str| items.iter().map(|item| item[member].clone()).collect::<Vec<_>>();
    assert_eq!(column("revision"), [1, 2, 3]);
    assert_eq!(column("action"), ["book", "reschedule", "cancel"]);
    let by = |subject: &str, role: &str| json!({ "subject": subject, "role": role });
    assert_eq!(column("by"), [by("ana", "patient"), by("ana", "patient"), json!({ "role": "staff" })]);
    assert!(items.iter().all(|item| item["rules"] == booked["rules"] && item["contract"] == "2.0.0"));
    assert_eq!(items[2]["requestId"], cancelled.header("x-request-id"));
    assert_eq!((&items[0]["appointment"], &items[2]["appointment"]), (&booked, &cancelled.json()));
    for team in [host.staff("pe"), host.platform_team()] {
        let seen = team.get(&action(&booked, "history")).expect(200).json();
        assert_eq!(seen["items"][2]["by"], by("staff", "staff"), "subjects are for staff and the platform");
    }
}

#[test]
fn a_long_history_comes_in_pages() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    for hour in 10..14 {
        let to = json!({ "date": booked["date"], "time": format!("{hour}:00") });
        ana.post(&action(&booked, "reschedule"), &to).expect(200);
    }
    let (mut next, mut revisions) = (Some(format!("{}?limit=2", action(&booked, "history"))), Vec::new());
    while let Some(path) = next {
        let answer = ana.get(&path).expect(200);
        let page = answer.json();
        revisions.extend(page["items"].as_array().unwrap().iter().map(|item| item["revision"].clone()));
        let link = answer.header("link").strip_prefix('<').and_then(|rest| rest.split_once('>'));
        next = link.map(|(target, _)| target.to_owned());
    }
    assert_eq!(revisions, [1, 2, 3, 4, 5]);
}

#[test]
fn a_refusal_is_told_in_the_language_that_is_asked_for() {
    let host = Host::of(&["pe"]);
    let wrong = with(&pe(1), json!({ "dni": "10117410-3", "time": "09:31" }));
    let told = |language: &str| {
        let request = host.patient("ana").request("POST", "/v1/pe/appointments").json(&wrong);
        let answer = request.header("Accept-Language", language).send();
        assert_eq!(answer.header("content-language"), language);
        let codes: Vec<_> = answer.violations();
        let expected = [("/dni", "pe.dni.check-digit"), ("/time", "pe.time.off-grid")];
        assert!(codes.iter().map(|(at, code)| (at.as_str(), code.as_str())).eq(expected), "{codes:?}");
        let problem = answer.expect_problem(422, "rules-violated");
        problem["violations"].as_array().unwrap().iter().map(|said| said["message"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        told("es-PE"),
        [
            "El DNI no coincide con su dígito o letra de verificación. Revise ambos.",
            "Las citas empiezan cada 15 minutos a partir de la hora en punto.",
        ]
    );
    assert_eq!(
        told("en"),
        [
            "The DNI does not match its check digit or letter. Please check both.",
            "Appointments start every 15 minutes from the full hour.",
        ]
    );
}

#[test]
fn a_request_that_breaks_the_schema_is_told_every_place() {
    let host = Host::of(&["pe"]);
    let wrong = with(&pe(1), json!({ "email": null, "doctor": 7, "favourite": "blue" }));
    let answer = host.patient("ana").book("pe", &wrong);
    let mut violations = answer.violations();
    violations.sort();
    let expected =
        [("/doctor", "schema.type"), ("/email", "schema.required"), ("/favourite", "schema.additionalProperties")];
    assert_eq!(violations, expected.map(|(at, code)| (at.to_owned(), code.to_owned())));
    answer.expect_problem(422, "rules-violated");
}

#[test]
fn a_violation_of_the_schema_is_told_in_words_with_its_params() {
    let host = Host::of(&["pe", "cl"]);
    let told = |country: &str, request: &Value, language: &str| {
        let request = host.patient("ana").request("POST", &format!("/v1/{country}/appointments")).json(request);
        let answer = request.header("Accept-Language", language).send();
        answer.expect_problem(422, "rules-violated")["violations"].as_array().unwrap().clone()
    };
    let short = with(&pe(1), json!({ "dni": "1011741", "coverage": "visa" }));
    let [coverage, dni] = &told("pe", &short, "es")[..] else { panic!("two violations") };
    let words = "El DNI tiene ocho dígitos, con o sin su dígito o letra de verificación: 10117410-2.";
    assert_eq!((&dni["code"], &dni["message"]), (&json!("schema.pattern"), &json!(words)));
    let pattern = "^[0-9]{8}(-?[0-9A-Ka-k])?$";
    assert_eq!(dni["params"], json!({ "expected": pattern, "title": "DNI", "example": "10117410-2" }));
    assert_eq!(coverage["params"]["expected"], "sis, essalud, eps, private, self");
    let late = told("pe", &with(&pe(1), json!({ "time": "21:15" })), "es");
    assert_eq!(late[0]["params"]["weekdays"], "07:00–20:00", "{late:?}");

    for (country, request) in [("pe", pe(1)), ("cl", cl(1))] {
        for language in ["es", "en"] {
            for wrong in
                [json!("~"), json!(""), json!(7), json!(true), json!([{}]), json!({ "a": {} }), json!("x".repeat(999))]
            {
                let everything = request.as_object().unwrap().keys().map(|name| (name.clone(), wrong.clone()));
                for said in told(country, &everything.collect(), language) {
                    let message = said["message"].as_str().unwrap();
                    assert!(!message.contains(['^', '[', '{', '\\', '"']), "{said}");
                }
            }
        }
    }
}

#[test]
fn the_schema_lists_the_codes_with_their_params_and_texts() {
    let host = Host::of(&["pe"]);
    let codes = host.with_token(None).get("/v1/pe/schema").expect(200).json()["codes"].clone();
    let holiday = json!({ "params": ["holiday"], "messages": {
        "en": "That day is a public holiday ({holiday}). Please choose another date.",
        "es-PE": "Ese día es feriado ({holiday}). Elija otra fecha.",
    } });
    assert_eq!(codes["pe.date.holiday"], holiday);
    let minimum = json!({ "params": ["example", "expected", "title"], "messages": {
        "en": "{title}: must be at least {expected}", "es-PE": "{title}: debe ser al menos {expected}",
    } });
    assert_eq!(codes["schema.minimum"], minimum);
    for code in ["time.nonexistent", "schema.required", "schema.pattern:/dni"] {
        assert!(codes[code]["messages"]["es-PE"].is_string(), "{code} in {codes}");
    }
}

#[test]
fn a_name_in_a_message_that_looks_like_a_placeholder_stays_as_it_is() {
    let host = Host::of(&["pe"]);
    for name in ["{code}", "{property}", "{{code}}", "{", "{}"] {
        let request = host.patient("ana").request("POST", "/v1/pe/appointments").header("Accept-Language", "en");
        let problem = request.json(&with(&pe(1), json!({ name: 1 }))).send().expect_problem(422, "rules-violated");
        assert_eq!(problem["violations"][0]["message"], format!("`{name}` is not known here"));
    }
}
