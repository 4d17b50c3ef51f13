//! Agendas of doctors, and changes that depend on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use citas_core::model::{Agenda, AgendaRevision, Role};
use citas_core::ports::{AgendaCondition, AgendaError, Change, CommitError, Ledger};
use futures::future::join_all;
use serde_json::json;

use super::changes::{assert_claim_taken, with_receipt};
use super::races::race;
use crate::support::appointments::*;

/// Returns a revision of a doctor's agenda with these hours.
fn agenda(doctor: &str, revision: u32, from: &str) -> AgendaRevision {
    let hours = json!({
        "weekday": "tuesday", "from": from, "to": "24:00", "minutes": 30, "places": 2, "zone": "America/Lima",
        "hospital": "00006219", "request": { "specialty": "ñandú", "remote": true, "level": 3 },
    });
    let agenda: Agenda =
        serde_json::from_value(json!({ "weekly": [hours], "closed": [{ "date": "2026-12-25" }] })).unwrap();
    AgendaRevision {
        country: pe(),
        doctor: doctor.into(),
        revision,
        updated_at: now() + minutes(revision as usize),
        subject: "eva".into(),
        role: Role::Staff,
        request_id: format!("r-{revision}"),
        agenda,
    }
}

fn seeing(mut change: Change, doctor: &str, revision: u32) -> Change {
    change.agenda = Some(AgendaCondition { doctor: doctor.into(), revision });
    change
}

pub async fn an_agenda_is_read_back_as_it_was_written(ledger: Arc<dyn Ledger>) {
    assert_eq!(ledger.agenda(pe(), "1").await.unwrap(), None);
    assert_eq!(ledger.agenda_history(pe(), "1", 0, 10).await.unwrap(), []);
    let written = [agenda("1", 1, "09:00"), agenda("1", 2, "10:00"), agenda("1", 3, "11:00")];
    for (number, revision) in written.iter().enumerate() {
        ledger.put_agenda(revision.clone()).await.unwrap();
        assert_eq!(ledger.agenda(pe(), "1").await.unwrap().as_ref(), Some(revision));
        assert_eq!(ledger.agenda_history(pe(), "1", 0, 10).await.unwrap(), written[..=number]);
    }
    assert_eq!(ledger.agenda_history(pe(), "1", 1, 1).await.unwrap(), written[1..2]);
    assert_eq!(ledger.agenda_history(pe(), "1", 3, 10).await.unwrap(), []);
    assert_eq!(ledger.agenda(pe(), "10").await.unwrap(), None, "another key with the same beginning");
    assert_eq!(ledger.agenda(cl(), "1").await.unwrap(), None);
    assert_eq!(ledger.agendas(cl(), None, 10).await.unwrap(), []);
}

pub async fn an_agenda_follows_its_latest_revision(ledger: Arc<dyn Ledger>) {
    let put = async |revision| ledger.put_agenda(agenda("1", revision, "09:00")).await;
    assert!(matches!(put(2).await, Err(AgendaError::Stale)), "there is none");
    put(1).await.unwrap();
    assert!(matches!(put(3).await, Err(AgendaError::Stale)), "a gap");
    let again = AgendaRevision { subject: "luz".into(), ..agenda("1", 1, "10:00") };
    assert!(matches!(ledger.put_agenda(again).await, Err(AgendaError::Stale)), "a repeat");
    put(2).await.unwrap();
    assert_eq!(ledger.agenda_history(pe(), "1", 0, 10).await.unwrap().len(), 2);
}

pub async fn agendas_are_listed_by_the_doctors_keys_each_as_it_is_now(ledger: Arc<dyn Ledger>) {
    let doctors = ["1", "10", "2", "Z", "a", "é"];
    for doctor in doctors.iter().rev() {
        ledger.put_agenda(agenda(doctor, 1, "09:00")).await.unwrap();
    }
    ledger.put_agenda(agenda("2", 2, "10:00")).await.unwrap();
    let latest =
        |doctor: &str| agenda(doctor, if doctor == "2" { 2 } else { 1 }, if doctor == "2" { "10:00" } else { "09:00" });
    assert_eq!(ledger.agendas(pe(), None, 100).await.unwrap(), doctors.map(latest));
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.agendas(pe(), after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.doctor.clone());
        walked.extend(page);
    }
    assert_eq!(walked, doctors.map(latest));
}

