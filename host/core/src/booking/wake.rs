//! Scheduled actions: the host does each at its time, as the caller `clock`.
//!
//! An action is stored with the revision that scheduled it, and is done by storing the next one. So it is done once even
//! if the process dies in between, and a later revision replaces it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use crate::booking::decide::RuleRequest;
use crate::booking::{Booking, BookingError};
use crate::model::CountryCode;
use crate::people::{Access, CLOCK};
use crate::ports::{Clock, DueWake, Unavailable, Wakes};

/// Maximum number of actions that one read of the ledger returns.
const BATCH: usize = 32;

/// Wait after the first failed attempt; it doubles with each.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Maximum wait between two attempts.
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Wait of an action that the rules in force lack. A host that sees other rules come into force tries it sooner; a
/// restarted host or a function does not.
pub(super) const UNKNOWN_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Number of failed attempts after which an action raises an alarm. They take 24 hours.
pub(super) const ALARM_AFTER: u32 = 30;

/// Maximum number of actions that are tried again as soon as there are other rules. Further ones wait for [`UNKNOWN_WAIT`].
const MAX_UNKNOWN: usize = 10_000;

/// Interval at which a host looks for actions that are due.
const INTERVAL: Duration = Duration::from_secs(1);

/// Name of the outcome of an action that another revision replaced.
const REPLACED: &str = "replaced";

/// Outcome of a scheduled action.
#[derive(Debug)]
pub enum Woken {
    /// The action is done: its revision is stored.
    Done,
    /// Another revision came first.
    Replaced,
    /// The rules refuse the action.
    Refused(BookingError),
    /// The rules in force do not have the action, or not for the clock.
    Unknown,
}

impl Booking {
    /// Does a scheduled action that is due.
    ///
    /// # Errors
    /// Returns an error if the action is neither done nor refused. It stays due.
    pub async fn wake(&self, country: CountryCode, due: &DueWake) -> Result<Woken, BookingError> {
        let entry = self.decider.catalogue.entry(country).ok_or(BookingError::UnknownCountry(country))?;
        let rules = entry.in_force().ok_or(BookingError::RulesUnavailable(None))?;
        let Some(current) = self.decider.ledger.appointment(country, due.appointment).await? else {
            return Ok(Woken::Replaced);
        };
        if current.appointment.revision != due.revision {
            return Ok(Woken::Replaced);
        }
        let action = due.wake.action.clone();
        let access = Access::of_clock(format!("{CLOCK}/{}/{}", due.appointment, due.revision));
        let (now, input) = (self.clock.now(), json!({}));
        let request = Arc::new(RuleRequest { access, action, input, if_match: None, hold: None, now });
        match self.decide_and_store(&rules, request, None, Some(&current)).await {
            Ok(_) => Ok(Woken::Done),
            Err(BookingError::Stale { .. }) => Ok(Woken::Replaced),
            Err(BookingError::UnknownAction(_) | BookingError::Forbidden(_)) => Ok(Woken::Unknown),
            Err(
                refused @ (BookingError::Violations(_)
                | BookingError::NotAllowedNow(_)
                | BookingError::SlotTaken { .. }
                | BookingError::TooLarge { .. }),
            ) => Ok(Woken::Refused(refused)),
            Err(error) => Err(error),
        }
    }
}

/// Does the due scheduled actions of a country one after the other, so that requests are served in between.
///
/// An action is due by the wall clock. Everything else is measured in attempts or by the monotonic clock, so that setting
/// the wall clock raises no alarm.
pub struct Waker {
    country: CountryCode,
    booking: Arc<Booking>,
    wakes: Arc<dyn Wakes>,
    clock: Arc<dyn Clock>,
    unknown: Mutex<Unknown>,
}

/// Actions that the rules in force lack. They are tried again with other rules, without waiting for their time.
#[derive(Default)]
struct Unknown {
    /// Serial numbers of the rules that lack them.
    rules: Vec<u64>,
    actions: Vec<DueWake>,
}

impl Waker {
    /// Creates a waker of one country.
    pub fn new(country: CountryCode, booking: Arc<Booking>, wakes: Arc<dyn Wakes>, clock: Arc<dyn Clock>) -> Self {
        Self { country, booking, wakes, clock, unknown: Mutex::default() }
    }

    /// Does actions as they become due, until `stop` resolves. An action in progress then stays due unless it is stored.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let work = async {
            loop {
                if let Err(error) = self.drain(Duration::MAX).await {
                    tracing::warn!(country = %self.country, %error, "scheduled actions wait; trying again");
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop => {}
        }
    }

