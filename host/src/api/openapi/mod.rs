//! Composes the API's description (OpenAPI 3.1) from the rules in force and from the types of the responses. It changes
//! when a country's schema does, and daily, because its examples have dates that can be booked.
//!
//! - [`operations`]: the paths and their operations
//! - [`components`]: the schemas of the responses, the headers and the problems
//! - [`country`]: the schemas of a country, with names that are unique in the document

mod components;
mod country;
mod operations;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use citas_core::model::CountryCode;
use citas_core::ports::Clock;
use citas_core::release::{Catalogue, Entry};
use citas_core::rules::{BookingDays, LoadedRules};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::components::Components;
use self::country::country_tag;
use super::Api;
use super::caching::Document;
use super::problem::Problem;

/// Maximum age of a document, in seconds. The days in its examples are those of the time when it was composed.
const MAX_AGE: i64 = 60 * 60;

/// The document that was composed last. It is kept because everybody may request it, and composing it takes
/// milliseconds.
pub struct Description {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Composed>>,
}

struct Composed {
    countries: Countries,
    at: Timestamp,
    document: Document,
}

type Countries = Arc<BTreeMap<CountryCode, Entry>>;

impl Description {
    /// Creates the description. Its examples have dates after the time of this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::default() }
    }

    async fn of(&self, catalogue: &Catalogue) -> Document {
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        let countries = catalogue.all();
        let is_current = |last: &&Composed| {
            Arc::ptr_eq(&last.countries, &countries) && (0..MAX_AGE).contains(&now.duration_since(last.at).as_secs())
        };
        if let Some(last) = last.as_ref().filter(is_current) {
            return last.document.clone();
        }
        let mut described = Vec::new();
        for rules in countries.values().filter_map(|entry| entry.rules.clone()) {
            let asked = rules.clone();
            let days = catalogue.executor().run_eventually(rules.country, move || BookingDays::of(&asked, now)).await;
            described.push((rules, days));
        }
        let document = Document::json(&document(&described));
        *last = Some(Composed { countries, at: now, document: document.clone() });
        document
    }
}

/// Handles `GET /openapi.json`.
pub async fn serve(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    api.description.of(&api.catalogue).await.response(&headers)
}

/// Returns the whole document.
fn document(countries: &[(Arc<LoadedRules>, Option<BookingDays>)]) -> Value {
    let mut components = Components::default();
    let mut paths = operations::of_platform(&mut components);
    let mut tags = vec![json!({ "name": "platform", "description": "The countries, and the state of the host." })];
    for (rules, days) in countries {
        components.add_country(rules, days.as_ref());
        paths.extend(operations::of_country(rules, &mut components));
        tags.push(country_tag(rules));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Citas",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Medical appointments in many countries, each under its own rules.",
            "description": "Errors are problem documents (RFC 9457): show `message` to people, and branch on `code` and \
                `type`. Ignore members that you do not know. Each country's rules have a version of their own, and change \
                without a change of this API: this document always describes the rules in force.",
            "contact": { "name": "The operator of this host" },
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This host" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components.into_schemas(),
            "headers": components::headers(),
            "responses": components::problem_responses(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "A signed access token (RFC 6750). An operation names the scope that it requires.",
            } },
        },
    })
}
