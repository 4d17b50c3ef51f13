//! Turns outbox records into published events: at least once, and in order for one appointment.
//! Knows nothing of who listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::appointment::CountryCode;
use crate::event::Event;
use crate::ledger::{Outbox, Unavailable};
use crate::publisher::Publisher;
use crate::time::Clock;

/// How many events are published at once. Few enough that a round ends, and the age of the oldest event is reported, while
/// an SMTP server lets each of them wait.
const BATCH: usize = 64;
/// The first wait after a failure; it doubles with each.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(60);
/// How long an idle relay sleeps at most, and how long one sleeps that nobody takes anything from.
const IDLE: Duration = Duration::from_secs(1);
/// When an event that is still not taken is given up (RFC 5321, section 4.5.4.1: at least four or five days).
const GIVE_UP: SignedDuration = SignedDuration::from_hours(5 * 24);

/// Relays one country's events.
pub struct Relay {
    country: CountryCode,
    outbox: Arc<dyn Outbox>,
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    failed: HashMap<Uuid, Failed>,
}

/// An event that was not taken, and waits.
#[derive(Clone, Copy)]
struct Failed {
    until: Timestamp,
    wait: SignedDuration,
}

impl Relay {
    /// A relay between these two.
    pub fn new(
        country: CountryCode,
        outbox: Arc<dyn Outbox>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { country, outbox, publisher, clock, failed: HashMap::new() }
    }

