//! The endpoints of holds: a client keeps a free slot for some minutes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderMap, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use citas_core::model::{CountryCode, Hold};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Api;
use super::appointments::PRIVATE;
use super::body::{JsonBody, idempotency_key};
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::Problem;
use super::slots::Slot;

/// A request to hold a slot.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Token of the slot.
    slot: String,
}

/// A slot that is kept for the caller until an instant.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Hold")]
pub struct HeldSlot {
    /// Id of the hold, for a booking.
    id: Uuid,
    /// Time from which the slot is free again.
    #[schemars(with = "Instant")]
    expires_at: Timestamp,
    #[serde(flatten)]
    slot: Slot,
}

/// Handles `POST …/holds`.
pub async fn create(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    JsonBody(request): JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let refused = |_| Problem::malformed("a hold is requested with the member `slot` alone: the token of a slot");
    let HoldRequest { slot } = serde_json::from_value(request).map_err(refused)?;
    let slot = api.read_slot(country, &slot)?;
    let hold = api.booking.hold(&caller, country, slot, key).await.map_err(api.problem(country, &headers))?;
    let location = format!("/v1/{country}/holds/{}", hold.id);
    let location = HeaderValue::from_str(&location).expect("letters, digits, hyphens and slashes");
    Ok((StatusCode::CREATED, [(LOCATION, location)], api.held(hold)).into_response())
}

/// Handles `GET …/holds/{id}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    At((country, id)): At<(CountryCode, Uuid)>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hold = api.booking.held(&caller, country, id).await.map_err(api.problem(country, &headers))?;
    Ok(api.held(hold))
}

/// Handles `DELETE …/holds/{id}`.
pub async fn delete(
    State(api): State<Arc<Api>>,
    At((country, id)): At<(CountryCode, Uuid)>,
    Identified(caller): Identified,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.booking.release(&caller, country, id).await.map_err(api.problem(country, &headers))?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    fn held(&self, hold: Hold) -> Response {
        let slot = Slot::of_token(hold.slot, hold.starts_at, None, &self.link_keys);
        let held = HeldSlot { id: hold.id, expires_at: hold.expires_at, slot };
        ([(CACHE_CONTROL, PRIVATE)], Json(held)).into_response()
    }
}
