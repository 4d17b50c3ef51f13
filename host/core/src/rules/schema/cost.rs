//! Bounds the cost of a schema: its size with every reference followed, and the maximum work of checking any document
//! against it. Counts like the validator, which first checks whether a document fits and collects all errors if it does
//! not.

use std::ops::Add;

use serde_json::{Map, Value as Json};

use super::keywords::{self, FILTERS, counts, target};
use super::texts::{Patterns, count, max_length};

/// Maximum number of values in a document, including containers and their members. The rules can be given about 1,200
/// leaves, the number that fits into [`MAX_DOCUMENT_TEXT`] at 56 bytes each.
pub(super) const MAX_VALUES: usize = 2_000;

/// Maximum text of a document, including keys, in bytes. Equals the maximum size of a request's body.
pub(super) const MAX_DOCUMENT_TEXT: usize = 64 << 10;

/// Maximum size of all schemas of a country together, in members and items that count, with every reference followed.
pub(super) const MAX_SIZE: usize = 10_000;

/// Bytes of text that count as one item.
const TEXT: usize = 32;

/// Maximum depth of a schema, with every reference followed.
const MAX_DEPTH: usize = 64;

/// Maximum cost of checking one document, in steps.
pub(super) const MAX_STEPS: u64 = 5_000_000;

/// Steps of checking one keyword against one value.
const CHECK: u64 = 20;

/// Steps of reporting that one value violates one keyword.
const ERROR: u64 = 500;

/// Steps of naming a member in an error.
const NAME: u64 = 150;

/// Steps of copying one value of an `enum`, a `const` or a `not` into an error.
const COPY: u64 = 50;

/// Steps of a `multipleOf` with a divisor that is not a whole number. The validator calculates with fractions of any
/// length.
const FRACTION: u64 = 50_000;

/// Steps of a `multipleOf` with a whole divisor.
const DIVISION: u64 = 250;

/// Steps of comparing a value with one value of an `enum` or a `const`.
const COMPARE: u64 = 5;

/// Bytes of text that are compared, counted or copied in one step.
const BYTES: u64 = 4;

/// Steps of a format for each byte of a text.
const FORMAT: u64 = 5;

/// Steps of the format `regex` for each byte of a text. The validator looks up the names of groups in lists.
const FORMAT_REGEX: u64 = 25;

/// Maximum number of steps, depending on the content of the document. A document has at most [`MAX_VALUES`] values and
/// [`MAX_DOCUMENT_TEXT`] bytes of text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    /// Steps for the document itself.
    once: u64,
    /// Steps for each value within the checked one.
    value: u64,
    /// Steps for all texts together, each at its maximum length.
    texts: u64,
    /// Steps for each byte of text. The lower of `texts` and this bound counts.
    byte: u64,
}

impl Steps {
    fn once(once: u64) -> Self {
        Self { once, ..Self::default() }
    }

    /// Returns the steps for a document with this number of values and bytes of text.
    fn total(self, values: usize, text: usize) -> u64 {
        let texts = self.texts.min(self.byte.saturating_mul(text as u64));
        self.once.saturating_add(self.value.saturating_mul(values as u64)).saturating_add(texts)
    }

    /// Adds the steps of two schemas that divide a document between them. Each value and each byte of text belongs to
    /// one of them, so only the higher cost per value and per byte counts.
    fn beside(self, other: Self) -> Self {
        let (value, byte) = (self.value.max(other.value), self.byte.max(other.byte));
        Self { value, byte, ..self + other }
    }

    /// Returns the steps for all children of a value, at most `max` of them. Without a bound below [`MAX_VALUES`],
    /// every value of the document counts as a child or as part of one.
    fn each(self, max: Option<u64>) -> Self {
        let most = MAX_VALUES as u64;
        match max.filter(|max| *max < most) {
            Some(max) => Self { once: self.once.saturating_mul(max), texts: self.texts.saturating_mul(max), ..self },
            None => Self {
                once: 0,
                value: self.value.max(self.once),
                texts: self.texts.saturating_mul(most),
                byte: self.byte,
            },
        }
    }
}

impl Add for Steps {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            once: self.once.saturating_add(other.once),
            value: self.value.saturating_add(other.value),
            texts: self.texts.saturating_add(other.texts),
            byte: self.byte.saturating_add(other.byte),
        }
    }
}

