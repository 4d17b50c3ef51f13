//! The Lambda function `wake`: does the scheduled actions that are due, in all countries. It is started each minute.

use std::sync::Arc;
use std::time::Duration;

use citas_core::booking::{Booking, Waker};
use citas_core::model::CountryCode;
use citas_core::ports::{Clock as _, Wakes};
use citas_core::release::Catalogue;
use futures::future::join_all;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::Value as Json;

use super::setup::{BookingSettings, Rules, Starting};
use super::{Ended, Started, answer};
use crate::system::SystemClock;

/// Time before the function's timeout in which no action begins; it is enough for one.
const ONE: Duration = Duration::from_secs(10);

/// Runs the function for as long as its instance lives.
///
/// # Errors
/// Returns an error if it cannot start, or Lambda's runtime API fails.
pub async fn run() -> Ended {
    let engine = Starting::new();
    let Started { settings, aws, metrics } = Started::<BookingSettings>::new().await?;
    let names = settings.names()?;
    let rules = Rules::new(&settings.rules, &aws, engine, false, Some(names.clone()))?;
    let booking = &Arc::new(rules.booking(names));
    let Rules { catalogue, on_demand, ledger, .. } = rules;
    let (catalogue, on_demand, wakes) = (&*catalogue, &on_demand, &(ledger as Arc<dyn Wakes>));
    let handler = service_fn(move |event: LambdaEvent<Json>| async move {
        let deadline = event.context.deadline();
        // No client waits, so the registry is read before the actions are decided.
        on_demand.ask_all().await.finish().await;
        let left = deadline.duration_since(std::time::SystemTime::now()).unwrap_or_default();
        drain(catalogue, booking, wakes, left.saturating_sub(ONE)).await.map_err(lambda_runtime::Error::from)
    });
    answer(Runtime::new(handler), metrics).await
}

/// Does the due actions of every country within this time. An error of one country's ledger is returned after the other
/// countries are done.
async fn drain(
    catalogue: &Catalogue,
    booking: &Arc<Booking>,
    wakes: &Arc<dyn Wakes>,
    left: Duration,
) -> Result<(), String> {
    let end = SystemClock.monotonic() + left;
    let countries: Vec<CountryCode> = catalogue.all().keys().copied().collect();
    let drained = countries.into_iter().map(async |country| {
        let waker = Waker::new(country, booking.clone(), wakes.clone(), Arc::new(SystemClock));
        match waker.drain(end).await {
            Ok(true) => None,
            Ok(false) => {
                tracing::warn!(%country, "more scheduled actions are due than there is time for");
                None
            }
            Err(error) => {
                tracing::error!(%country, %error, "scheduled actions wait");
                Some(error.to_string())
            }
        }
    });
    let failed: Vec<String> = join_all(drained).await.into_iter().flatten().collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}
