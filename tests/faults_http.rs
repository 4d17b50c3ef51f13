//! A country whose component misbehaves answers 503 at once, and no other country is affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use citas_core::model::{Limits, RulesPackage};
use citas_core::release::Target;
use serde_json::{Value, json};

use crate::support::components::{chaos_with, component};
use crate::support::host::Host;
use crate::support::http::{Answer, with};
use crate::support::requests::{pe, xx};

/// Maximum time until a client learns that the rules gave no answer.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// Maximum time of the neighbour's slowest answer meanwhile, on a machine that other tests share.
const NEIGHBOUR_WITHIN: Duration = Duration::from_secs(2);

/// Returns the 503 answers of a mode, while Peru continues to book.
fn faults_beside_peru(mode: &str) -> Vec<Answer> {
    let host = Host::of(&["pe", "xx"]);
    let (over, booked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut faults = std::thread::scope(|scope| {
        scope.spawn(|| {
            let ana = host.patient("ana");
            while !over.load(Ordering::Relaxed) {
                let answer = ana.book("pe", &pe(booked.load(Ordering::Relaxed))).expect(201);
                assert!(answer.took < NEIGHBOUR_WITHIN, "Peru took {:?}", answer.took);
                booked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (luis, mut faults) = (host.patient("luis"), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(20);
        while faults.len() < 5 || booked.load(Ordering::Relaxed) < 5 {
            faults.push(luis.book("xx", &with(&xx(1), json!({ "mode": mode }))));
            assert!(Instant::now() < deadline, "Peru is kept from answering");
        }
        over.store(true, Ordering::Relaxed);
        faults
    });
    host.patient("luis").booked("xx", &xx(1));
    let told = host.platform_team().get("/v1/xx/rules").expect(200).json();
    assert_eq!(told["calls"]["faults"], faults.len(), "{told}");
    faults.sort_by_key(|fault| fault.took);
    faults
}

#[track_caller]
fn assert_told(mode: &str, why: &str) {
    let faults = faults_beside_peru(mode);
    // The fastest answer shows the host's own time. The others may have waited for a core.
    println!("{mode}: {:?} to {:?}", faults[0].took, faults[faults.len() - 1].took);
    assert!(faults[0].took <= TOLD_WITHIN, "{mode} took {:?}", faults[0].took);
    for fault in faults {
        let problem = fault.expect_problem(503, "rules-unavailable");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        assert_eq!(problem["country"], "xx");
        assert_eq!(problem["rules"]["version"], "1.0.0", "it is said which component: {problem}");
        assert!(problem["rules"]["digest"].as_str().unwrap().starts_with("sha256:"), "{problem}");
    }
}

#[test]
fn a_component_that_loops_is_stopped() {
    assert_told("loop", "budget of fuel");
}

#[test]
fn a_component_that_takes_a_gibibyte_is_stopped() {
    assert_told("grow", "its limit `memory`");
}

#[test]
fn a_component_that_recurses_for_ever_is_stopped() {
    assert_told("recurse", "trapped");
}

#[test]
fn a_component_that_panics_is_contained() {
    assert_told("panic", "panicked");
}

#[test]
fn a_component_that_answers_with_ten_megabytes_is_not_listened_to() {
    assert_told("flood", "larger than");
}

#[test]
fn a_component_that_breaks_the_contract_is_told_so() {
    assert_told("many-claims", "41 claims");
    assert_told("impossible-date", "2026-02-30");
}

#[test]
fn a_crowd_before_a_looping_component_is_told_soon_and_peru_books_on() {
    let host = Host::of(&["pe", "xx"]);
    let looping = with(&xx(1), json!({ "mode": "loop" }));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..40)
            .map(|number| {
                scope.spawn({
                    let (luis, looping) = (host.patient(&format!("luis-{number}")), &looping);
                    move || luis.book("xx", looping)
                })
            })
            .collect();
        for number in 0..20 {
            let answer = host.patient(&format!("ana-{number}")).book("pe", &pe(number)).expect(201);
            assert!(answer.took < NEIGHBOUR_WITHIN, "Peru took {:?}", answer.took);
        }
        crowd.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    println!("the slowest was told after {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    for answer in answers {
        let problem = answer.expect_problem(503, "rules-unavailable");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("budget of fuel") || detail.contains("too many calls"), "{problem}");
    }
}

#[test]
fn a_country_without_rules_is_unavailable_and_no_reason_to_call_the_host_unready() {
    let host = Host::of(&["pe"]);
    let xx_code = "xx".parse().unwrap();
    host.platform.swapper.refuse(xx_code, "version 1.0.0", "it does not do");
    host.patient("ana").book("xx", &xx(1)).expect_problem(503, "rules-unavailable");
    let ready = host.patient("ana").get("/readyz").expect(200).json();
    assert_eq!(ready["trouble"], json!({ "xx": "no rules are in force" }));
}

/// Puts a component into force as a swap does. Returns the refusal, if any.
fn swap(host: &Host, component: &[u8]) -> Result<(), String> {
    let package = RulesPackage { component: component.to_vec(), limits: Limits::default(), cases: "[]".into() };
    let package = Arc::new(package);
    let swapped = host.platform.swapper.swap("xx".parse().unwrap(), Target::Unpublished("a test"), &package);
    host.block_on(swapped).map_err(|refusal| refusal.to_string())
}

#[test]
fn a_component_that_will_not_do_is_refused_when_it_is_loaded_and_the_last_good_one_stays() {
    let host = Host::of(&["xx"]);
    let before = host.patient("ana").booked("xx", &xx(1))["rules"].clone();
    for (component, why) in [
        (chaos_with(&["zone"]), "America/Atlantis"),
        (chaos_with(&["schema"]), "request-schema"),
        (chaos_with(&["import"]), "it imports"),
        (chaos_with(&["slow-describe"]), "budget of fuel"),
        (component("pe").to_vec(), "the country is `pe` where the manifest says `xx`"),
        (b"not a component".to_vec(), "no WebAssembly component"),
    ] {
        let refused = swap(&host, &component).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        let told: Value = host.platform_team().get("/v1/xx/rules").expect(200).json();
        assert_eq!(told["refused"]["why"], refused);
        assert_eq!((&told["rules"], &told["swaps"]), (&before, &json!(1)), "{why}");
    }
    assert_eq!(host.patient("ana").booked("xx", &xx(2))["rules"], before);
    swap(&host, &chaos_with(&["later"])).unwrap();
    let told = host.platform_team().get("/v1/xx/rules").expect(200).json();
    assert_eq!((&told["refused"], &told["rules"]["version"]), (&json!(null), &json!("1.1.0")));
}

#[test]
fn a_time_that_the_clocks_skip_is_refused_and_one_that_comes_twice_is_the_earlier() {
    let host = Host::of(&["xx"]);
    let ana = host.patient("ana");
    let santiago = |date: &str, time: &str| with(&xx(1), json!({ "mode": "santiago", "date": date, "time": time }));
    // In the night to 6 September 2026 Santiago's clocks jump from midnight to one o'clock.
    let skipped = ana.book("xx", &santiago("2026-09-06", "00:30"));
    assert_eq!(skipped.violations(), [(String::new(), "time.nonexistent".to_owned())]);
    skipped.expect_problem(422, "rules-violated");
    let twice = ana.booked("xx", &santiago("2027-04-03", "23:30"));
    assert_eq!(twice["startsAt"], "2027-04-04T02:30:00Z");
    let place = format!("/v1/xx/appointments/{}", twice["id"].as_str().unwrap());
    let moved = ana.post(&format!("{place}/reschedule"), &json!({ "date": "2026-09-06", "time": "00:15" }));
    moved.expect_problem(422, "rules-violated");
    assert_eq!(ana.get(&place).json(), twice);
}
