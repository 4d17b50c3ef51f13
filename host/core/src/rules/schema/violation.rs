//! Turns the errors of a validator into violations.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

use super::places::scalar;
use crate::model::Violation;
use crate::model::json::escape;

/// Maximum length of a list of values in a violation, in bytes. A country's `enum` may have thousands.
const MAX_EXPECTED: usize = 1_000;

/// Returns one violation for each missing or unexpected member, at the member's own path and at most `limit`. Any other
/// error becomes one violation.
pub(super) fn of(error: &ValidationError<'_>, limit: usize) -> Vec<Violation> {
    let path = error.instance_path().as_str();
    let member = |name: &str| (format!("{path}/{}", escape(name)), vec![("property".to_owned(), name.to_owned())]);
    let places = match error.kind() {
        ValidationErrorKind::Required { property } => vec![member(property.as_str().unwrap_or_default())],
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().take(limit).map(|name| member(name)).collect()
        }
        kind => vec![(path.to_owned(), expected(kind).map(|text| ("expected".to_owned(), text)).into_iter().collect())],
    };
    let code = format!("schema.{}", error.kind().keyword());
    places.into_iter().map(|(path, params)| Violation { params, ..Violation::new(path, code.clone()) }).collect()
}

/// Returns the value that the schema expects instead.
fn expected(kind: &ValidationErrorKind) -> Option<String> {
    use ValidationErrorKind as Kind;
    Some(match kind {
        Kind::MaxItems { limit }
        | Kind::MaxLength { limit }
        | Kind::MaxProperties { limit }
        | Kind::MinItems { limit }
        | Kind::MinLength { limit }
        | Kind::MinProperties { limit } => limit.to_string(),
        Kind::Maximum { limit }
        | Kind::Minimum { limit }
        | Kind::ExclusiveMaximum { limit }
        | Kind::ExclusiveMinimum { limit } => limit.to_string(),
        Kind::MultipleOf { multiple_of } => multiple_of.to_string(),
        Kind::Enum { options } => words(options.as_array()?)?,
        Kind::Constant { expected_value } => scalar(expected_value)?,
        // `pattern` and `format` are custom keywords.
        Kind::Custom { message, .. } => message.clone(),
        Kind::Type { kind: TypeKind::Single(kind) } => kind.to_string(),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
        }
        _ => return None,
    })
}

/// Lists values for people; none if one of them is a list or an object. A long list is cut.
fn words(values: &[Json]) -> Option<String> {
    let mut text = String::new();
    for value in values.iter().filter(|value| !value.is_null()) {
        let separator = if text.is_empty() { "" } else { ", " };
        text.extend([separator, &scalar(value)?]);
        if text.len() > MAX_EXPECTED {
            break;
        }
    }
    if text.len() > MAX_EXPECTED {
        let end = (0..=MAX_EXPECTED).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    Some(text)
}
