//! Claims with several places, choices between claims, and claims on time.

use std::collections::BTreeSet;
use std::sync::Arc;

use citas_core::model::{Choice, Claim};
use citas_core::ports::{Change, CommitError, Committed, Ledger};

use super::changes::assert_claim_taken;
use super::races::race;
use crate::support::appointments::*;

const SESSION: &str = "session/centro/2026-12-01T14:00Z";

/// Returns a booking that wants one of `places` places of a key.
fn wanting(number: usize, key: &str, places: u16) -> Change {
    let mut change = change(booked(number));
    change.claims = vec![Claim { places, ..Claim::new(key) }];
    change
}

/// Returns a booking that wants any of these rooms.
fn any_of(number: usize, rooms: &[&str]) -> Change {
    let mut change = change(booked(number));
    change.choices = rooms.iter().map(|room| self::room(room)).collect();
    change
}

/// Returns the choice of a room for half an hour.
fn room(name: &str) -> Choice {
    let resource = format!("room/{name}");
    let quarters = [56, 57].map(|number| Claim::new(quarter(&resource, number)));
    Choice { claims: quarters.into(), attributes: vec![text("/room", name)] }
}

/// Returns a change of a stored appointment that keeps its claims and choices.
fn again(change: &Change, stored: &Committed) -> Change {
    let mut next = self::change(after(&stored.revision));
    (next.claims, next.choices) = (change.claims.clone(), change.choices.clone());
    next.held.clone_from(&stored.revision.claims);
    next
}

fn ordinals(committed: &Committed) -> Vec<u16> {
    committed.revision.claims.iter().map(|held| held.ordinal).collect()
}

pub async fn of_two_hundred_who_want_ten_places_ten_get_one_each(ledger: Arc<dyn Ledger>) {
    let results = race(&ledger, (0..200).map(|number| wanting(number, SESSION, 10)).collect()).await;
    let mut places = BTreeSet::new();
    for (number, result) in results.into_iter().enumerate() {
        let stored = ledger.appointment(pe(), id(number)).await.unwrap();
        match result {
            Ok(committed) => {
                assert!(places.insert(ordinals(&committed)[0]), "each place has one holder");
                assert_eq!(stored, Some(committed.revision));
            }
            refused => {
                assert_claim_taken(refused, &[SESSION]);
                assert_eq!(stored, None);
            }
        }
    }
    assert_eq!(places, (0..10).collect());
    let taken = ledger.taken(pe(), &claims(&[SESSION]), now()).await.unwrap();
    assert_eq!(taken[SESSION].iter().map(|(ordinal, _)| *ordinal).collect::<BTreeSet<_>>(), places);
}

pub async fn a_claim_gets_the_lowest_place_that_is_free(ledger: Arc<dyn Ledger>) {
    let mut stored = Vec::new();
    for number in 0..3 {
        let change = wanting(number, "quota", 3);
        stored.push((change.clone(), ledger.commit(change).await.unwrap()));
    }
    assert_eq!(stored.iter().map(|(_, committed)| ordinals(committed)[0]).collect::<Vec<_>>(), [0, 1, 2]);
    assert_claim_taken(ledger.commit(wanting(3, "quota", 3)).await, &["quota"]);
    let (second, committed) = &stored[1];
    let mut released = again(second, committed);
    released.claims.clear();
    ledger.commit(released).await.unwrap();
    assert_eq!(ordinals(&ledger.commit(wanting(3, "quota", 3)).await.unwrap()), [1]);
    let larger = ledger.commit(wanting(4, "quota", 5)).await.unwrap();
    assert_eq!(ordinals(&larger), [3], "the limit is that of the appointment that asks");
    assert_claim_taken(ledger.commit(wanting(5, "quota", 1)).await, &["quota"]);
}