    /// Does the due actions, the oldest first, until none is due or the time of [`Clock::monotonic`] is after `end`. Does
    /// none without rules in force. Returns true if nothing is left to do now.
    ///
    /// # Errors
    /// Returns an error if the ledger does not answer. The remaining actions stay due.
    pub async fn drain(&self, end: Duration) -> Result<bool, Unavailable> {
        let Some(entry) = self.booking.decider.catalogue.entry(self.country) else { return Ok(true) };
        let Some(rules) = entry.in_force() else { return Ok(true) };
        for due in self.no_longer_unknown(rules.versions().map(|rules| rules.serial).collect()) {
            self.wake(&due).await?;
        }
        loop {
            let batch = self.wakes.due(self.country, self.clock.now(), BATCH).await?;
            let oldest = batch.first().map_or(0.0, |due| self.lateness(due).as_secs_f64());
            metrics::gauge!("citas_wakes_oldest_seconds", "country" => self.country.to_string()).set(oldest);
            if batch.is_empty() {
                return Ok(true);
            }
            let mut is_progress = false;
            for due in batch {
                if self.clock.monotonic() > end {
                    return Ok(false);
                }
                is_progress |= self.wake(&due).await? != REPLACED;
            }
            // A stale index still contains replaced actions.
            if !is_progress {
                return Ok(false);
            }
        }
    }

    /// Does one action, and returns the outcome's name.
    async fn wake(&self, due: &DueWake) -> Result<&'static str, Unavailable> {
        let (country, now) = (self.country, self.clock.now());
        let (appointment, action, seconds) = (due.appointment, &due.wake.action, self.lateness(due).as_secs());
        let outcome = match self.booking.wake(country, due).await {
            Ok(Woken::Done) => {
                tracing::info!(%country, %appointment, action, "a scheduled action is done");
                "done"
            }
            Ok(Woken::Replaced) => REPLACED,
            Ok(Woken::Refused(why)) => {
                tracing::warn!(%country, %appointment, action, why = refusal(&why), "the rules refuse a scheduled action");
                self.wakes.end(country, due).await?;
                "refused"
            }
            Ok(Woken::Unknown) => {
                self.wakes.postpone(country, due, now + UNKNOWN_WAIT).await?;
                self.remember(due);
                "unknown"
            }
            Err(error) => {
                let failed = due.failed.saturating_add(1);
                self.wakes.postpone(country, &DueWake { failed, ..due.clone() }, now + wait_after(failed)).await?;
                if failed >= ALARM_AFTER {
                    tracing::error!(%country, %appointment, action, seconds, failed, %error, "a scheduled action is late");
                    "late"
                } else {
                    tracing::warn!(%country, %appointment, action, seconds, failed, %error, "a scheduled action waits");
                    "failed"
                }
            }
        };
        metrics::counter!("citas_wakes_total", "country" => country.to_string(), "outcome" => outcome).increment(1);
        Ok(outcome)
    }

    /// Returns the time since the action was due; zero if the clock was set back before it.
    fn lateness(&self, due: &DueWake) -> SignedDuration {
        self.clock.now().duration_since(due.wake.at).max(SignedDuration::ZERO)
    }

    /// Returns the actions that rules no longer in force lacked.
    fn no_longer_unknown(&self, rules: Vec<u64>) -> Vec<DueWake> {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.rules == rules {
            return Vec::new();
        }
        std::mem::replace(&mut *unknown, Unknown { rules, actions: Vec::new() }).actions
    }

    fn remember(&self, due: &DueWake) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.actions.len() < MAX_UNKNOWN && !unknown.actions.contains(due) {
            unknown.actions.push(due.clone());
        }
    }
}

/// Returns the wait after `failed` failed attempts: 1, 2, 4, … 60 minutes.
fn wait_after(failed: u32) -> SignedDuration {
    FIRST_WAIT.saturating_mul(1 << failed.saturating_sub(1).min(6)).min(MAX_WAIT)
}

/// Returns the codes of a refusal, which name no data of the patient.
fn refusal(why: &BookingError) -> String {
    match why {
        BookingError::Violations(rejection) | BookingError::NotAllowedNow(rejection) => {
            rejection.violations.iter().map(|violation| violation.code.as_str()).collect::<Vec<_>>().join(", ")
        }
        BookingError::SlotTaken { .. } => "a claim is taken".to_owned(),
        other => other.to_string(),
    }
}
