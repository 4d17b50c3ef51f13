//! Lists: filters, pages, and the links between pages.

use std::collections::BTreeSet;
use std::slice;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Client, with};
use crate::support::requests::{cl, day, pe};

/// Follows the Link headers from `path` on. Returns every item and the number of pages.
fn all(client: &Client, path: &str) -> (Vec<Value>, usize) {
    let (mut items, mut pages, mut next) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(path) = next {
        let answer = client.get(&path).expect(200);
        let page = answer.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        pages += 1;
        next = match (answer.header("link"), page["nextCursor"].as_str()) {
            ("", None) => None,
            (link, Some(cursor)) => {
                let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap();
                assert!(target.contains(&format!("cursor={cursor}")), "{link}");
                Some(target.to_owned())
            }
            (link, cursor) => panic!("Link {link:?} and nextCursor {cursor:?}"),
        };
    }
    (items, pages)
}

fn column<'a>(items: &'a [Value], member: &str) -> Vec<&'a str> {
    items.iter().map(|item| item[member].as_str().unwrap()).collect()
}

/// Books 120 appointments over three days and four doctors: ten by each of two patients, in turn, and the others by staff.
fn many(host: &Host) {
    let (patients, staff) = ([host.patient("ana"), host.patient("luis")], host.staff("pe"));
    for number in 0..120 {
        let minute = 7 * 60 + (number / 12) * 30;
        let request = with(
            &pe(number),
            json!({
                "doctor": format!("4567{}", number % 4), "date": day("pe", number / 4 % 3),
                "time": format!("{:02}:{:02}", minute / 60, minute % 60),
            }),
        );
        let client = if number < 20 { &patients[number % 2] } else { &staff };
        client.booked("pe", &request);
    }
}

#[test]
fn pages_hold_everything_once_in_the_order_of_the_start() {
    let host = Host::of(&["pe"]);
    many(&host);
    let staff = host.staff("pe");
    let (items, pages) = all(&staff, "/v1/pe/appointments?limit=50");
    assert_eq!((items.len(), pages), (120, 3));
    let starts = column(&items, "startsAt");
    assert!(starts.is_sorted(), "{starts:?}");
    assert_eq!(column(&items, "id").into_iter().collect::<BTreeSet<_>>().len(), 120);

    let (usual, pages) = all(&staff, "/v1/pe/appointments");
    assert_eq!((usual == items, pages), (true, 6), "twenty on each page when nobody asks");
    let (largest, pages) = all(&staff, "/v1/pe/appointments?limit=100");
    assert_eq!((largest == items, pages), (true, 2));

    let (own, _) = all(&host.patient("ana"), "/v1/pe/appointments?limit=7");
    assert_eq!(own.len(), 10, "a patient's list is their own");
}

#[test]
fn filters_narrow_a_list_and_stay_on_the_way_to_the_next_page() {
    let host = Host::of(&["pe"]);
    many(&host);
    let staff = host.staff("pe");
    let (first, second) = (day("pe", 0), day("pe", 1));
    let (items, pages) = all(&staff, "/v1/pe/appointments?doctor=45671&limit=8");
    assert_eq!((items.len(), pages), (30, 4));
    assert!(column(&items, "doctor").iter().all(|doctor| *doctor == "45671"));

    let (items, _) = all(&staff, &format!("/v1/pe/appointments?from={first}T00:00:00Z&to={second}T00:00:00Z&limit=9"));
    assert_eq!(items.len(), 40);
    assert!(column(&items, "date").iter().all(|date| **date == *first));

    let (items, _) = all(&staff, "/v1/pe/appointments?patient=dni:00000006");
    assert_eq!(column(&items, "dni"), ["00000006"]);
    assert_eq!(all(&staff, "/v1/pe/appointments?hospital=00006219&limit=100").0.len(), 120);
    assert_eq!(all(&staff, "/v1/pe/appointments?hospital=00006220").0.len(), 0);

    staff.post(&format!("/v1/pe/appointments/{}/cancel", items[0]["id"].as_str().unwrap()), &json!({})).expect(200);
    let (cancelled, _) = all(&staff, "/v1/pe/appointments?phase=cancelled");
    assert_eq!(column(&cancelled, "dni"), ["00000006"]);
    assert_eq!(all(&staff, "/v1/pe/appointments?phase=booked&limit=100").0.len(), 119);
}

