//! Tests of links in mail, over fake rules and a fake ledger.

use jiff::SignedDuration;

use super::*;
use crate::booking::LinkOutcome;
use crate::model::{ActionDescriptor, Link, Relation, Tie};

/// A desk with one appointment, whose patient may confirm it.
fn desk(verdict: Result<Verdict, Fault>) -> Desk {
    let mut rules = Deciding::new(verdict);
    let confirm = ActionDescriptor { name: "confirm".into(), roles: vec!["patient".into()], input_schema: "{}".into() };
    rules.descriptor.actions.push(confirm);
    Desk::new(rules, OneAppointment { stored: Some(verified()), ..OneAppointment::default() })
}

fn link(action: &str) -> Link {
    Link::new(&revision(Uuid::nil()), action, "en")
}

#[tokio::test]
async fn a_link_acts_as_the_patient_of_its_appointment_and_its_page_changes_nothing() {
    let desk = desk(Ok(Ok(booked())));
    let shown = desk.booking.show_link(&link("confirm"), "r-7").await.unwrap();
    assert!(matches!(shown.outcome, LinkOutcome::Open));
    assert!(desk.changes().is_empty());

    let followed = desk.booking.follow_link(&link("confirm"), "r-7").await.unwrap();
    assert!(matches!(followed.outcome, LinkOutcome::Acted));
    assert_eq!(followed.revision.appointment.revision, 2);
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    let provenance = &change.revision.provenance;
    assert_eq!((provenance.subject.as_str(), provenance.request_id.as_str()), ("link", "r-7"));
    assert_eq!(change.revision.owner, None, "it is still the patient's");
    let caller = &provenance.context.caller;
    let tie = Tie { patient: "dni:10117410".into(), relation: Relation::Oneself };
    assert_eq!((caller.role, &caller.ties), (Role::Patient, &vec![tie]));
    for other in ["ana", "link"] {
        assert_ne!(caller.account, names().account(pe(), other), "an account of its own");
    }
    assert_eq!(desk.rules.calls().len(), 2);
}

#[tokio::test]
async fn an_action_that_is_not_for_patients_or_needs_an_input_is_done_by_no_link() {
    let desk = desk(Ok(Ok(booked())));
    for (action, is_refused) in [("arrive", false), ("unheard-of", false), ("cancel", true)] {
        let followed = desk.booking.follow_link(&link(action), "r-7").await.unwrap();
        let outcome = followed.outcome;
        let is_told = matches!(outcome, LinkOutcome::Refused(_)) == is_refused
            && matches!(outcome, LinkOutcome::Impossible) != is_refused;
        assert!(is_told, "{action}");
    }
    assert!(desk.changes().is_empty() && desk.rules.calls().is_empty());
}

#[tokio::test]
async fn a_link_after_its_end_or_of_another_appointment_reaches_no_rules() {
    let desk = desk(Ok(Ok(booked())));
    let now = ManualClock::default().now();
    let ends = |after: i64| {
        let mut link = link("confirm");
        link.expires_at = now + SignedDuration::from_secs(after);
        link
    };
    assert!(matches!(desk.booking.follow_link(&ends(0), "r-7").await, Err(LinkError::Expired)));
    let mut elsewhere = link("confirm");
    elsewhere.country = "cl".parse().unwrap();
    let unknown = desk.booking.follow_link(&elsewhere, "r-7").await;
    assert!(matches!(unknown, Err(LinkError::Booking(BookingError::UnknownCountry(_)))));
    assert!(desk.changes().is_empty() && desk.rules.calls().is_empty());
    assert!(desk.booking.follow_link(&ends(1), "r-7").await.is_ok());
}

#[tokio::test]
async fn the_page_of_a_link_is_no_decision_of_a_canary() {
    let (desk, counted) = desk(Ok(Ok(booked()))).with_canary(Ok(refused()));
    assert!(desk.booking.show_link(&link("confirm"), "r-7").await.is_ok());
    assert_eq!(counted.0.lock().unwrap().decided, 0);
}

#[tokio::test]
async fn rules_that_fail_do_nothing() {
    let desk = desk(Err(Fault::Busy));
    for failed in
        [desk.booking.show_link(&link("confirm"), "r-7").await, desk.booking.follow_link(&link("confirm"), "").await]
    {
        assert!(matches!(failed, Err(LinkError::Booking(BookingError::RulesUnavailable(_)))));
    }
    assert!(desk.changes().is_empty());
}
