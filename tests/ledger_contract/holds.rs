//! Holds: claims that expire, and pass to an appointment.

use std::collections::BTreeSet;
use std::sync::Arc;

use citas_core::model::{Choice, Claim, Hold, Slot, SlotToken};
use citas_core::ports::{Change, CommitError, Ledger, NewHold};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::changes::assert_claim_taken;
use crate::support::appointments::*;

const ROOM: &str = "room/1/2026-12-01T14:30Z";
const SESSION: &str = "session/centro/2026-12-01T14:00Z";
const ACCOUNT: &str = "hold/account/ana";

/// Returns the time at which the holds of these tests end.
fn end() -> Timestamp {
    now() + minutes(5)
}

/// Returns hold `number` of these claims, made at [`now`].
fn holding(number: usize, claims: &[Claim]) -> NewHold {
    let slot = Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() };
    let hold = Hold {
        id: id(5_000 + number),
        owner: "ana".into(),
        slot: SlotToken {
            country: pe(),
            slot,
            doctor: Some("45678".into()),
            hospital: None,
            request: vec![text("/date", "2026-12-01")],
            place: vec![text("/district", "150122")],
        },
        starts_at: at("2026-12-01T14:30:00Z"),
        made_at: now(),
        expires_at: end(),
        claims: Vec::new(),
    };
    NewHold { hold, claims: claims.to_vec(), choices: Vec::new(), receipt: None }
}

/// Returns the hold as it is made at another time.
fn made_at(mut new: NewHold, at: Timestamp) -> NewHold {
    (new.hold.made_at, new.hold.expires_at) = (at, at + minutes(5));
    new
}

/// Returns a claim with several places.
fn shared(key: &str, places: u16) -> Claim {
    Claim { places, ..Claim::new(key) }
}

fn rooms(keys: &[&str]) -> Vec<Choice> {
    let room = |key: &&str| Choice { claims: vec![Claim::new(*key)], attributes: vec![text("/room", key)] };
    keys.iter().map(room).collect()
}

/// Returns a booking of these claims at this time, perhaps with a hold.
fn booked_with(number: usize, claims: &[Claim], at: Timestamp, hold: Option<&Hold>) -> Change {
    let mut revision = booked(number);
    revision.updated_at = at;
    Change { claims: claims.to_vec(), hold: hold.cloned(), ..change(revision) }
}

/// Returns the holders of a key's places at this time.
async fn holders(ledger: &dyn Ledger, key: &str, at: Timestamp) -> Vec<(u16, uuid::Uuid)> {
    let mut taken = ledger.taken(pe(), &claims(&[key]), at).await.unwrap().remove(key).unwrap_or_default();
    taken.sort_unstable();
    taken
}

/// Shortest time that a ledger tells apart.
const TICK: SignedDuration = SignedDuration::from_nanos(1);

pub async fn a_hold_is_read_back_as_it_was_stored(ledger: Arc<dyn Ledger>) {
    let new = holding(1, &[shared(ACCOUNT, 3), Claim::new(ROOM)]);
    let hold = ledger.put_hold(new.clone()).await.unwrap();
    assert_eq!(hold, Hold { claims: held(&[ACCOUNT, ROOM]), ..new.hold });
    assert_eq!(ledger.hold(pe(), hold.id).await.unwrap(), Some(hold.clone()));
    assert_eq!(ledger.hold(cl(), hold.id).await.unwrap(), None);
    assert_eq!(ledger.hold(pe(), id(1)).await.unwrap(), None);
    assert_eq!(ledger.appointment(pe(), hold.id).await.unwrap(), None);
}

pub async fn a_hold_keeps_its_claims_from_everybody_until_the_instant_at_which_it_ends(ledger: Arc<dyn Ledger>) {
    let hold = ledger.put_hold(holding(1, &claims(&[ROOM]))).await.unwrap();
    let last = end() - TICK;
    assert_eq!(holders(&*ledger, ROOM, last).await, [(0, hold.id)]);
    assert_claim_taken(ledger.commit(booked_with(1, &claims(&[ROOM]), last, None)).await, &[ROOM]);
    let rival = made_at(holding(2, &claims(&[ROOM])), last);
    assert!(matches!(ledger.put_hold(rival.clone()).await, Err(CommitError::ClaimTaken(key)) if key == ROOM));
    assert_eq!(ledger.hold(pe(), rival.hold.id).await.unwrap(), None);

    assert_eq!(holders(&*ledger, ROOM, end()).await, []);
    ledger.commit(booked_with(1, &claims(&[ROOM]), end(), None)).await.unwrap();
    assert_eq!(holders(&*ledger, ROOM, end()).await, [(0, id(1))]);
    assert_claim_taken(ledger.commit(booked_with(2, &claims(&[ROOM]), end(), None)).await, &[ROOM]);
}

