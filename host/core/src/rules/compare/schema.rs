//! Compares two JSON Schemas, member by member. A stricter schema breaks those who write the documents, and a looser
//! one breaks those who read them. Any change of a keyword that cannot be ranked, such as a pattern, counts as both.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::difference::Difference;
use crate::model::json::escape;
use crate::rules::schema::{counts, map_subschemas, target};

type Members = Map<String, Json>;

/// Reader of the documents of a schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The rules read the documents, and clients write them.
    Rules,
    /// Clients read the documents.
    Clients,
}

/// Keywords that do not affect which documents are valid.
const ANNOTATIONS: [&str; 17] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "$vocabulary",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    "x-alternatives",
    "x-calendar",
    "x-filters",
    "x-personal",
];

/// Keywords whose content is compared.
const WALKED: [&str; 6] = ["additionalProperties", "const", "enum", "items", "properties", "required"];

/// Keywords that decide which members exist, and of which type. Other keywords that describe a value to a reader (a
/// format, a length) may change without breaking the reader.
const SHAPE: [&str; 14] = [
    "allOf",
    "anyOf",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Set of documents that a schema allows, compared with the schema before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lets {
    Less,
    More,
    Other,
}

/// Returns the changes of `what` that clients notice.
pub(super) fn compare(what: &str, reader: Reader, before: &Json, now: &Json) -> Vec<Difference> {
    let [old, new] = [before, now].map(|schema| expanded(schema, schema));
    let mut comparison = Comparison { what, reader, changes: Vec::new() };
    comparison.walk("", &old, &new);
    comparison.changes
}

struct Comparison<'a> {
    what: &'a str,
    reader: Reader,
    changes: Vec<Difference>,
}

impl Comparison<'_> {
    fn walk(&mut self, path: &str, old: &Json, new: &Json) {
        let [old, new] = [old, new].map(members_of);
        self.values(path, &old, &new);
        self.keywords(path, &old, &new);
        self.properties(path, &old, &new);
        self.unnamed(path, &old, &new);
        if old.contains_key("items") || new.contains_key("items") {
            self.walk(&format!("{path}/*"), part(&old, "items"), part(&new, "items"));
        }
    }

    fn note(&mut self, path: &str, breaking: bool, words: &str) {
        let place = if path.is_empty() { "the whole" } else { &format!("`{path}`") };
        self.changes.push(Difference::new(breaking, format!("{}: {place} {words}", self.what)));
    }

    /// Compares the values that `enum` or `const` allow.
    fn values(&mut self, path: &str, old: &Members, new: &Members) {
        let (before, now) = (allowed(old), allowed(new));
        let gone = |values: &BTreeSet<String>, others: &BTreeSet<String>| {
            values.difference(others).cloned().collect::<Vec<_>>().join(", ")
        };
        let writes = self.reader == Reader::Rules;
        match (before, now) {
            (None, Some(now)) => {
                let listed = now.into_iter().collect::<Vec<_>>().join(", ");
                self.note(path, writes, &format!("is one of {listed} now"));
            }
            (Some(_), None) => self.note(path, false, "is no longer one of a few values"),
            (Some(before), Some(now)) => {
                let (gone, new) = (gone(&before, &now), gone(&now, &before));
                if !gone.is_empty() {
                    self.note(path, writes, &format!("is no longer {gone}"));
                }
                if !new.is_empty() {
                    self.note(path, false, &format!("may be {new} too"));
                }
            }
            (None, None) => {}
        }
    }

    /// Compares every keyword that is neither an annotation nor in `WALKED`.
    fn keywords(&mut self, path: &str, old: &Members, new: &Members) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            if ANNOTATIONS.contains(&name.as_str()) || WALKED.contains(&name.as_str()) {
                continue;
            }
            let (before, now) = (old.get(name), new.get(name));
            let Some(lets) = weigh(name, before, now) else { continue };
            let breaking = match self.reader {
                Reader::Rules => lets != Lets::More,
                Reader::Clients => lets != Lets::Less && SHAPE.contains(&name.as_str()),
            };
            self.note(path, breaking, &in_words(name, before, now));
        }
    }

    fn properties(&mut self, path: &str, old: &Members, new: &Members) {
        let (before, now) = (named(old), named(new));
        let (needed, needs) = (required(old), required(new));
        let names: BTreeSet<&str> = before.keys().chain(now.keys()).map(String::as_str).collect();
        for name in names.iter().copied().chain(needs.union(&needed).copied().filter(|name| !names.contains(name))) {
            let at = format!("{path}/{}", escape(name));
            match (before.get(name), now.get(name)) {
                (None, Some(_)) => self.added(&at, needs.contains(name)),
                (Some(_), None) => self.removed(&at, new),
                (before, now) => {
                    self.requirement(&at, needed.contains(name), needs.contains(name));
                    self.walk(&at, before.unwrap_or(&Json::Bool(true)), now.unwrap_or(&Json::Bool(true)));
                }
            }
        }
    }

    fn added(&mut self, at: &str, required: bool) {
        match (self.reader, required) {
            (Reader::Rules, true) => self.note(at, true, "is new and required"),
            (Reader::Rules, false) => self.note(at, false, "is new, and may be left out"),
            (Reader::Clients, _) => self.note(at, false, "is new"),
        }
    }

    fn removed(&mut self, at: &str, new: &Members) {
        match self.reader {
            Reader::Clients => self.note(at, true, "is gone"),
            Reader::Rules if is_open(new) => self.note(at, false, "is gone; who sends it is not refused"),
            Reader::Rules => self.note(at, true, "is gone; who sends it is refused"),
        }
    }

    fn requirement(&mut self, at: &str, before: bool, now: bool) {
        match (self.reader, before, now) {
            (Reader::Rules, false, true) => self.note(at, true, "is required now"),
            (Reader::Rules, true, false) => self.note(at, false, "may be left out now"),
            (Reader::Clients, false, true) => self.note(at, false, "is always there now"),
            (Reader::Clients, true, false) => self.note(at, true, "may be missing now"),
            _ => {}
        }
    }

    /// Compares the treatment of members that the schema does not name.
    fn unnamed(&mut self, path: &str, old: &Members, new: &Members) {
        let writes = self.reader == Reader::Rules;
        match (is_open(old), is_open(new)) {
            (true, false) => self.note(path, writes, "takes no members but those of the schema now"),
            (false, true) => self.note(path, false, "takes members that the schema does not name"),
            (true, true) if [old, new].iter().any(|schema| schema.contains_key("additionalProperties")) => {
                self.walk(&format!("{path}/*"), part(old, "additionalProperties"), part(new, "additionalProperties"));
            }
            _ => {}
        }
    }
}