/// Cost of a schema.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Steps of checking whether a document fits.
    check: Steps,
    /// Steps of collecting the errors of a document that does not fit.
    errors: Steps,
}

impl Cost {
    /// Returns the cost of a keyword with one check and at most one error. Collecting its errors repeats the check.
    fn of(check: Steps, error: u64) -> Self {
        Self { check, errors: check + Steps::once(error) }
    }

    /// Returns the steps for the largest document.
    pub(super) fn total(self) -> u64 {
        self.steps(MAX_VALUES, MAX_DOCUMENT_TEXT)
    }

    fn steps(self, values: usize, text: usize) -> u64 {
        self.check.total(values, text).saturating_add(self.errors.total(values, text))
    }

    /// Returns the maximum number of times that the validator applies a schema to a value.
    #[cfg(test)]
    pub(super) fn visits(self, values: usize, text: usize) -> u64 {
        self.steps(values, text) / CHECK
    }

    /// Returns the cost if the validator only checks whether a value fits, and may report the result as one error.
    fn check_only(self, error: u64) -> Self {
        Self::of(self.check, error)
    }

    /// Returns the cost of `anyOf` or `oneOf`. The validator checks which branch fits, may check the others, and
    /// collects the errors of all branches if none or several fit.
    fn chosen(self) -> Self {
        Self { check: self.check, errors: self.check + self.check + self.errors + Steps::once(ERROR) }
    }

    fn each(self, max: Option<u64>) -> Self {
        Self { check: self.check.each(max), errors: self.errors.each(max) }
    }

    fn beside(self, other: Self) -> Self {
        Self { check: self.check.beside(other.check), errors: self.errors.beside(other.errors) }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { check: self.check + other.check, errors: self.errors + other.errors }
    }
}

/// Reason why a schema is refused.
#[derive(Debug)]
pub(super) struct Cause {
    /// JSON Pointer of the place in the schema.
    pub(super) at: String,
    pub(super) why: String,
}

/// Walks a schema with every reference followed.
pub(super) struct Walk<'a> {
    root: &'a Json,
    patterns: Patterns<'a>,
    /// Size so far.
    pub(super) size: usize,
    /// Maximum size.
    max_size: usize,
    /// Targets of the references that are being followed.
    followed: Vec<*const Json>,
}

/// Position of a walk.
struct Place<'a> {
    at: &'a str,
    depth: usize,
}

