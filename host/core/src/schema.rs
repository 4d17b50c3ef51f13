//! JSON Schema 2020-12: a country's schemas compiled, and what they say against a document as violations.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value as Json;

use crate::json::escape;
use crate::rules::{Refusal, Violation};

/// Most violations that one document is answered with.
const MOST_VIOLATIONS: usize = 50;

/// The largest schema, in members and items, with every reference followed. It bounds what judging a document can cost.
const LARGEST: usize = 10_000;

/// The deepest schema, with every reference followed.
const DEEPEST: usize = 64;

/// Marks what identifies a person.
const PERSONAL: &str = "x-personal";

/// The schema that a descriptor gives as text.
///
/// # Errors
/// When it is not JSON, not an object, refers to itself, or is too large.
pub fn document(what: &str, text: &str) -> Result<Json, Refusal> {
    let refused = |cause: &str| Refusal::bad_descriptor(what, "", cause);
    let schema: Json = serde_json::from_str(text).map_err(|cause| refused(&format!("it is not JSON: {cause}")))?;
    if !schema.is_object() {
        return Err(refused("a schema here is a JSON object"));
    }
    measure(&schema, &schema, 0, &mut 0).map_err(|cause| refused(&cause))?;
    Ok(schema)
}

/// Counts what a validator may have to walk. A schema that refers to itself has no end, which is how it is found.
fn measure(root: &Json, part: &Json, depth: usize, size: &mut usize) -> Result<(), String> {
    *size += 1;
    if *size > LARGEST || depth > DEEPEST {
        return Err(format!(
            "it refers to itself, or is larger than {LARGEST} members or {DEEPEST} levels; a booking needs neither"
        ));
    }
    match part {
        Json::Array(items) => items.iter().try_for_each(|item| measure(root, item, depth + 1, size)),
        Json::Object(members) => {
            if members.contains_key("$dynamicRef") {
                return Err("`$dynamicRef` is not supported here; use `$ref`".into());
            }
            if let Some(reference) = members.get("$ref").and_then(Json::as_str) {
                let within = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                let Some(target) = within else {
                    return Err(format!(
                        "`$ref` is a JSON Pointer within the schema, `#/…`; `{reference}` leads nowhere"
                    ));
                };
                measure(root, target, depth + 1, size)?;
            }
            members.values().try_for_each(|member| measure(root, member, depth + 1, size))
        }
        _ => Ok(()),
    }
}

/// A schema, ready to judge.
///
/// # Errors
/// When it is no valid JSON Schema 2020-12.
pub fn validator(what: &str, schema: &Json) -> Result<Validator, Refusal> {
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        // Without look-around and back-references a pattern takes time in proportion to the text.
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| Refusal::bad_descriptor(what, error.instance_path().as_str(), error.to_string()))
}

/// What a schema says against a document; nothing when it fits.
#[must_use]
pub fn violations(validator: &Validator, document: &Json) -> Vec<Violation> {
    validator.iter_errors(document).flat_map(|error| of(&error)).take(MOST_VIOLATIONS).collect()
}

/// Whether a schema marks the leaf at this JSON Pointer, or what it stands in, as personal. A leaf of which it says
/// nothing counts as such: nobody has said that it may be shown.
#[must_use]
pub fn is_personal(schema: &Json, pointer: &str) -> bool {
    let marked = |parts: &[&Json]| parts.iter().any(|part| part[PERSONAL] == true);
    let mut reached = everywhere(schema, vec![schema]);
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        if marked(&reached) {
            return true;
        }
        let below = reached.into_iter().flat_map(|part| [part["properties"].get(&name), part.get("items")]);
        reached = everywhere(schema, below.flatten().collect());
    }
    // An array of texts is one leaf.
    let items = everywhere(schema, reached.iter().filter_map(|part| part.get("items")).collect());
    reached.is_empty() || marked(&reached) || marked(&items)
}

/// These parts of a schema, and those that speak of the same value.
fn everywhere<'a>(root: &'a Json, mut parts: Vec<&'a Json>) -> Vec<&'a Json> {
    let mut next = 0;
    // No schema refers to itself, so there is an end.
    while let Some(part) = parts.get(next).copied() {
        next += 1;
        let reference = part["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
        let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|name| part[name].as_array()).flatten();
        let single = ["if", "then", "else"].into_iter().filter_map(|name| part.get(name));
        parts.extend(reference.into_iter().chain(lists).chain(single));
    }
    parts
}