/// Returns the parts of a schema that affect which documents are valid, with every reference resolved.
/// [`crate::rules::schema::Budget::document`] has checked that this ends and stays within its bound. Keywords beside a
/// reference count too.
fn expanded(root: &Json, schema: &Json) -> Json {
    let Json::Object(members) = schema else { return schema.clone() };
    let mut own: Members = members
        .iter()
        .filter(|(name, _)| counts(name) && !["$defs", "$ref"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), map_subschemas(name, value, |schema| expanded(root, schema))))
        .collect();
    let target = members.get("$ref").and_then(Json::as_str).and_then(|reference| target(root, reference));
    let Some(target) = target.map(|target| expanded(root, target)) else { return own.into() };
    if own.is_empty() {
        return target;
    }
    let mut all: Vec<Json> = own.get("allOf").and_then(Json::as_array).cloned().unwrap_or_default();
    all.push(target);
    own.insert("allOf".into(), all.into());
    own.into()
}

/// Returns the members of a schema. `true` allows every document, `false` none.
fn members_of(schema: &Json) -> Members {
    match schema {
        Json::Object(members) => members.clone(),
        Json::Bool(false) => Map::from_iter([("not".to_owned(), Json::Bool(true))]),
        _ => Map::new(),
    }
}

fn part<'a>(schema: &'a Members, keyword: &str) -> &'a Json {
    schema.get(keyword).unwrap_or(&Json::Bool(true))
}

fn named(schema: &Members) -> Members {
    schema.get("properties").and_then(Json::as_object).cloned().unwrap_or_default()
}

fn required(schema: &Members) -> BTreeSet<&str> {
    schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

fn is_open(schema: &Members) -> bool {
    schema.get("additionalProperties") != Some(&Json::Bool(false))
}

fn allowed(schema: &Members) -> Option<BTreeSet<String>> {
    if let Some(value) = schema.get("const") {
        return Some(BTreeSet::from([value.to_string()]));
    }
    Some(schema.get("enum")?.as_array()?.iter().map(Json::to_string).collect())
}

/// Compares the documents that two values of a keyword allow; `None` if the values are equal.
fn weigh(keyword: &str, before: Option<&Json>, now: Option<&Json>) -> Option<Lets> {
    let [old, new] = [before, now].map(|value| value.map(bare));
    if old == new {
        return None;
    }
    let (Some(old), Some(new)) = (old, new) else {
        return Some(if now.is_some() { Lets::Less } else { Lets::More });
    };
    Some(match keyword {
        "type" => weigh_types(&old, &new),
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" | "minContains" => {
            weigh_bound(&new, &old)
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" | "maxContains" => {
            weigh_bound(&old, &new)
        }
        _ => Lets::Other,
    })
}

