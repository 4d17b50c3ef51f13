//! Publishes the events of the outbox: at least once, and in order for each appointment. Decides when a
//! failed event is tried again and when it is given up; on AWS the stream's settings in `countries/country.yaml` do.
//! Knows nothing of the subscribers.
//!
//! All durations are measured by the monotonic clock. The wall clock may be set, and a host may be off for days:
//! neither delays an event nor causes it to be given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::model::{CountryCode, Event};
use crate::ports::{Attempts, Clock, Outbox, Pending, Publisher, Unavailable};

/// Number of events published at once. The publisher starts all of them together, so a batch ends with its slowest
/// mail.
const BATCH: usize = 32;
/// Wait after the first failed attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum wait between two attempts.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Wait after a change of the outbox, so that the events of a busy moment are one batch: they share their reads, their
/// waits for the disk and their removal.
const GATHER_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum sleep of an idle relay, and the sleep after a batch of which nothing was published.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Time spent trying before an event is given up (RFC 5321, section 4.5.4.1: at least four or five days).
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);
/// Minimum number of attempts before an event is given up, however long they took.
const MIN_ATTEMPTS: u32 = 10;
/// Maximum time between two attempts that counts as trying. A longer gap means that there was no attempt: the machine
/// slept, or the outbox could not be read.
const MAX_COUNTED_GAP: Duration = Duration::from_hours(1);

/// Signals relays to stop. They run while it is `None`. Once it holds a time of [`Clock::monotonic`], they publish what
/// is due, begin no batch after that time, and end.
pub type Stop = watch::Receiver<Option<Duration>>;

/// Relays the events of one country.
pub struct Relay {
    country: CountryCode,
    outbox: Arc<dyn Outbox>,
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    stop: Stop,
    /// Pending events as last read.
    waiting: HashMap<Uuid, Waiting>,
}

/// An event that is not published yet. Times are those of [`Clock::monotonic`].
#[derive(Clone, Copy)]
struct Waiting {
    attempts: Attempts,
    /// Time of this process's last attempt, or of its first read of the event. Earlier time is in `attempts`.
    counted_until: Duration,
    /// Earliest time of the next attempt.
    due: Duration,
}

impl Waiting {
    /// Returns how long the event has waited while a process ran.
    fn age(&self, now: Duration) -> Duration {
        self.attempts.tried_for + now.saturating_sub(self.counted_until)
    }

    fn fail(&mut self, now: Duration) {
        self.attempts.failed = self.attempts.failed.saturating_add(1);
        self.attempts.tried_for += now.saturating_sub(self.counted_until).min(MAX_COUNTED_GAP);
        self.counted_until = now;
        self.due = now + wait_after(self.attempts.failed);
    }

    fn is_exhausted(&self) -> bool {
        self.attempts.failed >= MIN_ATTEMPTS && self.attempts.tried_for >= GIVE_UP_AFTER
    }
}

/// Returns the wait after `failed` failed attempts: 1, 2, 4, … 60 seconds.
fn wait_after(failed: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failed.saturating_sub(1).min(6)).min(MAX_WAIT)
}

impl Relay {
    /// Creates a relay from the outbox to the publisher.
    pub fn new(
        country: CountryCode,
        outbox: Arc<dyn Outbox>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        stop: Stop,
    ) -> Self {
        Self { country, outbox, publisher, clock, stop, waiting: HashMap::new() }
    }

    /// Relays events until the signal to stop. A batch in progress ends before this returns.
    pub async fn run(mut self) {
        while !self.is_stopping() {
            match self.drain().await {
                Ok(true) => self.sleep(true).await,
                Ok(false) => self.sleep(false).await,
                Err(error) => {
                    tracing::warn!(country = %self.country, %error, "the outbox cannot be read; trying again");
                    self.sleep(false).await;
                }
            }
        }
        if let Err(error) = self.drain().await {
            tracing::warn!(country = %self.country, %error, "stopped with events in the outbox");
        }
    }

    fn is_stopping(&self) -> bool {
        // Without a sender no signal can come any more.
        self.stop.borrow().is_some() || self.stop.has_changed().is_err()
    }

