//! Reads JSON documents, and converts them to the leaves that the rules see and back.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use crate::model::appointment::{Field, Value};

/// Reads a JSON document and refuses an object with a duplicate key. RFC 8259 leaves the meaning of such a key to the
/// reader.
///
/// # Errors
/// Returns an error that states the problem and its position.
pub fn parse(bytes: &[u8]) -> Result<Json, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let document = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(document)
}

/// Builds a [`Json`] and refuses duplicate keys.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(array.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` stands twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

/// Maximum size of a document's leaves, paths included, in bytes. A short document can have long paths, because each
/// leaf repeats the paths of its parents.
const MAX_LEAVES: usize = 64 * 1024;

/// Error for a document whose leaves are too large for the rules.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its leaves take more than {limit} bytes")]
pub struct TooManyLeaves {
    /// Maximum size of the leaves, in bytes.
    pub limit: usize,
}

/// Largest integer that every reader of JSON keeps as it is (RFC 7493, section 2.2). JavaScript rounds larger ones.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Returns the leaves of a document, each with its JSON Pointer. A `null` has no leaf.
///
/// # Errors
/// Returns an error if the leaves take more than 64 KiB.
pub fn flatten(document: &Json) -> Result<Vec<Field>, TooManyLeaves> {
    let mut leaves = Leaves { fields: Vec::new(), left: MAX_LEAVES };
    leaves.collect(String::new(), document)?;
    Ok(leaves.fields)
}

struct Leaves {
    fields: Vec<Field>,
    left: usize,
}

impl Leaves {
    fn collect(&mut self, path: String, json: &Json) -> Result<(), TooManyLeaves> {
        let value = match json {
            Json::Null => return Ok(()),
            Json::Object(members) => {
                return members
                    .iter()
                    .try_for_each(|(key, member)| self.collect(format!("{path}/{}", escape(key)), member));
            }
            Json::Array(items) => {
                let Some(texts) = texts(items) else {
                    let mut items = items.iter().enumerate();
                    return items.try_for_each(|(index, item)| self.collect(format!("{path}/{index}"), item));
                };
                Value::Texts(texts)
            }
            Json::Bool(flag) => Value::Flag(*flag),
            Json::String(text) => Value::Text(text.clone()),
            Json::Number(number) => number.as_i64().map_or_else(|| Value::Decimal(number.to_string()), Value::Integer),
        };
        let over = TooManyLeaves { limit: MAX_LEAVES };
        self.left = self.left.checked_sub(path.len() + size(&value)).ok_or(over)?;
        self.fields.push(Field { path, value });
        Ok(())
    }
}

fn texts(items: &[Json]) -> Option<Vec<String>> {
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Decimal(text) => text.len(),
        Value::Texts(texts) => texts.iter().map(String::len).sum(),
        Value::Integer(_) | Value::Flag(_) => size_of::<i64>(),
    }
}

/// Escapes a key as one token of a JSON Pointer (RFC 6901, section 3).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Builds the document of these leaves: the reverse of [`flatten`]. An object with the keys 0, 1, 2, … becomes an
/// array. If two leaves have the same path, the first one counts.
pub fn nest(fields: &[Field]) -> Map<String, Json> {
    let mut root = Map::new();
    for field in fields {
        set(&mut root, field);
    }
    root.into_iter().map(|(key, member)| (key, arrays(member))).collect()
}

/// Sets a leaf of a document that has no value in its place. Returns false if it has another one there.
pub(super) fn set(root: &mut Map<String, Json>, field: &Field) -> bool {
    let mut keys: Vec<String> =
        field.path.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let Some(last) = keys.pop() else { return false };
    let mut object = root;
    for key in keys {
        let child = object.entry(key).or_insert_with(|| Json::Object(Map::new()));
        let Json::Object(child) = child else { return false };
        object = child;
    }
    let value = leaf(&field.value);
    *object.entry(last).or_insert_with(|| value.clone()) == value
}

fn leaf(value: &Value) -> Json {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Texts(texts) => texts.as_slice().into(),
        Value::Decimal(digits) => {
            serde_json::from_str::<Number>(digits).map_or_else(|_| digits.as_str().into(), Json::Number)
        }
    }
}

fn arrays(json: Json) -> Json {
    let Json::Object(members) = json else { return json };
    let mut members: Map<String, Json> = members.into_iter().map(|(key, member)| (key, arrays(member))).collect();
    let is_array = !members.is_empty() && (0..members.len()).all(|index| members.contains_key(&index.to_string()));
    if !is_array {
        return Json::Object(members);
    }
    (0..members.len()).filter_map(|index| members.remove(&index.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_comes_back_from_its_leaves() {
        let document = json!({
            "dni": "10117410", "count": 3, "price": 12.5, "urgent": true, "tags": ["a", "b"],
            "document": { "type": "ce", "a/b~c": "x" }, "people": [{ "name": "Ana" }, { "name": "Luis" }],
        });
        assert_eq!(Json::Object(nest(&flatten(&document).unwrap())), document);
    }

    #[test]
    fn null_is_no_leaf() {
        assert_eq!(flatten(&json!({ "phone": null })).unwrap(), []);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = parse(br#"{"a": 1, "b": {"c": 1, "c": 2}}"#).unwrap_err();
        assert!(error.to_string().contains("`c` stands twice"), "{error}");
    }

    #[test]
    fn what_follows_the_document_is_refused() {
        assert!(parse(b"{} {}").is_err());
        assert!(parse(b"1e999").is_err());
    }

    #[test]
    fn a_short_document_with_long_paths_is_too_much() {
        let items: Vec<u32> = (0..1_000).collect();
        let refused = flatten(&json!({ ("k".repeat(1_000)): items }));
        assert_eq!(refused, Err(TooManyLeaves { limit: MAX_LEAVES }));
    }

    #[test]
    fn a_leaf_below_a_leaf_is_left_out() {
        let at = |path: &str| Field { path: path.into(), value: Value::Integer(1) };
        assert_eq!(Json::Object(nest(&[at("/a"), at("/a/b"), at("/a"), at("")])), json!({ "a": 1 }));
    }
}