    /// Relays for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            match self.drain().await {
                // Whatever wakes it, the next round reads the outbox anew.
                Ok(true) => drop(tokio::time::timeout(IDLE, self.outbox.changed(self.country)).await),
                Ok(false) => tokio::time::sleep(IDLE).await,
                Err(error) => {
                    tracing::warn!(country = %self.country, %error, "the outbox cannot be read; trying again");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    /// Publishes everything that can be published now; false when it stopped because nothing at all was taken.
    ///
    /// # Errors
    /// When the outbox does not answer; what was published before that is removed, or will be published again.
    pub async fn drain(&mut self) -> Result<bool, Unavailable> {
        loop {
            let pending = self.outbox.pending(self.country, BATCH + self.failed.len()).await?;
            self.report(&pending);
            let batch = self.due(&pending);
            if batch.is_empty() {
                return Ok(true);
            }
            if self.publish(&batch).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Those that do not wait for another try.
    fn due(&self, pending: &[Event]) -> Vec<Event> {
        let now = self.clock.now();
        let due = |event: &&Event| self.failed.get(&event.id).is_none_or(|failed| failed.until <= now);
        pending.iter().filter(due).take(BATCH).cloned().collect()
    }

    /// How many of them are done with.
    async fn publish(&mut self, batch: &[Event]) -> Result<usize, Unavailable> {
        let results = self.publisher.publish(batch).await;
        let mut done = Vec::new();
        for (event, result) in batch.iter().zip(results) {
            match result {
                Ok(()) => done.push(event.id),
                Err(error) if self.clock.now().duration_since(event.time) > GIVE_UP => {
                    tracing::error!(country = %self.country, event = %event.id, %error, "an event is given up");
                    done.push(event.id);
                }
                Err(error) => {
                    let seconds = self.postpone(event.id).as_secs();
                    tracing::warn!(country = %self.country, event = %event.id, %error, seconds, "an event waits");
                }
            }
        }
        self.outbox.remove(self.country, &done).await?;
        for event in &done {
            self.failed.remove(event);
        }
        Ok(done.len())
    }

    fn postpone(&mut self, event: Uuid) -> SignedDuration {
        let wait = self.failed.get(&event).map_or(FIRST_WAIT, |failed| (failed.wait * 2).min(LONGEST_WAIT));
        self.failed.insert(event, Failed { until: self.clock.now() + wait, wait });
        wait
    }

    /// How old the oldest event is that still waits.
    fn report(&self, pending: &[Event]) {
        let age = pending.first().map_or(0.0, |event| self.clock.now().duration_since(event.time).as_secs_f64());
        metrics::gauge!("citas_outbox_oldest_seconds", "country" => self.country.to_string()).set(age);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::publisher::NotPublished;
    use crate::testing::{ManualClock, revision};

    #[derive(Default)]
    struct Memory(Mutex<Vec<Event>>);

    #[async_trait]
    impl Outbox for Memory {
        async fn pending(&self, _: CountryCode, limit: usize) -> Result<Vec<Event>, Unavailable> {
            let mut seen = HashSet::new();
            let events = self.0.lock().unwrap();
            Ok(events.iter().filter(|event| seen.insert(event.subject)).take(limit).cloned().collect())
        }
        async fn remove(&self, _: CountryCode, events: &[Uuid]) -> Result<(), Unavailable> {
            self.0.lock().unwrap().retain(|event| !events.contains(&event.id));
            Ok(())
        }
        async fn changed(&self, _: CountryCode) {}
    }

    /// Takes every event but those about some appointments, and remembers all that it was offered.
    #[derive(Default)]
    struct Picky {
        refuses: Mutex<HashSet<Uuid>>,
        offered: Mutex<Vec<Uuid>>,
    }

    #[async_trait]
    impl Publisher for Picky {
        async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
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
        relay: Relay,
    }

    fn bench(appointments: &[u128]) -> (Bench, Vec<Event>) {
        let clock = Arc::new(ManualClock::default());
        let events: Vec<Event> = (1..)
            .zip(appointments)
            .map(|(id, appointment)| {
                Event::new(Uuid::from_u128(id), "booked", &revision(Uuid::from_u128(*appointment)))
            })
            .collect();
        let outbox = Arc::new(Memory(Mutex::new(events.clone())));
        let publisher = Arc::new(Picky::default());
        let country = "pe".parse().unwrap();
        let relay = Relay::new(country, outbox.clone(), publisher.clone(), clock.clone());
        (Bench { outbox, publisher, clock, relay }, events)
    }

    #[tokio::test]
    async fn every_event_is_published_and_forgotten_in_the_order_of_its_appointment() {
        let (mut bench, events) = bench(&[7, 8, 7, 7]);
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.0.lock().unwrap().is_empty());
        let offered = bench.publisher.offered.lock().unwrap().clone();
        let of_seven: Vec<Uuid> = offered.into_iter().filter(|id| *id != events[1].id).collect();
        assert_eq!(of_seven, [events[0].id, events[2].id, events[3].id]);
    }

    #[tokio::test]
    async fn an_event_that_is_not_taken_waits_and_only_its_appointment_with_it() {
        let (mut bench, events) = bench(&[7, 8, 7]);
        bench.publisher.refuses.lock().unwrap().insert(Uuid::from_u128(7));
        bench.relay.drain().await.unwrap();
        assert_eq!(*bench.publisher.offered.lock().unwrap(), [events[0].id, events[1].id]);
        assert_eq!(bench.outbox.0.lock().unwrap().len(), 2);

        bench.publisher.refuses.lock().unwrap().clear();
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.outbox.0.lock().unwrap().len(), 2, "it is tried again only after its wait");
        bench.clock.advance(FIRST_WAIT);
        bench.relay.drain().await.unwrap();
        assert!(bench.outbox.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_wait_doubles_up_to_its_limit() {
        let (mut bench, events) = bench(&[]);
        let waits: Vec<i64> = (0..8).map(|_| bench.relay.postpone(Uuid::nil()).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(events.is_empty());
    }

    #[tokio::test]
    async fn events_that_wait_never_keep_new_ones_from_view() {
        let poisoned: Vec<u128> = (100..100 + 2 * BATCH as u128).collect();
        let (mut bench, mut events) = bench(&poisoned);
        *bench.publisher.refuses.lock().unwrap() = poisoned.into_iter().map(Uuid::from_u128).collect();
        assert!(!bench.relay.drain().await.unwrap());
        assert!(!bench.relay.drain().await.unwrap());
        events.push(Event::new(Uuid::max(), "booked", &revision(Uuid::from_u128(8))));
        *bench.outbox.0.lock().unwrap() = events;
        bench.relay.drain().await.unwrap();
        assert_eq!(bench.publisher.offered.lock().unwrap().last(), Some(&Uuid::max()));
    }

    #[tokio::test]
    async fn an_event_that_is_never_taken_is_given_up_and_the_next_one_has_its_turn() {
        let (mut bench, events) = bench(&[7, 7]);
        bench.publisher.refuses.lock().unwrap().insert(Uuid::from_u128(7));
        bench.relay.drain().await.unwrap();
        bench.clock.advance(GIVE_UP + SignedDuration::from_secs(1));
        bench.publisher.offered.lock().unwrap().clear();
        bench.relay.drain().await.unwrap();
        assert_eq!(*bench.publisher.offered.lock().unwrap(), [events[0].id, events[1].id]);
        assert!(bench.outbox.0.lock().unwrap().is_empty());
    }
}
