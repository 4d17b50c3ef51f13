//! Agendas of doctors: staff set them up, free slots come from them, and bookings lie in them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, with};
use crate::support::requests::{cl, day, pe};

const PLACE: &str = "/v1/pe/agendas/45678";
const WEEK: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Returns an agenda with these hours on every day of the week.
fn daily(from: &str, to: &str) -> Value {
    let hours = |weekday: &&str| json!({ "weekday": weekday, "from": from, "to": to, "minutes": 30, "zone": "America/Lima", "hospital": "00006219" });
    json!({ "weekly": WEEK.iter().map(hours).collect::<Vec<_>>() })
}

fn put(client: &Client, path: &str, condition: (&'static str, &str), agenda: &Value) -> Answer {
    client.request("PUT", path).header(condition.0, condition.1).header("Accept-Language", "en").json(agenda).send()
}

fn create(client: &Client, path: &str, agenda: &Value) -> Value {
    put(client, path, ("If-None-Match", "*"), agenda).expect(201).json()
}

/// Returns Peru's request `number` with the doctor of these tests, on the first working day.
fn request(number: usize, time: &str) -> Value {
    with(&pe(number), json!({ "doctor": "45678", "time": time }))
}

fn starts(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/pe/slots?{query}&from={}&days=1", day("pe", 0))).expect(200).json();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|slot| slot["start"].as_str().unwrap()[11..16].to_owned()).collect()
}

#[test]
fn a_doctor_with_an_agenda_is_booked_inside_it_alone() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    create(&staff, PLACE, &daily("09:00", "10:30"));
    let place = "doctor=45678&hospital=00006219&district=150122";
    assert_eq!(starts(&ana, place), ["09:00", "09:30", "10:00"]);
    let language = |language: &str| {
        let book = ana.request("POST", "/v1/pe/appointments").header("Accept-Language", language);
        let refused = book.json(&request(1, "11:00")).send().expect(422);
        assert_eq!(refused.violations(), [(String::new(), "agenda.outside".to_owned())]);
        refused.json()["violations"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(language("en"), "the doctor does not see patients at that time");
    assert_eq!(language("es"), "el médico no atiende a esa hora");
    let elsewhere = with(&request(1, "09:00"), json!({ "hospital": "00006220" }));
    assert_eq!(ana.book("pe", &elsewhere).expect(422).violations()[0].1, "agenda.outside");
    let booked = ana.booked("pe", &request(1, "09:30"));
    assert_eq!(starts(&ana, place), ["09:00", "10:00"]);

    // What is near a taken time is in the agenda, too.
    let taken = host.patient("bea").book("pe", &request(2, "09:30")).expect_problem(409, "slot-taken");
    let near = taken["freeSlots"].as_array().unwrap().iter().map(|free| &free["start"].as_str().unwrap()[11..]);
    assert!(
        near.clone().count() == 3 && near.clone().all(|time| ["09:00", "09:30", "10:00"].contains(&time)),
        "{taken}"
    );

    // An emergency may be anywhere. An action that keeps the time is not checked, and one that moves it is.
    let urgent = with(&request(3, "15:00"), json!({ "emergency": true }));
    staff.booked("pe", &urgent);
    let act = |action: &str, input: Value| {
        staff.post(&format!("/v1/pe/appointments/{}/{action}", booked["id"].as_str().unwrap()), &input)
    };
    put(&staff, PLACE, ("If-Match", "\"1\""), &daily("12:00", "13:00")).expect(200);
    let moved = |time: &str| act("reschedule", json!({ "date": day("pe", 0), "time": time }));
    assert_eq!(moved("10:00").expect(422).violations()[0].1, "agenda.outside");
    moved("12:30").expect(200);
    put(&staff, PLACE, ("If-Match", "\"2\""), &json!({ "weekly": [] })).expect(200);
    act("cancel", json!({})).expect(200);
    let empty = ana.get(&format!("/v1/pe/slots?{place}&from={}", day("pe", 0))).expect(200).json();
    assert_eq!(empty["reason"]["code"], "no-agenda");
}

#[test]
fn a_change_of_the_agenda_leaves_a_hold_until_it_ends() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    create(&staff, PLACE, &daily("09:00", "10:30"));
    let path = "/v1/pe/slots?doctor=45678&hospital=00006219&district=150122";
    let slots = ana.get(&format!("{path}&from={}&days=1", day("pe", 0))).expect(200).json();
    let hold = |number: usize| ana.post("/v1/pe/holds", &json!({ "slot": slots["items"][number]["slot"] }));
    let [first, second] = [0, 1].map(|number| hold(number).expect(201).json());
    let moved = put(&staff, PLACE, ("If-Match", "\"1\""), &daily("12:00", "13:00")).expect(200);
    assert_eq!(moved.json()["outside"], json!([]));
    assert_eq!(hold(2).expect(422).violations(), [(String::new(), "not-offered".to_owned())]);
    let of_slot = json!({ "date": null, "time": null, "doctor": null, "hospital": null });
    let book = |number: usize, by: Value| ana.book("pe", &with(&with(&pe(number), of_slot.clone()), by));
    let by_slot = book(1, json!({ "slot": slots["items"][2]["slot"] })).expect(422);
    assert_eq!(by_slot.violations()[0].1, "agenda.outside");
    let booked = book(2, json!({ "hold": first["id"] })).expect(201).json();
    assert_eq!(booked["startsAt"], first["startsAt"]);
    host.clock.advance(Duration::from_mins(5));
    assert_eq!(book(3, json!({ "hold": second["id"] })).expect(422).violations()[0].1, "agenda.outside");
}

#[test]
fn an_agenda_is_created_once_and_replaced_by_whoever_has_read_it() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    staff.get(PLACE).expect_problem(404, "not-found");
    staff.get(&format!("{PLACE}/history")).expect_problem(404, "not-found");
    let (morning, noon) = (daily("09:00", "10:00"), daily("12:00", "13:00"));
    let unconditional = staff.request("PUT", PLACE).json(&morning).send();
    unconditional.expect_problem(428, "precondition-required");
    put(&staff, PLACE, ("If-Match", "\"1\""), &morning).expect_problem(412, "stale");
    put(&staff, PLACE, ("If-Match", "*"), &morning).expect_problem(412, "stale");
    let created = put(&staff, "/v1/pe/agendas/045678", ("If-None-Match", "*"), &morning).expect(201);
    assert_eq!((created.header("etag"), created.header("location")), ("\"1\"", "/v1/pe/agendas/45678"));
    assert_eq!(created.header("cache-control"), "private, no-cache");
    let first = created.json();
    assert_eq!(
        (&first["doctor"], &first["revision"], &first["agenda"]["weekly"][0]["from"]),
        (&json!("45678"), &json!(1), &json!("09:00"))
    );
    put(&staff, PLACE, ("If-None-Match", "*"), &noon).expect_problem(412, "stale");
    for stale in ["\"2\"", "W/\"1\"", "\"01\"", ""] {
        put(&staff, PLACE, ("If-Match", stale), &noon).expect_problem(412, "stale");
    }
    put(&staff, PLACE, ("If-None-Match", "\"1\""), &noon).expect_problem(400, "malformed-request");
    let replaced = put(&staff, PLACE, ("If-Match", "\"7\", \"1\""), &noon).expect(200);
    assert_eq!((replaced.header("etag"), &replaced.json()["by"]["role"]), ("\"2\"", &json!("staff")));
    put(&staff, PLACE, ("If-Match", "*"), &morning).expect(200);

    let read = staff.get(PLACE).expect(200);
    assert_eq!((read.header("etag"), &read.json()["agenda"]["weekly"][0]["from"]), ("\"3\"", &json!("09:00")));
    let again = staff.request("GET", PLACE).header("If-None-Match", "\"3\"").send().expect(304);
    assert_eq!(again.header("etag"), "\"3\"");
    staff.request("GET", PLACE).header("If-Match", "\"2\"").send().expect_problem(412, "stale");
    let head = staff.request("HEAD", PLACE).send().expect(200);
    assert_eq!((head.header("etag"), head.header("content-length")), ("\"3\"", read.header("content-length")));

    let history = staff.get(&format!("{PLACE}/history?limit=2")).expect(200).json();
    let of = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|item| item["revision"].as_u64().unwrap()).collect()
    };
    assert_eq!(of(&history), [1, 2]);
    let cursor = history["nextCursor"].as_str().unwrap();
    let rest = staff.get(&format!("{PLACE}/history?limit=2&cursor={cursor}")).expect(200).json();
    assert_eq!((of(&rest), rest.get("nextCursor")), (vec![3], None));
    let subject = history["items"][0]["by"]["subject"].as_str().unwrap();
    assert!(!subject.is_empty() && history["items"][1]["agenda"] == replaced.json()["agenda"], "{history}");
}

