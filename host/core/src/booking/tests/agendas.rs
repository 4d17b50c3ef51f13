//! Bookings, and the agendas of their doctors.

use super::*;
use crate::model::{Agenda, HeldClaim};

/// Returns a revision of the doctor's agenda with these hours on Tuesdays.
fn agenda(revision: u32, from: &str, to: &str) -> AgendaRevision {
    let hours =
        json!({ "weekday": "tuesday", "from": from, "to": to, "minutes": 30, "zone": "America/Lima", "hospital": "1" });
    AgendaRevision {
        country: pe(),
        doctor: "45678".into(),
        revision,
        updated_at: Timestamp::UNIX_EPOCH,
        subject: "eva".into(),
        role: Role::Staff,
        request_id: "r".into(),
        agenda: serde_json::from_value::<Agenda>(json!({ "weekly": [hours] })).unwrap(),
    }
}

/// Returns a ledger with this agenda. The slot of all plans here is on a Tuesday at 09:30.
fn with(agenda: AgendaRevision, stored: Option<Revision>) -> OneAppointment {
    OneAppointment { agendas: vec![agenda].into(), stored, ..OneAppointment::default() }
}

fn seen(desk: &Desk) -> Vec<Option<u32>> {
    desk.changes().iter().map(|change| change.agenda.as_ref().map(|agenda| agenda.revision)).collect()
}

fn is_outside(outcome: Result<View, BookingError>) -> bool {
    let Err(BookingError::Violations(Rejection { violations, .. })) = outcome else { return false };
    violations == [Violation::new("", "agenda.outside")]
}

#[tokio::test]
async fn a_slot_outside_the_agenda_is_refused_and_one_inside_depends_on_its_revision() {
    let desk = |from, to| Desk::new(Deciding::new(Ok(Ok(booked()))), with(agenda(3, from, to), None));
    let outside = desk("10:00", "12:00");
    assert!(is_outside(outside.book().await));
    assert_eq!(outside.changes().len(), 0);
    let inside = desk("09:00", "12:00");
    inside.book().await.unwrap();
    assert_eq!(seen(&inside), [Some(3)]);
    let without = Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default());
    without.book().await.unwrap();
    assert_eq!(seen(&without), [Some(0)], "nobody has set up an agenda meanwhile");
}

#[tokio::test]
async fn another_hospital_than_the_openings_is_outside() {
    let at = |hospital: &str| {
        let plan = Plan { hospital: Some(hospital.into()), ..booked() };
        Desk::new(Deciding::new(Ok(Ok(plan))), with(agenda(1, "09:00", "12:00"), None))
    };
    assert!(at("1").book().await.is_ok());
    assert!(is_outside(at("2").book().await));
}

#[tokio::test]
async fn a_plan_off_the_agenda_or_without_a_doctor_or_a_live_phase_is_not_checked() {
    let nobody = Plan { doctor: None, ..booked() };
    let waiting = Plan { phase: crate::model::Phase::Waitlisted, claims: vec![], ..booked() };
    for plan in [Plan { off_agenda: true, ..booked() }, nobody, waiting] {
        let desk = Desk::new(Deciding::new(Ok(Ok(plan))), with(agenda(1, "10:00", "12:00"), None));
        desk.book().await.unwrap();
        assert_eq!(seen(&desk), [None]);
    }
}

#[tokio::test]
async fn an_action_that_keeps_the_slot_is_not_checked_and_one_that_moves_it_is() {
    let stored = Revision { claims: vec![HeldClaim { key: "x".into(), ordinal: 0 }], ..revision(Uuid::nil()) };
    let desk = |plan| Desk::new(Deciding::new(Ok(Ok(plan))), with(agenda(1, "10:00", "12:00"), Some(stored.clone())));
    let keeping = desk(booked());
    keeping.cancel(None).await.unwrap();
    assert_eq!(seen(&keeping), [None]);
    let moved = |start: &str| {
        let mut plan = booked();
        plan.slot.as_mut().unwrap().start = start.parse().unwrap();
        desk(plan)
    };
    assert!(is_outside(moved("2026-12-01T09:00").cancel(None).await));
    assert!(moved("2026-12-08T10:00").cancel(None).await.is_ok());
}

#[tokio::test]
async fn a_booking_whose_agenda_changes_before_the_commit_is_decided_anew() {
    let desk = |meanwhile: AgendaRevision| {
        let ledger = with(agenda(1, "09:00", "12:00"), None);
        *ledger.meanwhile.lock().unwrap() = vec![meanwhile];
        Desk::new(Deciding::new(Ok(Ok(booked()))), ledger)
    };
    let kept = desk(agenda(2, "09:30", "10:00"));
    kept.book().await.unwrap();
    assert_eq!((kept.rules.calls().len(), seen(&kept)), (2, vec![Some(2)]));
    let lost = desk(agenda(2, "10:00", "12:00"));
    assert!(is_outside(lost.book().await));
    assert_eq!((lost.rules.calls().len(), lost.changes().len()), (2, 0));
}

#[tokio::test]
async fn a_booking_gives_up_where_the_agenda_never_rests() {
    let ledger = with(agenda(1, "09:00", "12:00"), None);
    *ledger.meanwhile.lock().unwrap() = (2..20).rev().map(|revision| agenda(revision, "09:00", "12:00")).collect();
    let desk = Desk::new(Deciding::new(Ok(Ok(booked()))), ledger);
    assert!(matches!(desk.book().await, Err(BookingError::AgendaChanged)));
    assert_eq!((desk.rules.calls().len(), desk.changes().len()), (MAX_ATTEMPTS, 0));
}

#[tokio::test]
async fn a_canary_is_judged_by_its_plan_and_not_by_the_agenda() {
    let (desk, counted) = Desk::new(Deciding::new(Ok(Ok(booked()))), with(agenda(1, "10:00", "12:00"), None))
        .with_canary(Ok(Ok(booked())));
    assert!(is_outside(desk.book().await));
    assert_eq!(*counted.0.lock().unwrap(), Tally { decided: 1, refused: 0, unanswered: 0 });
}
