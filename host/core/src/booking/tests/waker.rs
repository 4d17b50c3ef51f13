//! Tests of the waker's handling of each outcome of an action.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::booking::wake::{ALARM_AFTER, UNKNOWN_WAIT};
use crate::ports::Wakes;

/// An index of one action of the ledger's appointment, which counts how often it is read.
#[derive(Default)]
struct OneWake {
    ledger: Arc<OneAppointment>,
    /// The action, and when it is due.
    due: Mutex<Option<(DueWake, Timestamp)>>,
    reads: Mutex<u32>,
}

#[async_trait]
impl Wakes for OneWake {
    async fn due(&self, _: CountryCode, now: Timestamp, _: usize) -> Result<Vec<DueWake>, Unavailable> {
        *self.reads.lock().unwrap() += 1;
        let due = self.due.lock().unwrap().clone().filter(|_| self.ledger.changes.lock().unwrap().is_empty());
        Ok(due.iter().filter(|(_, at)| *at <= now).map(|(due, _)| due.clone()).collect())
    }
    async fn postpone(&self, _: CountryCode, due: &DueWake, until: Timestamp) -> Result<(), Unavailable> {
        *self.due.lock().unwrap() = Some((due.clone(), until));
        Ok(())
    }
    async fn end(&self, _: CountryCode, _: &DueWake) -> Result<(), Unavailable> {
        *self.due.lock().unwrap() = None;
        Ok(())
    }
}

/// A waker over the appointment of a [`Desk`], whose action is due now.
struct Bench {
    catalogue: Arc<Catalogue>,
    ledger: Arc<OneAppointment>,
    booking: Arc<Booking>,
    wakes: Arc<OneWake>,
    clock: Arc<ManualClock>,
    waker: Waker,
}

fn bench(verdict: Result<Verdict, Fault>, action: &str, revision: u32) -> Bench {
    let Desk { catalogue, ledger, booking, .. } = waking(verdict);
    let clock = Arc::new(ManualClock::default());
    let wakes = Arc::new(OneWake { ledger: ledger.clone(), ..OneWake::default() });
    let wake = Wake { at: clock.now(), action: action.into() };
    let due = DueWake { appointment: Uuid::nil(), revision, wake, failed: 0 };
    *wakes.due.lock().unwrap() = Some((due, clock.now()));
    let booking = Arc::new(booking);
    let waker = Waker::new(pe(), booking.clone(), wakes.clone(), clock.clone());
    Bench { catalogue, ledger, booking, wakes, clock, waker }
}

impl Bench {
    fn done(&self) -> usize {
        self.ledger.changes.lock().unwrap().len()
    }

    async fn drain(&self) -> bool {
        self.waker.drain(Duration::MAX).await.unwrap()
    }

    /// Puts rules into force that have the action `remind`.
    fn promote(&self) {
        let mut rules = Deciding::new(Ok(Ok(booked())));
        rules.descriptor.actions[0].name = "remind".into();
        rules.descriptor.actions[0].roles = vec!["clock".into()];
        rules.descriptor.actions[0].input_schema = "{}".into();
        let loaded = LoadedRules::of(Arc::new(rules), "sha256:01".into()).unwrap();
        self.catalogue.install(loaded, Timestamp::UNIX_EPOCH);
    }

    /// Returns the failures of the action and the wait until it is due again; none if it has ended.
    fn waits(&self) -> Option<(u32, SignedDuration)> {
        let due = self.wakes.due.lock().unwrap();
        due.as_ref().map(|(due, at)| (due.failed, at.duration_since(self.clock.now())))
    }
}

fn fault() -> Result<Verdict, Fault> {
    Err(Fault::Trapped("it panicked".into()))
}

#[tokio::test]
async fn a_refused_action_ends() {
    let bench = bench(Ok(refused()), "cancel", 1);
    assert!(bench.drain().await);
    assert_eq!(bench.waits(), None);
    assert_eq!(bench.done(), 0);
}

#[tokio::test]
async fn a_fault_is_tried_again_after_1_2_4_minutes_up_to_an_hour_and_alarms_after_a_day() {
    let bench = bench(fault(), "cancel", 1);
    let (began, mut waits) = (bench.clock.now(), Vec::new());
    for failed in 1..=ALARM_AFTER {
        assert!(bench.drain().await);
        assert!(bench.drain().await, "it is not due before its time");
        let (failures, wait) = bench.waits().unwrap();
        assert_eq!(failures, failed);
        waits.push(wait.as_mins());
        if failed < ALARM_AFTER {
            bench.clock.advance(wait);
        }
    }
    assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    let taken = bench.clock.now().duration_since(began);
    assert!(taken >= SignedDuration::from_hours(24) && taken < SignedDuration::from_hours(25), "{taken}");
}

#[tokio::test]
async fn a_clock_jump_of_a_day_is_not_a_day_of_failures() {
    let bench = bench(fault(), "cancel", 1);
    bench.clock.shift_wall(SignedDuration::from_hours(24));
    assert!(bench.drain().await);
    assert_eq!(bench.waits(), Some((1, SignedDuration::from_mins(1))));
    bench.clock.shift_wall(SignedDuration::from_hours(-48));
    assert!(bench.drain().await, "its time has not come by this clock");
    assert_eq!(bench.waits().unwrap().0, 1);
}

#[tokio::test]
async fn an_action_that_the_rules_lack_waits_until_other_rules_have_it() {
    let bench = bench(Ok(Ok(booked())), "remind", 1);
    assert!(bench.drain().await);
    assert_eq!(bench.waits(), Some((0, UNKNOWN_WAIT)), "waiting is no failure");
    assert!(bench.drain().await);
    assert_eq!(bench.done(), 0);

    bench.promote();
    assert!(bench.drain().await);
    assert_eq!(bench.done(), 1, "without waiting for its time");
    assert!(bench.drain().await);
    assert_eq!(bench.done(), 1);
}

#[tokio::test]
async fn an_action_that_the_rules_lacked_is_done_within_minutes_by_a_host_that_did_not_see_them_change() {
    let bench = bench(Ok(Ok(booked())), "remind", 1);
    assert!(bench.drain().await);
    bench.promote();
    let restarted = Waker::new(pe(), bench.booking.clone(), bench.wakes.clone(), bench.clock.clone());
    bench.clock.advance(SignedDuration::from_mins(5));
    assert!(restarted.drain(Duration::MAX).await.unwrap());
    assert_eq!(bench.done(), 1);
}

#[tokio::test]
async fn a_replaced_action_is_not_done_and_not_read_again() {
    let bench = bench(Ok(Ok(booked())), "cancel", 0);
    assert!(!bench.drain().await);
    assert_eq!((bench.done(), *bench.wakes.reads.lock().unwrap()), (0, 1));
}

#[tokio::test]
async fn no_action_begins_after_the_end() {
    let bench = bench(Ok(Ok(booked())), "cancel", 1);
    bench.clock.advance(SignedDuration::from_secs(2));
    assert!(!bench.waker.drain(Duration::from_secs(1)).await.unwrap());
    assert_eq!(bench.done(), 0);
}

#[tokio::test]
async fn the_signal_to_stop_ends_it_at_once() {
    let Bench { waker, .. } = bench(fault(), "cancel", 1);
    waker.run(std::future::ready(())).await;
}