#[test]
fn a_dry_run_stores_nothing_and_names_the_appointments_outside() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    let early = ana.booked("pe", &request(1, "09:00"));
    let late = ana.booked("pe", &request(2, "15:00"));
    let gone = ana.booked("pe", &request(3, "16:00"));
    ana.post(&format!("/v1/pe/appointments/{}/cancel", gone["id"].as_str().unwrap()), &json!({})).expect(200);
    let outside = |answer: Answer| {
        let answer = answer.json();
        assert_eq!(answer["more"], false);
        answer["outside"].clone()
    };
    let dry = format!("{PLACE}?dry-run=true");
    let one = json!([{ "id": late["id"], "startsAt": late["startsAt"] }]);
    let tried = staff.request("PUT", &dry).json(&daily("09:00", "10:00")).send().expect(200);
    assert_eq!(outside(tried), one);
    staff.get(PLACE).expect_problem(404, "not-found");
    assert_eq!(outside(put(&staff, PLACE, ("If-None-Match", "*"), &daily("09:00", "10:00"))), one);
    put(&staff, &dry, ("If-Match", "\"2\""), &daily("15:00", "16:00")).expect_problem(412, "stale");
    let both = put(&staff, &dry, ("If-Match", "\"1\""), &json!({ "weekly": [] })).expect(200);
    assert_eq!(both.json()["outside"].as_array().unwrap().len(), 2);
    assert_eq!(staff.get(PLACE).expect(200).json()["revision"], 1);
    for appointment in [early, late] {
        let now = ana.get(&format!("/v1/pe/appointments/{}", appointment["id"].as_str().unwrap())).expect(200).json();
        assert_eq!(now, appointment, "it stays");
    }
    staff
        .request("PUT", &format!("{PLACE}?dry-run=yes"))
        .json(&json!({}))
        .send()
        .expect_problem(400, "malformed-request");
    staff.request("PUT", &format!("{PLACE}?limit=1")).json(&json!({})).send().expect_problem(400, "malformed-request");
}

