//! Free slots: what is shown can be booked, and what is booked is no longer shown.

use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Client, with};
use crate::support::requests::{cl, day, pe};

const PE: &str = "/v1/pe/slots?doctor=45678&hospital=00006219&district=150122";

fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).expect(200).json()["items"].as_array().unwrap().clone()
}

/// Returns the day and the time of a slot's start, as a request has them.
fn date_and_time(slot: &Value) -> Value {
    let start = slot["start"].as_str().unwrap();
    json!({ "date": start[..10], "time": start[11..16] })
}

#[test]
fn every_slot_of_a_day_can_be_booked_until_there_are_none() {
    let host = Host::of(&["pe", "cl"]);
    let staff = [("pe", host.staff("pe")), ("cl", host.staff("cl"))];
    for (country, staff) in staff {
        let (doctor, place) =
            if country == "pe" { ("45678", "district=150122") } else { ("123456", "comuna=05201&modality=remota") };
        let path = format!("/v1/{country}/slots?doctor={doctor}&{place}&from={}&days=1", day(country, 0));
        let shown = items(&staff, &path);
        assert!(shown.len() > 20, "{shown:?}");
        let starts: Vec<&str> = shown.iter().map(|slot| slot["startsAt"].as_str().unwrap()).collect();
        assert!(starts.is_sorted_by(|one, other| one < other), "{starts:?}");
        for (number, slot) in shown.iter().enumerate() {
            let request = if country == "pe" { pe(number) } else { cl(number) };
            let request = with(&with(&request, json!({ "doctor": doctor })), date_and_time(slot));
            let request = match country {
                "cl" => with(&request, json!({ "comuna": "05201", "modality": "remota" })),
                _ => request,
            };
            let booked = staff.booked(country, &request);
            let same = ["startsAt", "minutes", "zone", "doctor"].iter().all(|name| booked[name] == slot[name]);
            assert!(same, "{booked} was shown as {slot}");
            if number == 0 {
                assert_eq!(items(&staff, &path), shown[1..]);
            }
        }
        let page = staff.request("GET", &path).header("Accept-Language", "es").send().expect(200);
        let (language, page) = (page.header("content-language").to_owned(), page.json());
        assert!(page["reason"]["code"] == "full" && language.starts_with("es"), "{page}");
        assert!(page["reason"]["message"].as_str().unwrap().contains("reservado"), "{page}");
        assert!(page["nextAvailable"].as_str().unwrap() > shown.last().unwrap()["start"].as_str().unwrap());
    }
}

#[test]
fn a_client_that_has_the_slots_gets_a_304_until_one_is_booked() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let path = format!("{PE}&from={}&days=1", day("pe", 0));
    let first = ana.get(&path).expect(200);
    assert_eq!(first.header("cache-control"), "private, max-age=5");
    let as_of: jiff::Timestamp = first.json()["asOf"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(as_of).as_mins().abs() < 5, "{as_of}");
    let tag = first.header("etag").to_owned();
    let again = |status| ana.request("GET", &path).header("If-None-Match", &tag).send().expect(status);
    assert_eq!(again(304).header("etag"), tag);
    let request = with(&pe(1), json!({ "doctor": "45678" }));
    ana.booked("pe", &with(&request, date_and_time(&first.json()["items"][3])));
    assert_ne!(again(200).header("etag"), tag);
    assert_eq!(items(&host.patient("bea"), &path).len(), first.json()["items"].as_array().unwrap().len() - 1);
}

#[test]
fn a_month_has_the_slots_of_its_weeks_and_pages_have_all_of_them() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let from: jiff::civil::Date = day("pe", 0).parse().unwrap();
    let month = items(&ana, &format!("{PE}&from={from}&days=28&limit=1000"));
    assert!(month.len() > 400, "{}", month.len());
    let week = |number: i64| {
        let first = from.checked_add(jiff::Span::new().days(7 * number)).unwrap();
        items(&ana, &format!("{PE}&from={first}"))
    };
    assert_eq!((0..4).flat_map(week).collect::<Vec<_>>(), month);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ana.get(&format!("{PE}&from={from}&days=28&limit=150&cursor={cursor}")).expect(200).json();
        paged.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(paged, month);
}