pub async fn an_expired_hold_gives_way_to_another_and_its_end_leaves_that_one_alone(ledger: Arc<dyn Ledger>) {
    let wanted = [shared(ACCOUNT, 1), Claim::new(ROOM)];
    let first = ledger.put_hold(holding(1, &wanted)).await.unwrap();
    let second = ledger.put_hold(made_at(holding(2, &wanted), end())).await.unwrap();
    for _ in 0..2 {
        ledger.drop_hold(&first).await.unwrap();
        assert_eq!(ledger.hold(pe(), first.id).await.unwrap(), None);
        assert_eq!(holders(&*ledger, ROOM, end()).await, [(0, second.id)]);
        assert_eq!(holders(&*ledger, ACCOUNT, end()).await, [(0, second.id)]);
    }
}

pub async fn a_dropped_hold_frees_its_places_at_once(ledger: Arc<dyn Ledger>) {
    let hold = ledger.put_hold(holding(1, &[shared(ACCOUNT, 3), Claim::new(ROOM)])).await.unwrap();
    ledger.drop_hold(&hold).await.unwrap();
    assert_eq!(ledger.hold(pe(), hold.id).await.unwrap(), None);
    assert_eq!(ledger.taken(pe(), &claims(&[ACCOUNT, ROOM]), now()).await.unwrap().len(), 0);
    ledger.put_hold(holding(2, &claims(&[ROOM]))).await.unwrap();
}

pub async fn a_hold_passes_to_the_appointment_and_ends(ledger: Arc<dyn Ledger>) {
    let other = "doctor/1/2026-12-01T14:30Z";
    let hold = ledger.put_hold(holding(1, &[shared(ACCOUNT, 3), Claim::new(ROOM), Claim::new("gone")])).await.unwrap();
    let last = end() - TICK;
    let booking = booked_with(1, &claims(&[ROOM, other]), last, Some(&hold));
    let stored = ledger.commit(booking.clone()).await.unwrap();
    assert_eq!(stored.revision.claims, held(&[ROOM, other]));
    // The claims of an appointment do not expire.
    for at in [last, end(), end() + minutes(60)] {
        assert_eq!(holders(&*ledger, ROOM, at).await, [(0, id(1))]);
    }
    assert_eq!(ledger.taken(pe(), &claims(&[ACCOUNT, "gone"]), now()).await.unwrap().len(), 0);
    assert_eq!(ledger.hold(pe(), hold.id).await.unwrap(), None);
    let again = booked_with(2, &claims(&[ROOM]), last, Some(&hold));
    assert_claim_taken(ledger.commit(again).await, &[ROOM]);
    ledger.drop_hold(&hold).await.unwrap();
    assert_eq!(holders(&*ledger, ROOM, last).await, [(0, id(1))]);
}

pub async fn a_refused_change_leaves_its_hold(ledger: Arc<dyn Ledger>) {
    ledger.commit(booking(booked(9), &["taken"])).await.unwrap();
    let hold = ledger.put_hold(holding(1, &claims(&[ROOM]))).await.unwrap();
    let refused = booked_with(1, &claims(&[ROOM, "taken"]), now(), Some(&hold));
    assert_claim_taken(ledger.commit(refused).await, &["taken"]);
    let mut stale = booked_with(1, &claims(&[ROOM]), now(), Some(&hold));
    stale.revision.appointment.revision = 2;
    assert!(matches!(ledger.commit(stale).await, Err(CommitError::Stale)));
    assert_eq!(holders(&*ledger, ROOM, now()).await, [(0, hold.id)]);
    assert_eq!(ledger.hold(pe(), hold.id).await.unwrap(), Some(hold));
}

pub async fn the_place_and_the_choice_of_a_hold_pass_to_the_appointment(ledger: Arc<dyn Ledger>) {
    let rooms = rooms(&["room/A/2026-12-01T14:30Z", "room/B/2026-12-01T14:30Z"]);
    let first = booked_with(1, &[shared(SESSION, 3)], now(), None);
    let first = ledger.commit(Change { choices: rooms.clone(), ..first }).await.unwrap();
    let hold = NewHold { choices: rooms.clone(), ..holding(1, &[shared(SESSION, 3)]) };
    let hold = ledger.put_hold(hold).await.unwrap();
    let places: Vec<_> = hold.claims.iter().map(|held| (held.key.as_str(), held.ordinal)).collect();
    assert_eq!(places, [(SESSION, 1), ("room/B/2026-12-01T14:30Z", 0)]);

    // The first place and the first room are free again.
    let mut released = change(after(&first.revision));
    released.claims.clear();
    ledger.commit(released).await.unwrap();
    let booking = booked_with(2, &[shared(SESSION, 3)], now() + minutes(2), Some(&hold));
    let stored = ledger.commit(Change { choices: rooms, ..booking }).await.unwrap();
    assert_eq!((stored.choice, &stored.revision.claims), (Some(1), &hold.claims));
    assert_eq!(holders(&*ledger, SESSION, end()).await, [(1, id(2))]);
}