#[test]
fn an_agenda_that_is_not_valid_is_refused_with_a_pointer_to_each_member() {
    let host = Host::of(&["cl"]);
    let staff = host.staff("cl");
    let whole = json!({
        "weekday": "monday", "from": "09:00", "to": "12:00", "minutes": 20, "zone": "America/Santiago", "places": 1,
        "hospital": "109100", "request": { "modality": "presencial", "comuna": "13101" }, "since": "2026-12-01",
    });
    let refused =
        |agenda: &Value| put(&staff, "/v1/cl/agendas/123456", ("If-None-Match", "*"), agenda).expect(422).violations();
    for (changes, pointer, code) in [
        (json!({ "weekday": "lunes" }), "/weekday", "schema.enum"),
        (json!({ "weekday": null }), "/weekday", "schema.required"),
        (json!({ "day": "monday" }), "/day", "schema.additionalProperties"),
        (json!({ "from": "9:00" }), "/from", "schema.pattern"),
        (json!({ "from": "24:00" }), "/from", "schema.pattern"),
        (json!({ "to": "09:00" }), "/to", "agenda.order"),
        (json!({ "to": "08:00" }), "/to", "agenda.order"),
        (json!({ "minutes": 181 }), "/minutes", "agenda.too-long"),
        (json!({ "minutes": 4 }), "/minutes", "schema.minimum"),
        (json!({ "minutes": 20.5 }), "/minutes", "schema.type"),
        (json!({ "places": 0 }), "/places", "schema.minimum"),
        (json!({ "zone": "America/Lima" }), "/zone", "agenda.zone"),
        (json!({ "hospital": "1" }), "/hospital", "agenda.hospital"),
        (json!({ "since": "2026-02-30" }), "/since", "schema.format"),
        (json!({ "until": "2026-11-30" }), "/until", "agenda.order"),
        (json!({ "request": { "modality": "casa" } }), "/request/modality", "schema.enum"),
        (json!({ "request": { "comuna": 13101 } }), "/request/comuna", "schema.type"),
        (json!({ "request": { "email": "ana@example.com" } }), "/request/email", "agenda.member"),
        (json!({ "request": { "a/b": 1 } }), "/request/a~1b", "agenda.member"),
    ] {
        let found = refused(
            &json!({ "weekly": [whole, with(&with(&whole, json!({ "weekday": "friday" })), changes.clone())] }),
        );
        assert_eq!(found, [(format!("/weekly/1{pointer}"), code.to_owned())], "{changes}");
    }
    let overlap = with(&whole, json!({ "from": "11:59", "to": "13:00" }));
    assert_eq!(
        refused(&json!({ "weekly": [whole, overlap] })),
        [("/weekly/1".to_owned(), "agenda.overlap".to_owned())]
    );
    let dated = with(&whole, json!({ "weekday": null, "since": null, "date": "2026-12-07" }));
    let agenda = json!({ "weekly": [whole], "extra": [dated] });
    assert_eq!(refused(&agenda), [("/extra/0".to_owned(), "agenda.overlap".to_owned())]);
    let backwards = json!({ "weekly": [], "closed": [{ "date": "2026-12-07", "from": "10:00", "to": "09:00" }] });
    assert_eq!(refused(&backwards), [("/closed/0/to".to_owned(), "agenda.order".to_owned())]);
    for (document, pointer, code) in [
        (json!({}), "/weekly", "schema.required"),
        (json!({ "weekly": {} }), "/weekly", "schema.type"),
        (json!([]), "", "schema.type"),
        (json!({ "weekly": vec![json!(null); 101] }), "/weekly", "schema.maxItems"),
    ] {
        assert!(refused(&document).contains(&(pointer.to_owned(), code.to_owned())), "{document}");
    }
    let twice = staff.request("PUT", "/v1/cl/agendas/123456").header("If-None-Match", "*");
    twice
        .header("Content-Type", "application/json")
        .body(b"{\"weekly\":[],\"weekly\":[]}".to_vec())
        .send()
        .expect_problem(400, "malformed-request");
    staff.get("/v1/cl/agendas/123456").expect_problem(404, "not-found");
    put(&staff, "/v1/cl/agendas/123456", ("If-None-Match", "*"), &json!({ "weekly": [whole] })).expect(201);
}

