//! Extracts the parameters of a path. An invalid one is not found, like one that names nothing.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use citas_core::model::CountryCode;
use uuid::Uuid;

use super::problem::Problem;

/// The country in a path, known or not.
pub struct InCountry(pub CountryCode);

/// The country and the appointment in a path, known or not.
pub struct AtAppointment(pub CountryCode, pub Uuid);

/// The country, the appointment and the action in a path, known or not.
pub struct AtAction(pub CountryCode, pub Uuid, pub String);

impl<S: Sync> FromRequestParts<S> for InCountry {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(named(parts, "country").await?.parse().map_err(|_| Problem::no_such_place())?))
    }
}

impl<S: Sync> FromRequestParts<S> for AtAppointment {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let InCountry(country) = InCountry::from_request_parts(parts, state).await?;
        Ok(Self(country, named(parts, "id").await?.parse().map_err(|_| Problem::no_such_place())?))
    }
}

impl<S: Sync> FromRequestParts<S> for AtAction {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let AtAppointment(country, id) = AtAppointment::from_request_parts(parts, state).await?;
        Ok(Self(country, id, named(parts, "action").await?))
    }
}

async fn named(parts: &mut Parts, name: &str) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Problem::no_such_place())?;
    let found = params.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.to_owned()).ok_or_else(Problem::no_such_place)
}