#[test]
fn a_list_is_of_one_day_by_the_clocks_of_the_place_in_either_order() {
    let host = Host::of(&["cl"]);
    let ana = host.patient("ana");
    let (first, second) = (day("cl", 0), day("cl", 1));
    let mut number = 0;
    for date in [&first, &second] {
        // Rapa Nui is two hours behind, and its evening is the next day in UTC.
        for (comuna, time) in [("13101", "08:00"), ("13101", "19:30"), ("05201", "08:00"), ("05201", "19:30")] {
            ana.booked("cl", &with(&cl(number), json!({ "date": date, "time": time, "comuna": comuna })));
            number += 1;
        }
    }
    let list = |query: &str| all(&ana, &format!("/v1/cl/appointments?{query}")).0;
    let (one_day, other) = (list(&format!("date={first}&limit=3")), list(&format!("date={second}")));
    assert_eq!((one_day.len(), other.len()), (4, 4));
    assert!(column(&one_day, "date").iter().all(|date| **date == *first));
    assert_eq!(column(&one_day, "zone")[3], "Pacific/Easter");
    let mut latest_first = list(&format!("order=desc&date={first}&limit=1"));
    latest_first.reverse();
    assert_eq!(latest_first, one_day);
    let next_day = first.parse::<Date>().unwrap().tomorrow().unwrap();
    assert_eq!(list(&format!("date={first}&from={next_day}T00:00:00Z")), one_day[3..], "from narrows a day");

    let cancel = format!("/v1/cl/appointments/{}/cancel", one_day[0]["id"].as_str().unwrap());
    ana.post(&cancel, &json!({ "reason": "patient" })).expect(200);
    assert_eq!(list("phase=cancelled&phase=no-show").len(), 1);
    assert_eq!(list("phase=cancelled&phase=booked&order=asc&limit=3").len(), 8);
}