impl Place<'_> {
    fn refuse<T>(&self, why: impl Into<String>) -> Result<T, Cause> {
        Err(Cause { at: self.at.to_owned(), why: why.into() })
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Json, max_size: usize, patterns: Patterns<'a>) -> Self {
        Self { root, patterns, size: 0, max_size, followed: Vec::new() }
    }

    /// Returns the cost of the whole schema.
    pub(super) fn cost(&mut self) -> Result<Cost, Cause> {
        self.schema(self.root, "", 0)
    }

    fn count(&mut self, size: usize, place: &Place<'_>) -> Result<(), Cause> {
        self.size = self.size.saturating_add(size);
        if self.size > self.max_size {
            return place.refuse(format!(
                "with every reference followed, the schemas of a country have at most {MAX_SIZE} members and items together"
            ));
        }
        Ok(())
    }

    fn schema(&mut self, schema: &Json, at: &str, depth: usize) -> Result<Cost, Cause> {
        let place = Place { at, depth };
        self.count(1, &place)?;
        if depth > MAX_DEPTH {
            return place.refuse(format!("with every reference followed, a schema has at most {MAX_DEPTH} levels"));
        }
        let Json::Object(members) = schema else {
            return Ok(Cost::of(Steps::once(CHECK), if schema == true { 0 } else { ERROR }));
        };
        let (mut cost, mut heaviest) = (Cost::of(Steps::once(CHECK), 0), (0, ""));
        for (keyword, value) in members {
            if let Some(why) = keywords::refused(keyword, at.is_empty()) {
                return place.refuse(why);
            }
            if !counts(keyword) {
                continue;
            }
            self.count(1, &place)?;
            let at = format!("{at}/{}", crate::model::json::escape(keyword));
            let own = self.keyword(keyword, value, members, &Place { at: &at, depth: depth + 1 })?;
            heaviest = heaviest.max((own.total(), keyword));
            cost = cost + own;
        }
        if cost.total() > MAX_STEPS {
            let (steps, keyword) = (cost.total(), heaviest.1);
            let advice = advice(keyword);
            return place.refuse(format!(
                "checking a document here can take {steps} steps, most of them for `{keyword}`; at most {MAX_STEPS} may be \
                 needed: {advice}"
            ));
        }
        Ok(cost)
    }

    fn keyword(
        &mut self,
        name: &str,
        value: &Json,
        beside: &Map<String, Json>,
        place: &Place<'_>,
    ) -> Result<Cost, Cause> {
        let max_items = || beside.get("maxItems").and_then(count);
        Ok(match name {
            "$ref" => self.reference(value, place)?,
            "$defs" | FILTERS => {
                self.named(value, place)?;
                Cost::default()
            }
            "allOf" => self.list(value, place)?.into_iter().fold(Cost::default(), Cost::add),
            "anyOf" | "oneOf" => self.list(value, place)?.into_iter().fold(Cost::default(), Cost::add).chosen(),
            "prefixItems" => self.list(value, place)?.into_iter().fold(Cost::default(), Cost::beside),
            "properties" => self.named(value, place)?.into_iter().fold(Cost::default(), Cost::beside),
            "dependentSchemas" => self.named(value, place)?.into_iter().fold(Cost::default(), Cost::add),
            "patternProperties" => self.by_pattern(value, place)?,
            "then" | "else" => self.one(value, place)?,
            "if" => self.one(value, place)?.check_only(0),
            "not" => {
                // The validator keeps a copy of the value, and puts another one into each error.
                let (copied, _) = extent(value);
                self.count(copied, place)?;
                self.one(value, place)?.check_only(ERROR + COPY * copied as u64)
            }
            "items" => self.one(value, place)?.each(max_items()),
            "contains" => self.one(value, place)?.each(max_items()).check_only(ERROR),
            // One error names all unexpected members.
            "additionalProperties" if value == false => {
                self.one(value, place)?;
                Cost::of(Steps::once(CHECK), NAME).each(None) + Cost::of(Steps::once(0), ERROR)
            }
            "additionalProperties" => (self.one(value, place)? + Cost::of(Steps::once(CHECK), 0)).each(None),
            "propertyNames" => {
                let name = Cost::of(Steps::once(CHECK), ERROR) + text(CHECK, BYTES, u64::MAX);
                (self.one(value, place)? + name).each(None)
            }
            _ => self.assertion(name, value, beside, place)?,
        })
    }

    fn assertion(
        &mut self,
        name: &str,
        value: &Json,
        beside: &Map<String, Json>,
        place: &Place<'_>,
    ) -> Result<Cost, Cause> {
        let (size, bytes) = extent(value);
        self.count(size + bytes / TEXT, place)?;
        let size = size as u64;
        Ok(match name {
            "enum" | "const" => {
                let check = Steps::once(CHECK + COMPARE * size + bytes as u64 / BYTES);
                let copied = if name == "const" { COPY * size + bytes as u64 / BYTES } else { 0 };
                Cost::of(check, ERROR + copied)
            }
            "required" | "dependentRequired" => Cost::of(Steps::once(CHECK * size), ERROR * size),
            "multipleOf" if value.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                Cost::of(Steps::once(DIVISION), ERROR)
            }
            "multipleOf" => Cost::of(Steps::once(FRACTION), ERROR),
            "minLength" | "maxLength" => Cost::of(Steps::once(CHECK), ERROR) + text(1, 16, u64::MAX),
            "pattern" => match value.as_str().map(|pattern| self.patterns.measure(pattern)) {
                Some(Ok(pattern)) => {
                    let reads = pattern.reads.unwrap_or(u64::MAX).min(max_length(beside).saturating_mul(4));
                    Cost::of(Steps::once(CHECK), ERROR) + text(pattern.steps, 1, reads)
                }
                Some(Err(why)) => return place.refuse(why),
                None => Cost::default(),
            },
            "format" => {
                Cost::of(Steps::once(CHECK), ERROR)
                    + text(
                        if value == "regex" { FORMAT_REGEX } else { FORMAT },
                        1,
                        max_length(beside).saturating_mul(4),
                    )
            }
            "uniqueItems" if value == true => {
                let Some(max) = beside.get("maxItems").and_then(count) else {
                    return place.refuse("it compares all items with one another: set `maxItems` beside it");
                };
                // Two lists are compared value by value, up to the length of the shorter one.
                Cost::of(Steps { once: CHECK, value: CHECK * max / 2, ..Steps::default() }, ERROR)
                    + text(1, BYTES, u64::MAX)
            }
            _ => Cost::of(Steps::once(CHECK), ERROR),
        })
    }

    fn reference(&mut self, value: &Json, place: &Place<'_>) -> Result<Cost, Cause> {
        let Some(reference) = value.as_str() else { return place.refuse("it is a text") };
        let Some(target) = target(self.root, reference) else {
            return place.refuse(format!(
                "`{reference}` leads to no schema within this one; a reference is a JSON Pointer such as `#/$defs/name`, \
                 of letters, digits, `.`, `_` and `-`"
            ));
        };
        if self.followed.contains(&std::ptr::from_ref(target)) {
            return place.refuse("the schema refers to itself; a booking has an end");
        }
        self.followed.push(target);
        // Names without escapes are the same in a pointer.
        let cost = self.schema(target, &reference[1..], place.depth);
        self.followed.pop();
        cost
    }

    fn by_pattern(&mut self, value: &Json, place: &Place<'_>) -> Result<Cost, Cause> {
        let mut cost = self.named(value, place)?.into_iter().fold(Cost::default(), Cost::add);
        for name in value.as_object().into_iter().flat_map(Map::keys) {
            let pattern = match self.patterns.measure(name) {
                Ok(pattern) => pattern,
                Err(why) => return place.refuse(format!("`{name}`: {why}")),
            };
            cost = cost + Cost::of(Steps::once(CHECK), 0) + text(pattern.steps, 1, pattern.reads.unwrap_or(u64::MAX));
        }
        Ok(cost.each(None))
    }

    fn one(&mut self, value: &Json, place: &Place<'_>) -> Result<Cost, Cause> {
        self.schema(value, place.at, place.depth)
    }

    fn list(&mut self, value: &Json, place: &Place<'_>) -> Result<Vec<Cost>, Cause> {
        let items = value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, schema)| self.schema(schema, &format!("{}/{index}", place.at), place.depth)).collect()
    }

    fn named(&mut self, value: &Json, place: &Place<'_>) -> Result<Vec<Cost>, Cause> {
        let members = value.as_object().into_iter().flatten();
        let schema = |(name, schema): (&String, &Json)| {
            self.count(name.len() / TEXT, place)?;
            self.schema(schema, &format!("{}/{}", place.at, crate::model::json::escape(name)), place.depth)
        };
        members.map(schema).collect()
    }
}

