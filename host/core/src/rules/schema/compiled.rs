//! Makes the copy of a schema that the validator compiles. The copy has only the keywords that count, references that
//! every resolver reads alike, and bounds that are checked before the values that they bound. It accepts the same
//! documents, except for texts longer than [`MAX_LENGTH`] with a `pattern` or a `format` and no `maxLength`.

use serde_json::{Map, Value as Json, json};

use super::keywords::{FILTERS, counts, map_subschemas, target};
use super::texts::MAX_LENGTH;

/// Keywords that look at the items of a list. The validator would look at all items even if there are more than
/// `maxItems`.
const OF_ITEMS: [&str; 6] = ["contains", "items", "maxContains", "minContains", "prefixItems", "uniqueItems"];

/// Returns the copy of a measured schema, which is `root` or stands within it.
pub(super) fn compiled(root: &Json, schema: &Json) -> Json {
    let mut copy = Copier { references: Vec::new() };
    let mut whole = copy.schema(schema);
    let mut targets = Map::new();
    while let Some(reference) = copy.references.get(targets.len()).copied() {
        // A reference without a target was not measured: no document fits it.
        let copied = target(root, reference).map_or(Json::Bool(false), |target| copy.schema(target));
        targets.insert(targets.len().to_string(), copied);
    }
    if let (Json::Object(members), false) = (&mut whole, targets.is_empty()) {
        members.insert("$defs".into(), targets.into());
    }
    whole
}

struct Copier<'a> {
    /// Each reference once. Its index names the definition of its target.
    references: Vec<&'a str>,
}

impl<'a> Copier<'a> {
    fn schema(&mut self, schema: &'a Json) -> Json {
        let Json::Object(members) = schema else { return schema.clone() };
        let mut copied = Map::new();
        for (keyword, value) in
            members.iter().filter(|(keyword, _)| counts(keyword) && !["$defs", FILTERS].contains(&keyword.as_str()))
        {
            let value = match value.as_str().filter(|_| keyword == "$ref") {
                Some(reference) => json!(format!("#/$defs/{}", self.number(reference))),
                None => map_subschemas(keyword, value, |schema| self.schema(schema)),
            };
            copied.insert(keyword.clone(), value);
        }
        bound_texts(&mut copied);
        bound_items(&mut copied);
        copied.into()
    }

    fn number(&mut self, reference: &'a str) -> usize {
        let known = self.references.iter().position(|known| *known == reference);
        known.unwrap_or_else(|| {
            self.references.push(reference);
            self.references.len() - 1
        })
    }
}

fn bound_texts(members: &mut Map<String, Json>) {
    if (members.contains_key("pattern") || members.contains_key("format")) && !members.contains_key("maxLength") {
        members.insert("maxLength".into(), json!(MAX_LENGTH));
    }
}

/// Makes the validator look at the items of a list only if there are at most `maxItems`.
fn bound_items(members: &mut Map<String, Json>) {
    let Some(max_items) = members.get("maxItems").cloned() else { return };
    let of_items: Map<String, Json> =
        OF_ITEMS.into_iter().filter_map(|keyword| members.remove_entry(keyword)).collect();
    if of_items.is_empty() {
        return;
    }
    let bounded = json!({ "if": { "maxItems": max_items }, "then": of_items });
    let all = members.entry("allOf").or_insert_with(|| json!([]));
    if let Json::Array(all) = all {
        all.push(bounded);
    }
}
