//! Finds the parts of a schema that describe a place in a document, and reads their annotations.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json};

use super::keywords::{FILTERS, target};
use crate::model::Violation;

/// Keyword that marks data that identifies a person.
const PERSONAL: &str = "x-personal";

/// Keyword that marks what may be asked of free slots.
const PLACE: &str = "x-place";

/// Token of a place that stands for every item of a list, and for every member that has no name in the schema.
pub(crate) const ANY: &str = "*";

/// Returns true if a schema marks the leaf at this JSON Pointer, or a value that contains it, as personal. A leaf that
/// the schema does not describe counts as personal, because nothing says that it may be shown.
pub fn is_personal(schema: &Json, pointer: &str) -> bool {
    described(schema, pointer).last().is_none_or(Vec::is_empty) || is_marked_personal(schema, pointer)
}

/// Returns true if a schema marks the leaf at this JSON Pointer, or a value that contains it, as personal.
pub(crate) fn is_marked_personal(schema: &Json, pointer: &str) -> bool {
    let marked = |parts: &Vec<&Json>| parts.iter().any(|part| part[PERSONAL] == true);
    let levels = described(schema, pointer);
    let last = levels.last().cloned().unwrap_or_default();
    // An array of texts is one leaf.
    let items = everywhere(schema, last.iter().filter_map(|part| part.get("items")).collect());
    levels.iter().any(marked) || marked(&items)
}

/// Returns the parts of a schema on the path to a leaf, through `properties` and `items` only.
fn described<'a>(schema: &'a Json, pointer: &str) -> Vec<Vec<&'a Json>> {
    levels(schema, pointer, |part, name| part["properties"].get(name).into_iter().chain(part.get("items")).collect())
}

/// Returns the names of the members that a schema describes, including those in conditions.
pub fn named_members(schema: &Json) -> impl Iterator<Item = &str> {
    let named = everywhere(schema, vec![schema]).into_iter().filter_map(|part| part["properties"].as_object());
    named.flat_map(|members| members.keys().map(String::as_str))
}

/// Returns the members of a document that a search for free slots may have, each with the part that marks it.
pub(crate) fn place_members(schema: &Json) -> BTreeMap<&str, &Json> {
    let described = everywhere(schema, vec![schema]).into_iter().filter_map(|part| part["properties"].as_object());
    let marked = |member| everywhere(schema, vec![member]).into_iter().find(|part| part[PLACE] == true);
    described.flatten().filter_map(|(name, member)| Some((name.as_str(), marked(member)?))).collect()
}

/// Adds the title and the first example of the violated place to the params of a schema's violation. A place without a
/// title has that of the list that it is in, or its member's name. The whole document, and a member that the schema does
/// not know, has neither.
pub(crate) fn labelled(schema: &Json, mut violation: Violation) -> Violation {
    let tokens = tokens(&violation.path);
    let Some(name) = tokens.iter().rev().find(|token| !is_index(token)) else { return violation };
    if violation.code == "schema.additionalProperties" {
        return violation;
    }
    let levels = levels(schema, &violation.path, children);
    let title = |parts: &Vec<&Json>| parts.iter().find_map(|part| part["title"].as_str()).map(str::to_owned);
    let indices = tokens.iter().rev().take_while(|token| is_index(token)).count();
    let title = levels.iter().rev().take(indices + 1).find_map(title).unwrap_or_else(|| name.clone());
    let example = levels.last().into_iter().flatten().find_map(|part| scalar(part["examples"].get(0)?));
    violation.params.push(("title".to_owned(), title));
    violation.params.extend(example.map(|example| ("example".to_owned(), example)));
    violation
}

/// Returns the examples of an appointment schema for a filter.
pub(crate) fn example_keys(schema: &Json, filter: &str) -> Vec<String> {
    let parts = everywhere(schema, schema[FILTERS].get(filter).into_iter().collect());
    parts.iter().filter_map(|part| part["examples"].as_array()).flatten().filter_map(scalar).collect()
}

/// Returns true if a document can violate this keyword of the schema at this place, whose tokens may be [`ANY`].
pub(crate) fn may_violate(schema: &Json, keyword: &str, place: &str) -> bool {
    let at = |place: &str| levels(schema, place, children).pop().unwrap_or_default();
    let has = |parts: &[&Json], keywords: &[&str]| {
        parts.iter().any(|part| keywords.iter().any(|keyword| part.get(keyword).is_some()))
    };
    let (parent, member) = place.rsplit_once('/').unwrap_or_default();
    let member = unescape(member);
    match keyword {
        "required" => at(parent).iter().any(|part| requires(part, &member)),
        "additionalProperties" => has(&at(parent), &["additionalProperties"]),
        // The host bounds texts with a pattern or a format.
        "maxLength" => has(&at(place), &["maxLength", "pattern", "format"]),
        "falseSchema" => at(place).contains(&&Json::Bool(false)),
        "maxValues" | "maxText" => place.is_empty(),
        _ => has(&at(place), &[keyword]),
    }
}

fn requires(part: &Json, member: &str) -> bool {
    let dependent = part["dependentRequired"].as_object().into_iter().flat_map(Map::values);
    let mut lists = dependent.chain(part.get("required")).filter_map(Json::as_array);
    lists.any(|names| names.iter().any(|name| name == member))
}

