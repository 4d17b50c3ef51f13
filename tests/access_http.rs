//! Access rights: what each role may see and do, and with which token.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::components::version;
use crate::support::host::{Host, token};
use crate::support::http::{Client, form, with};
use crate::support::requests::{cl, pe};

const BOTH: [&str; 2] = ["appointments/read", "appointments/write"];

/// Id that no appointment has.
const NOBODYS: &str = "01935f00-0000-7000-8000-000000000000";

/// Lets an account act for a patient.
fn link(host: &Host, subject: &str, patient: &str) -> String {
    let place = format!("/v1/pe/patients/{patient}/links/{subject}");
    let terms = json!({ "relation": "carer", "reason": "Power of attorney" });
    host.staff("pe").request("PUT", &place).header("If-None-Match", "*").json(&terms).send().expect(201);
    place
}

#[test]
fn somebody_elses_appointment_looks_like_none_at_all() {
    let host = Host::of(&["pe"]);
    let booked = host.patient("ana").booked("pe", &pe(1));
    let of_patient = host.staff("pe").booked("pe", &pe(2));
    link(&host, "luis", "dni:00000009");
    let luis = host.patient("luis");
    let [theirs, unlinked] = [&booked, &of_patient].map(|booked| booked["id"].as_str().unwrap());
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/history"),
        ("POST", "/cancel"),
        ("POST", "/reschedule"),
        ("POST", "/verify"),
        ("POST", "/no-such-action"),
        ("GET", "slots"),
    ] {
        let ask = |id: &str| {
            let path = if rest == "slots" {
                format!("/v1/pe/slots?doctor=45678&hospital=00006219&district=150122&appointment={id}")
            } else {
                format!("/v1/pe/appointments/{id}{rest}")
            };
            let request = luis.request(method, &path);
            let answer = if method == "GET" { request.send() } else { request.json(&json!({})).send() };
            let names: Vec<String> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
            (form(&answer.expect_problem(404, "not-found")), names)
        };
        let none = ask(NOBODYS);
        for known in [theirs, unlinked] {
            assert_eq!(ask(known), none, "{method} {rest}");
        }
    }
    assert_eq!(luis.get("/v1/pe/appointments").expect(200).json(), json!({ "items": [] }));
    let named = luis.get("/v1/pe/appointments?patient=dni:00000002&doctor=10001").expect(200).json();
    assert_eq!(named, json!({ "items": [] }), "no filter finds another's");
    assert_eq!(host.patient("ana").get("/v1/pe/appointments").json()["items"], json!([booked]));
}

#[test]
fn nobody_fills_the_day_of_another_patient() {
    let host = Host::of(&["pe"]);
    let times = ["08:00", "08:30", "09:00", "09:30", "10:00", "10:30"];
    let at = |doctor: usize, time: &str| with(&pe(1), json!({ "doctor": doctor.to_string(), "time": time }));
    for (account, times) in times.chunks(3).enumerate() {
        for time in times {
            host.patient(&format!("mallory-{account}")).booked("pe", &at(20_001, time));
        }
    }
    // An account may have three appointments to come for a patient, and staff book the others.
    for time in &times[..3] {
        host.patient("ana").booked("pe", &at(20_002, time));
    }
    for time in times {
        host.staff("pe").booked("pe", &at(20_003, time));
    }
}

#[test]
fn a_stranger_learns_by_no_booking_when_a_patient_is_seen() {
    let host = Host::of(&["pe"]);
    for number in 0..3 {
        let time = format!("{:02}:00", 9 + number);
        host.staff("pe").booked("pe", &with(&pe(1), json!({ "doctor": "20001", "time": time })));
    }
    // Of two patients, one has appointments at three full hours, and the other has none.
    let mallory = host.patient("mallory");
    let probe = |patient: &str| {
        let ask = |time: &str, doctor: String| {
            let request = with(&pe(1), json!({ "dni": patient, "doctor": doctor, "time": time }));
            let answer = mallory.book("pe", &request);
            let names: Vec<String> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
            let body: Value = serde_json::from_str(&answer.text.replace(patient, "…").replace(&doctor, "…")).unwrap();
            (answer.status, names, with(&form(&body), json!({ "id": null, "createdAt": null, "updatedAt": null })))
        };
        let times = ["09:00", "09:30", "11:15", "12:00"].into_iter().enumerate();
        times.map(|(number, time)| ask(time, format!("300{}{number}", &patient[6..]))).collect::<Vec<_>>()
    };
    let (seen, free) = (probe("00000002"), probe("00000009"));
    let statuses: Vec<u16> = seen.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [201, 201, 201, 409], "an account may have three for a patient");
    assert_eq!(seen, free);
}