#[test]
fn agendas_are_for_the_staff_of_a_country_with_free_slots() {
    let host = Host::of(&["pe", "cl", "ut"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    create(&staff, PLACE, &daily("09:00", "10:00"));
    let agenda = daily("09:00", "10:00");
    let history = format!("{PLACE}/history");
    for other in [&ana, &host.staff("cl"), &host.client("eva", &["pe:staff"], &["rules/read"])] {
        for path in ["/v1/pe/agendas", PLACE, &history] {
            other.get(path).expect_problem(403, "forbidden");
        }
        put(other, PLACE, ("If-Match", "\"1\""), &agenda).expect_problem(403, "forbidden");
    }
    let reader = host.client("eva", &["pe:staff"], &["appointments/read"]);
    reader.get(PLACE).expect(200);
    put(&reader, PLACE, ("If-Match", "\"1\""), &agenda).expect_problem(403, "forbidden");
    let platform = host.client("ops", &["platform"], &["appointments/read", "appointments/write"]);
    put(&platform, PLACE, ("If-Match", "\"1\""), &agenda).expect(200);
    host.with_token(None).get(PLACE).expect_problem(401, "unauthenticated");
    host.staff("ut").get("/v1/ut/agendas").expect_problem(404, "not-found");
    staff.get("/v1/pe/agendas/Ana").expect_problem(404, "not-found");
    staff.get(&format!("/v1/pe/agendas/{}", "1".repeat(600))).expect_problem(404, "not-found");
    staff.request("DELETE", PLACE).send().expect_problem(405, "method-not-allowed");
}

#[test]
fn the_doctors_of_a_hospital_are_searched_together_and_listed() {
    let host = Host::of(&["pe"]);
    let (staff, ana) = (host.staff("pe"), host.patient("ana"));
    let other = |agenda: &Value| {
        let mut other = agenda.clone();
        other["weekly"].as_array_mut().unwrap().iter_mut().for_each(|hours| hours["hospital"] = "00006220".into());
        other
    };
    for (doctor, agenda) in
        [("1", daily("09:00", "10:00")), ("2", daily("09:30", "10:30")), ("3", other(&daily("08:00", "12:00")))]
    {
        create(&staff, &format!("/v1/pe/agendas/{doctor}"), &agenda);
    }
    assert_eq!(starts(&ana, "hospital=00006219&district=150122"), ["09:00", "09:30", "09:30", "10:00"]);
    let page = ana.get(&format!("/v1/pe/slots?hospital=00006219&district=150122&from={}&days=1", day("pe", 0))).json();
    let doctors: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|slot| slot["doctor"].as_str().unwrap()).collect();
    assert_eq!(doctors, ["1", "1", "2", "2"]);
    let wanted = with(
        &pe(1),
        json!({ "doctor": null, "hospital": null, "date": null, "time": null, "slot": page["items"][2]["slot"] }),
    );
    assert_eq!(ana.booked("pe", &wanted)["doctor"], "2");
    assert_eq!(starts(&ana, "hospital=00006219&district=150122"), ["09:00", "09:30", "10:00"]);

    let listed = |query: &str| {
        let page = staff.get(&format!("/v1/pe/agendas{query}")).expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        (items.map(|item| item["doctor"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), page["nextCursor"].clone())
    };
    assert_eq!(listed("").0, ["1", "2", "3"]);
    assert_eq!(listed("?hospital=00006219").0, ["1", "2"]);
    let (first, cursor) = listed("?limit=2");
    let (rest, end) = listed(&format!("?limit=2&cursor={}", cursor.as_str().unwrap()));
    assert_eq!((first.len(), rest, end), (2, vec!["3".to_owned()], Value::Null));
    staff.get("/v1/pe/agendas?doctor=1").expect_problem(400, "malformed-request");
    staff.get("/v1/pe/agendas?district=12").expect_problem(400, "malformed-request");

    // What is listed is the present, not what was read before.
    put(&staff, "/v1/pe/agendas/3", ("If-Match", "\"1\""), &daily("10:00", "10:30")).expect(200);
    assert_eq!(listed("?hospital=00006219").0, ["1", "2", "3"]);
    assert_eq!(starts(&ana, "hospital=00006219&district=150122"), ["09:00", "09:30", "10:00", "10:00"]);
}

#[test]
fn openings_fix_members_of_the_request() {
    let host = Host::of(&["cl"]);
    let (staff, ana) = (host.staff("cl"), host.patient("ana"));
    let hours = |weekday: &&str, from: &str, to: &str, modality: &str| {
        json!({
            "weekday": weekday, "from": from, "to": to, "minutes": 30, "zone": "America/Santiago", "hospital": "109100",
            "request": { "modality": modality },
        })
    };
    let weekly: Vec<Value> = WEEK
        .iter()
        .flat_map(|day| [hours(day, "09:00", "10:00", "presencial"), hours(day, "10:00", "11:00", "remota")])
        .collect();
    create(&staff, "/v1/cl/agendas/123456", &json!({ "weekly": weekly }));
    let path = format!("/v1/cl/slots?doctor=123456&hospital=109100&comuna=13101&from={}&days=1", day("cl", 0));
    let times = |query: &str| -> Vec<String> {
        let page = ana.get(&format!("{path}{query}")).expect(200).json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|slot| slot["start"].as_str().unwrap()[11..16].to_owned())
            .collect()
    };
    let remote = times("&modality=remota");
    assert!(!remote.is_empty() && remote.iter().all(|time| time.as_str() >= "10:00"), "{remote:?}");
    assert!(times("&modality=presencial").iter().all(|time| time.as_str() < "10:00"));
    let request =
        |modality: &str, time: &str| with(&cl(1), json!({ "doctor": "123456", "modality": modality, "time": time }));
    assert_eq!(ana.book("cl", &request("remota", "09:00")).expect(422).violations()[0].1, "agenda.outside");
    let slot = ana.get(&format!("{path}&modality=remota")).expect(200).json()["items"][0]["slot"].clone();
    let cleared = with(
        &request("remota", ""),
        json!({ "time": null, "date": null, "doctor": null, "hospital": null, "modality": null, "slot": slot }),
    );
    assert_eq!(ana.booked("cl", &cleared)["modality"], "remota");
}

#[test]
fn while_an_agenda_changes_each_booking_lies_in_it_or_is_named_outside() {
    let host = Host::of(&["pe"]);
    let (staff, done) = (host.staff("pe"), AtomicBool::new(false));
    create(&staff, PLACE, &daily("07:00", "17:00"));
    let (booked, outside) = std::thread::scope(|scope| {
        let booking = scope.spawn(|| {
            let mut booked = Vec::new();
            for number in 0..16 {
                let time = format!("{:02}:{:02}", 8 + number / 2, 30 * (number % 2));
                let answer = host.patient("ana").book("pe", &request(number, &time));
                if answer.status == 201 {
                    booked.push(answer.json()["id"].clone());
                } else {
                    assert_eq!(answer.expect(422).violations()[0].1, "agenda.outside");
                }
            }
            done.store(true, Ordering::Relaxed);
            booked
        });
        let mut outside = Vec::new();
        for revision in 1.. {
            let hours = if revision % 2 == 0 { daily("07:00", "17:00") } else { daily("07:00", "08:00") };
            let answer = put(&staff, PLACE, ("If-Match", &format!("\"{revision}\"")), &hours).expect(200).json();
            outside.push((revision, answer["outside"].clone()));
            if done.load(Ordering::Relaxed) && revision % 2 == 1 {
                break;
            }
        }
        (booking.join().unwrap(), outside)
    });
    // The last agenda has none of these times, so that each appointment is outside.
    let named: Vec<&Value> = outside.last().unwrap().1.as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(named.len(), booked.len());
    assert!(booked.iter().all(|id| named.contains(&id)), "{named:?}");
}

#[test]
fn a_session_is_no_doctors_opening_and_is_shown_once() {
    let host = Host::of(&["co"]);
    let (staff, ana) = (host.staff("co"), host.patient("ana"));
    let path = "/v1/co/slots?hospital=050010000101&specialty=vacunacion&municipality=05001&days=14&limit=1000";
    let sessions = || ana.get(path).expect(200).json()["items"].clone();
    let before = sessions();
    assert!(before.as_array().unwrap().len() > 5, "{before}");
    let mut agenda = daily("09:00", "17:00");
    for hours in agenda["weekly"].as_array_mut().unwrap() {
        (hours["zone"], hours["hospital"]) = (json!("America/Bogota"), json!("050010000101"));
    }
    create(&staff, "/v1/co/agendas/1234567", &agenda);
    assert_eq!(sessions(), before);
}
