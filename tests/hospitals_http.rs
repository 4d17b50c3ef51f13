//! Staff of single hospitals: they see and change what is there, and nothing else of their country.

use std::collections::BTreeSet;

use citas_core::model::Scope;
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Answer, Client, form, with};
use crate::support::requests::{day, pe};

const OWN: &str = "00006219";
const OTHER: &str = "00006220";
const LIST: &str = "/v1/pe/appointments";

/// Id that no appointment has.
const NOBODYS: &str = "01935f00-0000-7000-8000-000000000000";

/// Returns a member of the staff of these hospitals.
fn staff_of(host: &Host, country: &str, hospitals: &[&str]) -> Client {
    let groups: Vec<String> = hospitals.iter().map(|hospital| format!("{country}:staff:{hospital}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    host.client("eva", &groups, &Scope::ALL.map(Scope::as_str))
}

/// Returns Peru's request `number` at a hospital.
fn at(hospital: &str, number: usize) -> Value {
    with(&pe(number), json!({ "hospital": hospital }))
}

fn place(appointment: &Value) -> String {
    format!("{LIST}/{}", appointment["id"].as_str().unwrap())
}

fn ids(page: &Value) -> BTreeSet<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap()
}

#[test]
fn what_is_at_another_hospital_looks_like_none_at_all() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let (own, other) = (ana.booked("pe", &at(OWN, 1)), ana.booked("pe", &at(OTHER, 2)));
    let eva = staff_of(&host, "pe", &[OWN]);
    let send = |method: &str, path: &str| {
        let request = eva.request(method, path);
        if method == "GET" { request.send() } else { request.json(&json!({})).send() }
    };
    for (method, before, after) in [
        ("GET", format!("{LIST}/"), ""),
        ("GET", format!("{LIST}/"), "/history"),
        ("GET", "/v1/pe/slots?appointment=".to_owned(), ""),
        ("POST", format!("{LIST}/"), "/verify"),
        ("POST", format!("{LIST}/"), "/no-show"),
        ("POST", format!("{LIST}/"), "/cancel"),
    ] {
        let ask = |id: &str| send(method, &format!("{before}{id}{after}"));
        let missing = |id: &str| form(&ask(id).expect_problem(404, "not-found"));
        assert_eq!(missing(other["id"].as_str().unwrap()), missing(NOBODYS), "{method} {before}{after}");
        assert_ne!(ask(own["id"].as_str().unwrap()).status, 404, "{method} {before}{after}");
    }
    assert_eq!(ana.get(&place(&other)).expect(200).json()["revision"], 1);
}

#[test]
fn a_list_has_the_appointments_of_all_hospitals_of_a_member_of_staff_in_order() {
    let host = Host::of(&["pe"]);
    let desk = host.staff("pe");
    let (hospitals, mut expected) = ([OWN, OTHER, "00006221"], Vec::new());
    for number in 0..12 {
        let time = format!("{:02}:{:02}", 9 + number / 2, number % 2 * 30);
        let booked = desk.booked("pe", &with(&at(hospitals[number % 3], number), json!({ "time": time })));
        if number % 3 < 2 {
            expected.push(booked["id"].as_str().unwrap().to_owned());
        }
    }
    let eva = staff_of(&host, "pe", &[OWN, OTHER]);
    let walk = |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = eva.get(&format!("{LIST}?limit=3{query}{cursor}")).expect(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 3, "{page}");
            found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(walk(""), expected);
    let mut reversed = walk("&order=desc");
    reversed.reverse();
    assert_eq!(reversed, expected);
    let own: Vec<String> = expected.iter().step_by(2).cloned().collect();
    assert_eq!(walk(&format!("&hospital={OWN}")), own);
    assert_eq!(walk("&hospital=00006221"), [""; 0], "it is another's");
    assert_eq!(walk("&patient=dni:00000003"), [""; 0], "no filter finds another's");
    assert_eq!(walk("&patient=dni:00000002"), [expected[1].clone()]);
}

