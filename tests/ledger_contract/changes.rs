//! Sequential changes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use citas_core::model::{Claim, Field, Phase, Value};
use citas_core::ports::{Change, CommitError, Committed, Ledger};

use crate::support::appointments::*;

pub async fn a_booking_is_read_back_as_it_was_written(ledger: Arc<dyn Ledger>) {
    let mut change = booking(booked(1), &["doctor:1", "patient:1"]);
    change.receipt = Some(receipt("k", &change.revision));
    let stored = change.revision.clone();
    let committed = ledger.commit(change).await.unwrap();

    assert_eq!((&*committed.revision, committed.choice), (&stored, None));
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), Some(&stored));
    assert_eq!(ledger.revision(pe(), id(1), 1).await.unwrap().as_ref(), Some(&stored));
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [stored]);
}

pub async fn what_was_never_stored_is_absent(ledger: Arc<dyn Ledger>) {
    ledger.commit(change(booked(1))).await.unwrap();
    assert_eq!(ledger.appointment(pe(), id(2)).await.unwrap(), None);
    assert_eq!(ledger.revision(pe(), id(2), 1).await.unwrap(), None);
    assert_eq!(ledger.revision(pe(), id(1), 0).await.unwrap(), None);
    assert_eq!(ledger.revision(pe(), id(1), 2).await.unwrap(), None);
    assert_eq!(ledger.history(pe(), id(2), 0, 100).await.unwrap(), []);
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), None);
}

pub async fn every_kind_of_value_is_read_back_exactly(ledger: Arc<dyn Ledger>) {
    let mut revision = booked(1);
    let values = [
        Value::Text(String::new()),
        Value::Text("ñandú «año» 𝕏 e\u{301} \u{0} \" \\ \u{1F9D1}\u{200D}\u{2695}\u{FE0F}".into()),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Integer(0),
        Value::Decimal("0.1".into()),
        Value::Decimal("-1.5e300".into()),
        Value::Decimal("123456789012345678901234567890.123456789".into()),
        Value::Flag(true),
        Value::Flag(false),
        Value::Texts(Vec::new()),
        Value::Texts(strings(&["b", "", "a", "b", "ü"])),
    ];
    let field = |(number, value)| Field { path: format!("/deep~1er/{number}/ñ"), value };
    revision.appointment.attributes = values.into_iter().enumerate().map(field).collect();
    revision.provenance.input = revision.appointment.attributes.clone();
    let paths = revision.appointment.attributes.iter().map(|field| field.path.clone());
    for (number, personal) in [BTreeSet::new(), paths.collect()].into_iter().enumerate() {
        revision.appointment.id = id(number);
        revision.personal = personal;
        ledger.commit(change(revision.clone())).await.unwrap();
        assert_eq!(ledger.appointment(pe(), id(number)).await.unwrap().as_deref(), Some(&revision));
    }
}

pub async fn sixty_kilobytes_of_attributes_are_read_back_exactly(ledger: Arc<dyn Ledger>) {
    let mut revision = booked(1);
    revision.appointment.attributes =
        (0..60).map(|number| text(&format!("/note{number}"), &"ñ\"x ".repeat(205))).collect();
    revision.personal = (30..60).map(|number| format!("/note{number}")).collect();
    ledger.commit(change(revision.clone())).await.unwrap();
    let next = after(&revision);
    ledger.commit(change(next.clone())).await.unwrap();
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [revision, next]);
}

pub async fn a_taken_claim_refuses_the_whole_change(ledger: Arc<dyn Ledger>) {
    ledger.commit(booking(booked(1), &["b"])).await.unwrap();
    let refused = with_receipt(booking(booked(2), &["a", "b", "c"]));
    assert_claim_taken(ledger.commit(refused).await, &["b"]);
    assert_nothing_stored(&*ledger).await;
}