#[test]
fn days_without_a_slot_say_why_and_when_the_next_one_is() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let past = ana.get(&format!("{PE}&from=2020-01-01")).expect(200).json();
    assert_eq!((&past["reason"]["code"], &past["items"]), (&json!("no-agenda"), &json!([])));
    assert_eq!((&past["from"], &past["to"]), (&json!("2020-01-01"), &json!("2020-01-07")));
    let today = items(&ana, PE);
    assert_eq!(past["nextAvailable"], today[0]["start"]);
    assert_eq!(past["timeZone"], "America/Lima");
    // Christmas of the year after next is beyond the horizon.
    let far = ana.get(&format!("{PE}&from=2099-12-25&days=1")).expect(200).json();
    assert!(far["reason"]["code"] == "no-agenda" && far.get("nextAvailable").is_none(), "{far}");
}

#[test]
fn a_search_that_cannot_be_right_is_refused_with_the_name_of_the_parameter() {
    let host = Host::of(&["pe", "ut"]);
    let ana = host.patient("ana");
    for (query, named) in [
        ("days=32", "`days` is a number from 1 to 31"),
        ("days=0", "`days`"),
        ("days=%2B7", "`days`"),
        ("days=7&days=7", "`days` is given more than once"),
        ("from=2026-12-1", "`from`"),
        ("from=2026-12-01T09:00:00Z", "`from`"),
        ("from=9999-12-31", "`from`"),
        ("limit=1001", "`limit` is a number from 1 to 1000"),
        ("district=12", "`district`"),
        ("district=", "`district`"),
        ("emergency=perhaps", "`emergency`"),
        ("comuna=13101", "`comuna`"),
        ("doctor=Ana", "`doctor`"),
        ("hospital=1", "`hospital`"),
        ("dni=10117410", "`dni`"),
        ("cursor=e30", "`cursor`"),
    ] {
        let problem = ana.get(&format!("/v1/pe/slots?{query}")).expect_problem(400, "malformed-request");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
    ana.get("/v1/ut/slots").expect_problem(404, "not-found");
    ana.get("/v1/zz/slots").expect_problem(404, "not-found");
    host.client("ana", &[], &["appointments/write"]).get(PE).expect_problem(403, "forbidden");
    host.with_token(None).get(PE).expect_problem(401, "unauthenticated");
}

#[test]
fn a_booking_takes_the_token_of_a_slot_in_place_of_what_it_stands_for() {
    let host = Host::of(&["pe", "cl"]);
    let ana = host.patient("ana");
    let from = day("pe", 0);
    let shown = items(&ana, &format!("{PE}&from={from}&days=1"));
    let place = json!({ "doctor": null, "hospital": null, "district": null, "date": null, "time": null });
    let patient = |number: usize| with(&pe(number), place.clone());
    let request = with(&patient(1), json!({ "district": "150122", "slot": shown[3]["slot"] }));
    let booked = ana.booked("pe", &request);
    assert_eq!((&booked["startsAt"], &booked["doctor"]), (&shown[3]["startsAt"], &json!("45678")));
    assert!(booked.get("slot").is_none(), "{booked}");
    let taken = with(&patient(2), json!({ "district": "150122", "slot": shown[3]["slot"] }));
    ana.book("pe", &taken).expect_problem(409, "slot-taken");

    let slot = shown[5]["slot"].as_str().unwrap();
    let refused = |country: &str, request: &Value, named: &str| {
        let problem = ana.book(country, request).expect_problem(400, "malformed-request");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    };
    refused("pe", &with(&patient(3), json!({ "slot": slot, "time": "07:07" })), "`/time`");
    for bad in [json!(7), json!(""), json!("x"), json!(slot[1..]), json!([slot])] {
        refused("pe", &with(&patient(3), json!({ "slot": bad })), "`slot`");
    }
    refused("cl", &with(&cl(3), json!({ "slot": slot })), "`slot`");

    // A request with the key of another that had the same slot is the same request.
    let again = with(&patient(4), json!({ "district": "150122", "slot": slot }));
    let spelt = with(&again, json!({ "slot": null, "doctor": "45678", "hospital": "00006219" }));
    let spelt = with(&spelt, date_and_time(&shown[5]));
    let book = |request: &Value| ana.request("POST", "/v1/pe/appointments").key("k").json(request).send().expect(201);
    assert_eq!(book(&again).json()["id"], book(&spelt).json()["id"]);
}

#[test]
fn an_appointment_is_moved_to_a_slot_of_its_doctor() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let from = day("pe", 0);
    let slots = |doctor: &str| {
        items(&ana, &format!("/v1/pe/slots?doctor={doctor}&hospital=00006219&district=150122&from={from}&days=1"))
    };
    let booked = ana.booked("pe", &with(&pe(1), json!({ "doctor": "45678", "time": "07:00" })));
    let act = |action: &str, input: &Value| {
        ana.post(&format!("/v1/pe/appointments/{}/{action}", booked["id"].as_str().unwrap()), input)
    };
    let (own, other) = (slots("45678"), slots("45679"));
    let problem = act("reschedule", &json!({ "slot": other[3]["slot"] })).expect_problem(400, "malformed-request");
    assert!(problem["detail"].as_str().unwrap().contains("another doctor"), "{problem}");
    let unknown = act("cancel", &json!({ "slot": own[3]["slot"] })).expect(422).violations();
    assert_eq!(unknown, [("/slot".to_owned(), "schema.additionalProperties".to_owned())]);
    let moved = act("reschedule", &json!({ "slot": own[3]["slot"] })).expect(200).json();
    assert_eq!((&moved["startsAt"], &moved["revision"]), (&own[3]["startsAt"], &json!(2)));
    let after: Vec<Value> = slots("45678").iter().map(|slot| slot["startsAt"].clone()).collect();
    assert!(after.contains(&booked["startsAt"]) && !after.contains(&moved["startsAt"]), "{after:?}");
}