#[test]
fn nothing_is_booked_at_another_hospital() {
    let host = Host::of(&["pe", "co"]);
    let eva = staff_of(&host, "pe", &[OWN, "00006221"]);
    let problem = eva.book("pe", &at(OTHER, 1)).expect_problem(403, "forbidden");
    assert!(detail(&problem).contains("other hospitals than `00006220`"), "{problem}");
    assert_eq!(ids(&host.staff("pe").get(LIST).expect(200).json()).len(), 0);
    let booked = eva.booked("pe", &at(OWN, 1));
    assert_eq!(eva.get(&place(&booked)).expect(200).json(), booked);
    eva.post(&format!("{}/cancel", place(&booked)), &json!({})).expect(200);

    // A request has no hospital until the staff of the country assign it one.
    let request = json!({
        "specialty": "medicina-general", "document": { "type": "CC", "number": "1000001" },
        "municipality": "05001", "eps": "EPS001", "email": "patient1@example.com",
    });
    let clara = staff_of(&host, "co", &["050010000101"]);
    let problem = clara.book("co", &request).expect_problem(403, "forbidden");
    assert!(detail(&problem).contains("has none"), "{problem}");
    let requested = host.patient("ana").booked("co", &request);
    let place = format!("/v1/co/appointments/{}", requested["id"].as_str().unwrap());
    clara.get(&place).expect_problem(404, "not-found");
    assert_eq!(ids(&clara.get("/v1/co/appointments").expect(200).json()).len(), 0);
    host.staff("co").get(&place).expect(200);
}

#[test]
fn a_group_of_the_whole_staff_counts_more_than_one_of_a_hospital() {
    let host = Host::of(&["pe", "cl"]);
    let booked = host.patient("ana").booked("pe", &at(OTHER, 1));
    let scopes = Scope::ALL.map(Scope::as_str);
    let of = |groups: &[&str]| host.client("eva", groups, &scopes).get(&place(&booked)).status;
    assert_eq!(of(&["pe:staff:00006219", "pe:staff"]), 200);
    assert_eq!(of(&["pe:staff:00006219", "pe:staff:00006220"]), 200);
    assert_eq!(of(&["pe:staff:00006219", "cl:staff"]), 404);
    assert_eq!(of(&["pe:staff:"]), 404);
    assert_eq!(of(&["cl:staff:00006220"]), 403);
    assert_eq!(of(&["pe:staff:00006219", "platform"]), 200);
}

#[test]
fn a_conflict_with_what_is_at_another_hospital_names_nothing() {
    let host = Host::of(&["pe"]);
    let same_patient = |hospital: &str, doctor: &str| with(&at(hospital, 1), json!({ "doctor": doctor }));
    host.staff("pe").booked("pe", &same_patient(OTHER, "45678"));
    let take = |hospital: &str| {
        let book = staff_of(&host, "pe", &[hospital]).book("pe", &same_patient(hospital, "45679"));
        book.expect_problem(409, "slot-taken")
    };
    let (hidden, named) = (take(OWN), take(OTHER));
    assert!(named.to_string().contains("pe.patient.taken"), "{named}");
    assert_eq!((hidden.get("violations"), &hidden["freeSlots"]), (None, &json!([])), "{hidden}");
    assert_eq!(hidden["detail"], "that time is taken");
}

#[test]
fn a_repeated_booking_is_shown_while_its_caller_may_see_it() {
    let host = Host::of(&["pe"]);
    let book = |client: &Client| client.request("POST", LIST).key("k-1").json(&at(OWN, 1)).send();
    let booked = book(&staff_of(&host, "pe", &[OWN, OTHER])).expect(201).json();
    assert_eq!(book(&staff_of(&host, "pe", &[OWN])).expect(201).json(), booked);
    book(&staff_of(&host, "pe", &[OTHER])).expect_problem(404, "not-found");
}

/// Returns an agenda with hours on each day of the week, in turn at these hospitals.
fn weekly(hospitals: &[Option<&str>]) -> Value {
    let week = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let hours = |(weekday, hospital): (&str, Option<&str>)| {
        let hours =
            json!({ "weekday": weekday, "from": "09:00", "to": "10:30", "minutes": 30, "zone": "America/Lima" });
        hospital.map_or(hours.clone(), |hospital| with(&hours, json!({ "hospital": hospital })))
    };
    json!({ "weekly": week.into_iter().zip(hospitals.iter().copied().cycle()).map(hours).collect::<Vec<_>>() })
}

