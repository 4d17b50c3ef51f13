//! Extracts the parameters of a path. An invalid one is not found, like one that names nothing.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The parameters of a path in their order: the country, the appointment and the action. Each may name nothing.
pub struct At<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, &()).await;
        path.map(|Path(parameters)| Self(parameters)).map_err(|_| Problem::no_such_place())
    }
}
