//! Tests of every bound on schemas: which schemas are refused, and how much time and memory the most expensive accepted
//! schemas take.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::cost::Cost;
use super::*;
use crate::model::{ActionDescriptor, Descriptor};
use crate::rules::loaded::LoadedRules;
use crate::testing::Described;

fn errors_of(schema: &Json, document: &Json) -> Vec<(String, String)> {
    let found = violations(&validator("schema", schema).unwrap(), document);
    found.into_iter().map(|violation| (violation.path, violation.code)).collect()
}

fn load(schema: &Json) -> Result<Json, String> {
    Budget::default().document("request-schema", &schema.to_string()).map_err(|refusal| refusal.to_string())
}

fn refused(schema: &Json) -> String {
    load(schema).expect_err("it is refused")
}

fn cost(schema: &Json) -> Cost {
    let mut patterns = MAX_PATTERNS_SIZE;
    Walk::new(schema, MAX_SIZE, Patterns::within(&mut patterns)).cost().unwrap_or_else(|cause| panic!("{cause:?}"))
}

#[test]
fn a_missing_member_and_one_too_many_are_named_where_they_stand() {
    let schema = json!({ "type": "object", "required": ["dni"], "properties": { "dni": { "maxLength": 2 } },
        "additionalProperties": false });
    let found = errors_of(&schema, &json!({ "a/b": 1, "c": 2 }));
    let expected =
        [("/a~1b", "schema.additionalProperties"), ("/c", "schema.additionalProperties"), ("/dni", "schema.required")];
    let mut found: Vec<(&str, &str)> = found.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(errors_of(&schema, &json!({ "dni": "123" })), [("/dni".to_owned(), "schema.maxLength".to_owned())]);
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
fn filters_have_schemas_of_the_keys_which_may_refer_to_members() {
    let schema = json!({ "properties": { "doctor": { "$ref": "#/$defs/number" } },
        "$defs": { "number": { "pattern": "^[1-9][0-9]*$", "examples": ["45678"] } },
        "x-filters": { "doctor": { "$ref": "#/properties/doctor" }, "patient": { "pattern": "^dni:" } } });
    load(&schema).unwrap();
    let keys = filters(&schema).unwrap();
    let fits = |filter: &str, key: &str| keys.is_valid(&json!({ filter: key }));
    assert!(fits("doctor", "45678") && fits("patient", "dni:1"));
    assert!(!fits("doctor", "045678") && !fits("patient", "45678"));
    assert!(fits("hospital", "any"), "a filter without a schema accepts every key");
    assert_eq!(example_keys(&schema, "doctor"), ["45678"]);
    assert!(filters(&json!({})).unwrap().is_valid(&json!({ "doctor": "any" })));

    for (wrong, at) in [
        (json!({ "x-filters": { "phase": {} } }), "/x-filters/phase"),
        (json!({ "x-filters": [] }), "/x-filters"),
        (json!({ "x-filters": { "doctor": { "type": "texto" } } }), "/properties/doctor/type"),
    ] {
        let why = filters(&wrong).unwrap_err().to_string();
        assert!(why.contains(at), "{why}");
    }
    let why = refused(&json!({ "x-filters": { "doctor": { "pattern": "(?=x)" } } }));
    assert!(why.contains("/x-filters/doctor/pattern"), "{why}");
}

#[test]
fn a_schema_that_is_none_is_refused_with_its_place() {
    for (kind, told) in [
        (json!("texto"), "`/properties/a/type`: \"texto\" is not one of \"array\", \"boolean\""),
        (json!(["string", "nul"]), "`/properties/a/type/1`: \"nul\" is not one of"),
        (json!(7), "`/properties/a/type`: 7 is not one of"),
    ] {
        let refused = validator("request-schema", &json!({ "properties": { "a": { "type": kind } } })).unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
    }
}

#[test]
fn one_that_a_thousand_references_lead_to_is_looked_at_once() {
    let level = |below: usize| json!({ "allOf": vec![json!({ "$ref": format!("#/$defs/{below}") }); 4] });
    let levels: Map<String, Json> = (0..40).map(|at| (at.to_string(), level(at + 1))).collect();
    let schema = json!({ "$ref": "#/$defs/0", "$defs": levels });
    assert!(!is_personal(&schema, ""));
}

#[test]
fn a_schema_without_end_is_refused() {
    let twice = json!({ "$ref": "#/$defs/a" });
    for schema in [
        json!({ "anyOf": [{ "properties": { "a": { "$ref": "#" } } }] }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": twice } }),
        json!({ "properties": { "a": { "items": { "$ref": "#/properties/a" } } } }),
    ] {
        assert!(refused(&schema).contains("refers to itself"), "{schema}");
    }
    let shared = json!({ "properties": { "a": { "$ref": "#/$defs/a" }, "b": { "$ref": "#/$defs/a" } },
        "$defs": { "a": { "type": "string" } } });
    load(&shared).unwrap();
}

/// Number of levels of a schema that grows: within the depth of a schema, so that its size is the reason to refuse it.
const LEVELS: usize = 24;

/// Returns a schema of levels that each refer to the next one twice, which makes 2²⁴ checks of one value.
fn growing(
    id: impl Fn(&mut Map<String, Json>),
    reference: impl Fn(usize) -> String,
    twice: impl Fn(Json) -> Json,
) -> Json {
    let mut levels: Map<String, Json> =
        (0..LEVELS).map(|at| (at.to_string(), twice(json!({ "$ref": reference(at + 1) })))).collect();
    levels.insert(LEVELS.to_string(), json!({ "type": "string" }));
    let mut schema = Map::from_iter([("$ref".to_owned(), json!(reference(0))), ("$defs".to_owned(), levels.into())]);
    id(&mut schema);
    schema.into()
}

#[test]
fn what_grows_by_references_is_refused_in_every_disguise() {
    let both = |level: Json| json!({ "allOf": [level, level] });
    let plain = |at: usize| format!("#/$defs/{at}");
    let none = |_: &mut Map<String, Json>| ();
    let applicators: [fn(Json) -> Json; 12] = [
        |level| json!({ "allOf": [level, level] }),
        |level| json!({ "anyOf": [level, level] }),
        |level| json!({ "oneOf": [level, level] }),
        |level| json!({ "if": level, "then": level }),
        |level| json!({ "if": level, "else": level }),
        |level| json!({ "not": level, "allOf": [level] }),
        |level| json!({ "properties": { "a": level, "b": level } }),
        |level| json!({ "patternProperties": { "^a": level, "^b": level } }),
        |level| json!({ "dependentSchemas": { "a": level, "b": level } }),
        |level| json!({ "items": level, "contains": level, "maxItems": 1 }),
        |level| json!({ "prefixItems": [level, level] }),
        |level| json!({ "additionalProperties": level, "propertyNames": level }),
    ];
    for twice in applicators {
        let schema = growing(none, plain, twice);
        let why = refused(&schema);
        let is_bounded =
            why.contains("members and items together") || why.contains("checking a document here can take");
        assert!(is_bounded, "{why}: {schema}");
    }
    assert!(refused(&growing(none, plain, both)).contains("members and items together"));
    // A resolver that honours `$id` takes the inner schema as the root. Any other resolver finds `{}` under each name.
    let inner = json!({ "$id": "https://example.com/other", "$ref": "#/$defs/0",
        "$defs": growing(none, plain, both)["$defs"] });
    let decoys: Map<String, Json> = (0..=LEVELS).map(|at| (at.to_string(), json!({}))).collect();
    let elsewhere = json!({ "properties": { "a": inner }, "$defs": decoys });
    assert!(refused(&elsewhere).contains("`$id` is not supported here"));
    // Checking `{"a":1}`, seven bytes, would take gigabytes.
    let escaped = growing(none, |at| format!("#/%24defs/{at}"), both);
    assert!(refused(&escaped).contains("leads to no schema"));
    let escaped = growing(none, |at| format!("#/$defs/{at}").replace('d', "~0"), both);
    assert!(refused(&escaped).contains("leads to no schema"));
    let absolute = growing(
        |schema| drop(schema.insert("$id".into(), json!("https://example.com/a"))),
        |at| format!("https://example.com/a#/$defs/{at}"),
        both,
    );
    assert!(refused(&absolute).contains("leads to no schema"));
}

#[test]
fn a_chain_of_references_is_no_deeper_than_a_schema_may_be() {
    let chain = |length: usize| {
        let mut levels: Map<String, Json> =
            (1..length).map(|at| (at.to_string(), json!({ "$ref": format!("#/$defs/{}", at + 1) }))).collect();
        levels.insert(length.to_string(), json!({ "type": "string" }));
        json!({ "$ref": "#/$defs/1", "$defs": levels })
    };
    load(&chain(60)).unwrap();
    assert!(refused(&chain(100)).contains("a schema has at most 64 levels"));
}

#[test]
fn what_moves_a_reference_is_refused_and_named() {
    for keyword in
        ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary", "$other"]
    {
        assert!(refused(&json!({ keyword: "x" })).contains(keyword));
        assert!(refused(&json!({ "properties": { "a": { keyword: "x" } } })).contains("`/properties/a`"), "{keyword}");
    }
    for keyword in ["$id", "$schema"] {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        load(&json!({ keyword: draft, "properties": { keyword: { "const": { keyword: 1 } } } })).unwrap();
        assert!(refused(&json!({ "items": { keyword: draft } })).contains(keyword));
        assert!(refused(&json!({ "$defs": { "a": { keyword: draft } } })).contains(keyword));
    }
    assert!(refused(&json!({ "$schema": "http://json-schema.org/draft-07/schema#" })).contains("2020-12"));
    for (keyword, instead) in [
        ("definitions", "`$defs`"),
        ("dependencies", "`dependentSchemas`"),
        ("additionalItems", "`items`"),
        ("unevaluatedItems", "`items`"),
        ("unevaluatedProperties", "`additionalProperties`"),
    ] {
        assert!(refused(&json!({ keyword: {} })).contains(instead), "{keyword}");
    }
    // The root's `$id` and `$schema` do not change the compiled schema.
    let schema = json!({ "$id": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/a",
        "$defs": { "a": { "type": "string" } } });
    load(&schema).unwrap();
    assert_eq!(errors_of(&schema, &json!(1)), [(String::new(), "schema.type".to_owned())]);
}

#[test]
fn what_only_looks_like_a_reference_is_data() {
    let data = json!({ "$ref": "#/nowhere", "$id": "x", "pattern": "(" });
    let schema = json!({ "enum": [data], "const": data, "default": data, "examples": [data], "x-own": data,
        "properties": { "$ref": true, "pattern": true } });
    load(&schema).unwrap();
    assert_eq!(errors_of(&schema, &data), []);
    assert_eq!(errors_of(&schema, &json!({})).len(), 2);
}

#[test]
fn large_patterns_are_refused_at_once_wherever_they_stand() {
    let started = Instant::now();
    let pattern = |number: usize| format!(r"\p{{L}}{{200}}x{number}");
    let members = |schema: fn(String) -> Json| -> Json {
        (0..600).map(|at| (at.to_string(), schema(pattern(at)))).collect::<Map<_, _>>().into()
    };
    let many = json!({ "properties": members(|pattern| json!({ "pattern": pattern })) });
    assert!(refused(&many).contains("the pattern takes more than 64 KiB"));
    let names: Map<String, Json> = (0..600).map(|at| (pattern(at), json!({}))).collect();
    assert!(refused(&json!({ "patternProperties": names })).contains("the pattern takes more than 64 KiB"));
    // Each pattern is small enough, but all of them together are not, even if they are spread over two schemas of the
    // country.
    let small = |at: usize| format!(r"^\p{{L}}+{at}$");
    let some = |from: usize| json!({ "allOf": (from..from + 40).map(|at| json!({ "pattern": small(at), "maxLength": 3 })).collect::<Vec<_>>() });
    let mut budget = Budget::default();
    budget.document("request-schema", &some(0).to_string()).unwrap();
    let beyond = budget.document("appointment-schema", &some(40).to_string()).unwrap_err().to_string();
    assert!(beyond.contains("the patterns of a country"), "{beyond}");
    for (pattern, words) in [
        ("(?=a)a", "look-around"),
        (r"(a)\1", "backreference"),
        ("(?i)a", "flags"),
        ("(", "no regular expression"),
        (&"a".repeat(301), "at most 300 bytes"),
        ("((((a{0,99}){0,99}){0,99}){0,99})b", "more than 64 KiB"),
    ] {
        assert!(
            refused(&json!({ "pattern": pattern })).contains(words),
            "{pattern}: {}",
            refused(&json!({ "pattern": pattern }))
        );
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_pattern_does_not_look_at_a_text_that_is_too_long() {
    let codes = |schema: &Json, text: String| {
        errors_of(schema, &json!(text)).into_iter().map(|(_, code)| code).collect::<Vec<_>>()
    };
    let schema = json!({ "pattern": "^a+$", "maxLength": 3 });
    assert_eq!(codes(&schema, "aaa".into()), <[&str; 0]>::default());
    assert_eq!(codes(&schema, "éaa".into()), ["schema.pattern"]);
    assert_eq!(codes(&schema, "bbbb".into()), ["schema.maxLength"]);
    let open = json!({ "pattern": "^a+$" });
    assert_eq!(codes(&open, "a".repeat(4_096)), <[&str; 0]>::default());
    assert_eq!(codes(&open, "a".repeat(4_097)), ["schema.maxLength"]);
    assert_eq!(codes(&json!({ "format": "email" }), "a".repeat(5_000)), ["schema.maxLength"]);
    assert_eq!(codes(&json!({ "format": "email" }), "a".into()), ["schema.format"]);
    let validator = validator("schema", &json!({ "pattern": r"^\d$", "format": "uri" })).unwrap();
    let params: Vec<_> =
        violations(&validator, &json!("x")).into_iter().flat_map(|violation| violation.params).collect();
    let expected = |text: &str| ("expected".to_owned(), text.to_owned());
    assert_eq!(params, [expected("uri"), expected(r"^\d$")]);
}

#[test]
fn a_pattern_means_what_it_means_in_ecma_262() {
    for (pattern, text, fits) in [
        (r"^\d+$", "٣", false),
        (r"^\w$", "é", false),
        ("a.c", "xa\u{2028}c", false),
        ("b", "abc", true),
        ("^(a|ab)(c|bcd)$", "abcd", true),
        ("^$", "", true),
        ("", "x", true),
        ("^[^x]*$", "", true),
        ("a$|^b", "xa", true),
        ("a$|^b", "xb", false),
        (r"^[\w.-]+$", "a.b-c", true),
    ] {
        assert_eq!(errors_of(&json!({ "pattern": pattern }), &json!(text)).is_empty(), fits, "{pattern} of {text}");
    }
}

#[test]
fn the_items_of_too_long_a_list_are_not_looked_at() {
    let schema =
        json!({ "maxItems": 2, "items": { "type": "string" }, "uniqueItems": true, "allOf": [{ "minItems": 1 }] });
    assert_eq!(errors_of(&schema, &json!([1, 1, 1])), [(String::new(), "schema.maxItems".to_owned())]);
    assert_eq!(errors_of(&schema, &json!([1, 1])).len(), 3);
    assert_eq!(errors_of(&schema, &json!([])), [(String::new(), "schema.minItems".to_owned())]);
    let pair = json!({ "maxItems": 3, "prefixItems": [{ "type": "string" }], "items": { "type": "integer" },
        "contains": { "$ref": "#/items" } });
    assert_eq!(errors_of(&pair, &json!(["a", 1])), []);
    assert_eq!(errors_of(&pair, &json!(["a"])), [(String::new(), "schema.contains".to_owned())]);
}

#[test]
fn unique_items_need_a_bound() {
    assert!(refused(&json!({ "uniqueItems": true })).contains("`maxItems`"));
    load(&json!({ "uniqueItems": false })).unwrap();
    load(&json!({ "uniqueItems": true, "maxItems": 20, "items": { "type": "string", "maxLength": 40 } })).unwrap();
}

#[test]
fn a_document_with_thirty_thousand_errors_is_answered_with_one() {
    let schema = load(&json!({ "items": { "type": "string" } })).unwrap();
    let validator = validator("schema", &schema).unwrap();
    let took = |errors: usize| {
        let document = json!(vec![1; errors]);
        let best = |_| {
            let started = Instant::now();
            let found = violations(&validator, &document);
            (started.elapsed(), found)
        };
        (0..5).map(best).min_by_key(|(took, _)| *took).unwrap()
    };
    let (few, found) = took(50);
    assert_eq!(found.len(), 50);
    let (most, found) = took(MAX_VALUES - 1);
    assert_eq!(found.len(), 50);
    let (many, found) = took(30_000);
    assert_eq!(found.iter().map(|violation| violation.code.as_str()).collect::<Vec<_>>(), ["schema.maxValues"]);
    println!("50 errors {few:?}, {MAX_VALUES} {most:?}, 30,000 {many:?}");
    assert!(many < few * 10 + Duration::from_millis(5), "{few:?} and {many:?}");
    assert_eq!(errors_of(&json!({}), &json!("x".repeat(MAX_DOCUMENT_TEXT + 1)))[0].1, "schema.maxText");
}

#[test]
fn an_integer_that_javascript_rounds_is_refused_at_its_place() {
    let most = (1_i64 << 53) - 1;
    let found = |number: Json| errors_of(&json!({}), &json!({ "a": [number] }));
    for exact in [json!(most), json!(-most), json!(0.5), json!(1e15)] {
        assert_eq!(found(exact), []);
    }
    let at_place = |code: &str| [("/a/0".to_owned(), code.to_owned())];
    for rounded in [json!(most + 1), json!(most + 2), json!(u64::MAX), json!(1e300)] {
        assert_eq!(found(rounded), at_place("schema.maximum"));
    }
    for rounded in [json!(-most - 1), json!(i64::MIN), json!(-1e300)] {
        assert_eq!(found(rounded), at_place("schema.minimum"));
    }
    let bounded = errors_of(&json!({ "properties": { "a": { "maximum": 5 } } }), &json!({ "a": most + 1 }));
    assert_eq!(bounded.len(), 1, "the schema's own bound is enough");
}

#[test]
fn numbers_beyond_all_bounds_are_refused_or_bound_nothing() {
    let read = |text: &str| Budget::default().document("request-schema", text).map_err(|refusal| refusal.to_string());
    assert!(read(r#"{"minLength": 1e400}"#).unwrap_err().contains("out of range"));
    for (text, fits) in [
        (r#"{"maxLength": 18446744073709551616, "pattern": "^a+$"}"#, true),
        (r#"{"minLength": 18446744073709551616}"#, false),
        (r#"{"maxLength": 3.0, "pattern": "^a+$"}"#, true),
        (r#"{"multipleOf": 1e-308}"#, true),
        (r#"{"maximum": 1e308, "minimum": -1e308}"#, true),
    ] {
        let schema = read(text).unwrap();
        assert_eq!(errors_of(&schema, &json!("aaa")).is_empty(), fits, "{text}");
    }
    for text in
        [r#"{"multipleOf": 0}"#, r#"{"maxLength": -1}"#, r#"{"maxItems": 1.5}"#, r#"{"items": [{}]}"#, r#"{"$ref": 1}"#]
    {
        let schema = read(text);
        assert!(schema.map_or(true, |schema| validator("schema", &schema).is_err()), "{text}");
    }
}

/// A random number generator that returns the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// Returns a schema of random keywords. Each reference leads to one of six definitions, which may refer to each
    /// other.
    fn schema(&mut self, depth: usize) -> Json {
        if depth == 0 {
            return [json!(true), json!(false), json!({}), json!({ "type": "string" })][self.below(4)].clone();
        }
        let mut members = Map::new();
        for _ in 0..=self.below(3) {
            let (keyword, value) = self.keyword(depth - 1);
            members.insert(keyword.to_owned(), value);
        }
        members.into()
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Json) {
        let keyword = [
            "$ref",
            "$ref",
            "additionalProperties",
            "allOf",
            "anyOf",
            "const",
            "contains",
            "dependentRequired",
            "dependentSchemas",
            "else",
            "enum",
            "format",
            "if",
            "items",
            "maxItems",
            "maxLength",
            "minItems",
            "minLength",
            "multipleOf",
            "not",
            "oneOf",
            "pattern",
            "patternProperties",
            "prefixItems",
            "properties",
            "propertyNames",
            "required",
            "then",
            "type",
            "x-own",
            "minContains",
            "maxContains",
        ][self.below(32)];
        let value = match keyword {
            "$ref" => json!(format!("#/$defs/{}", self.below(6))),
            "additionalProperties" | "contains" | "else" | "if" | "items" | "not" | "propertyNames" | "then" => {
                self.schema(depth)
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => (0..=self.below(3)).map(|_| self.schema(depth)).collect(),
            "dependentSchemas" | "properties" => json!({ "a": self.schema(depth), "b": self.schema(depth) }),
            "patternProperties" => json!({ "^a": self.schema(depth), "^[ab]+$": self.schema(depth) }),
            "const" => self.document(1),
            "enum" => json!([self.document(1), self.document(0)]),
            "dependentRequired" => json!({ "a": ["b"] }),
            "format" => json!(self.one_of(&["email", "date", "regex", "unheard-of"])),
            "multipleOf" => json!(2),
            "pattern" => json!(self.one_of(&["a", "^a+$", "^(a|ab)*$", "[ab]*a[ab]{3}"])),
            "required" => json!(["a"]),
            "type" => json!(self.one_of(&["string", "object", "array", "integer", "null"])),
            "x-own" => json!({ "$ref": "#/nowhere", "$id": "a" }),
            _ => json!(self.below(4)),
        };
        (keyword, value)
    }

    fn document(&mut self, depth: usize) -> Json {
        match if depth == 0 { self.below(4) } else { 4 + self.below(2) } {
            0 => json!(self.one_of(&["", "a", "ab", "aab", "b"])),
            1 => json!(self.below(3)),
            2 => json!(null),
            3 => json!(true),
            4 => (0..self.below(5)).map(|_| self.document(depth - 1)).collect(),
            _ => ["a", "b", "ab", "c"]
                .into_iter()
                .take(self.below(5))
                .map(|key| (key.to_owned(), self.document(depth - 1)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

/// A keyword that counts the visits of the validator to the schemas that contain it.
struct Visit(Arc<AtomicUsize>);

impl<'i> jsonschema::Keyword<'i> for Visit {
    fn validate(&self, _: &'i Json) -> Result<(), jsonschema::ValidationError<'i>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_valid(&self, _: &'i Json) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn with_visits(schema: &Json) -> Json {
    let Json::Object(members) = schema else { return schema.clone() };
    let mut visited: Map<String, Json> =
        members.iter().map(|(keyword, value)| (keyword.clone(), map_subschemas(keyword, value, with_visits))).collect();
    visited.insert("visit".into(), json!(true));
    visited.into()
}

#[test]
fn what_is_counted_bounds_what_the_validator_builds_and_visits() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut accepted, mut most) = (0, 0.0_f64);
    while accepted < 400 {
        let definitions: Map<String, Json> = (0..6).map(|at| (at.to_string(), random.schema(3))).collect();
        let mut schema = random.schema(4);
        let Some(members) = schema.as_object_mut() else { continue };
        members.insert("$defs".into(), definitions.into());
        let mut patterns = MAX_PATTERNS_SIZE;
        let mut walk = Walk::new(&schema, MAX_SIZE, Patterns::within(&mut patterns));
        let Ok(cost) = walk.cost() else { continue };
        accepted += 1;
        let (built, visited) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (builds, visits) = (Arc::clone(&built), Arc::clone(&visited));
        let validator = options()
            .with_keyword("visit", move |_, _, _| {
                builds.fetch_add(1, Ordering::Relaxed);
                Ok(Box::new(Visit(Arc::clone(&visits))))
            })
            .build(&with_visits(&compiled(&schema, &schema)))
            .unwrap_or_else(|error| panic!("{error}: {schema}"));
        let built = built.load(Ordering::Relaxed);
        assert!(built <= walk.size, "{built} schemas were built where {} were counted: {schema}", walk.size);
        // The compiled copy accepts the same documents as the original schema in a plain validator.
        let plain = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        for _ in 0..8 {
            let document = random.document(4);
            visited.store(0, Ordering::Relaxed);
            assert_eq!(validator.is_valid(&document), plain.is_valid(&document), "{schema} of {document}");
            let _ = validator.iter_errors(&document).count();
            let (values, text) = cost::extent(&document);
            let (visited, bound) = (visited.load(Ordering::Relaxed) as u64, cost.visits(values, text));
            assert!(visited <= bound, "{visited} visits where {bound} were counted: {schema} of {document}");
            #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
            {
                most = most.max(visited as f64 / bound as f64);
            }
        }
    }
    println!("{accepted} schemas; at most {most:.2} of what was counted");
    assert!(most > 0.1, "what is counted is near to what happens somewhere");
}

#[test]
fn a_reference_leads_where_the_validator_finds_it() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let names = ["a", "0", "00", "a~b", "a/b", "a%62", "$defs", "items", "é", " ", "A", "1"];
    // Each schema gets its own number.
    let mut number = 0;
    let mut tree = |random: &mut Random| {
        let mut leaf = || {
            number += 1;
            json!({ "const": number })
        };
        let named: Map<String, Json> = names.iter().map(|name| ((*name).to_owned(), leaf())).collect();
        let mut nested = json!({ "properties": named, "prefixItems": [leaf(), leaf()], "examples": [leaf()], "x-own": { "not": leaf() } });
        nested["allOf"] = json!([{ "items": leaf() }]);
        if random.below(2) == 0 { json!({ "$defs": named, "not": nested }) } else { nested }
    };
    let mut led = HashMap::<&str, usize>::new();
    for _ in 0..3_000 {
        let definitions: Map<String, Json> =
            ["a", "0", "é"].into_iter().map(|name| (name.to_owned(), tree(&mut random))).collect();
        let root = json!({ "$defs": definitions });
        // Walks down a random path and spells each token in a random way.
        let (mut at, mut reference) = (&root, "#".to_owned());
        for _ in 0..2 + random.below(5) {
            let (token, below) = match at {
                Json::Object(members) if !members.is_empty() => {
                    let (name, below) = members.iter().nth(random.below(members.len())).unwrap();
                    (name.clone(), below)
                }
                Json::Array(items) => {
                    let index = random.below(items.len());
                    (index.to_string(), &items[index])
                }
                _ => break,
            };
            at = below;
            let token = match random.below(12) {
                0 => token.replace('~', "~0").replace('/', "~1"),
                1 => format!("0{token}"),
                2 => token.replace('a', "%61").replace('$', "%24"),
                3 => token.replace('%', "%25").replace('é', "%C3%A9"),
                4 => format!("+{token}"),
                _ => token,
            };
            write!(reference, "/{token}").unwrap();
        }
        let Some(found) = keywords::target(&root, &reference) else {
            *led.entry("refused").or_default() += 1;
            continue;
        };
        *led.entry("followed").or_default() += 1;
        let mut whole = root.clone();
        whole["$ref"] = json!(reference);
        let Some(own) = found.get("const") else { continue };
        *led.entry("compared").or_default() += 1;
        for schema in [&whole, &compiled(&whole, &whole)] {
            let referring = options().build(schema).unwrap_or_else(|error| panic!("{reference}: {error}"));
            assert!(referring.is_valid(own), "{reference}");
            assert!(!referring.is_valid(&json!(0)), "{reference}");
        }
    }
    println!("{led:?}");
    assert!(led["compared"] > 50, "{led:?}");
}

/// A name, a schema by its size, and the most expensive document for a schema of that size.
type Family = (&'static str, fn(usize) -> Json, fn(usize) -> Json);

fn list(value: Json, length: usize) -> Json {
    Json::Array(vec![value; length])
}

fn numbered(member: impl Fn(usize) -> Json, length: usize) -> Json {
    (0..length).map(|at| (at.to_string(), member(at))).collect::<Map<_, _>>().into()
}

const FULL: usize = MAX_VALUES - 1;

/// Families of schemas in which one keyword causes most of the cost.
const FAMILIES: [Family; 26] = [
    (
        "items of too long a list",
        |n| json!({ "items": { "allOf": vec![json!({ "type": "string" }); n] }, "maxItems": 20 }),
        |_| list(json!(1), FULL),
    ),
    (
        "contains in too long a list",
        |n| json!({ "contains": { "allOf": vec![json!(true); n], "type": "string" }, "maxItems": 2 }),
        |_| list(json!(1), FULL),
    ),
    (
        "unique items of too long a list",
        |n| json!({ "items": { "allOf": vec![json!({ "uniqueItems": true, "maxItems": 10 }); n] } }),
        |_| {
            json!([(0..60)
                .flat_map(|at| vec![(0..at / 2).fold(json!([1]), |of, _| json!([of])); 1])
                .collect::<Vec<_>>()])
        },
    ),
    (
        "allOf of a list",
        |n| json!({ "items": { "allOf": vec![json!({ "type": "string" }); n] } }),
        |_| list(json!(1), FULL),
    ),
    (
        "anyOf of a list",
        |n| json!({ "items": { "anyOf": vec![json!({ "type": "string" }); n] } }),
        |_| list(json!(1), FULL),
    ),
    (
        "oneOf of a list",
        |n| json!({ "items": { "oneOf": vec![json!({ "maximum": 9 }); n] } }),
        |_| list(json!(1), FULL),
    ),
    (
        "not of a list",
        |n| json!({ "items": { "not": { "enum": (1..=n).collect::<Vec<_>>() } } }),
        |_| list(json!(1), FULL),
    ),
    (
        "const of a list",
        |n| json!({ "items": { "const": (0..n).collect::<Vec<_>>() } }),
        |n| list(json!((1..=n).collect::<Vec<_>>()), FULL / (n + 1)),
    ),
    (
        "enum of a list",
        |n| json!({ "items": { "enum": (0..n).map(|at| format!("{at:->40}")).collect::<Vec<_>>() } }),
        |_| list(json!(format!("{:->40}", "x")), 1_500),
    ),
    (
        "nested anyOf",
        |n| {
            (0..n.min(30))
                .fold(json!({ "allOf": vec![json!({ "type": "string" }); n] }), |of, _| json!({ "anyOf": [of] }))
        },
        |_| json!(1),
    ),
    (
        "nested oneOf",
        |n| {
            (0..n.min(6))
                .fold(json!({ "allOf": vec![json!({ "type": "integer" }); n] }), |of, _| json!({ "oneOf": [of, of] }))
        },
        |_| json!(1),
    ),
    (
        "if of if",
        |n| {
            (0..n.min(30)).fold(
                json!({ "allOf": vec![json!({ "type": "integer" }); n] }),
                |of, _| json!({ "if": of, "then": { "type": "string" } }),
            )
        },
        |_| json!(1),
    ),
    (
        "properties",
        |n| json!({ "properties": numbered(|_| json!({ "type": "string" }), n) }),
        |_| numbered(|_| json!(1), FULL),
    ),
    (
        "properties of allOf",
        |n| json!({ "allOf": vec![json!({ "properties": { "x": true }, "additionalProperties": false }); n] }),
        |_| numbered(|_| json!(1), FULL),
    ),
    ("required", |n| json!({ "required": (0..n).map(|at| at.to_string()).collect::<Vec<_>>() }), |_| json!({})),
    (
        "required of a list",
        |n| json!({ "items": { "required": (0..n).map(|at| at.to_string()).collect::<Vec<_>>() } }),
        |_| list(json!({}), FULL),
    ),
    (
        "additionalProperties",
        |n| json!({ "additionalProperties": { "allOf": vec![json!(false); n] } }),
        |_| numbered(|_| json!(1), FULL),
    ),
    (
        "patternProperties",
        |n| json!({ "patternProperties": (0..n).map(|at| (format!("^[ab]+c{at}$"), json!(false))).collect::<Map<_, _>>() }),
        |_| (0..60).map(|at| (format!("{}{at}", "ab".repeat(500)), json!(1))).collect::<Map<_, _>>().into(),
    ),
    (
        "propertyNames",
        |n| json!({ "propertyNames": { "allOf": (0..n).map(|at| json!({ "pattern": format!("^[ab]+c{at}$") })).collect::<Vec<_>>() } }),
        |_| (0..15).map(|at| (format!("{}{at}", "ab".repeat(2_000)), json!(1))).collect::<Map<_, _>>().into(),
    ),
    (
        "dependentSchemas",
        |n| json!({ "dependentSchemas": { "0": { "allOf": vec![json!({ "maxProperties": 0 }); n] } } }),
        |_| json!({ "0": 1 }),
    ),
    (
        "contains",
        |n| json!({ "contains": { "allOf": vec![json!(true); n], "type": "string" } }),
        |_| list(json!(1), FULL),
    ),
    (
        "pattern",
        |n| json!({ "pattern": format!("[ab]*a[ab]{{{n}}}c"), "maxLength": 2_000 }),
        |_| json!("ab".repeat(1_000)),
    ),
    (
        "patterns",
        |n| json!({ "items": { "allOf": (0..n).map(|at| json!({ "pattern": format!("^[a-z]{{3}}x{at}"), "maxLength": 30 })).collect::<Vec<_>>() } }),
        |_| list(json!("abcd".repeat(7)), FULL),
    ),
    (
        "format",
        |n| json!({ "items": { "allOf": vec![json!({ "format": "regex", "maxLength": 3_000 }); n] }, "maxItems": 21 }),
        |_| list(json!("(?<a>)".repeat(500)), 21),
    ),
    (
        "multipleOf",
        |n| json!({ "items": { "allOf": vec![json!({ "multipleOf": 0.01 }); n], "type": "number" }, "maxItems": 20 }),
        |_| list(json!(1.2345e300), 20),
    ),
    (
        "uniqueItems",
        |n| json!({ "uniqueItems": true, "maxItems": n }),
        |n| {
            list(json!(null), 1)
                .as_array()
                .unwrap()
                .iter()
                .cloned()
                .chain((0..n.min(60)).map(|at| (0..at).fold(json!([1]), |of, _| json!([of]))))
                .collect()
        },
    ),
];

/// Returns the size of the largest accepted schema of a family.
fn largest(schema: fn(usize) -> Json) -> usize {
    let (mut fits, mut beyond) = (0, 1);
    while load(&schema(beyond)).is_ok() {
        (fits, beyond) = (beyond, 2 * beyond);
    }
    while fits + 1 < beyond {
        let middle = usize::midpoint(fits, beyond);
        if load(&schema(middle)).is_ok() { fits = middle } else { beyond = middle }
    }
    fits
}

/// Prints the time of each family: `cargo test -p citas-core --lib the_worst -- --nocapture`.
#[test]
fn the_worst_of_what_is_accepted_takes_some_milliseconds() {
    for (name, schema, document) in FAMILIES {
        let size = largest(schema);
        assert!(size > 0, "{name}: the smallest is accepted");
        let schema = schema(size);
        let estimate = cost(&schema).total();
        let validator = validator("schema", &schema).unwrap();
        let document = document(size);
        let judge = |_| {
            let started = Instant::now();
            (violations(&validator, &document).len(), started.elapsed())
        };
        let (errors, took) = (0..3).map(judge).min_by_key(|(_, took)| *took).unwrap();
        println!("{name} {size}: {took:?}, {errors} violations, {estimate} steps");
        assert!(took < Duration::from_millis(100), "{name} {size}: {took:?}");
    }
}

#[test]
fn the_largest_country_is_compiled_in_little_time_and_memory() {
    const CHILD: &str = "CITAS_TEST_LARGEST";
    if std::env::var_os(CHILD).is_some() {
        return compile_the_largest();
    }
    // Runs in a separate process, whose memory is bounded and measured on its own.
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::the_largest_country_is_compiled_in_little_time_and_memory");
    let child = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 4000000; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("KiB"), "{told}{}", String::from_utf8_lossy(&child.stderr));
    print!("{told}");
}

fn compile_the_largest() {
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    validator("schema", &json!({ "format": "email" })).unwrap();
    for (name, schema) in [
        ("conditions", (|n| json!({ "allOf": vec![json!({ "type": "string" }); n] })) as fn(usize) -> Json),
        ("members", |n| json!({ "properties": numbered(|_| json!({ "type": "string" }), n) })),
        (
            "closed objects",
            |n| json!({ "properties": numbered(|_| json!({ "type": "object", "required": ["a"], "additionalProperties": false, "properties": { "a": true } }), n) }),
        ),
        ("not of not", |n| (0..30).fold(json!({ "enum": (0..n).collect::<Vec<_>>() }), |of, _| json!({ "not": of }))),
        (
            "patterns",
            |n| json!({ "properties": numbered(|at| json!({ "pattern": format!("^[0-9]{{{}}}[a-z]*$", at % 900), "maxLength": 9 }), n) }),
        ),
        (
            "letters",
            |n| json!({ "properties": numbered(|at| json!({ "pattern": format!("^\\p{{L}}+{at}$"), "maxLength": 9 }), n) }),
        ),
        (
            "classes",
            |n| json!({ "properties": numbered(|at| json!({ "pattern": format!("[{}{at}]", r"\s".repeat(145)), "maxLength": 9 }), n) }),
        ),
        (
            "patternProperties",
            |n| json!({ "patternProperties": (0..n).map(|at| (format!("^{at}"), json!(true))).collect::<Map<_, _>>() }),
        ),
        (
            "references",
            |n| json!({ "properties": numbered(|at| json!({ "$ref": format!("#/$defs/{at}") }), n), "$defs": numbered(|_| json!({ "type": "string" }), n) }),
        ),
    ] {
        let size = largest(schema);
        let text = schema(size).to_string();
        let started = Instant::now();
        let schema = Budget::default().document("schema", &text).unwrap();
        let read = started.elapsed();
        let validator = validator("schema", &schema).unwrap();
        let took = started.elapsed();
        let used = memory();
        drop(validator);
        println!("{name} {size}: read {read:?}, compiled after {took:?}, {used} KiB in all");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        assert!(used < 128 << 10, "{name}: {used} KiB");
    }
}

#[test]
fn the_deepest_schema_and_document_fit_a_small_stack() {
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let schema = |levels: usize| {
            (0..levels).fold(json!({ "type": "string" }), |of, level| match level % 4 {
                0 => json!({ "items": of }),
                1 => json!({ "anyOf": [of] }),
                2 => json!({ "properties": { "a": of } }),
                _ => json!({ "if": {}, "then": of }),
            })
        };
        let levels = (1..120).rev().find(|levels| load(&schema(*levels)).is_ok()).unwrap();
        assert!(levels > 20, "{levels}");
        let mut text = "1".to_owned();
        for level in 0..levels {
            match level % 4 {
                0 => text = format!("[{text}]"),
                2 => text = format!("{{\"a\":{text}}}"),
                _ => {}
            }
        }
        let document = crate::model::json::parse(text.as_bytes()).unwrap();
        assert_eq!(errors_of(&schema(levels), &document).len(), 1);
        let nested = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        let document = crate::model::json::parse(nested.as_bytes()).unwrap();
        assert_eq!(errors_of(&json!({ "uniqueItems": true, "maxItems": 3, "enum": [document] }), &document), []);
        assert!(crate::model::json::parse("[".repeat(70_000).as_bytes()).is_err());
    });
    deep.unwrap().join().unwrap();
}

/// Prints the cost of each country's schemas: `cargo test -p citas-core --lib with_room -- --nocapture`.
#[test]
fn the_schemas_of_our_countries_are_accepted_with_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let countries = files(&root.join("countries")).into_iter().map(|country| country.join("src/schema"));
    let mut folders: Vec<PathBuf> = countries.filter(|folder| folder.is_dir()).collect();
    assert!(folders.len() > 2, "{folders:?}");
    folders.push(root.join("host/src/toolkit/template/schema"));
    for folder in folders {
        let mut budget = Budget::default();
        let schema = |file: &PathBuf| budget.document("schema", &fs::read_to_string(file).unwrap()).unwrap();
        let read: Vec<Json> = files(&folder).iter().map(schema).collect();
        let steps = read.iter().map(|schema| cost(schema).total()).max().unwrap();
        let (size, patterns) = (MAX_SIZE - budget.size, MAX_PATTERNS_SIZE - budget.patterns);
        let folder = folder.strip_prefix(&root).unwrap().display();
        println!("{folder}: {steps} steps, size {size}, {patterns} bytes of patterns");
        assert!(steps * 3 < cost::MAX_STEPS && size * 3 < MAX_SIZE && patterns * 3 < MAX_PATTERNS_SIZE, "{folder}");
    }
}

#[test]
fn the_schemas_of_a_country_share_its_bounds() {
    let mut budget = Budget::default();
    let third = json!({ "enum": (0..4_000).collect::<Vec<_>>() }).to_string();
    budget.document("request-schema", &third).unwrap();
    budget.document("appointment-schema", &third).unwrap();
    let refused = budget.document("input-schema of `cancel`", &third).unwrap_err().to_string();
    assert!(refused.contains("together") && refused.contains("cancel"), "{refused}");
}

#[test]
fn a_refusal_names_the_place_and_what_to_change() {
    let schema = json!({ "properties": { "people": { "items": { "anyOf": vec![json!({ "type": "string" }); 50] } } } });
    let refused = refused(&schema);
    assert!(refused.contains("`/properties/people`") && refused.contains("set `maxItems`"), "{refused}");
    let mut bounded = schema;
    bounded["properties"]["people"]["maxItems"] = json!(20);
    load(&bounded).unwrap();
}

#[test]
fn a_country_is_refused_for_what_any_of_its_schemas_would_take() {
    let loaded = |request: &Json, appointment: &Json, actions: usize, input: &Json| {
        let action =
            |number| ActionDescriptor { name: format!("a{number}"), roles: vec![], input_schema: input.to_string() };
        let rules = Described(Descriptor {
            request_schema: request.to_string(),
            appointment_schema: appointment.to_string(),
            actions: (0..actions)
                .map(|number| {
                    action(char::from(b'a' + u8::try_from(number % 26).unwrap()).to_string() + &"x".repeat(number / 26))
                })
                .collect(),
            ..Described::default().0
        });
        LoadedRules::of(Arc::new(rules), "sha256:00".into()).map(|_| ()).map_err(|refusal| refusal.to_string())
    };
    let plain = json!({ "type": "object" });
    let hostile = growing(|_| (), |at| format!("#/$defs/{at}"), |level| json!({ "allOf": [level, level] }));
    loaded(&plain, &plain, 50, &plain).unwrap();
    for refused in [
        loaded(&hostile, &plain, 1, &plain).unwrap_err(),
        loaded(&plain, &hostile, 1, &plain).unwrap_err(),
        loaded(&plain, &plain, 1, &hostile).unwrap_err(),
        loaded(&plain, &plain, 40, &json!({ "enum": (0..500).collect::<Vec<_>>() })).unwrap_err(),
    ] {
        assert!(refused.contains("with every reference followed"), "{refused}");
    }
    assert!(loaded(&plain, &plain, 51, &plain).unwrap_err().contains("at most 50"));
    let own = json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "properties": { "revision": {} } } } });
    assert!(loaded(&plain, &own, 0, &plain).unwrap_err().contains("`revision`"));
}
