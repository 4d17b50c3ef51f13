//! Handles `GET /readyz`: reports whether any country can be booked here. The check writes to the ledgers and reads
//! from them, so its result is kept for a second, however many clients request it.
//!
//! A version that the host refuses is named and does not make the host unready: the version before serves, and without
//! this host its patients would have none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use citas_core::model::CountryCode;
use citas_core::ports::Ledger;
use citas_core::release::{Catalogue, Entry};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;

use super::Api;

/// Time for which a result is kept.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Maximum time for a ledger's check. A slower ledger is not ready.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Result of the check.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub struct Report {
    status: &'static str,
    /// Reason by country, for each country that cannot be booked.
    trouble: BTreeMap<String, &'static str>,
    /// Version that the host does not take, and the one that serves, by country. Such a country is ready.
    refused: BTreeMap<String, String>,
}

/// Check of every country's rules and ledger.
pub struct Readiness {
    catalogue: Arc<Catalogue>,
    ledger: Arc<dyn Ledger>,
    last: Mutex<Option<(Instant, StatusCode, Report)>>,
}

impl Readiness {
    /// Creates the check over these.
    pub fn new(catalogue: Arc<Catalogue>, ledger: Arc<dyn Ledger>) -> Self {
        Self { catalogue, ledger, last: Mutex::default() }
    }

    async fn answer(&self) -> (StatusCode, Report) {
        let mut last = self.last.lock().await;
        if let Some((_, code, body)) = last.as_ref().filter(|(at, ..)| at.elapsed() < GOOD_FOR) {
            return (*code, body.clone());
        }
        let (code, body) = self.ask().await;
        *last = Some((Instant::now(), code, body.clone()));
        (code, body)
    }

    async fn ask(&self) -> (StatusCode, Report) {
        let countries = self.catalogue.all();
        let asked = countries.iter().map(|(country, entry)| async {
            let trouble = if entry.rules.is_none() {
                "no rules are in force"
            } else if !self.ledger_is_ready(*country).await {
                "the ledger does not answer"
            } else {
                return None;
            };
            Some((country.to_string(), trouble))
        });
        let trouble: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
        if countries.is_empty() {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                Report { status: "no country is known yet", trouble, refused: BTreeMap::new() },
            );
        }
        let refused: BTreeMap<_, _> =
            countries.iter().filter_map(|(country, entry)| refused(*country, entry)).collect();
        let ready = countries.len() > trouble.len();
        let (code, status) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        (code, Report { status, trouble, refused })
    }

    async fn ledger_is_ready(&self, country: CountryCode) -> bool {
        match tokio::time::timeout(LEDGER_TIMEOUT, self.ledger.ready(country)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(%country, %error, "not ready"),
            Err(_) => tracing::warn!(%country, error = "it takes too long", "not ready"),
        }
        false
    }
}

/// Names the version that is wanted and not in force, and the one that serves. The reason is not for everybody.
fn refused(country: CountryCode, entry: &Entry) -> Option<(String, String)> {
    let refused = entry.refused.as_ref().filter(|refused| !refused.on_trial)?;
    let serves = &entry.rules.as_ref()?.id.version;
    Some((country.to_string(), format!("{} is not in force; version {serves} serves", refused.what)))
}

/// Handles `GET /readyz`.
pub async fn serve(State(api): State<Arc<Api>>) -> Response {
    let (code, body) = api.ready.answer().await;
    (code, Json(body)).into_response()
}