pub async fn a_stale_change_is_refused_whole(ledger: Arc<dyn Ledger>) {
    let mut refused = with_receipt(booking(booked(2), &["a", "c"]));
    refused.revision.appointment.revision = 2;
    assert!(matches!(ledger.commit(refused).await, Err(CommitError::Stale)));
    assert_nothing_stored(&*ledger).await;
}

pub async fn a_used_key_refuses_the_whole_change(ledger: Arc<dyn Ledger>) {
    let mut first = change(booked(1));
    first.receipt = Some(receipt("k", &first.revision));
    ledger.commit(first.clone()).await.unwrap();

    let refused = with_receipt(booking(booked(2), &["a", "c"]));
    assert!(matches!(ledger.commit(refused).await, Err(CommitError::KeyUsed)));
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
    assert_eq!(ledger.appointment(pe(), id(2)).await.unwrap(), None);
    assert_eq!(taken(&*ledger, &["a", "c"]).await, HashSet::new());
}

pub async fn of_several_reasons_the_first_is_given(ledger: Arc<dyn Ledger>) {
    let first = with_receipt(booking(booked(1), &["a"]));
    ledger.commit(first).await.unwrap();

    let everything_wrong = with_receipt(booking(booked(1), &["a"]));
    assert!(matches!(ledger.commit(everything_wrong).await, Err(CommitError::KeyUsed)));
    let stale_and_taken = booking(booked(1), &["a"]);
    assert!(matches!(ledger.commit(stale_and_taken).await, Err(CommitError::Stale)));
    let only_taken = booking(booked(2), &["a"]);
    assert_claim_taken(ledger.commit(only_taken).await, &["a"]);
}

pub async fn a_first_revision_is_stored_once(ledger: Arc<dyn Ledger>) {
    ledger.commit(change(booked(1))).await.unwrap();
    let mut again = booked(1);
    again.owner = Some("eva".into());
    assert!(matches!(ledger.commit(change(again)).await, Err(CommitError::Stale)));
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), Some(&booked(1)));
}

pub async fn a_revision_follows_the_latest(ledger: Arc<dyn Ledger>) {
    let first = booked(1);
    let second = after(&first);
    let third = after(&second);
    ledger.commit(change(first.clone())).await.unwrap();
    assert!(matches!(ledger.commit(change(third.clone())).await, Err(CommitError::Stale)), "a gap");
    ledger.commit(change(second.clone())).await.unwrap();
    assert!(matches!(ledger.commit(change(second.clone())).await, Err(CommitError::Stale)), "a repeat");
    ledger.commit(change(third.clone())).await.unwrap();
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [first, second, third]);
}

pub async fn a_released_claim_is_free(ledger: Arc<dyn Ledger>) {
    let held = booking(booked(1), &["a", "b"]);
    ledger.commit(held.clone()).await.unwrap();
    ledger.commit(cancellation(&held)).await.unwrap();
    assert_eq!(taken(&*ledger, &["a", "b"]).await, HashSet::new());
    ledger.commit(booking(booked(2), &["a", "b"])).await.unwrap();
}

pub async fn a_reschedule_takes_and_releases_in_one_change(ledger: Arc<dyn Ledger>) {
    let held = booking(booked(1), &["a", "b"]);
    ledger.commit(held.clone()).await.unwrap();

    let mut moved = change(after(&held.revision));
    moved.claims = claims(&["b", "c"]);
    let Committed { revision, choice } = ledger.commit(moved).await.unwrap();
    assert_eq!((&revision.claims, choice), (&self::held(&["b", "c"]), None));
    assert_eq!(taken(&*ledger, &["a", "b", "c"]).await, set(&["b", "c"]));
}

