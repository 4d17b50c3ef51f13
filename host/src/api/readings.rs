//! The endpoint of the read log.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::header::HeaderMap;
use axum::response::Response;
use citas_core::booking::ReadSearch;
use citas_core::model::{Caller, CountryCode, PatientRead, ReadOperation, ReadReason, Reading, Role};
use citas_core::rules::MAX_PAGE;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Api;
use super::appointments::{DEFAULT_PAGE, filter, limit_of, paged};
use super::identity::Identified;
use super::instant::Instant;
use super::paths::At;
use super::problem::Problem;
use super::query::Parameters;

/// A request that showed data of patients.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Reading")]
pub struct ReadingView {
    /// Time of the request.
    #[schemars(with = "Instant")]
    at: Timestamp,
    by: Reader,
    operation: ReadOperation,
    /// Id of the request.
    request_id: String,
    /// Patients whose data was shown, each once; of a search by patient, that patient alone.
    patients: Vec<PatientReadView>,
}

/// Caller who was shown data of patients.
#[derive(Serialize, JsonSchema)]
pub struct Reader {
    /// Subject of the caller's token, or `link` for a link in mail. A patient sees only their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    role: Role,
}

/// A patient whose data was shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PatientRead")]
pub struct PatientReadView {
    /// Opaque id of the patient.
    person: Uuid,
    reason: ReadReason,
    /// Ids of the appointments that were shown.
    appointments: Vec<Uuid>,
}

/// Handles `GET …/read-log`.
pub async fn list(
    State(api): State<Arc<Api>>,
    At(country): At<CountryCode>,
    Identified(caller): Identified,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let query = Parameters::of(&uri, &["patient", "actor", "from", "to"])?;
    let search = ReadSearch {
        patient: filter(&query, "patient")?,
        actor: filter(&query, "actor")?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        after: query.cursor()?,
        limit: limit_of(&query, DEFAULT_PAGE, MAX_PAGE)?,
    };
    let page = api.booking.readings(&caller, country, search).await.map_err(api.problem(country, &headers))?;
    let role = caller.role(country)?;
    let readings = page.readings.into_iter().map(|reading| view(reading, &caller, role)).collect();
    paged(readings, page.next.map(|next| query.cursor_at(&next)), &uri)
}

fn view(reading: Reading, caller: &Caller, role: Role) -> ReadingView {
    let Reading { at, subject, role: reader, operation, request_id, patients } = reading;
    let subject = Some(subject).filter(|subject| caller.knows(role, subject));
    let patient = |PatientRead { person, reason, appointments }| PatientReadView { person, reason, appointments };
    let patients = patients.into_iter().map(patient).collect();
    ReadingView { at, by: Reader { subject, role: reader }, operation, request_id, patients }
}