/// One violation for each member that is missing or too much, at its own place; else one for the error.
fn of(error: &ValidationError<'_>) -> Vec<Violation> {
    let path = error.instance_path().as_str();
    let member = |name: &str| (format!("{path}/{}", escape(name)), vec![("property".to_owned(), name.to_owned())]);
    let places = match error.kind() {
        ValidationErrorKind::Required { property } => vec![member(property.as_str().unwrap_or_default())],
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| member(name)).collect()
        }
        kind => vec![(path.to_owned(), expected(kind).map(|text| ("expected".to_owned(), text)).into_iter().collect())],
    };
    let code = format!("schema.{}", error.kind().keyword());
    places.into_iter().map(|(path, params)| Violation { path, code: code.clone(), params }).collect()
}

/// What the schema wants instead.
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
        Kind::Pattern { pattern } => pattern.clone(),
        Kind::Format { format } => format.clone(),
        Kind::Type { kind: TypeKind::Single(kind) } => kind.to_string(),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
        }
        _ => return None,
    })
}

fn words(value: &Json) -> String {
    match value {
        Json::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(schema: &Json, document: &Json) -> Vec<(String, String)> {
        let found = violations(&validator("schema", schema).unwrap(), document);
        found.into_iter().map(|violation| (violation.path, violation.code)).collect()
    }

    #[test]
    fn a_missing_member_and_one_too_many_are_named_where_they_stand() {
        let schema = json!({ "type": "object", "required": ["dni"], "properties": { "dni": { "maxLength": 2 } },
            "additionalProperties": false });
        let found = told(&schema, &json!({ "a/b": 1, "c": 2 }));
        let expected = [
            ("/a~1b", "schema.additionalProperties"),
            ("/c", "schema.additionalProperties"),
            ("/dni", "schema.required"),
        ];
        let mut found: Vec<(&str, &str)> = found.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(told(&schema, &json!({ "dni": "123" })), [("/dni".to_owned(), "schema.maxLength".to_owned())]);
    }

    #[test]
    fn a_schema_without_end_is_refused() {
        let twice = json!({ "$ref": "#/$defs/a" });
        let endless = [
            json!({ "anyOf": [{ "properties": { "a": { "$ref": "#" } } }] }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": twice } }),
            json!({ "$ref": "#elsewhere" }),
            json!({ "$ref": "https://example.com/schema" }),
            json!({ "$dynamicRef": "#a" }),
            json!({ "$ref": "#/$defs/a", "$defs": {
                "a": { "allOf": vec![json!({ "$ref": "#/$defs/b" }); 200] },
                "b": { "allOf": vec![json!({ "$ref": "#/$defs/c" }); 200] },
                "c": {},
            } }),
        ];
        for schema in endless {
            assert!(document("request-schema", &schema.to_string()).is_err(), "{schema}");
        }
        let shared = json!({ "properties": { "a": { "$ref": "#/$defs/a" }, "b": { "$ref": "#/$defs/a" } },
            "$defs": { "a": { "type": "string" } } });
        assert!(document("request-schema", &shared.to_string()).is_ok());
    }

    #[test]
    fn what_is_marked_or_not_described_is_personal() {
        let schema = json!({
            "properties": { "day": {}, "dni": { "x-personal": true }, "who": { "$ref": "#/$defs/who" },
                "people": { "items": { "properties": { "name": { "x-personal": true }, "age": {} } } },
                "names": { "items": { "x-personal": true } }, "days": { "items": {} } },
            "allOf": [{ "if": { "required": ["a/b"] }, "then": { "properties": { "a/b": { "x-personal": true } } } }],
            "$defs": { "who": { "x-personal": true, "properties": { "given": {} } } },
        });
        for personal in ["/dni", "/who/given", "/people/0/name", "/names", "/a~1b", "/other", "/day/other"] {
            assert!(is_personal(&schema, personal), "{personal}");
        }
        for shown in ["/day", "/days", "/people/0/age"] {
            assert!(!is_personal(&schema, shown), "{shown}");
        }
    }

    #[test]
    fn a_schema_that_is_none_is_refused_with_its_place() {
        let refused = validator("request-schema", &json!({ "properties": { "a": { "type": "texto" } } })).unwrap_err();
        assert!(refused.to_string().contains("/properties/a/type"), "{refused}");
    }
}
