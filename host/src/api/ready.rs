//! `GET /readyz`: whether some country can be booked here. Asking the ledgers writes to them, so an answer is good for a
//! second, however many ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use citas_core::catalogue::Catalogue;
use citas_core::ledger::Ledger;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::Api;

/// How long an answer is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Asks every country's rules and ledger.
pub struct Readiness {
    catalogue: Arc<Catalogue>,
    ledger: Arc<dyn Ledger>,
    last: Mutex<Option<(Instant, StatusCode, Value)>>,
}

impl Readiness {
    /// Over these.
    pub fn new(catalogue: Arc<Catalogue>, ledger: Arc<dyn Ledger>) -> Self {
        Self { catalogue, ledger, last: Mutex::default() }
    }

    async fn answer(&self) -> (StatusCode, Value) {
        let mut last = self.last.lock().await;
        if let Some((_, code, body)) = last.as_ref().filter(|(at, ..)| at.elapsed() < GOOD_FOR) {
            return (*code, body.clone());
        }
        let (code, body) = self.ask().await;
        *last = Some((Instant::now(), code, body.clone()));
        (code, body)
    }

    async fn ask(&self) -> (StatusCode, Value) {
        let mut trouble = Map::new();
        let countries = self.catalogue.all();
        for (country, entry) in countries.iter() {
            if entry.rules.is_none() {
                trouble.insert(country.to_string(), "no rules are in force".into());
            } else if let Err(error) = self.ledger.ready(*country).await {
                tracing::warn!(%country, %error, "not ready");
                trouble.insert(country.to_string(), "the ledger does not answer".into());
            }
        }
        if countries.is_empty() {
            return (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "no country is known yet", "trouble": {} }));
        }
        let ready = countries.len() > trouble.len();
        let (code, status) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        (code, json!({ "status": status, "trouble": trouble }))
    }
}

/// `GET /readyz`
pub async fn serve(State(api): State<Arc<Api>>) -> Response {
    let (code, body) = api.ready.answer().await;
    (code, Json(body)).into_response()
}