#[test]
fn staff_verify_an_appointment_and_it_is_the_patients() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let booked = ana.booked("pe", &pe(1));
    assert_eq!(booked["unverified"], true);
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let verify =
        |client: &Client| client.request("POST", &format!("{place}/verify")).header("If-Match", "\"1\"").send();

    let problem = verify(&ana).expect_problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("staff"), "{problem}");
    let absent = host.patient("luis").post(&format!("/v1/pe/appointments/{NOBODYS}/verify"), &json!({}));
    let somebodys = host.patient("luis").post(&format!("{place}/verify"), &json!({}));
    assert_eq!(form(&somebodys.expect_problem(404, "not-found")), form(&absent.expect_problem(404, "not-found")));
    let input = staff.post(&format!("{place}/verify"), &json!({ "reason": "x" }));
    assert_eq!(input.violations(), [("/reason".to_owned(), "schema.additionalProperties".to_owned())]);

    let answer = verify(&staff).expect(200);
    assert_eq!((answer.header("etag"), answer.json().get("unverified")), ("\"2\"", None));
    let verified = answer.json();
    assert_eq!((&verified["phase"], &verified["revision"]), (&json!("booked"), &json!(2)));
    verify(&staff).expect_problem(412, "stale");
    let again = staff.post(&format!("{place}/verify"), &json!({})).expect(200).json();
    assert_eq!(again, verified, "it is verified already");
    ana.get(&place).expect_problem(404, "not-found");
    assert_eq!(ana.get("/v1/pe/appointments").json()["items"], json!([]));

    let history = staff.get(&format!("{place}/history")).json()["items"].clone();
    assert_eq!(
        (&history[1]["action"], &history[1]["by"]),
        (&json!("verify"), &json!({ "subject": "staff", "role": "staff" }))
    );
    assert_eq!(history[0]["appointment"]["unverified"], true);
    // The time is the patient's now.
    let elsewhere = with(&pe(1), json!({ "doctor": "20001", "time": "09:45" }));
    let problem = staff.book("pe", &elsewhere).expect_problem(409, "slot-taken");
    assert!(problem["claim"].as_str().unwrap().starts_with("patient/"), "{problem}");
    staff.post(&format!("{place}/reschedule"), &json!({ "date": booked["date"], "time": "11:00" })).expect(200);
    staff.booked("pe", &elsewhere);
}