/// Returns the detail of the 400 that this query gets.
fn refused(client: &Client, country: &str, query: &str) -> String {
    let problem = client.get(&format!("/v1/{country}/appointments?{query}")).expect_problem(400, "malformed-request");
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_filter_that_no_appointment_could_match_is_refused() {
    let host = Host::of(&["pe", "cl"]);
    let (peru, chile) = (host.staff("pe"), host.staff("cl"));
    let long = "1".repeat(513);
    for (client, country, query) in [
        (&peru, "pe", "patient=dni:45678901-1"),
        (&peru, "pe", "patient=dni:4567890"),
        (&peru, "pe", "patient=DNI:45678901"),
        (&peru, "pe", "patient=dni:%EF%BC%94%EF%BC%955678901"),
        (&peru, "pe", "patient=dni:45678901%0A"),
        (&peru, "pe", "patient=+dni:45678901"),
        (&peru, "pe", "patient=12.345.678-5"),
        (&peru, "pe", "patient=run:12345678-5"),
        (&peru, "pe", "patient=ipe:CHL:1001234567"),
        (&peru, "pe", "patient=passport:ven:AB12345"),
        (&peru, "pe", "patient="),
        (&peru, "pe", "doctor=1234567"),
        (&peru, "pe", "hospital=6219"),
        (&peru, "pe", "hospital=109100"),
        (&peru, "pe", &format!("hospital={long}")),
        (&chile, "cl", "patient=12.345.678-6"),
        (&chile, "cl", "patient=run:99999-3"),
        (&chile, "cl", "patient=run:012345678-5"),
        (&chile, "cl", "patient=run:1234567%EF%BC%98-5"),
        (&chile, "cl", "patient=dni:45678901"),
        (&chile, "cl", "doctor="),
        (&chile, "cl", "hospital=00006219"),
    ] {
        let (name, _) = query.split_once('=').unwrap();
        let detail = refused(client, country, query);
        assert!(detail.contains(&format!("`{name}`")), "{country} {query}: {detail}");
        let empty_or_long = detail.contains("has 1 to 512 bytes");
        assert!(empty_or_long || detail.contains("it is written like "), "{country} {query}: {detail}");
    }
    let detail = refused(&host.patient("ana"), "cl", "patient=12.345.678-6");
    assert_eq!(
        detail,
        "no appointment can have this `patient`: it is written like run:12345678-5 or passport:VEN:AB123456"
    );
}

#[test]
fn a_filter_takes_a_key_in_every_spelling_that_a_booking_takes() {
    let host = Host::of(&["pe", "cl"]);
    let document = json!({ "type": "passport", "number": "AB 12345", "country": "VEN" });
    let mut foreigner = with(&pe(2), json!({ "document": document }));
    foreigner.as_object_mut().unwrap().remove("dni");
    let (peru, chile) = (host.staff("pe"), host.staff("cl"));
    for request in [with(&pe(1), json!({ "doctor": "45678", "dni": "10117410" })), foreigner] {
        peru.booked("pe", &request);
    }
    chile.booked("cl", &with(&cl(1), json!({ "run": "2.280.782-K" })));
    for (client, country, query) in [
        (&peru, "pe", "patient=10117410"),
        (&peru, "pe", "patient=10117410-2"),
        (&peru, "pe", "patient=dni:10117410-G"),
        (&peru, "pe", "patient=passport:VEN:ab-12345"),
        (&peru, "pe", "doctor=045678"),
        (&chile, "cl", "patient=2.280.782-k"),
        (&chile, "cl", "patient=run:2280782K"),
        (&chile, "cl", "doctor=0000200001"),
    ] {
        let found = client.get(&format!("/v1/{country}/appointments?{query}")).expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{country} {query}");
    }
}

#[test]
fn a_query_that_cannot_be_understood_is_refused() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    for (query, said) in [
        ("doctor=45671&doctor=45672", "`doctor` is given more than once"),
        ("from=2026-12-01T00:00:00Z&from=2026-12-02T00:00:00Z", "`from` is given more than once"),
        ("limit=3&limit=4", "`limit` is given more than once"),
        ("order=asc&order=asc", "`order` is given more than once"),
        ("limit=%2B3", "`limit` is a number"),
        ("phase=", "`phase`: a phase is one of"),
        ("phase=booked&phase=bokked", "`phase`: a phase is one of"),
        ("phase=booked,arrived", "`phase`: a phase is one of"),
        ("date=2026-02-30", "`date` is a day"),
        ("date=", "`date` is a day"),
        ("from=2026-12-01", "`from` is an instant"),
        ("to=", "`to` is an instant"),
        ("order=down", "`order` is `asc` or `desc`"),
        ("order=", "`order` is `asc` or `desc`"),
        ("dat=2026-12-01", "there is no parameter `dat` here"),
        ("Doctor=45671", "there is no parameter `Doctor` here"),
        ("doctor=4%5", "percent-encoded"),
        ("doctor=%4", "percent-encoded"),
        ("doctor=%ZZ", "percent-encoded"),
        ("patient=%FF", "percent-encoded"),
        ("from=2026-12-02T00:00:00Z&to=2026-12-01T00:00:00Z", "`from` must be before `to`"),
        ("from=2026-12-01T00:00:00Z&to=2026-12-01T00:00:00Z", "`from` must be before `to`"),
        ("date=2026-12-01&from=2026-12-02T05:00:00Z", "`date` must be a day between `from` and `to`"),
        ("date=2026-12-01&to=2026-12-01T05:00:00Z", "`date` must be a day between `from` and `to`"),
    ] {
        let detail = refused(&staff, "pe", query);
        assert!(detail.contains(said), "{query}: {detail}");
    }
    for touching in ["date=2026-12-01&from=2026-12-02T04:59:59Z", "date=2026-12-01&to=2026-12-01T05:00:01Z"] {
        assert_eq!(all(&staff, &format!("/v1/pe/appointments?{touching}")).0.len(), 0);
    }
}

