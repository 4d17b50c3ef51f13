//! What a candidate would refuse of the future, and decisions judged again: on a real ledger, beside the host that has it.

use citas::rules::CountryFolder;
use serde_json::{Value, json};

use crate::support::components::{component, folder};
use crate::support::host::Host;
use crate::support::http::with;
use crate::support::process::{Told, run};
use crate::support::requests::pe;
use crate::support::workspace::{Workspace, day_of_no_case};

fn impact(host: &Host, rules: &[u8]) -> (i32, Value) {
    let file = host.data().join("candidate.wasm");
    std::fs::write(&file, rules).unwrap();
    let Told { status, out, .. } =
        run(&["rules", "impact", file.to_str().unwrap(), "--data", host.data().to_str().unwrap(), "--json"]);
    (status, serde_json::from_str(&out).unwrap())
}

#[test]
fn a_holiday_that_is_decreed_refuses_the_appointments_of_that_day_and_no_others() {
    let (host, holiday) = (Host::of(&["pe"]), day_of_no_case());
    let ana = host.patient("ana");
    ana.booked("pe", &pe(1));
    let hit = ana.booked("pe", &with(&pe(2), json!({ "date": holiday })));
    let moved = ana.booked("pe", &pe(3));
    let over = ana.booked("pe", &with(&pe(4), json!({ "date": holiday })));
    let place =
        |booked: &Value, action: &str| format!("/v1/pe/appointments/{}/{action}", booked["id"].as_str().unwrap());
    ana.post(&place(&moved, "reschedule"), &json!({ "date": holiday, "time": "11:00" })).expect(200);
    ana.post(&place(&over, "cancel"), &json!({ "reason": "patient" })).expect(200);

    let (status, told) = impact(&host, component("pe"));
    assert_eq!((status, &told["judged"], &told["refused"], &told["changed"]), (0, &json!(3), &json!([]), &json!([])));

    let workspace = Workspace::copied();
    std::fs::write(workspace.source("holidays.rs"), workspace.decree(&holiday).1).unwrap();
    let candidate = CountryFolder::open(&workspace.path.join("countries/pe")).unwrap().build(&[]).unwrap();
    let (status, told) = impact(&host, &candidate);
    assert_eq!((status, &told["judged"], &told["changed"]), (1, &json!(3), &json!([])));
    let mut refused: Vec<_> = told["refused"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    refused.sort_by_key(ToString::to_string);
    let mut expected = [&hit["id"], &moved["id"]];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(refused, expected);
    assert_eq!(told["refused"][0]["codes"], json!(["pe.date.holiday"]));
    assert!(told["refused"][0]["why"].as_str().unwrap().contains("Día de la prueba"), "{told}");
}

#[test]
fn a_stored_decision_is_made_again_by_the_rules_that_made_it() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(1));
    let id = booked["id"].as_str().unwrap();
    ana.post(&format!("/v1/pe/appointments/{id}/reschedule"), &json!({ "date": booked["date"], "time": "11:00" }))
        .expect(200);

    let data = host.data().to_str().unwrap();
    let replay = |revision: &str| run(&["rules", "replay", "pe", id, "--revision", revision, "--data", data]);
    let told = replay("1").expect(1);
    assert!(told.err.contains("was never published here"), "{}", told.err);

    let (file, cases) = (host.data().join("pe.wasm"), folder("pe").join("cases"));
    std::fs::write(&file, component("pe")).unwrap();
    run(&["rules", "publish", file.to_str().unwrap(), "--cases", cases.to_str().unwrap(), "--data", data]).expect(0);
    for (revision, action) in [("1", "book"), ("2", "reschedule")] {
        let told = replay(revision).expect(0).out;
        assert!(told.contains("the same decision") && told.contains(&format!(": {action} by patient")), "{told}");
        assert!(!told.contains("ana@"), "{told}");
    }
    replay("3").expect(1);
}

#[test]
fn where_no_host_keeps_anything_nothing_is_made() {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("pe.wasm");
    std::fs::write(&file, component("pe")).unwrap();
    let (file, data) = (file.to_str().unwrap(), there.path().to_str().unwrap());
    let told = run(&["rules", "impact", file, "--data", data]).expect(2);
    assert!(told.err.contains("pe.db"), "{}", told.err);
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 1);
}
