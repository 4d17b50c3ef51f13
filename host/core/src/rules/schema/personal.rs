//! Finds the members of a document that a schema marks as personal.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::keywords::target;

/// Keyword that marks data that identifies a person.
const PERSONAL: &str = "x-personal";

/// Returns true if a schema marks the leaf at this JSON Pointer, or a value that contains it, as personal. A leaf that
/// the schema does not describe counts as personal, because nothing says that it may be shown.
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

/// Returns the names of the members that a schema describes, including those in conditions.
pub fn named_members(schema: &Json) -> impl Iterator<Item = &str> {
    let named = everywhere(schema, vec![schema]).into_iter().filter_map(|part| part["properties"].as_object());
    named.flat_map(|members| members.keys().map(String::as_str))
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
