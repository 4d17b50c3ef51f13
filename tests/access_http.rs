//! Access rights: what each role may see and do, and with which token.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::components::version;
use crate::support::host::{Host, token};
use crate::support::http::form;
use crate::support::requests::{cl, pe};

const BOTH: [&str; 2] = ["appointments/read", "appointments/write"];

/// Id that no appointment has.
const NOBODYS: &str = "01935f00-0000-7000-8000-000000000000";

#[test]
fn somebody_elses_appointment_looks_like_none_at_all() {
    let host = Host::of(&["pe"]);
    let booked = host.patient("ana").booked("pe", &pe(1));
    let luis = host.patient("luis");
    let (theirs, none) = (booked["id"].as_str().unwrap(), NOBODYS);
    for (method, rest) in [("GET", ""), ("GET", "/history"), ("POST", "/cancel"), ("POST", "/reschedule")] {
        let ask = |id: &str| {
            let request = luis.request(method, &format!("/v1/pe/appointments/{id}{rest}"));
            if method == "GET" { request.send() } else { request.json(&json!({})).send() }
        };
        let (theirs, none) = (ask(theirs), ask(none));
        assert_eq!(
            form(&theirs.clone().expect_problem(404, "not-found")),
            form(&none.clone().expect_problem(404, "not-found")),
            "{method} {rest}"
        );
        let names = |answer: &crate::support::http::Answer| {
            answer.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&theirs), names(&none), "{method} {rest}");
    }
    assert_eq!(luis.get("/v1/pe/appointments").expect(200).json(), json!({ "items": [] }));
    let named = luis.get("/v1/pe/appointments?patient=dni:00000002&doctor=10001").expect(200).json();
    assert_eq!(named, json!({ "items": [] }), "no filter finds another's");
    assert_eq!(host.patient("ana").get("/v1/pe/appointments").json()["items"], json!([booked]));
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