pub async fn a_move_takes_the_place_of_its_hold_and_releases_its_own(ledger: Arc<dyn Ledger>) {
    let first = ledger.commit(booking(booked(1), &["before", "both"])).await.unwrap();
    let hold = ledger.put_hold(holding(1, &claims(&[ROOM]))).await.unwrap();
    let mut moved = change(after(&first.revision));
    (moved.claims, moved.hold) = (claims(&["both", ROOM]), Some(hold));
    let stored = ledger.commit(moved).await.unwrap();
    assert_eq!(stored.revision.claims, held(&["both", ROOM]));
    let taken = ledger.taken(pe(), &claims(&["before", "both", ROOM]), end()).await.unwrap();
    assert_eq!(taken.into_keys().collect::<BTreeSet<_>>(), [ROOM.to_owned(), "both".to_owned()].into());
}

/// Two hosts whose clocks differ: for the second one, the hold has ended while it is live for the first.
pub async fn of_a_host_with_a_slow_clock_and_one_with_a_fast_clock_one_gets_the_place(ledger: Arc<dyn Ledger>) {
    let hold = ledger.put_hold(holding(1, &claims(&[ROOM]))).await.unwrap();
    let (slow, fast) = (end() - SignedDuration::from_secs(1), end() + SignedDuration::from_secs(1));
    ledger.commit(booked_with(1, &claims(&[ROOM]), fast, None)).await.unwrap();
    assert_claim_taken(ledger.commit(booked_with(2, &claims(&[ROOM]), slow, Some(&hold))).await, &[ROOM]);
    assert_eq!(holders(&*ledger, ROOM, slow).await, [(0, id(1))]);
}

pub async fn a_booking_at_the_instant_of_a_holds_end_competes_with_every_other(ledger: Arc<dyn Ledger>) {
    for round in 0..10 {
        let key = format!("room/{round}");
        let wanted = claims(&[&key]);
        let hold = ledger.put_hold(holding(round, &wanted)).await.unwrap();
        let own = booked_with(2 * round, &wanted, end() - TICK, Some(&hold));
        let rival = booked_with(2 * round + 1, &wanted, end(), None);
        let results = super::races::race(&ledger, vec![own, rival]).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let winner = results.iter().position(Result::is_ok).unwrap();
        assert_eq!(holders(&*ledger, &key, end()).await, [(0, id(2 * round + winner))]);
    }
}

pub async fn of_twenty_holds_of_one_account_at_once_three_are_stored(ledger: Arc<dyn Ledger>) {
    let hold = |number: usize| holding(number, &[shared(ACCOUNT, 3), Claim::new(quarter("room/1", number))]);
    let put = (0..20).map(|number| {
        let (ledger, new) = (Arc::clone(&ledger), hold(number));
        tokio::spawn(async move { ledger.put_hold(new).await })
    });
    let mut places = BTreeSet::new();
    for result in join_all(put).await.into_iter().map(Result::unwrap) {
        match result {
            Ok(hold) => assert!(places.insert(hold.claims[0].ordinal), "each place has one holder"),
            Err(refused) => assert!(matches!(&refused, CommitError::ClaimTaken(key) if key == ACCOUNT), "{refused:?}"),
        }
    }
    assert_eq!(places, [0, 1, 2].into());
    // When they have ended, there is room for others.
    ledger.put_hold(made_at(hold(30), end())).await.unwrap();
}

pub async fn of_holds_and_bookings_at_once_ten_get_the_ten_places(ledger: Arc<dyn Ledger>) {
    let session = [shared(SESSION, 10)];
    let tries = (0..40).map(|number| {
        let (ledger, session) = (Arc::clone(&ledger), session.clone());
        tokio::spawn(async move {
            if number % 2 == 0 {
                let stored = ledger.commit(booked_with(number, &session, now(), None)).await;
                return stored.map(|committed| committed.revision.claims[0].ordinal);
            }
            ledger.put_hold(holding(number, &session)).await.map(|hold| hold.claims[0].ordinal)
        })
    });
    let results: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    let refused = |result: &Result<u16, CommitError>| matches!(result, Err(CommitError::ClaimTaken(_)));
    assert!(results.iter().all(|result| result.is_ok() || refused(result)), "{results:?}");
    let places: Vec<u16> = results.into_iter().flatten().collect();
    assert_eq!((places.len(), places.into_iter().collect()), (10, (0..10).collect::<BTreeSet<_>>()));
    assert_eq!(holders(&*ledger, SESSION, now()).await.len(), 10);
}

pub async fn a_used_key_refuses_a_hold(ledger: Arc<dyn Ledger>) {
    let keyed = |number: usize| {
        let new = holding(number, &claims(&[&format!("room/{number}")]));
        let mut receipt = receipt("k", &booked(1));
        (receipt.appointment, receipt.revision) = (new.hold.id, 0);
        NewHold { receipt: Some(receipt), ..new }
    };
    let first = keyed(1);
    ledger.put_hold(first.clone()).await.unwrap();
    assert_eq!(ledger.receipt(pe(), "k", now()).await.unwrap(), first.receipt);
    assert!(matches!(ledger.put_hold(keyed(2)).await, Err(CommitError::KeyUsed)));
    assert_eq!(holders(&*ledger, "room/2", now()).await, []);
    let later = made_at(keyed(2), now() + SignedDuration::from_hours(24));
    ledger.put_hold(later).await.unwrap();
}