fn put(client: &Client, doctor: &str, condition: (&'static str, &str), agenda: &Value) -> Answer {
    let put = client.request("PUT", &format!("/v1/pe/agendas/{doctor}")).header(condition.0, condition.1);
    put.json(agenda).send()
}

#[test]
fn agendas_are_for_the_staff_of_all_their_hospitals() {
    let host = Host::of(&["pe"]);
    let (desk, eva) = (host.staff("pe"), staff_of(&host, "pe", &[OWN, "00006221"]));
    let first = ("If-None-Match", "*");
    let own = weekly(&[Some(OWN)]);
    put(&eva, "1", first, &own).expect(201);
    put(&eva, "1", ("If-Match", "\"1\""), &weekly(&[Some(OWN), Some("00006221")])).expect(200);
    let others = [
        ("2", weekly(&[Some(OTHER)])),
        ("3", weekly(&[Some(OWN), Some(OTHER)])),
        ("4", weekly(&[Some(OWN), None])),
        ("5", json!({ "weekly": [] })),
    ];
    for (doctor, agenda) in &others {
        let refused = put(&eva, doctor, first, agenda).expect_problem(403, "forbidden");
        assert!(detail(&refused).contains("hospitals"), "{refused}");
        desk.get(&format!("/v1/pe/agendas/{doctor}")).expect_problem(404, "not-found");
        put(&eva, "1", ("If-Match", "\"2\""), agenda).expect_problem(403, "forbidden");
        put(&desk, doctor, first, agenda).expect(201);
        put(&eva, doctor, ("If-Match", "\"1\""), &own).expect_problem(403, "forbidden");
        for path in [format!("/v1/pe/agendas/{doctor}"), format!("/v1/pe/agendas/{doctor}/history")] {
            eva.get(&path).expect_problem(403, "forbidden");
            desk.get(&path).expect(200);
        }
    }
    assert_eq!(eva.get("/v1/pe/agendas/1").expect(200).json()["revision"], 2);
    assert_eq!(eva.get("/v1/pe/agendas/1/history").expect(200).json()["items"].as_array().unwrap().len(), 2);
    eva.get("/v1/pe/agendas/9").expect_problem(404, "not-found");
    let doctors = |client: &Client, query: &str| -> Vec<String> {
        let page = client.get(&format!("/v1/pe/agendas?{query}")).expect(200).json();
        page["items"].as_array().unwrap().iter().map(|item| item["doctor"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(doctors(&eva, "limit=2"), ["1"]);
    assert_eq!(doctors(&eva, &format!("hospital={OTHER}")), [""; 0]);
    assert_eq!(doctors(&desk, ""), ["1", "2", "3", "4"], "one without hours is at no place");
}

#[test]
fn an_agenda_names_the_appointments_outside_it_at_the_caller_s_hospitals() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let book = |hospital: &str, number: usize, time: &str| {
        ana.booked("pe", &with(&at(hospital, number), json!({ "doctor": "45678", "time": time })))
    };
    let (own, _) = (book(OWN, 1, "15:00"), book(OTHER, 2, "16:00"));
    let agenda = weekly(&[Some(OWN)]);
    let outside = |client: &Client| -> Vec<String> {
        let tried = client.request("PUT", "/v1/pe/agendas/45678?dry-run=true").json(&agenda).send().expect(200).json();
        tried["outside"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(outside(&staff_of(&host, "pe", &[OWN])), [own["id"].as_str().unwrap()]);
    assert_eq!(outside(&host.staff("pe")).len(), 2);
}

#[test]
fn slots_and_holds_are_for_everybody() {
    let host = Host::of(&["pe"]);
    let eva = staff_of(&host, "pe", &[OWN]);
    let search = format!("/v1/pe/slots?doctor=45678&hospital={OTHER}&district=150122&from={}&days=1", day("pe", 0));
    let slots = eva.get(&search).expect(200).json();
    let slot = &slots["items"][0]["slot"];
    eva.post("/v1/pe/holds", &json!({ "slot": slot })).expect(201);
    let of_slot =
        json!({ "slot": slots["items"][1]["slot"], "date": null, "time": null, "doctor": null, "hospital": null });
    let booked = eva.book("pe", &with(&pe(1), of_slot));
    booked.expect_problem(403, "forbidden");
}

#[test]
fn what_concerns_all_hospitals_is_for_the_staff_of_the_country() {
    let host = Host::of(&["pe"]);
    let (desk, eva) = (host.staff("pe"), staff_of(&host, "pe", &[OWN]));
    let link = "/v1/pe/patients/dni:10117410/links/ana";
    let terms = json!({ "relation": "carer", "reason": "Power of attorney shown at the desk" });
    let put = |client: &Client| client.request("PUT", link).header("If-None-Match", "*").json(&terms).send();
    put(&eva).expect_problem(403, "forbidden");
    put(&desk).expect(201);
    eva.get(link).expect_problem(404, "not-found");
    eva.delete(link).expect_problem(404, "not-found");
    let lists =
        ["/v1/pe/patient-links?state=requested", "/v1/pe/read-log?patient=dni:10117410", "/v1/pe/privacy-requests"];
    for list in lists {
        eva.get(list).expect_problem(403, "forbidden");
        desk.get(list).expect(200);
    }
}