pub async fn an_appointment_keeps_its_place_whatever_the_limit_is_now(ledger: Arc<dyn Ledger>) {
    let mut last = None;
    for number in 0..3 {
        last = Some(ledger.commit(wanting(number, "quota", 3)).await.unwrap());
    }
    let last = last.unwrap();
    let kept = ledger.commit(again(&wanting(2, "quota", 1), &last)).await.unwrap();
    assert_eq!(ordinals(&kept), [2]);
    let mut moved = again(&wanting(2, "quota", 1), &kept);
    moved.claims.push(Claim::new("room/1"));
    assert_eq!(ledger.commit(moved).await.unwrap().revision.claims.len(), 2);
}

pub async fn of_choices_the_first_that_is_wholly_free_is_taken(ledger: Arc<dyn Ledger>) {
    // Half of the time of room A is taken.
    ledger.commit(booking(booked(1), &[&quarter("room/A", 57)])).await.unwrap();
    let rooms = ["A", "B", "C"];
    for (number, expected) in [(2, 1), (3, 2)] {
        let Committed { revision, choice } = ledger.commit(any_of(number, &rooms)).await.unwrap();
        assert_eq!(choice, Some(expected));
        let room = rooms[expected];
        assert!(revision.appointment.attributes.contains(&text("/room", room)), "its attributes are set: {room}");
        assert_eq!(
            revision.claims,
            held(&[56, 57].map(|number| quarter(&format!("room/{room}"), number)).each_ref().map(String::as_str))
        );
        assert_eq!(ledger.appointment(pe(), id(number)).await.unwrap(), Some(revision));
    }
    assert_claim_taken(ledger.commit(any_of(4, &rooms)).await, &[&quarter("room/A", 57)]);
    assert_eq!(ledger.taken(pe(), &claims(&[&quarter("room/A", 56)]), now()).await.unwrap().len(), 0);
}

pub async fn a_choice_that_is_held_stays_and_another_releases_it(ledger: Arc<dyn Ledger>) {
    let first = any_of(1, &["A", "B"]);
    ledger.commit(first).await.unwrap();
    let second = any_of(2, &["A", "B"]);
    let stored = ledger.commit(second.clone()).await.unwrap();
    assert_eq!(stored.choice, Some(1));
    // Room A becomes free.
    let mut released = change(after(&ledger.appointment(pe(), id(1)).await.unwrap().unwrap()));
    released.claims.clear();
    ledger.commit(released).await.unwrap();
    let kept = ledger.commit(again(&second, &stored)).await.unwrap();
    assert_eq!(kept.choice, Some(1), "it stays in room B");
    let moved = ledger.commit(again(&any_of(2, &["A"]), &kept)).await.unwrap();
    assert_eq!(moved.choice, Some(0));
    let b = [56, 57].map(|number| Claim::new(quarter("room/B", number)));
    assert_eq!(ledger.taken(pe(), &b, now()).await.unwrap().len(), 0);
}

pub async fn of_forty_who_want_any_of_three_rooms_three_get_one_each(ledger: Arc<dyn Ledger>) {
    let results = race(&ledger, (0..40).map(|number| any_of(number, &["A", "B", "C"])).collect()).await;
    let rooms: Vec<usize> = results.iter().flatten().filter_map(|committed| committed.choice).collect();
    assert_eq!(rooms.len(), 3, "{rooms:?}");
    assert_eq!(rooms.into_iter().collect::<BTreeSet<_>>(), (0..3).collect());
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(CommitError::ClaimTaken(_)))), "{results:?}");
}

pub async fn claims_on_the_same_minute_of_two_resources_are_two(ledger: Arc<dyn Ledger>) {
    let keys = ["doctor/1/2026-12-01T14:15Z", "doctor/1/2026-12-01T14:30Z", "doctor/2/2026-12-01T14:15Z", "doctor/1"];
    for (number, key) in keys.into_iter().enumerate() {
        ledger.commit(booking(booked(number), &[key])).await.unwrap();
        assert_claim_taken(ledger.commit(booking(booked(10), &[key])).await, &[key]);
    }
    assert_eq!(ledger.taken(pe(), &claims(&keys), now()).await.unwrap().len(), keys.len());
}
