//! Lists: filters, pages, and the links between pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::{Client, with};
use crate::support::requests::{day, pe};

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

/// Books 120 appointments over three days and four doctors, by two patients in turn.
fn many(host: &Host) {
    let clients = [host.patient("ana"), host.patient("luis")];
    for number in 0..120 {
        let minute = 7 * 60 + (number / 12) * 30;
        let request = with(
            &pe(number),
            json!({
                "doctor": format!("4567{}", number % 4), "date": day("pe", number / 4 % 3),
                "time": format!("{:02}:{:02}", minute / 60, minute % 60),
            }),
        );
        clients[number % 2].booked("pe", &request);
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
    assert_eq!(own.len(), 60, "a patient's list is their own");
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