/// Returns the parts that describe the value with this name, or at this index, below a part.
fn children<'a>(part: &'a Json, name: &str) -> Vec<&'a Json> {
    if let Some(member) = part["properties"].get(name) {
        return vec![member];
    }
    if name == ANY || is_index(name) {
        let first: Vec<&Json> = part["prefixItems"].as_array().into_iter().flatten().collect();
        match name.parse::<usize>().ok().and_then(|index| first.get(index)) {
            Some(item) => return vec![item],
            None if name == ANY => return first.into_iter().chain(part.get("items")).chain(unnamed(part)).collect(),
            None => return part.get("items").into_iter().chain(unnamed(part)).collect(),
        }
    }
    unnamed(part).collect()
}

/// Returns the parts that describe members without a name in the schema.
fn unnamed(part: &Json) -> impl Iterator<Item = &Json> {
    part["patternProperties"].as_object().into_iter().flat_map(Map::values).chain(part.get("additionalProperties"))
}

/// Returns the parts that describe the document, and those that describe each value on the way to a place.
fn levels<'a>(root: &'a Json, pointer: &str, below: impl Fn(&'a Json, &str) -> Vec<&'a Json>) -> Vec<Vec<&'a Json>> {
    let mut levels = vec![everywhere(root, vec![root])];
    for name in tokens(pointer) {
        let above = levels.last().into_iter().flatten();
        let reached = above.flat_map(|part| below(part, &name)).collect();
        levels.push(everywhere(root, reached));
    }
    levels
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(unescape).collect()
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn is_index(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a value as people write it; none for a list, an object or null.
pub(super) fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Returns these parts of a schema and all parts that describe the same value. Each part is returned once, because many
/// references may lead to the same part.
fn everywhere<'a>(root: &'a Json, parts: Vec<&'a Json>) -> Vec<&'a Json> {
    let mut seen = HashSet::new();
    let mut left = parts;
    let mut found = Vec::new();
    while let Some(part) = left.pop() {
        if !seen.insert(std::ptr::from_ref(part)) {
            continue;
        }
        found.push(part);
        let reference = part["$ref"].as_str().and_then(|reference| target(root, reference));
        let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|name| part[name].as_array()).flatten();
        let single = ["if", "then", "else"].into_iter().filter_map(|name| part.get(name));
        left.extend(reference.into_iter().chain(lists).chain(single));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Json {
        json!({
            "title": "A request", "required": ["dni"], "additionalProperties": false,
            "properties": {
                "dni": { "title": "DNI", "pattern": "^[0-9]{8}$", "examples": ["10117410"] },
                "phones": { "title": "Phones", "items": { "pattern": "^9", "examples": [{ "no": 1 }] } },
                "people": { "items": { "$ref": "#/$defs/person" } },
                "pair": { "prefixItems": [{ "type": "string" }, { "type": "integer" }], "items": false },
                "notes": { "additionalProperties": { "maxLength": 5 } },
                "a/b": { "format": "email" },
            },
            "$defs": { "person": { "required": ["name"], "properties": { "name": { "title": "Name", "minLength": 1 } } } },
        })
    }

    #[test]
    fn a_violation_has_the_title_and_an_example_of_its_place() {
        let labels = |path: &str, code: &str| {
            let violation = Violation::new(path, code);
            let params = labelled(&schema(), violation).params;
            params.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels("/dni", "schema.required"), "title=DNI example=10117410");
        assert_eq!(labels("/phones/3", "schema.pattern"), "title=Phones", "an example that is an object is none");
        assert_eq!(labels("/people/0/name", "schema.minLength"), "title=Name");
        assert_eq!(labels("/people/0", "schema.type"), "title=people");
        assert_eq!(labels("/a~1b", "schema.format"), "title=a/b");
        assert_eq!(labels("", "schema.type"), "");
        assert_eq!(labels("/other", "schema.additionalProperties"), "");
    }

    #[test]
    fn a_keyword_is_looked_for_where_it_is_violated() {
        for (keyword, place) in [
            ("required", "/dni"),
            ("pattern", "/dni"),
            ("maxLength", "/dni"),
            ("additionalProperties", "/foo"),
            ("pattern", "/phones/*"),
            ("pattern", "/phones/0"),
            ("required", "/people/*/name"),
            ("minLength", "/people/0/name"),
            ("type", "/pair/1"),
            ("type", "/pair/*"),
            ("falseSchema", "/pair/2"),
            ("maxLength", "/notes/*"),
            ("format", "/a~1b"),
            ("maxText", ""),
        ] {
            assert!(may_violate(&schema(), keyword, place), "{keyword} {place}");
        }
        for (keyword, place) in [
            ("required", "/phones"),
            ("pattern", "/dnii"),
            ("patern", "/dni"),
            ("format", "/dni"),
            ("additionalProperties", "/dni/foo"),
            ("pattern", "/phones"),
            ("maxText", "/dni"),
        ] {
            assert!(!may_violate(&schema(), keyword, place), "{keyword} {place}");
        }
    }
}