#[test]
fn whoever_acts_for_a_patient_sees_and_changes_what_is_the_patients_and_verifies_the_rest() {
    let host = Host::of(&["pe"]);
    let (staff, ana, luis) = (host.staff("pe"), host.patient("ana"), host.patient("luis"));
    let at = |doctor: &str, time: &str| with(&pe(1), json!({ "doctor": doctor, "time": time }));
    let ids = |path: &str| {
        let items = luis.get(path).expect(200).json()["items"].clone();
        items.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    let place = |booked: &Value| format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let by_staff = staff.booked("pe", &at("20001", "11:00"));
    assert_eq!(by_staff.get("unverified"), None);
    luis.get(&place(&by_staff)).expect_problem(404, "not-found");

    let link = link(&host, "luis", "dni:00000002");
    assert_eq!(luis.get(&place(&by_staff)).expect(200).json(), by_staff);
    let own = luis.booked("pe", &at("20002", "09:00"));
    assert_eq!(own.get("unverified"), None);
    let problem = luis.book("pe", &at("20003", "11:15")).expect_problem(409, "slot-taken");
    assert!(problem["claim"].as_str().unwrap().starts_with("patient/"), "{problem}");

    let by_ana = ana.booked("pe", &at("20004", "10:00"));
    luis.get(&place(&by_ana)).expect_problem(404, "not-found");
    assert_eq!(ids("/v1/pe/appointments"), [own["id"].clone(), by_staff["id"].clone()]);
    luis.post(&format!("{}/verify", place(&by_ana)), &json!({})).expect(200);
    ana.get(&place(&by_ana)).expect_problem(404, "not-found");

    // Another's appointment that this account booked is on the list, too, each page in the order of starts.
    let for_another = luis.booked("pe", &with(&pe(5), json!({ "time": "09:45" })));
    let all = [&own, &for_another, &by_ana, &by_staff].map(|booked| booked["id"].clone());
    assert_eq!(ids("/v1/pe/appointments"), all);
    let mut page = luis.get("/v1/pe/appointments?limit=1&order=desc").expect(200).json();
    let mut walked = vec![page["items"][0]["id"].clone()];
    while let Some(cursor) = page["nextCursor"].as_str() {
        page = luis.get(&format!("/v1/pe/appointments?limit=1&order=desc&cursor={cursor}")).expect(200).json();
        walked.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
    }
    walked.reverse();
    assert_eq!(walked, all);
    assert_eq!(ids("/v1/pe/appointments?patient=00000002").len(), 3);
    assert_eq!(ids("/v1/pe/appointments?patient=00000006"), [for_another["id"].clone()]);

    let moved = json!({ "date": own["date"], "time": "12:00" });
    luis.post(&format!("{}/reschedule", place(&by_staff)), &moved).expect(200);
    staff.delete(&link).expect(204);
    luis.get(&place(&own)).expect_problem(404, "not-found");
    assert_eq!(ids("/v1/pe/appointments"), [for_another["id"].clone()]);
}

#[test]
fn an_appointment_at_a_time_that_the_patient_has_already_is_not_verified() {
    let host = Host::of(&["pe"]);
    let (ana, staff) = (host.patient("ana"), host.staff("pe"));
    let booked = ana.booked("pe", &pe(1));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let other = staff.booked("pe", &with(&pe(1), json!({ "doctor": "20001", "time": "09:15" })));
    let verify = || staff.request("POST", &format!("{place}/verify")).key("k").json(&json!({})).send();
    let problem = verify().expect_problem(409, "slot-taken");
    assert_eq!((problem.get("claim"), &problem["freeSlots"]), (None, &json!([])), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("the patient has another appointment"), "{problem}");
    assert_eq!(ana.get(&place).expect(200).json(), booked, "nothing has changed");

    let cancel = format!("/v1/pe/appointments/{}/cancel", other["id"].as_str().unwrap());
    staff.post(&cancel, &json!({})).expect(200);
    let verified = verify().expect(200).json();
    assert_eq!(verify().expect(200).json(), verified, "a repeated request has the result of the first");
}

#[test]
fn a_verified_appointment_counts_among_the_patients_three() {
    let host = Host::of(&["pe"]);
    let staff = host.staff("pe");
    let of_patient = |number: usize| {
        let time = format!("{:02}:00", 9 + number);
        with(&pe(1), json!({ "doctor": (20_000 + number).to_string(), "time": time }))
    };
    let verify = |booked: &Value| {
        let id = booked["id"].as_str().unwrap();
        staff.post(&format!("/v1/pe/appointments/{id}/verify"), &json!({})).status
    };
    let [first, second] = ["ana", "luis"].map(|account| host.patient(account));
    let booked: Vec<Value> = (0..3).map(|number| first.booked("pe", &of_patient(number))).collect();
    let over = second.booked("pe", &of_patient(3));
    assert_eq!(booked.iter().map(verify).collect::<Vec<_>>(), [200, 200, 200]);
    // A change of the rules' claims does not lift the limit of the booking.
    let id = over["id"].as_str().unwrap();
    let moved = json!({ "date": over["date"], "time": "15:00" });
    second.post(&format!("/v1/pe/appointments/{id}/reschedule"), &moved).expect(200);
    assert_eq!(verify(&over), 409);
}

#[test]
fn an_appointment_of_one_country_is_not_found_in_another() {
    let host = Host::of(&["pe", "cl"]);
    let booked = host.patient("ana").booked("pe", &pe(1));
    let place = format!("/v1/cl/appointments/{}", booked["id"].as_str().unwrap());
    host.patient("ana").get(&place).expect_problem(404, "not-found");
}

#[test]
fn staff_see_all_of_their_country_and_nothing_of_another() {
    let host = Host::of(&["pe", "cl"]);
    let booked = host.patient("ana").booked("pe", &pe(1));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    let staff = host.staff("pe");
    assert_eq!(staff.get(&place).expect(200).json(), booked);
    assert_eq!(staff.get("/v1/pe/appointments").expect(200).json()["items"], json!([booked]));

    let elsewhere = host.staff("cl");
    elsewhere.get(&place).expect_problem(403, "forbidden");
    elsewhere.get("/v1/pe/appointments").expect_problem(403, "forbidden");
    elsewhere.get(&format!("{place}/history")).expect_problem(403, "forbidden");
    elsewhere.book("pe", &pe(2)).expect_problem(403, "forbidden");
    elsewhere.post(&format!("{place}/cancel"), &json!({})).expect_problem(403, "forbidden");
    elsewhere.booked("cl", &cl(1));
}

#[test]
fn an_action_for_staff_is_not_for_patients() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let no_show = format!("/v1/pe/appointments/{}/no-show", booked["id"].as_str().unwrap());
    ana.post(&no_show, &json!({})).expect_problem(403, "forbidden");
    let early = host.staff("pe").post(&no_show, &json!({}));
    assert_eq!(early.violations()[0].1, "pe.no-show.too-early");
}