pub async fn a_refused_reschedule_keeps_what_it_held(ledger: Arc<dyn Ledger>) {
    let held = booking(booked(1), &["a", "b"]);
    ledger.commit(held.clone()).await.unwrap();
    ledger.commit(booking(booked(2), &["d"])).await.unwrap();

    let mut moved = change(after(&held.revision));
    moved.claims = claims(&["c", "d"]);
    assert_claim_taken(ledger.commit(moved).await, &["d"]);
    assert_eq!(taken(&*ledger, &["a", "b", "c", "d"]).await, set(&["a", "b", "d"]));
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), [held.revision]);
}

pub async fn revisions_stay_as_they_were_written(ledger: Arc<dyn Ledger>) {
    let mut written = vec![booked(1)];
    ledger.commit(change(booked(1))).await.unwrap();
    for number in 2..=12 {
        let mut next = after(written.last().unwrap());
        next.appointment.starts_at = (number % 3 != 0).then(|| now() + minutes(number));
        next.appointment.doctor = (number % 2 == 0).then(|| format!("doctor {number}"));
        next.appointment.attributes.insert(0, text(&format!("/{number}"), "new"));
        ledger.commit(change(next.clone())).await.unwrap();
        written.push(next);
    }
    assert_eq!(ledger.history(pe(), id(1), 0, 100).await.unwrap(), written);
    for revision in &written {
        let number = revision.appointment.revision;
        assert_eq!(ledger.revision(pe(), id(1), number).await.unwrap().as_ref(), Some(revision));
    }
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), written.last());
}

pub async fn countries_are_apart(ledger: Arc<dyn Ledger>) {
    let here = with_receipt(booking(booked(1), &["a"]));
    let mut there = with_receipt(booking(booked(1), &["a"]));
    there.revision.country = cl();
    ledger.commit(here.clone()).await.unwrap();
    assert_eq!(ledger.appointment(cl(), id(1)).await.unwrap(), None);
    assert_eq!(ledger.receipt(cl(), "k", now()).await.unwrap(), None);
    assert_eq!(ledger.taken(cl(), &claims(&["a"]), now()).await.unwrap(), HashMap::new());

    ledger.commit(there.clone()).await.unwrap();
    ledger.mark_notified(pe(), id(9), now()).await.unwrap();
    assert_eq!(ledger.appointment(pe(), id(1)).await.unwrap().as_deref(), Some(&here.revision));
    assert_eq!(ledger.appointment(cl(), id(1)).await.unwrap().as_deref(), Some(&there.revision));
    assert!(!ledger.notified(cl(), id(9)).await.unwrap());
}