/// Returns [`Lets::More`] if the second bound is larger, [`Lets::Less`] otherwise.
fn weigh_bound(first: &Json, second: &Json) -> Lets {
    match (first.as_f64(), second.as_f64()) {
        (Some(first), Some(second)) if first < second => Lets::More,
        _ => Lets::Less,
    }
}

fn weigh_types(old: &Json, new: &Json) -> Lets {
    let (old, new) = (types(old), types(new));
    let within = |few: &BTreeSet<String>, many: &BTreeSet<String>| {
        few.iter().all(|kind| many.contains(kind) || (kind == "integer" && many.contains("number")))
    };
    if within(&old, &new) {
        Lets::More
    } else if within(&new, &old) {
        Lets::Less
    } else {
        Lets::Other
    }
}

fn types(value: &Json) -> BTreeSet<String> {
    match value {
        Json::Array(kinds) => kinds.iter().map(word).collect(),
        kind => BTreeSet::from([word(kind)]),
    }
}

/// Returns a keyword's value without annotations, which only people read.
fn bare(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(bare).collect(),
        Json::Object(members) => {
            let counts = |(name, value): &(&String, &Json)| {
                !(ANNOTATIONS.contains(&name.as_str()) && !value.is_object() || *name == "$defs")
            };
            members.iter().filter(counts).map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        other => other.clone(),
    }
}

fn in_words(keyword: &str, before: Option<&Json>, now: Option<&Json>) -> String {
    if keyword != "type" && [before, now].into_iter().flatten().any(|value| value.is_object() || value.is_array()) {
        return match (before, now) {
            (None, _) => format!("has a condition (`{keyword}`) now"),
            (_, None) => format!("has no condition (`{keyword}`) any more"),
            _ => format!("has another condition (`{keyword}`)"),
        };
    }
    match (before, now) {
        (None, Some(now)) => format!("has the {keyword} {} now", word(now)),
        (Some(before), Some(now)) => format!("has the {keyword} {}; it was {}", word(now), word(before)),
        (before, _) => format!("has no {keyword} any more; it was {}", before.map(word).unwrap_or_default()),
    }
}