#[test]
fn a_calendar_has_each_day_of_a_month_with_the_number_of_its_slots() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let from = day("pe", 0);
    let month = items(&ana, &format!("{PE}&from={from}&days=31&limit=1000"));
    let calendar = ana.get(&format!("{PE}&from={from}&days=31&view=days")).expect(200).json();
    let days = calendar["items"].as_array().unwrap();
    assert_eq!((days.len(), &days[0]["date"], &days[30]["date"]), (31, &json!(from), &calendar["to"]));
    let starts = |date: &str| month.iter().filter(|slot| slot["start"].as_str().unwrap().starts_with(date)).count();
    for day in days {
        assert_eq!(day["free"], starts(day["date"].as_str().unwrap()), "{day}");
    }
    assert!(days.iter().any(|day| day["free"] == 0), "there is a Sunday");
    let past = ana.get(&format!("{PE}&from=2020-02-28&days=3&view=days")).expect(200).json();
    let none = |date| json!({ "date": date, "free": 0 });
    assert_eq!(past["items"], json!([none("2020-02-28"), none("2020-02-29"), none("2020-03-01")]));
    assert_eq!((&past["reason"]["code"], past["nextAvailable"].is_string()), (&json!("no-agenda"), true));
    for (query, named) in
        [("view=weeks", "`view`"), ("view=days&limit=0", "`limit`"), ("view=days&cursor=x", "`cursor`")]
    {
        let refused = ana.get(&format!("{PE}&{query}")).expect(400).json();
        assert!(refused["detail"].as_str().unwrap().contains(named), "{refused}");
    }
}

#[test]
fn a_search_for_an_appointment_that_is_moved_has_its_place_and_not_its_time() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let day = day("pe", 0);
    let free = items(&ana, &format!("{PE}&from={day}&days=1"));
    let request = with(&pe(1), json!({ "doctor": "45678", "hospital": "00006219" }));
    let booked = ana.booked("pe", &with(&request, date_and_time(&free[3])));
    // The other doctor's time would make the patient be in two places.
    ana.booked("pe", &with(&request, with(&date_and_time(&free[6]), json!({ "doctor": "45679" }))));
    let path = format!("/v1/pe/slots?appointment={}&from={day}&days=1", booked["id"].as_str().unwrap());
    let starts = |slots: &[Value]| slots.iter().map(|slot| slot["start"].clone()).collect::<Vec<_>>();
    let mut others = starts(&free);
    others.remove(6);
    others.remove(3);
    assert_eq!(starts(&items(&ana, &path)), others);
    assert_eq!(starts(&items(&staff, &path)), others);
    host.patient("bea").get(&path).expect(404);
    let refused = ana.get("/v1/pe/slots?appointment=7").expect(400).json();
    assert!(refused["detail"].as_str().unwrap().contains("`appointment`"), "{refused}");
    // The token of such a slot moves the appointment.
    let token = &items(&ana, &path)[0]["slot"];
    let moved = format!("/v1/pe/appointments/{}/reschedule", booked["id"].as_str().unwrap());
    let moved = ana.post(&moved, &json!({ "slot": token })).expect(200).json();
    assert_eq!(moved["startsAt"], free[0]["startsAt"]);
}