    fn may_begin(&self) -> bool {
        self.stop.borrow().is_none_or(|deadline| self.clock.monotonic() < deadline)
    }

    /// Sleeps until the next round, until an event arrives (only if `until_changed`), or until the signal to stop.
    async fn sleep(&mut self, until_changed: bool) {
        let changed = async {
            if until_changed {
                self.outbox.changed(self.country).await;
                tokio::time::sleep(GATHER_INTERVAL).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(IDLE_INTERVAL) => {}
            _ = self.stop.wait_for(Option::is_some) => {}
        }
    }

    /// Publishes every event that is due. Returns false if it stopped after a batch of which no event was published or
    /// given up.
    ///
    /// # Errors
    /// Returns an error if the outbox does not answer. Events published before that are removed, or will be published again.
    pub async fn drain(&mut self) -> Result<bool, Unavailable> {
        while self.may_begin() {
            let pending = self.outbox.pending(self.country, BATCH + self.waiting.len()).await?;
            let now = self.clock.monotonic();
            self.remember(&pending, now);
            let batch = self.due(pending, now);
            if batch.is_empty() {
                return Ok(true);
            }
            if self.publish(&batch).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Updates the waiting events from the pending ones, and reports how long the oldest has waited.
    fn remember(&mut self, pending: &[Pending], now: Duration) {
        let known = std::mem::take(&mut self.waiting);
        let first_seen = |attempts| Waiting { attempts, counted_until: now, due: now };
        let waiting = |Pending { event, attempts }: &Pending| {
            (event.id, known.get(&event.id).copied().unwrap_or_else(|| first_seen(*attempts)))
        };
        self.waiting = pending.iter().map(waiting).collect();
        let oldest = pending.first().map_or(Duration::ZERO, |oldest| self.waiting[&oldest.event.id].age(now));
        metrics::gauge!("citas_outbox_oldest_seconds", "country" => self.country.to_string()).set(oldest.as_secs_f64());
    }

    /// Returns a batch of events that are due. Events with the fewest failed attempts come first, so that a crowd of
    /// failing events does not hold back new ones.
    fn due(&self, mut pending: Vec<Pending>, now: Duration) -> Vec<Event> {
        pending.retain(|pending| self.waiting[&pending.event.id].due <= now);
        pending.sort_by_key(|pending| self.waiting[&pending.event.id].attempts.failed);
        pending.into_iter().take(BATCH).map(|pending| pending.event).collect()
    }

    /// Publishes a batch. Returns the number of its events that were published or given up.
    async fn publish(&mut self, batch: &[Event]) -> Result<usize, Unavailable> {
        let results = self.publisher.publish(batch).await;
        let now = self.clock.monotonic();
        let (mut done, mut postponed) = (Vec::new(), Vec::new());
        for (event, result) in batch.iter().zip(results) {
            let Err(error) = result else {
                done.push(event.id);
                continue;
            };
            let waiting = self.waiting.get_mut(&event.id).expect("a batch is made of waiting events");
            waiting.fail(now);
            let (attempts, seconds) = (waiting.attempts.failed, wait_after(waiting.attempts.failed).as_secs());
            if waiting.is_exhausted() {
                tracing::error!(country = %self.country, event = %event.id, %error, attempts, "an event is given up");
                done.push(event.id);
            } else {
                tracing::warn!(country = %self.country, event = %event.id, %error, attempts, seconds, "an event waits");
                postponed.push((event.id, waiting.attempts));
            }
        }
        if !done.is_empty() {
            self.outbox.remove(self.country, &done).await?;
        }
        if !postponed.is_empty() {
            self.outbox.postpone(self.country, &postponed).await?;
        }
        Ok(done.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use jiff::SignedDuration;

    use super::*;
    use crate::ports::NotPublished;
    use crate::testing::{ManualClock, revision};

    #[derive(Default)]
    struct Memory(Mutex<Vec<Pending>>);

    #[async_trait]
    impl Outbox for Memory {
        async fn pending(&self, _: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable> {
            let mut seen = HashSet::new();
            let events = self.0.lock().unwrap();
            Ok(events.iter().filter(|pending| seen.insert(pending.event.subject)).take(limit).cloned().collect())
        }
        async fn remove(&self, _: CountryCode, events: &[Uuid]) -> Result<(), Unavailable> {
            self.0.lock().unwrap().retain(|pending| !events.contains(&pending.event.id));
            Ok(())
        }
        async fn postpone(&self, _: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable> {
            for pending in self.0.lock().unwrap().iter_mut() {
                if let Some((_, attempts)) = events.iter().find(|(id, _)| *id == pending.event.id) {
                    pending.attempts = *attempts;
                }
            }
            Ok(())
        }
        async fn changed(&self, _: CountryCode) {
            std::future::pending::<()>().await;
        }
    }

    impl Memory {
        fn ids(&self) -> Vec<Uuid> {
            self.0.lock().unwrap().iter().map(|pending| pending.event.id).collect()
        }

        fn attempts(&self) -> Vec<Attempts> {
            self.0.lock().unwrap().iter().map(|pending| pending.attempts).collect()
        }
    }

    /// Publishes every event except those of some appointments, and records all events that it was offered.
    #[derive(Default)]
    struct Picky {
        refuses: Mutex<HashSet<Uuid>>,
        offered: Mutex<Vec<Uuid>>,
        /// Time that publishing a batch takes.
        takes: Mutex<Option<(Arc<ManualClock>, SignedDuration)>>,
    }

    #[async_trait]
    impl Publisher for Picky {
        async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
            if let Some((clock, takes)) = &*self.takes.lock().unwrap() {
                clock.advance(*takes);
            }
            let refused = self.refuses.lock().unwrap().clone();
            self.offered.lock().unwrap().extend(events.iter().map(|event| event.id));
            let answer = |event: &Event| {
                if refused.contains(&event.subject) { Err(NotPublished("no".into())) } else { Ok(()) }
            };
            events.iter().map(answer).collect()
        }
    }

    struct Bench {
        outbox: Arc<Memory>,
        publisher: Arc<Picky>,
        clock: Arc<ManualClock>,
        stop: watch::Sender<Option<Duration>>,
        relay: Relay,
    }

    impl Bench {
        /// Replaces the relay by a new one on the same outbox, like a new process.
        fn restart(&mut self) {
            let (country, stop) = ("pe".parse().unwrap(), self.stop.subscribe());
            let (outbox, publisher) = (self.outbox.clone(), self.publisher.clone());
            self.relay = Relay::new(country, outbox, publisher, self.clock.clone(), stop);
        }

        fn refuse(&self, appointments: impl IntoIterator<Item = u128>) {
            *self.publisher.refuses.lock().unwrap() = appointments.into_iter().map(Uuid::from_u128).collect();
        }

        fn offered(&self) -> Vec<Uuid> {
            std::mem::take(&mut *self.publisher.offered.lock().unwrap())
        }
    }

    fn pending(id: u128, appointment: u128) -> Pending {
        let event = Event::new(Uuid::from_u128(id), "booked", &revision(Uuid::from_u128(appointment)));
        Pending { event, attempts: Attempts::default() }
    }

    fn bench(appointments: &[u128]) -> (Bench, Vec<Uuid>) {
        let clock = Arc::new(ManualClock::default());
        let events: Vec<Pending> = (1..).zip(appointments).map(|(id, appointment)| pending(id, *appointment)).collect();
        let ids = events.iter().map(|pending| pending.event.id).collect();
        let outbox = Arc::new(Memory(Mutex::new(events)));
        let publisher = Arc::new(Picky::default());
        let (stop, stopping) = watch::channel(None);
        let relay = Relay::new("pe".parse().unwrap(), outbox.clone(), publisher.clone(), clock.clone(), stopping);
        (Bench { outbox, publisher, clock, stop, relay }, ids)
    }

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    /// Runs one failing attempt per minute until `for_long` has passed.
    async fn fail_for(bench: &mut Bench, for_long: SignedDuration) {
        for _ in 0..for_long.as_mins() {
            bench.relay.drain().await.unwrap();
            bench.clock.advance(SignedDuration::from_mins(1));
        }
        bench.offered();
    }

    #[tokio::test]
    async fn every_event_is_published_and_forgotten_in_the_order_of_its_appointment() {
        let (mut bench, events) = bench(&[7, 8, 7, 7]);
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.ids().is_empty());
        let of_seven: Vec<Uuid> = bench.offered().into_iter().filter(|id| *id != events[1]).collect();
        assert_eq!(of_seven, [events[0], events[2], events[3]]);
    }

    #[tokio::test]
    async fn an_event_that_is_not_taken_waits_and_only_its_appointment_with_it() {
        let (mut bench, events) = bench(&[7, 8, 7]);
        bench.refuse([7]);
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.offered(), [events[0], events[1]]);
        assert_eq!(bench.outbox.ids().len(), 2);

        bench.refuse([]);
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.outbox.ids().len(), 2, "it is tried again only after its wait");
        bench.clock.advance(SignedDuration::from_secs(1));
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.ids().is_empty());
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let waits: Vec<u64> = (1..=8).map(|failed| wait_after(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait_after(u32::MAX), MAX_WAIT);
    }

    #[tokio::test]
    async fn events_that_wait_never_keep_new_ones_from_view() {
        let poisoned: Vec<u128> = (100..100 + 2 * BATCH as u128).collect();
        let (mut bench, _) = bench(&poisoned);
        bench.refuse(poisoned);
        assert!(!bench.relay.drain().await.unwrap());
        assert!(!bench.relay.drain().await.unwrap());
        bench.outbox.0.lock().unwrap().push(pending(9_999, 8));
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.offered().last(), Some(&Uuid::from_u128(9_999)));
    }

    #[tokio::test]
    async fn a_new_event_passes_a_crowd_that_is_due_again() {
        let poisoned: Vec<u128> = (100..100 + 2 * BATCH as u128).collect();
        let (mut bench, _) = bench(&poisoned);
        bench.refuse(poisoned);
        bench.relay.drain().await.unwrap();
        bench.relay.drain().await.unwrap();
        bench.clock.advance(SignedDuration::from_mins(2));
        bench.outbox.0.lock().unwrap().push(pending(9_999, 8));
        bench.offered();
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.offered()[0], Uuid::from_u128(9_999));
    }

    #[tokio::test]
    async fn an_event_that_is_never_taken_is_given_up_and_the_next_one_has_its_turn() {
        let (mut bench, events) = bench(&[7, 7]);
        bench.refuse([7]);
        fail_for(&mut bench, DAY * 5).await;
        assert_eq!(bench.outbox.ids(), events, "it is tried for five days");
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.offered(), [events[0], events[1]]);
        assert_eq!(bench.outbox.ids(), [events[1]]);
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_set_gives_nothing_up_and_delays_nothing() {
        let (mut bench, events) = bench(&[7, 8]);
        bench.refuse([7, 8]);
        bench.relay.drain().await.unwrap();
        bench.clock.shift_wall(DAY * 6);
        for _ in 0..2 * MIN_ATTEMPTS {
            bench.clock.advance(SignedDuration::from_mins(1));
            bench.relay.drain().await.unwrap();
        }
        assert_eq!(bench.outbox.ids(), events);

        bench.clock.shift_wall(-DAY * 7);
        bench.refuse([]);
        bench.clock.advance(SignedDuration::from_mins(1));
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.ids().is_empty());
    }