pub async fn the_stamp_of_the_agendas_changes_with_each_revision(ledger: Arc<dyn Ledger>) {
    let mut stamps = BTreeSet::from([ledger.agenda_stamp(pe()).await.unwrap()]);
    for (doctor, revision) in [("1", 1), ("2", 1), ("1", 2), ("1", 3)] {
        ledger.put_agenda(agenda(doctor, revision, "09:00")).await.unwrap();
        let stamp = ledger.agenda_stamp(pe()).await.unwrap();
        assert!(stamps.insert(stamp), "{doctor} {revision}");
        assert_eq!(ledger.agenda_stamp(pe()).await.unwrap(), stamp);
    }
}

pub async fn a_change_is_stored_if_the_agenda_is_the_one_that_was_seen(ledger: Arc<dyn Ledger>) {
    let refused = async |change: Change| {
        let id = change.revision.appointment.id;
        let outcome = ledger.commit(change).await;
        assert!(matches!(outcome, Err(CommitError::AgendaChanged)), "{outcome:?}");
        assert_eq!(ledger.appointment(pe(), id).await.unwrap(), None);
    };
    let number = std::cell::Cell::new(0);
    let next = |revision: u32| {
        number.set(number.get() + 1);
        seeing(booking(booked(number.get()), &[&quarter("doctor/1", number.get())]), "1", revision)
    };
    refused(next(1)).await;
    ledger.commit(next(0)).await.unwrap();
    ledger.put_agenda(agenda("1", 1, "09:00")).await.unwrap();
    refused(next(0)).await;
    ledger.commit(next(1)).await.unwrap();
    ledger.put_agenda(agenda("1", 2, "10:00")).await.unwrap();
    refused(next(1)).await;
    ledger.commit(next(2)).await.unwrap();
    ledger.commit(Change { agenda: None, ..next(1) }).await.unwrap();
    ledger.commit(seeing(next(0), "2", 0)).await.unwrap();
}

pub async fn of_a_changed_agenda_and_other_reasons_the_first_is_given(ledger: Arc<dyn Ledger>) {
    ledger.commit(with_receipt(booking(booked(1), &["a"]))).await.unwrap();
    let wrong = |change: Change| seeing(change, "1", 7);
    let used = ledger.commit(wrong(with_receipt(booking(booked(1), &["a"])))).await;
    assert!(matches!(used, Err(CommitError::KeyUsed)), "{used:?}");
    let stale = ledger.commit(wrong(booking(booked(1), &["a"]))).await;
    assert!(matches!(stale, Err(CommitError::Stale)), "{stale:?}");
    for places in [1, 2] {
        let mut taken = wrong(booking(booked(2), &["a"]));
        taken.claims[0].places = places;
        let changed = ledger.commit(taken).await;
        assert!(matches!(changed, Err(CommitError::AgendaChanged)), "{changed:?}");
    }
    assert_claim_taken(ledger.commit(seeing(booking(booked(2), &["a"]), "1", 0)).await, &["a"]);
}

pub async fn of_twenty_who_put_one_revision_one_is_stored_and_bookings_see_it_or_not(ledger: Arc<dyn Ledger>) {
    let puts = (0..20).map(|number| {
        let (ledger, put) =
            (Arc::clone(&ledger), AgendaRevision { subject: format!("staff {number}"), ..agenda("1", 1, "09:00") });
        tokio::spawn(async move { ledger.put_agenda(put).await })
    });
    let bookings =
        (0..20).map(|number| seeing(booking(booked(number), &[&quarter("doctor/1", number)]), "1", 0)).collect();
    let (puts, bookings) = futures::join!(join_all(puts), race(&ledger, bookings));
    let stored = puts.into_iter().map(Result::unwrap).filter(|put| match put {
        Ok(()) => true,
        Err(AgendaError::Stale) => false,
        Err(AgendaError::Unavailable(error)) => panic!("{error}"),
    });
    assert_eq!(stored.count(), 1);
    for (number, outcome) in bookings.into_iter().enumerate() {
        assert!(matches!(outcome, Ok(_) | Err(CommitError::AgendaChanged)), "{outcome:?}");
        assert_eq!(ledger.appointment(pe(), id(number)).await.unwrap().is_some(), outcome.is_ok());
    }
    let late = seeing(booking(booked(100), &["late"]), "1", 0);
    assert!(matches!(ledger.commit(late).await, Err(CommitError::AgendaChanged)));
}