pub async fn taken_says_which_of_the_claims_are_held_and_by_which_appointment(ledger: Arc<dyn Ledger>) {
    let key = |number: usize| {
        if number.is_multiple_of(2) { quarter("doctor/45678", number) } else { format!("doctor:{number}") }
    };
    let held: Vec<String> = (0..40).map(key).collect();
    ledger.commit(booking(booked(1), &held.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();

    assert_eq!(ledger.taken(pe(), &[], now()).await.unwrap(), HashMap::new());
    let asked: Vec<Claim> = (20..120).map(|number| Claim::new(key(number))).collect();
    assert_eq!(
        ledger.taken(pe(), &asked, now()).await.unwrap(),
        held[20..].iter().map(|claim| (claim.clone(), vec![(0, id(1))])).collect()
    );
}

pub async fn taken_says_what_is_held_of_the_time_of_several_resources_in_a_month(ledger: Arc<dyn Ledger>) {
    const QUARTERS: usize = 31 * 96;
    let resources = ["doctor/45678", "doctor/45679", "room/1"];
    // Every 40th quarter is held, each by an appointment of its own, and the neighbours of the month are held, too.
    let mut held = HashMap::new();
    for (number, quarter) in (0..QUARTERS + 80).step_by(40).enumerate() {
        let key = self::quarter(resources[number % 2], quarter);
        ledger.commit(booking(booked(number), &[&key])).await.unwrap();
        held.insert(key, vec![(0, id(number))]);
    }
    let session = Claim { places: 3, ..Claim::new(quarter("room/1", 50)) };
    for number in 1_000..1_003 {
        let mut change = change(booked(number));
        change.claims = vec![session.clone()];
        ledger.commit(change).await.unwrap();
    }
    let whole = |resource: &'static str| (40..QUARTERS).map(move |number| Claim::new(quarter(resource, number)));
    let asked: Vec<Claim> = resources.into_iter().flat_map(whole).chain(claims(&["live/account/1"])).collect();
    let mut taken = ledger.taken(pe(), &asked, now()).await.unwrap();
    let mut places = taken.remove(&session.key).unwrap();
    places.sort_unstable();
    assert_eq!(places, [(0, id(1_000)), (1, id(1_001)), (2, id(1_002))]);
    let asked: HashSet<String> = asked.into_iter().map(|claim| claim.key).collect();
    held.retain(|key, _| asked.contains(key));
    assert_eq!(taken, held);
    // A hole in what is asked for stays one.
    let ends = claims(&[&quarter("doctor/45678", 0), &quarter("doctor/45678", QUARTERS - 1)]);
    assert_eq!(ledger.taken(pe(), &ends, now()).await.unwrap().keys().collect::<Vec<_>>(), [&ends[0].key]);
}

pub async fn an_event_is_notified_once_it_is_marked(ledger: Arc<dyn Ledger>) {
    assert!(!ledger.notified(pe(), id(1)).await.unwrap());
    ledger.mark_notified(pe(), id(1), now()).await.unwrap();
    ledger.mark_notified(pe(), id(1), now()).await.unwrap();
    assert!(ledger.notified(pe(), id(1)).await.unwrap());
    assert!(!ledger.notified(pe(), id(2)).await.unwrap());
}

pub async fn a_ledger_with_appointments_is_ready(ledger: Arc<dyn Ledger>) {
    for number in 1..=5 {
        let mut change = booking(booked(number), &[&format!("doctor:{number}")]);
        change.receipt = Some(receipt(&format!("k-{number}"), &change.revision));
        ledger.commit(change).await.unwrap();
        ledger.ready(pe()).await.unwrap();
    }
    ledger.commit(change(after(&booked(1)))).await.unwrap();
    ledger.mark_notified(pe(), id(7), now()).await.unwrap();
    ledger.ready(pe()).await.unwrap();
}

pub async fn an_empty_ledger_is_ready(ledger: Arc<dyn Ledger>) {
    ledger.ready(pe()).await.unwrap();
    ledger.ready(cl()).await.unwrap();
}

pub(super) fn with_receipt(mut change: Change) -> Change {
    change.receipt = Some(receipt("k", &change.revision));
    change
}

pub(super) fn assert_claim_taken(result: Result<Committed, CommitError>, claims: &[&str]) {
    let Err(CommitError::ClaimTaken(claim)) = result else { panic!("{result:?}") };
    assert!(claims.contains(&claim.as_str()), "{claim} is not one of {claims:?}");
}

fn cancellation(held: &Change) -> Change {
    let mut cancelled = change(after(&held.revision));
    cancelled.revision.appointment.phase = Phase::Cancelled;
    cancelled.revision.claims.clear();
    cancelled.claims.clear();
    cancelled
}

/// Asserts that the change of appointment 2 with a receipt and the claims `a` and `c` left no trace.
async fn assert_nothing_stored(ledger: &dyn Ledger) {
    assert_eq!(ledger.appointment(pe(), id(2)).await.unwrap(), None);
    assert_eq!(ledger.history(pe(), id(2), 0, 100).await.unwrap(), []);
    assert_eq!(taken(ledger, &["a", "c"]).await, HashSet::new());
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), None);
}

async fn taken(ledger: &dyn Ledger, claims: &[&str]) -> HashSet<String> {
    ledger.taken(pe(), &self::claims(claims), now()).await.unwrap().into_keys().collect()
}

fn set(claims: &[&str]) -> HashSet<String> {
    strings(claims).into_iter().collect()
}
