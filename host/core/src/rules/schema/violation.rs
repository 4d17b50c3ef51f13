//! Turns the errors of a validator into violations.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

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
    places.into_iter().map(|(path, params)| Violation { path, code: code.clone(), params }).collect()
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
        Kind::Enum { options } => words(options),
        Kind::Constant { expected_value } => words(expected_value),
        // `pattern` and `format` are custom keywords.
        Kind::Custom { message, .. } => message.clone(),
        Kind::Type { kind: TypeKind::Single(kind) } => kind.to_string(),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
        }
        _ => return None,
    })
}

/// Formats values for people. A long list is cut.
fn words(value: &Json) -> String {
    let mut text = String::new();
    list(value, &mut text);
    if text.len() > MAX_EXPECTED {
        let end = (0..=MAX_EXPECTED).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

fn list(value: &Json, text: &mut String) {
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if text.len() > MAX_EXPECTED {
                    return;
                }
                if index > 0 {
                    text.push_str(", ");
                }
                list(item, text);
            }
        }
        Json::String(item) => text.push_str(item),
        other => text.push_str(&other.to_string()),
    }
}
