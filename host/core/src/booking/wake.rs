//! Scheduled actions: the host does each to its appointment when its time has come, as the caller `clock`.
//!
//! An action is stored with the revision that scheduled it, and is done by storing the next one. So it is done once,
//! whatever dies in between, and a later revision replaces it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use crate::booking::decide::RuleRequest;
use crate::booking::{Booking, BookingError};
use crate::model::{Caller, CountryCode, Role};
use crate::ports::{Clock, DueWake, Unavailable, Wakes};

/// Subject of the host itself in provenance.
const CLOCK: &str = "clock";

/// Number of actions that are read at once. Requests get their turns between them.
const BATCH: usize = 32;

/// Wait after the first failed attempt; it doubles with each.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// Maximum wait between two attempts, and the wait for rules that have the action.
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// Delay of an action that cannot be done from which it raises an alarm.
const ALARM_AFTER: SignedDuration = SignedDuration::from_hours(24);

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
        let caller = Caller {
            subject: CLOCK.to_owned(),
            groups: BTreeSet::new(),
            scopes: BTreeSet::new(),
            request_id: format!("{CLOCK}/{}/{}", due.appointment, due.revision),
        };
        let (role, now, input) = (Role::Clock, self.clock.now(), json!({}));
        let request = Arc::new(RuleRequest { caller, action, input, role, if_match: None, now });
        let stored = match self.decider.decide(&rules, &request, Some(&current)).await {
            Ok(prepared) => self.store(&rules, &request, None, Some(&current), prepared).await.map(drop),
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) => Ok(Woken::Done),
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

/// Does the scheduled actions of a country that are due.
pub struct Waker {
    country: CountryCode,
    booking: Arc<Booking>,
    wakes: Arc<dyn Wakes>,
    clock: Arc<dyn Clock>,
}

impl Waker {
    /// Creates a waker of one country.
    pub fn new(country: CountryCode, booking: Arc<Booking>, wakes: Arc<dyn Wakes>, clock: Arc<dyn Clock>) -> Self {
        Self { country, booking, wakes, clock }
    }

    /// Does what is due, the oldest first, until nothing is due or the time of [`Clock::monotonic`] is after `end`. Returns
    /// true if nothing is left.
    ///
    /// # Errors
    /// Returns an error if the ledger does not answer. What is not done stays due.
    pub async fn drain(&self, end: Duration) -> Result<bool, Unavailable> {
        loop {
            let due = self.wakes.due(self.country, self.clock.now(), BATCH).await?;
            if due.is_empty() {
                metrics::gauge!("citas_wakes_oldest_seconds", "country" => self.country.to_string()).set(0.0);
                return Ok(true);
            }
            for due in due {
                if self.clock.monotonic() > end {
                    return Ok(false);
                }
                self.wake(&due).await?;
            }
        }
    }

    async fn wake(&self, due: &DueWake) -> Result<(), Unavailable> {
        let (country, now) = (self.country, self.clock.now());
        let (late, action) = (now.duration_since(due.wake.at), &due.wake.action);
        let (appointment, seconds) = (due.appointment, late.as_secs());
        metrics::gauge!("citas_wakes_oldest_seconds", "country" => country.to_string()).set(late.as_secs_f64());
        let outcome = match self.booking.wake(country, due).await {
            Ok(Woken::Done) => "done",
            Ok(Woken::Replaced) => "replaced",
            Ok(Woken::Refused(why)) => {
                tracing::warn!(%country, %appointment, action, why = refusal(&why), "the rules refuse a scheduled action");
                self.wakes.end(country, due).await?;
                "refused"
            }
            Ok(Woken::Unknown) => {
                self.wakes.postpone(country, due, now + MAX_WAIT).await?;
                "unknown"
            }
            Err(error) => {
                let failed = due.failed.saturating_add(1);
                let until = now + wait_after(failed);
                if late >= ALARM_AFTER {
                    tracing::error!(%country, %appointment, action, seconds, failed, %error, "a scheduled action is late");
                } else {
                    tracing::warn!(%country, %appointment, action, seconds, failed, %error, "a scheduled action waits");
                }
                self.wakes.postpone(country, &DueWake { failed, ..due.clone() }, until).await?;
                if late >= ALARM_AFTER { "late" } else { "failed" }
            }
        };
        metrics::counter!("citas_wakes_total", "country" => country.to_string(), "outcome" => outcome).increment(1);
        Ok(())
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
