//! Holds on AWS: two hosts over one table, whose clocks differ by two seconds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use citas::system::{SystemClock, UuidIds};
use citas_core::booking::{Booking, BookingError, BookingRequest, FreeSlot, NamedSlot, View};
use citas_core::model::{Caller, Hold, SlotToken};
use citas_core::ports::{Clock, Ledger as _};
use futures::future::join;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::aws_steps::{ana, peru};
use crate::ledger_dynamo::Tables;
use crate::support::appointments::{names, pe};
use crate::support::requests;

/// A clock that a test sets.
struct SetClock(Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
}

struct HostOfTwo {
    clock: Arc<SetClock>,
    booking: Booking,
}

impl HostOfTwo {
    fn new(tables: &Tables, now: Timestamp) -> Self {
        let clock = Arc::new(SetClock(Mutex::new(now)));
        let ledger = Arc::new(tables.ledger());
        let booking = Booking::new(peru(), ledger, clock.clone(), Arc::new(UuidIds), names(), "test");
        Self { clock, booking }
    }

    fn set(&self, now: Timestamp) {
        *self.clock.0.lock().unwrap() = now;
    }

    /// Returns the free slots of a day, each with its token.
    async fn slots(&self) -> Vec<(FreeSlot, SlotToken)> {
        let page = self.booking.slots(&ana(), pe(), requests::pe_slots(1)).await.unwrap();
        let token = |free: &FreeSlot| {
            let FreeSlot { slot, doctor, hospital, request, .. } = free.clone();
            SlotToken { country: pe(), slot, doctor, hospital, request, place: page.place.clone() }
        };
        page.slots.iter().map(|free| (free.clone(), token(free))).collect()
    }

    async fn shows(&self, hold: &Hold) -> bool {
        self.slots().await.iter().any(|(free, _)| free.starts_at == hold.starts_at)
    }

    async fn book(&self, caller: &Caller, number: usize, slot: NamedSlot) -> Result<View, BookingError> {
        let Value::Object(mut input) = requests::pe(number) else { panic!("a request is an object") };
        for member in ["date", "time", "doctor", "hospital"] {
            input.remove(member);
        }
        let request = BookingRequest { input: input.into(), slot: Some(slot) };
        self.booking.book(caller, pe(), request, None).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_by_the_clock_of_the_host_that_is_asked_and_no_slot_is_booked_twice() {
    let (tables, now, skew) = (Tables::new().await, SystemClock.now(), SignedDuration::from_secs(2));
    let (slow, fast) = (HostOfTwo::new(&tables, now), HostOfTwo::new(&tables, now + skew));
    let bea = Caller { subject: "bea".into(), ..ana() };
    let free = slow.slots().await;
    let mut holds = Vec::new();
    for (_, token) in &free[..3] {
        holds.push(slow.booking.hold(&ana(), pe(), token.clone(), None).await.unwrap());
    }
    assert!(matches!(fast.booking.hold(&ana(), pe(), free[3].1.clone(), None).await, Err(BookingError::HoldLimit)));
    let end = now + SignedDuration::from_mins(5);
    assert!(holds.iter().all(|hold| hold.expires_at == end));
    slow.set(end - skew / 2);
    fast.set(end + skew / 2);
    let [first, second, third] = &holds[..] else { panic!("three holds") };
    for hold in &holds {
        assert!(slow.booking.held(&ana(), pe(), hold.id).await.is_ok());
        assert!(matches!(fast.booking.held(&ana(), pe(), hold.id).await, Err(BookingError::UnknownHold)));
        assert!(!slow.shows(hold).await && fast.shows(hold).await);
    }

    // For the fast host the slot is free, so the slow one can no longer book it, although its hold has not ended there.
    fast.book(&bea, 1, NamedSlot::Free(free[0].1.clone())).await.unwrap();
    let lost = slow.book(&ana(), 2, NamedSlot::Held(first.id)).await;
    assert!(matches!(&lost, Err(BookingError::HoldExpired { free, .. }) if free.len() == 3), "{lost:?}");
    // The slow host is first.
    slow.book(&ana(), 3, NamedSlot::Held(second.id)).await.unwrap();
    let taken = fast.book(&bea, 4, NamedSlot::Free(free[1].1.clone())).await;
    assert!(matches!(taken, Err(BookingError::SlotTaken { .. })), "{taken:?}");
    // Both at once.
    let (own, others) =
        join(slow.book(&ana(), 5, NamedSlot::Held(third.id)), fast.book(&bea, 6, NamedSlot::Free(free[2].1.clone())))
            .await;
    assert!(own.is_ok() != others.is_ok(), "{own:?} and {others:?}");
    // The quota of the account has ended with its holds for the fast host, and with their bookings.
    fast.booking.hold(&ana(), pe(), free[3].1.clone(), None).await.unwrap();
    assert_eq!(tables.ledger().hold(pe(), second.id).await.unwrap(), None);
}
