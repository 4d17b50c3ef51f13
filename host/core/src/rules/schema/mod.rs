//! Loads a country's schemas (JSON Schema 2020-12) and checks documents against them. Knows nothing of appointments or
//! of guest code.
//!
//! Schemas are code that runs in the host, outside every fuel limit. They are bounded on loading, so that compiling a
//! schema and checking any document against it end in a known time.
//!
//! [`validator`] compiles a copy of the schema. The copy has only the keywords that were measured, and this module writes
//! its references, so what was measured is what is compiled.

mod compiled;
mod cost;
mod keywords;
mod places;
#[cfg(test)]
mod tests;
mod texts;
mod violation;

use std::cmp::Reverse;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value as Json, json};

use crate::model::Violation;
use crate::model::json::{MAX_INTEGER, escape};
use crate::ports::Refusal;
use compiled::compiled;
use cost::{Cause, MAX_DOCUMENT_TEXT, MAX_SIZE, MAX_VALUES, Walk};
use texts::{Checks, MAX_PATTERNS_SIZE, Patterns};

use keywords::FILTERS;
pub(crate) use keywords::counts;
pub use keywords::{map_subschemas, target};
pub(crate) use places::{ANY, example_keys, is_marked_personal, labelled, may_violate, place_members};
pub use places::{is_personal, named_members};

/// Maximum number of violations that are reported for a document.
pub(crate) const MAX_VIOLATIONS: usize = 50;

/// Maximum size of the cache of a pattern in `patternProperties`, in bytes. A pattern with no more states than
/// [`texts::MAX_TABLE_SIZE`] allows never fills it, and other patterns are too slow to be accepted.
const MAX_CACHE_SIZE: usize = 256 << 10;

/// Remaining budget of a country's schemas. All of them stay in memory, and a host compiles them when it starts.
pub struct Budget {
    size: usize,
    patterns: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { size: MAX_SIZE, patterns: MAX_PATTERNS_SIZE }
    }
}

impl Budget {
    /// Parses a schema of a descriptor and takes its size from the budget.
    ///
    /// # Errors
    /// Returns an error that names the place if the text is not JSON, not an object, or exceeds a bound.
    pub fn document(&mut self, what: &str, text: &str) -> Result<Json, Refusal> {
        let refused = |at: &str, cause: &str| Refusal::bad_descriptor(what, at, cause);
        let schema: Json =
            serde_json::from_str(text).map_err(|cause| refused("", &format!("it is not JSON: {cause}")))?;
        if !schema.is_object() {
            return Err(refused("", "a schema here is a JSON object"));
        }
        if schema.get("$schema").is_some_and(|draft| !is_supported(draft)) {
            return Err(refused("/$schema", "schemas are those of https://json-schema.org/draft/2020-12/schema"));
        }
        let mut walk = Walk::new(&schema, self.size, Patterns::within(&mut self.patterns));
        walk.cost().map_err(|Cause { at, why }| refused(&at, &why))?;
        self.size -= walk.size;
        Ok(schema)
    }
}

fn is_supported(draft: &Json) -> bool {
    draft.as_str().is_some_and(|draft| draft.trim_end_matches('#') == "https://json-schema.org/draft/2020-12/schema")
}

/// Compiles a schema that [`Budget::document`] has read.
///
/// # Errors
/// Returns an error if it is not a valid JSON Schema 2020-12.
pub fn validator(what: &str, schema: &Json) -> Result<Validator, Refusal> {
    part_validator(what, schema, schema)
}

/// Compiles the schemas of an appointment's filters as one schema of an object with the filters' names. A filter without
/// a schema accepts every key.
///
/// # Errors
/// Returns an error if a filter is unknown, or if its schema is not valid.
pub fn filters(appointment_schema: &Json) -> Result<Validator, Refusal> {
    let filters = appointment_schema.get(FILTERS).cloned().unwrap_or_else(|| json!({}));
    let refused = |at: &str| {
        Refusal::bad_descriptor("appointment-schema", at, "it has schemas of the filters patient, doctor and hospital")
    };
    let named = filters.as_object().ok_or_else(|| refused("/x-filters"))?;
    if let Some(unknown) = named.keys().find(|name| !["patient", "doctor", "hospital"].contains(&name.as_str())) {
        return Err(refused(&format!("/x-filters/{unknown}")));
    }
    part_validator("x-filters of the appointment-schema", appointment_schema, &json!({ "properties": filters }))
}