    #[tokio::test]
    async fn a_host_that_was_off_for_days_gives_nothing_up() {
        let (mut bench, events) = bench(&[7]);
        bench.refuse([7]);
        fail_for(&mut bench, SignedDuration::from_mins(30)).await;
        bench.clock.shift_wall(DAY * 6);
        bench.restart();
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.outbox.ids(), events);
    }

    #[tokio::test]
    async fn attempts_are_counted_over_restarts() {
        let (mut bench, events) = bench(&[7]);
        bench.refuse([7]);
        for day in 1..=5 {
            assert_eq!(bench.outbox.ids(), events, "day {day}");
            fail_for(&mut bench, DAY).await;
            let tried_for = bench.outbox.attempts()[0].tried_for;
            bench.restart();
            assert!(tried_for.as_secs() >= day * (DAY.as_secs().unsigned_abs() - 60), "day {day}: {tried_for:?}");
        }
        fail_for(&mut bench, SignedDuration::from_mins(10)).await;
        assert!(bench.outbox.ids().is_empty());
    }

    #[tokio::test]
    async fn a_gap_in_which_nothing_was_tried_counts_as_an_hour() {
        let (mut bench, events) = bench(&[7]);
        bench.refuse([7]);
        fail_for(&mut bench, SignedDuration::from_mins(60)).await;
        bench.clock.advance(DAY * 30);
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.outbox.ids(), events);
        assert!(bench.outbox.attempts()[0].tried_for <= Duration::from_hours(3));
    }

    #[tokio::test]
    async fn long_waits_alone_give_nothing_up() {
        let (mut bench, events) = bench(&[7]);
        bench.refuse([7]);
        bench.outbox.0.lock().unwrap()[0].attempts = Attempts { failed: 0, tried_for: GIVE_UP_AFTER * 2 };
        bench.restart();
        for attempt in 1..MIN_ATTEMPTS {
            bench.relay.drain().await.unwrap();
            assert_eq!(bench.outbox.ids(), events, "attempt {attempt}");
            bench.clock.advance(SignedDuration::from_mins(1));
        }
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.ids().is_empty());
    }

    #[tokio::test]
    async fn the_oldest_event_is_as_old_as_it_has_waited_whatever_the_wall_clock_says() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let oldest = || {
            let text = recorder.handle().render();
            let line = text.lines().find_map(|line| line.strip_prefix("citas_outbox_oldest_seconds{country=\"pe\"} "));
            line.unwrap().parse::<f64>().unwrap()
        };
        let (mut bench, _) = bench(&[7]);
        bench.refuse([7]);
        bench.relay.drain().await.unwrap();
        bench.clock.advance(SignedDuration::from_secs(90));
        for step in [DAY * 6, -DAY * 8] {
            bench.clock.shift_wall(step);
            bench.relay.drain().await.unwrap();
            assert!((oldest() - 90.0).abs() < 1.0, "{}", oldest());
        }
        bench.restart();
        bench.clock.advance(SignedDuration::from_secs(10));
        bench.relay.drain().await.unwrap();
        assert!((oldest() - 90.0).abs() < 1.0, "what was tried before a restart counts: {}", oldest());
        bench.refuse([]);
        bench.clock.advance(SignedDuration::from_secs(10));
        bench.relay.drain().await.unwrap();
        assert!(oldest().abs() < f64::EPSILON, "{}", oldest());
    }

    #[tokio::test]
    async fn told_to_stop_it_publishes_what_is_due_and_ends() {
        let (bench, _) = bench(&[7, 8, 9]);
        bench.refuse([8]);
        bench.stop.send_replace(Some(Duration::from_secs(5)));
        bench.relay.run().await;
        assert_eq!(bench.outbox.ids(), [Uuid::from_u128(2)]);
    }

    #[tokio::test]
    async fn no_batch_begins_after_the_deadline_and_the_one_under_way_is_removed() {
        let appointments: Vec<u128> = (1..=3 * BATCH as u128).collect();
        let (bench, events) = bench(&appointments);
        *bench.publisher.takes.lock().unwrap() = Some((bench.clock.clone(), SignedDuration::from_secs(4)));
        bench.stop.send_replace(Some(Duration::from_secs(5)));
        bench.relay.run().await;
        assert_eq!(bench.outbox.ids(), events[2 * BATCH..], "one batch at 0 s, one at 4 s, none at 8 s");
    }

    #[tokio::test]
    async fn an_idle_relay_stops_at_once() {
        let (bench, _) = bench(&[]);
        let running = tokio::spawn(bench.relay.run());
        tokio::task::yield_now().await;
        bench.stop.send_replace(Some(Duration::ZERO));
        tokio::time::timeout(Duration::from_secs(20), running).await.expect("it ends").unwrap();
    }
}