/// Returns the cost of reading a text: `work` steps for every `bytes` bytes, of which at most `reads` are read.
fn text(work: u64, bytes: u64, reads: u64) -> Cost {
    let reads = reads.min(MAX_DOCUMENT_TEXT as u64);
    let texts = work.saturating_mul(reads).div_ceil(bytes);
    let steps = Steps { texts, byte: work.div_ceil(bytes), ..Steps::default() };
    Cost { check: steps, errors: steps }
}

/// Returns the number of values within this one, itself included, and their bytes of text.
pub(super) fn extent(value: &Json) -> (usize, usize) {
    let add = |(values, bytes): (usize, usize), (more, text): (usize, usize)| (values + more, bytes + text);
    match value {
        Json::String(text) => (1, text.len()),
        Json::Array(items) => items.iter().map(extent).fold((1, 0), add),
        Json::Object(members) => {
            members.iter().map(|(name, member)| add(extent(member), (0, name.len()))).fold((1, 0), add)
        }
        _ => (1, 0),
    }
}

/// Returns advice on how to make a keyword cost less.
fn advice(keyword: &str) -> &'static str {
    match keyword {
        "pattern" | "format" => "set a smaller `maxLength`, or use a simpler pattern",
        "items" | "contains" | "uniqueItems" => "set `maxItems`, or ask less of each item",
        "patternProperties" => "anchor the patterns (`^…`), or name the members in `properties`",
        "additionalProperties" | "propertyNames" => "name the members in `properties`, or ask less of each",
        "enum" | "const" => "allow fewer values, or leave them to the rules",
        "multipleOf" => "use `integer`, or leave it to the rules",
        _ => "use fewer conditions, or leave them to the rules",
    }
}
