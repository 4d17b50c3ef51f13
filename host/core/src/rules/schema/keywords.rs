//! Lists the keywords of JSON Schema 2020-12 that count here, and the shapes in which they hold schemas. Everything
//! else in a schema is data or annotation: a `$ref` within `const` or `examples` is not a reference.

use serde_json::{Map, Value as Json};

/// Keyword of the country's own keys by which appointments are found: a schema for each filter of a list.
pub(super) const FILTERS: &str = "x-filters";

/// Shape in which a keyword holds schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The value is a schema.
    One,
    /// The value is a list of schemas.
    List,
    /// The value is an object of schemas by name.
    Named,
}

/// Returns the shape in which a keyword holds schemas; none if it holds data.
pub(super) fn holds(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "additionalProperties" | "contains" | "else" | "if" | "items" | "not" | "propertyNames" | "then" => Holds::One,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::List,
        "$defs" | "dependentSchemas" | "patternProperties" | "properties" | FILTERS => Holds::Named,
        _ => return None,
    })
}

/// Returns true if documents are checked against this keyword and it holds no schemas.
fn is_assertion(keyword: &str) -> bool {
    matches!(
        keyword,
        "const"
            | "dependentRequired"
            | "enum"
            | "exclusiveMaximum"
            | "exclusiveMinimum"
            | "format"
            | "maxContains"
            | "maxItems"
            | "maxLength"
            | "maxProperties"
            | "maximum"
            | "minContains"
            | "minItems"
            | "minLength"
            | "minProperties"
            | "minimum"
            | "multipleOf"
            | "pattern"
            | "required"
            | "type"
            | "uniqueItems"
    )
}

/// Returns true if a keyword affects which documents fit.
pub(crate) fn counts(keyword: &str) -> bool {
    keyword == "$ref" || holds(keyword).is_some() || is_assertion(keyword)
}

/// Returns the reason why a schema must not have this keyword; none if it may. The refused keywords would make the
/// validator resolve references differently from [`target`], or evaluate subschemas again at every level.
pub(super) fn refused(keyword: &str, at_root: bool) -> Option<String> {
    let instead = match keyword {
        "$comment" | "$defs" | "$ref" => return None,
        "$id" | "$schema" if at_root => return None,
        "$id" | "$schema" => "it stands at the root alone",
        "definitions" => "use `$defs`",
        "dependencies" => "use `dependentRequired` or `dependentSchemas`",
        "additionalItems" => "use `items` beside `prefixItems`",
        "unevaluatedItems" => "use `items`",
        "unevaluatedProperties" => "use `additionalProperties`",
        _ if keyword.starts_with('$') => "use `$ref` with a JSON Pointer such as `#/$defs/name`",
        _ => return None,
    };
    Some(format!("`{keyword}` is not supported here; {instead}"))
}

/// Returns the target of a reference; none if it is not a schema within `root`. A reference with escapes (`~`, `%`) has
/// no target, because resolvers differ in reading them.
pub fn target<'a>(root: &'a Json, reference: &str) -> Option<&'a Json> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(root);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/$._-".contains(&byte);
    let mut tokens = pointer.strip_prefix('/').filter(|_| pointer.bytes().all(plain))?.split('/');
    let mut schema = root;
    while let Some(keyword) = tokens.next() {
        let value = schema.as_object()?.get(keyword)?;
        schema = match holds(keyword)? {
            Holds::One => value,
            Holds::List => {
                let token = tokens.next()?;
                let index: usize = token.parse().ok()?;
                value.as_array()?.get(index).filter(|_| index.to_string() == token)?
            }
            Holds::Named => value.as_object()?.get(tokens.next()?)?,
        };
    }
    Some(schema)
}

/// Returns a keyword's value after `change` is applied to each schema in it. Other values are returned unchanged.
pub fn map_subschemas<'a>(keyword: &str, value: &'a Json, mut change: impl FnMut(&'a Json) -> Json) -> Json {
    match (holds(keyword), value) {
        (Some(Holds::One), schema) => change(schema),
        (Some(Holds::List), Json::Array(schemas)) => schemas.iter().map(change).collect(),
        (Some(Holds::Named), Json::Object(schemas)) => {
            schemas.iter().map(|(name, schema)| (name.clone(), change(schema))).collect::<Map<_, _>>().into()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reference_leads_to_a_schema_and_to_nothing_else() {
        let root = json!({ "$defs": { "a": { "anyOf": [{ "title": "x" }] }, "0": true }, "const": { "not": {} },
            "examples": [{}], "properties": { "examples": { "items": {} }, "a~b": {}, "a%62": {} } });
        for (reference, leads) in [
            ("#", true),
            ("#/$defs/a", true),
            ("#/$defs/0", true),
            ("#/$defs/a/anyOf/0", true),
            ("#/properties/examples/items", true),
            ("#/$defs/a/anyOf/00", false),
            ("#/$defs/a/anyOf/+0", false),
            ("#/$defs/a/anyOf", false),
            ("#/$defs", false),
            ("#/const/not", false),
            ("#/examples/0", false),
            ("#/%24defs/a", false),
            ("#/properties/a~0b", false),
            ("#/properties/a%62", false),
            ("#a", false),
            ("#/", false),
            ("/$defs/a", false),
            ("", false),
        ] {
            assert_eq!(target(&root, reference).is_some(), leads, "{reference}");
        }
    }
}