#[test]
fn a_key_that_citas_shows_is_a_filter() {
    let host = Host::of(&["pe", "cl"]);
    let passport = json!({ "type": "passport", "number": "ab-12345", "country": "VEN" });
    let carne = json!({ "type": "ce", "number": "0020645691" });
    let ipe = json!({ "type": "ipe", "number": "100123456-7" });
    let card = json!({ "type": "foreign-id", "number": "1.234", "country": "PER" });
    let emergency = with(&pe(4), json!({ "dni": null, "email": null, "emergency": true, "doctor": "000123" }));
    for (country, request, patient) in [
        ("pe", with(&pe(1), json!({ "doctor": "000045" })), "dni:00000002".to_owned()),
        ("pe", with(&pe(2), json!({ "dni": null, "document": passport })), "passport:VEN:AB12345".to_owned()),
        ("pe", with(&pe(3), json!({ "dni": null, "document": carne })), "ce:PER:020645691".to_owned()),
        ("pe", emergency, format!("anonymous/123/{}T14:30Z", day("pe", 0))),
        ("cl", cl(1), format!("run:{}", cl(1)["run"].as_str().unwrap())),
        ("cl", with(&cl(2), json!({ "run": null, "document": ipe })), "ipe:CHL:1001234567".to_owned()),
        ("cl", with(&cl(3), json!({ "run": null, "document": card })), "foreign-id:PER:1234".to_owned()),
        ("cl", with(&cl(4), json!({ "run": "123.456-0", "doctor": "0000000007" })), "run:123456-0".to_owned()),
    ] {
        let staff = host.staff(country);
        let booked = staff.booked(country, &request);
        let list = |query: &str| all(&staff, &format!("/v1/{country}/appointments?{query}")).0;
        let [doctor, hospital] = ["doctor", "hospital"].map(|name| booked[name].as_str().unwrap().to_owned());
        assert_eq!(list(&format!("doctor={doctor}")), slice::from_ref(&booked), "{country} {doctor}");
        assert_eq!(list(&format!("patient={patient}&hospital={hospital}")), [booked], "{country} {patient}");
    }
}

#[test]
fn a_cursor_is_for_its_own_query_alone() {
    let host = Host::of(&["pe"]);
    many(&host);
    let staff = host.staff("pe");
    let page = staff.get("/v1/pe/appointments?doctor=45671&phase=booked&limit=3").expect(200).json();
    let cursor = page["nextCursor"].as_str().unwrap();
    for same in ["limit=9&phase=booked&doctor=45671", "doctor=45671&phase=booked&phase=booked&order=asc"] {
        staff.get(&format!("/v1/pe/appointments?{same}&cursor={cursor}")).expect(200);
    }
    for other in ["doctor=45672&phase=booked", "doctor=45671&phase=booked&order=desc", "doctor=45671", "limit=3"] {
        let detail = refused(&staff, "pe", &format!("{other}&cursor={cursor}"));
        assert!(detail.contains("`cursor` is from another query"), "{other}: {detail}");
    }
}

#[test]
fn a_page_goes_on_where_it_ended_although_its_last_item_has_moved() {
    let host = Host::of(&["pe"]);
    many(&host);
    let staff = host.staff("pe");
    let page = staff.get("/v1/pe/appointments?limit=30").json();
    let last = page["items"][29]["id"].as_str().unwrap();
    let later = json!({ "date": day("pe", 9), "time": "10:00" });
    staff.post(&format!("/v1/pe/appointments/{last}/reschedule"), &later).expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let (rest, _) = all(&staff, &format!("/v1/pe/appointments?limit=100&cursor={cursor}"));
    assert_eq!(rest.len(), 91, "the ninety that were to come, and the one that has moved behind them");
}