fn word(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(" or "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(before: &Json, now: &Json) -> Vec<(String, bool)> {
        differences(Reader::Rules, before, now)
    }

    fn differences(reader: Reader, before: &Json, now: &Json) -> Vec<(String, bool)> {
        let changes = compare("it", reader, before, now);
        changes.into_iter().map(|change| (change.words, change.breaking)).collect()
    }

    /// Returns the schema of an object with one member.
    fn of(member: &Json) -> Json {
        json!({ "type": "object", "additionalProperties": false, "properties": { "a": member } })
    }

    fn one(words: &str, breaking: bool) -> Vec<(String, bool)> {
        vec![(format!("it: {words}"), breaking)]
    }

    #[test]
    fn a_new_member_breaks_clients_only_when_it_is_required() {
        let before = of(&json!({}));
        let now = json!({ "type": "object", "additionalProperties": false, "properties": { "a": {}, "b/c": {} } });
        assert_eq!(request(&before, &now), one("`/b~1c` is new, and may be left out", false));
        let mut required = now.clone();
        required["required"] = json!(["b/c"]);
        assert_eq!(request(&before, &required), one("`/b~1c` is new and required", true));
        assert_eq!(request(&now, &required), one("`/b~1c` is required now", true));
        assert_eq!(request(&required, &now), one("`/b~1c` may be left out now", false));
        assert_eq!(differences(Reader::Clients, &before, &required), one("`/b~1c` is new", false));
        assert_eq!(differences(Reader::Clients, &required, &now), one("`/b~1c` may be missing now", true));
    }

    #[test]
    fn a_member_that_is_gone_breaks_where_unknown_members_are_refused_and_where_clients_read_it() {
        let (before, now) = (json!({ "properties": { "a": {} } }), json!({}));
        assert_eq!(request(&before, &now), one("`/a` is gone; who sends it is not refused", false));
        assert_eq!(differences(Reader::Clients, &before, &now), one("`/a` is gone", true));
        let closed = json!({ "additionalProperties": false });
        let closing = json!({ "properties": { "a": {} }, "additionalProperties": false });
        assert_eq!(request(&closing, &closed), one("`/a` is gone; who sends it is refused", true));
        assert_eq!(request(&before, &closing), one("the whole takes no members but those of the schema now", true));
    }

    #[test]
    fn a_narrower_member_breaks_who_writes_it_and_a_wider_one_does_not() {
        for (before, now, words, breaking) in [
            (json!({ "type": "string" }), json!({ "type": "integer" }), "has the type integer; it was string", true),
            (json!({ "type": "number" }), json!({ "type": "integer" }), "has the type integer; it was number", true),
            (json!({ "type": "integer" }), json!({ "type": "number" }), "has the type number; it was integer", false),
            (json!({}), json!({ "pattern": "^a" }), "has the pattern ^a now", true),
            (json!({ "pattern": "^a" }), json!({ "pattern": "^b" }), "has the pattern ^b; it was ^a", true),
            (json!({ "pattern": "^a" }), json!({}), "has no pattern any more; it was ^a", false),
            (json!({ "format": "date" }), json!({ "format": "time" }), "has the format time; it was date", true),
            (json!({ "maxLength": 5 }), json!({ "maxLength": 4 }), "has the maxLength 4; it was 5", true),
            (json!({ "maxLength": 5 }), json!({ "maxLength": 6 }), "has the maxLength 6; it was 5", false),
            (json!({ "minimum": 5 }), json!({ "minimum": 6 }), "has the minimum 6; it was 5", true),
            (json!({ "minimum": 5 }), json!({ "minimum": 4.5 }), "has the minimum 4.5; it was 5", false),
            (json!({ "enum": ["x", "y"] }), json!({ "enum": ["x"] }), r#"is no longer "y""#, true),
            (json!({ "enum": ["x"] }), json!({ "enum": ["x", "y"] }), r#"may be "y" too"#, false),
            (json!({}), json!({ "const": "x" }), r#"is one of "x" now"#, true),
            (json!({}), json!({ "if": { "minLength": 1 } }), "has a condition (`if`) now", true),
        ] {
            assert_eq!(request(&of(&before), &of(&now)), one(&format!("`/a` {words}"), breaking));
        }
    }

    #[test]
    fn who_reads_is_broken_by_another_type_but_not_by_another_format() {
        let read = |before: &Json, now: &Json| differences(Reader::Clients, &of(before), &of(now))[0].1;
        assert!(read(&json!({ "type": "string" }), &json!({ "type": "integer" })));
        assert!(read(&json!({ "type": "string" }), &json!({ "type": ["string", "null"] })));
        assert!(!read(&json!({ "type": ["string", "null"] }), &json!({ "type": "string" })));
        assert!(!read(&json!({ "format": "date" }), &json!({})));
        assert!(!read(&json!({ "enum": ["x"] }), &json!({ "enum": ["x", "y"] })));
        assert!(read(&json!({ "oneOf": [{}] }), &json!({ "oneOf": [{}, {}] })));
    }

    #[test]
    fn what_is_nested_is_compared_at_its_place() {
        let list = |item: &Json| of(&json!({ "items": { "properties": { "b": item } } }));
        let now = list(&json!({ "type": "string" }));
        assert_eq!(request(&list(&json!({})), &now), one("`/a/*/b` has the type string now", true));
    }

    #[test]
    fn a_reference_is_what_it_leads_to() {
        let by_reference = |target: &Json| {
            json!({ "type": "object", "additionalProperties": false, "$defs": { "x": target },
                "properties": { "a": { "$ref": "#/$defs/x", "title": "A" } } })
        };
        let text = json!({ "type": "string" });
        assert_eq!(request(&of(&text), &by_reference(&text)), []);
        let now = by_reference(&json!({ "type": "boolean" }));
        assert_eq!(request(&of(&text), &now), one("`/a` has the type boolean; it was string", true));
    }

    #[test]
    fn what_only_people_read_is_no_change() {
        let then = |title: &str| json!({ "if": {}, "then": { "properties": { "title": { "title": title } } } });
        assert_eq!(request(&of(&then("A")), &of(&then("B"))), []);
        assert_eq!(request(&of(&json!({ "title": "A" })), &of(&json!({ "title": "B", "examples": [1] }))), []);
    }

    #[test]
    fn what_only_people_read_is_not_copied_for_each_reference() {
        let schema = json!({ "properties": (0..1_000).map(|at| (at.to_string(), json!({ "$ref": "#/$defs/a" }))).collect::<Members>(),
            "$defs": { "a": { "type": "string", "description": "x".repeat(10_000), "x-own": "y".repeat(10_000) } } });
        assert!(expanded(&schema, &schema).to_string().len() < 50_000);
        // A `$ref` within data is not followed.
        let data = json!({ "const": { "$ref": "é" }, "enum": [{ "$ref": "" }] });
        assert_eq!(expanded(&data, &data), data);
    }
}