#[test]
fn a_token_is_good_for_its_scopes_alone() {
    let host = Host::of(&["pe"]);
    let reader = host.client("ana", &[], &["appointments/read"]);
    let problem = reader.book("pe", &pe(1)).expect_problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("appointments/write"), "{problem}");
    assert!(reader.book("pe", &pe(1)).header("www-authenticate").contains("insufficient_scope"));
    reader.get("/v1/pe/appointments").expect(200);

    let writer = host.client("ana", &[], &["appointments/write"]);
    let booked = writer.booked("pe", &pe(1));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    writer.get("/v1/pe/appointments").expect_problem(403, "forbidden");
    writer.get(&place).expect_problem(403, "forbidden");
    writer.get(&format!("{place}/history")).expect_problem(403, "forbidden");
    writer.post(&format!("{place}/cancel"), &json!({})).expect(200);
    host.client("ana", &[], &[]).get(&place).expect_problem(403, "forbidden");
}

#[test]
fn a_bad_token_is_told_so_and_no_token_is_asked_for_one() {
    let host = Host::of(&["pe"]);
    let long_ago = Timestamp::now() - SignedDuration::from_hours(13);
    let expired = token(host.issuer(), "ana", &[], &BOTH, long_ago);
    let good = token(host.issuer(), "ana", &[], &BOTH, Timestamp::now());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = Host::of(&["pe"]);
    let foreign = token(other.issuer(), "ana", &[], &BOTH, Timestamp::now());
    for (what, bad) in [
        ("expired", expired),
        ("garbage", "garbage".to_owned()),
        ("without its signature", format!("{signed}.")),
        ("with nothing signed", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.".to_owned()),
        ("of another issuer", foreign),
    ] {
        let answer = host.with_token(Some(bad)).get("/v1/pe/appointments");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{what}: {answer:?}");
        answer.expect_problem(401, "unauthenticated");
    }
    let answer = host.with_token(None).get("/v1/pe/appointments");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"citas\"");
    answer.expect_problem(401, "unauthenticated");
    for other in ["Basic YTpi", "Bearer", "Bearer  "] {
        let answer = host.with_token(None).request("GET", "/v1/pe/appointments").header("Authorization", other).send();
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"citas\"", "no bad token: {other}");
        answer.expect_problem(401, "unauthenticated");
    }
}

#[test]
fn how_rules_fare_is_for_the_platform_team() {
    let host = Host::of(&["pe"]);
    for outsider in [host.patient("ana"), host.staff("pe")] {
        outsider.get("/v1/pe/rules").expect_problem(403, "forbidden");
    }
    let unscoped = host.client("platform", &["platform"], &BOTH);
    unscoped.get("/v1/pe/rules").expect_problem(403, "forbidden");
    host.patient("ana").booked("pe", &pe(1));
    let told = host.platform_team().get("/v1/pe/rules").expect(200).json();
    assert_eq!(told["rules"]["version"], version("pe"));
    assert_eq!((&told["swaps"], &told["refused"]), (&json!(1), &json!(null)));
    assert!(told["calls"]["answered"].as_u64().unwrap() >= 2, "{told}");
    host.platform_team().get("/v1/br/rules").expect_problem(404, "not-found");
}

#[test]
fn what_can_be_booked_where_is_open_to_everybody() {
    let host = Host::of(&["pe", "cl"]);
    let anybody = host.with_token(None);
    let countries = anybody.get("/v1/countries").expect(200).json();
    let codes: Vec<_> = countries["items"].as_array().unwrap().iter().map(|item| item["country"].clone()).collect();
    assert_eq!(codes, ["cl", "pe"]);
    let schema = anybody.get("/v1/cl/schema").expect(200).json();
    assert!(schema["request"]["properties"]["prevision"].is_object());
    let paths = anybody.get("/openapi.json").expect(200).json()["paths"].clone();
    assert!(paths["/v1/pe/appointments"]["post"].is_object(), "{paths}");
    anybody.get("/healthz").expect(200);
    anybody.get("/readyz").expect(200);
}