fn part_validator(what: &str, root: &Json, schema: &Json) -> Result<Validator, Refusal> {
    let refused = |error: jsonschema::ValidationError<'_>| {
        let cause = innermost(&error);
        Refusal::bad_descriptor(what, cause.instance_path().as_str(), cause.to_string())
    };
    jsonschema::draft202012::meta::validate(schema).map_err(refused)?;
    options().build(&compiled(root, schema)).map_err(refused)
}

/// Returns the error that tells most where none of several alternatives fits: the one at the deepest place.
fn innermost<'a, 'b>(error: &'a ValidationError<'b>) -> &'a ValidationError<'b> {
    let ValidationErrorKind::AnyOf { context } = error.kind() else { return error };
    let depth = |error: &&ValidationError<'_>| error.instance_path().as_str().len();
    context.iter().flatten().min_by_key(|error| Reverse(depth(error))).unwrap_or(error)
}

fn options() -> jsonschema::ValidationOptions<'static> {
    let checks = Arc::new(Checks::default());
    let formats = Arc::clone(&checks);
    jsonschema::draft202012::options()
        .with_keyword("pattern", move |beside, pattern, _| checks.pattern(beside, pattern))
        .with_keyword("format", move |beside, format, _| formats.format(beside, format))
        // Applies to the patterns of `patternProperties`, which are measured already. The validator keeps a cache for
        // each pattern and thread.
        .with_pattern_options(PatternOptions::regex().dfa_size_limit(MAX_CACHE_SIZE))
}

/// Checks a document against a schema. Returns at most 50 violations, none if the document fits.
///
/// Errors are collected only if the document does not fit. The validator's own walk collects them and does not stop at
/// the 50th: the schema's cost and the document's size bound its time.
#[must_use]
pub fn violations(validator: &Validator, document: &Json) -> Vec<Violation> {
    if let Some(violation) = too_large(document) {
        return vec![violation];
    }
    let mut found = Vec::new();
    if !validator.is_valid(document) {
        let errors = validator.iter_errors(document);
        found.extend(errors.flat_map(|error| violation::of(&error, MAX_VIOLATIONS)).take(MAX_VIOLATIONS));
    }
    inexact("", document, &mut found);
    found
}

/// Adds a violation for each integer that not every language keeps as it is, if there is none at its place.
fn inexact(path: &str, value: &Json, found: &mut Vec<Violation>) {
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                inexact(&format!("{path}/{index}"), item, found);
            }
        }
        Json::Object(members) => {
            for (name, member) in members {
                inexact(&format!("{path}/{}", escape(name)), member, found);
            }
        }
        Json::Number(number) => {
            #[expect(clippy::cast_precision_loss, reason = "a double has this integer")]
            let limit = MAX_INTEGER as f64;
            let is_exact = match number.as_i64() {
                Some(integer) => (-MAX_INTEGER..=MAX_INTEGER).contains(&integer),
                None => number.as_f64().is_some_and(|number| number.abs() <= limit),
            };
            if is_exact || found.len() >= MAX_VIOLATIONS || found.iter().any(|violation| violation.path == path) {
                return;
            }
            let is_negative = number.as_f64().is_some_and(f64::is_sign_negative);
            let (code, expected) =
                if is_negative { ("schema.minimum", -MAX_INTEGER) } else { ("schema.maximum", MAX_INTEGER) };
            let params = vec![("expected".to_owned(), expected.to_string())];
            found.push(Violation { params, ..Violation::new(path, code) });
        }
        _ => {}
    }
}

/// Returns the violation of a document that has more values or text than the measurement of schemas assumes.
fn too_large(document: &Json) -> Option<Violation> {
    let (values, text) = cost::extent(document);
    let over = |code: &str, limit: usize| Violation {
        params: vec![("expected".to_owned(), limit.to_string())],
        ..Violation::new("", code)
    };
    if values > MAX_VALUES {
        return Some(over("schema.maxValues", MAX_VALUES));
    }
    (text > MAX_DOCUMENT_TEXT).then(|| over("schema.maxText", MAX_DOCUMENT_TEXT))
}
