//! Describes a country's documents: the schemas of its rules, adapted to generators of clients. Each object, enumeration
//! and definition is a schema of its own, with a name that is unique and stays when another country comes. A choice
//! between sets of members is a choice between whole schemas.

use std::collections::BTreeMap;

use citas_core::model::CountryCode;
use citas_core::rules::schema::{map_subschemas, target};
use citas_core::rules::{Action, BookingDays, LoadedRules, Planned};
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};

use super::components::{Components, is_reference};

/// Annotation of a schema that lists the combinations of members that the rules allow, as `oneOf` would.
const ALTERNATIVES: &str = "x-alternatives";

/// Annotation of an appointment with the forms of its keys, which are parameters of a list.
const FILTERS: &str = "x-filters";

/// Age of the appointment in the examples, in days, so that it was booked before today.
const DAYS_BEFORE: i64 = 30;

/// Maximum number of alternatives that become whole schemas.
const MAX_ALTERNATIVES: usize = 16;

/// Keywords of the texts of a choice.
const TEXTS: [&str; 3] = ["title", "description", "examples"];

/// Keywords of a condition.
const CONDITION: [&str; 3] = ["if", "then", "else"];

/// Keywords of a choice.
const CHOICES: [&str; 3] = ["oneOf", "anyOf", ALTERNATIVES];

/// Returns the name of a schema, for example `PeNoShowInput`.
pub fn named(country: CountryCode, what: &str) -> String {
    [country.as_str(), what].map(pascal).concat()
}

/// Returns a text as one word of a name: letters and digits, each part with a capital.
fn pascal(text: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(capital).collect()
}

/// Returns the tag of a country's operations.
pub fn country_tag(rules: &LoadedRules) -> Value {
    let (country, zones, version) = (rules.country, rules.descriptor.zones.join(", "), &rules.id.version);
    let description = format!("Appointments under the rules of `{country}`, version {version}. Time zones: {zones}.");
    json!({ "name": country, "description": description })
}

impl Components {
    /// Adds a country's schemas, with examples on days that can be booked.
    pub fn add_country(&mut self, rules: &LoadedRules, days: Option<&BookingDays>) {
        let country = rules.country;
        let inputs = rules.client_actions().map(|(name, _)| format!("{name}-input"));
        let roots = ["request", "appointment", "page", "history-entry", "history"].map(str::to_owned);
        self.reserve(roots.into_iter().chain(inputs).map(|root| named(country, &root)));
        let first = |schema: &Value| days.map_or_else(|| schema.clone(), |days| days.moved(schema, days.first));
        let next = |schema: &Value| days.map_or_else(|| schema.clone(), |days| days.moved(schema, days.next));
        self.embed(&first(&rules.request_schema), &named(country, "request"), false);
        let mut appointment = self.with_host_members(&first(&rules.appointment_schema), country);
        complete_examples(&mut appointment, rules, days);
        let appointment = self.embed(&appointment, &named(country, "appointment"), true);
        self.add_page(&named(country, "page"), appointment.clone());
        let entry = self.add_entry(&named(country, "history-entry"), appointment);
        self.add_page(&named(country, "history"), entry);
        for (name, action) in rules.client_actions() {
            self.embed(&next(&action.schema), &named(country, &format!("{name}-input")), false);
        }
    }

    /// Adds a country's schema under a name, and returns the reference to it. Clients read documents of an open schema,
    /// and these may have further members in a later version.
    fn embed(&mut self, schema: &Value, name: &str, is_open: bool) -> Value {
        let mut embedding = Embedding { components: self, root: schema, name, is_open, definitions: BTreeMap::new() };
        let embedded = embedding.schema(schema, name, true);
        self.put(name, with_title_in_description(embedded))
    }
}

/// Adds the host's members to the examples of an appointment, or removes examples that the rules do not allow today.
fn complete_examples(schema: &mut Value, rules: &LoadedRules, days: Option<&BookingDays>) {
    let (Some(members), Some(days)) = (schema.as_object_mut(), days) else {
        schema.as_object_mut().map(|members| members.remove("examples"));
        return;
    };
    let Planned { plan, starts_at } = &days.planned;
    let booked = days.first.saturating_sub(DAYS_BEFORE.days()).at(15, 0, 0, 0);
    let stored = format!("{booked}Z");
    let mut host = json!({
        "id": "01a20bd2-de9f-7050-b084-5bab34f21f48", "country": rules.country, "phase": plan.phase, "revision": 1,
        "rules": rules.id, "createdAt": stored, "updatedAt": stored,
    });
    if let (Some(slot), Some(starts_at)) = (&plan.slot, *starts_at) {
        host["startsAt"] = json!(starts_at);
        host["startsAtLocal"] = slot.start_with_offset(starts_at).into();
        host["zone"] = slot.zone.as_str().into();
        host["minutes"] = slot.minutes.into();
    }
    for example in members.get_mut("examples").and_then(Value::as_array_mut).into_iter().flatten() {
        for (name, member) in host.as_object().into_iter().flatten() {
            // A country's own member stays.
            example.as_object_mut().map(|example| example.entry(name).or_insert_with(|| member.clone()));
        }
    }
}

/// The adaptation of one schema.
struct Embedding<'a> {
    components: &'a mut Components,
    root: &'a Value,
    name: &'a str,
    is_open: bool,
    /// References to the schemas that the country refers to, by the country's own references.
    definitions: BTreeMap<String, Value>,
}

impl Embedding<'_> {
    /// Adapts a schema with this name. Parts of it get names of their own if `describes`: a schema that only constrains
    /// another one (`if`, `not`) describes no type.
    fn schema(&mut self, schema: &Value, name: &str, describes: bool) -> Value {
        let Value::Object(members) = schema else { return schema.clone() };
        if let Some(choice) = Choice::of(members).filter(|_| describes) {
            return self.choice(members, &choice, name);
        }
        let mut adapted = Map::new();
        for (key, member) in members {
            let value = match (key.as_str(), member) {
                ("$defs" | "$id" | "$schema" | "default" | ALTERNATIVES | FILTERS, _) => continue,
                ("additionalProperties", Value::Bool(false)) if self.is_open => continue,
                ("$ref", Value::String(to)) => self.reference(to),
                ("properties", Value::Object(properties)) if describes => {
                    let part =
                        |(part, schema)| (String::clone(part), self.part(schema, &(name.to_owned() + &pascal(part))));
                    properties.iter().map(part).collect::<Map<_, _>>().into()
                }
                ("items", item) if describes => self.part(item, &format!("{name}Item")),
                _ => map_subschemas(key, member, |schema| self.schema(schema, name, false)),
            };
            adapted.insert(key.clone(), value);
        }
        describe_required(&mut adapted);
        adapted.into()
    }

    /// Adapts a schema within another one. An object or an enumeration gets a name.
    fn part(&mut self, schema: &Value, name: &str) -> Value {
        let adapted = self.schema(schema, name, true);
        let is_object = ["properties", "oneOf", "anyOf"].iter().any(|key| !adapted[key].is_null());
        let is_enumeration = adapted["type"] == "string" && adapted["enum"].is_array();
        if is_object || is_enumeration {
            self.components.add(name, with_title_in_description(adapted))
        } else {
            adapted
        }
    }

    /// Returns the document's reference to a place in the country's schema.
    fn reference(&mut self, to: &str) -> Value {
        if is_reference(to) {
            return to.into();
        }
        if let Some(known) = self.definitions.get(to) {
            return known.clone();
        }
        let last = to.rsplit('/').next().unwrap_or_default();
        let name = self.name.to_owned() + &pascal(last);
        // The host refuses a reference to nothing, so there is a target.
        let referred = target(self.root, to).unwrap_or(&Value::Bool(true));
        let adapted = with_title_in_description(self.schema(referred, &name, true));
        let reference = self.components.add(&name, adapted)["$ref"].clone();
        self.definitions.insert(to.to_owned(), reference.clone());
        reference
    }

    /// Returns a choice between whole schemas: each is the schema itself, changed by one of the alternatives.
    fn choice(&mut self, members: &Map<String, Value>, choice: &Choice<'_>, name: &str) -> Value {
        let Value::Object(whole) = self.schema(&choice.common(members).into(), name, true) else {
            unreachable!("an object stays one")
        };
        let branches: Vec<Value> =
            choice.alternatives.iter().map(|alternative| self.branch(&whole, alternative, name)).collect();
        let texts = TEXTS.iter().filter_map(|keyword| Some(((*keyword).to_owned(), members.get(*keyword)?.clone())));
        texts.chain([(choice.keyword.to_owned(), branches.into())]).collect()
    }

    /// Adds an object's schema, changed by one alternative, and returns the reference to it. A member whose schema in the
    /// alternative is `false` is gone.
    fn branch(&mut self, whole: &Map<String, Value>, alternative: &Map<String, Value>, name: &str) -> Value {
        let common = required(whole);
        let own: Vec<Value> = required(alternative).into_iter().filter(|member| !common.contains(member)).collect();
        let word = own.first().and_then(Value::as_str);
        let name = word.map_or_else(|| format!("{name}Otherwise"), |own| format!("{name}With{}", pascal(own)));
        let mut branch = whole.clone();
        for keyword in ["title", "description"] {
            branch.extend(alternative.get(keyword).map(|text| (keyword.to_owned(), text.clone())));
        }
        branch.insert("required".into(), [common, own].concat().into());
        let overlay = alternative.get("properties").and_then(Value::as_object);
        for (member, schema) in overlay.into_iter().flatten() {
            let change = self.part(schema, &(name.clone() + &pascal(member)));
            overlaid(&mut branch, member, change);
        }
        describe_required(&mut branch);
        self.components.add(&name, with_title_in_description(branch.into()))
    }
}

/// The alternatives of an object's schema, each of which only requires, adds or changes members.
struct Choice<'a> {
    /// Keyword of the choice in the document.
    keyword: &'static str,
    /// Keyword of the choice in the country's schema.
    written: &'static str,
    alternatives: Vec<&'a Map<String, Value>>,
}

impl<'a> Choice<'a> {
    fn of(members: &'a Map<String, Value>) -> Option<Self> {
        members.get("properties")?;
        let written = CHOICES.into_iter().find(|keyword| members.contains_key(*keyword))?;
        let alternatives = members[written].as_array()?.iter().map(Value::as_object).collect::<Option<Vec<_>>>()?;
        let keyword = if written == "anyOf" { written } else { "oneOf" };
        let is_known =
            |keyword: &String| ["type", "title", "description", "required", "properties"].contains(&&**keyword);
        // The host does not follow references in an annotation, so they may have no end.
        let is_fragment = |fragment: &&Map<String, Value>| {
            fragment.keys().all(is_known) && !fragment.values().any(|value| value.to_string().contains("\"$ref\""))
        };
        let is_choice = alternatives.len() <= MAX_ALTERNATIVES && alternatives.iter().all(is_fragment);
        is_choice.then_some(Self { keyword, written, alternatives })
    }

    /// Returns what all alternatives have in common.
    fn common(&self, members: &Map<String, Value>) -> Map<String, Value> {
        let mut common = members.clone();
        common.retain(|keyword, _| *keyword != self.written && !TEXTS.contains(&&**keyword));
        if self.written == ALTERNATIVES {
            // The alternatives say the same.
            common.retain(|keyword, _| !CONDITION.contains(&&**keyword));
        }
        // The values of a member need no name if each alternative lists its own.
        for (member, schema) in common.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            let lists = |alternative: &&Map<String, Value>| {
                alternative.get("properties").is_some_and(|overlay| has_values(&overlay[member]))
            };
            if let (Some(schema), true) = (schema.as_object_mut(), self.alternatives.iter().all(lists)) {
                schema.remove("enum");
            }
        }
        common
    }
}

/// Changes a member of an object's schema.
fn overlaid(schema: &mut Map<String, Value>, member: &str, change: Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    match (properties.get_mut(member), change) {
        (_, Value::Bool(false)) => drop(properties.remove(member)),
        (Some(Value::Object(known)), Value::Object(more)) => {
            // The alternative may forbid the values of the examples, and its own values are some of the member's.
            known.remove("examples");
            if more.contains_key("$ref") {
                known.retain(|keyword, _| TEXTS.contains(&&**keyword));
            } else if more.contains_key("const") {
                known.retain(|keyword, _| keyword != "$ref" && keyword != "enum");
            }
            known.extend(more);
        }
        (_, change) => drop(properties.insert(member.to_owned(), change)),
    }
}

/// Returns true if the members of an action's input are not all optional.
pub fn needs_members(action: &Action) -> bool {
    let requires = |alternative: &Value| alternative["required"].as_array().is_some_and(|names| !names.is_empty());
    let alternatives = action.schema[ALTERNATIVES].as_array();
    alternatives.is_some_and(|alternatives| !alternatives.is_empty() && alternatives.iter().all(requires))
        || action.check(&json!({})).is_ok_and(|violations| !violations.is_empty())
}

/// Adds required members that a schema does not describe: linters and generators know no others.
fn describe_required(schema: &mut Map<String, Value>) {
    let names = required(schema);
    if !names.is_empty() {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        for name in names.iter().filter_map(Value::as_str) {
            properties.as_object_mut().map(|known| known.entry(name).or_insert_with(|| json!({})));
        }
    }
}

/// Returns true for a schema that lists its values.
fn has_values(schema: &Value) -> bool {
    ["const", "enum"].iter().any(|keyword| !schema[keyword].is_null())
}

fn required(members: &Map<String, Value>) -> Vec<Value> {
    members.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Moves the title of a schema into its description: the title in the document is the schema's name.
fn with_title_in_description(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else { return schema };
    let title = members.remove("title");
    let texts: Vec<&str> =
        [title.as_ref(), members.get("description")].into_iter().flatten().filter_map(Value::as_str).collect();
    if !texts.is_empty() {
        let description = texts.iter().map(|text| text.trim_end_matches('.')).collect::<Vec<_>>().join(". ") + ".";
        members.insert("description".into(), description.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the schemas of the document for a country's request.
    fn embedded(schema: &Value) -> Map<String, Value> {
        let mut components = Components::default();
        components.reserve(["XxRequest".to_owned()]);
        components.embed(schema, "XxRequest", false);
        components.into_schemas()
    }

    #[test]
    fn each_alternative_is_a_whole_schema() {
        let text = json!({ "type": "string" });
        let schemas = embedded(&json!({
            "description": "One of two", "type": "object", "required": ["c"],
            "properties": { "a": text, "b": text, "c": { "type": "string", "enum": ["x", "y", "z"] } },
            "x-alternatives": [
                { "required": ["a"], "properties": { "b": false, "c": { "const": "x" } } },
                { "properties": { "a": false, "c": { "type": "string", "enum": ["y", "z"], "default": "y" } } },
            ],
            "if": { "required": ["a"] }, "then": { "required": ["c"] },
        }));
        let choice = json!({ "title": "XxRequest", "description": "One of two.", "oneOf": [
            { "$ref": "#/components/schemas/XxRequestWithA" }, { "$ref": "#/components/schemas/XxRequestOtherwise" },
        ] });
        assert_eq!(schemas["XxRequest"], choice);
        let with_a = json!({ "title": "XxRequestWithA", "type": "object", "required": ["c", "a"],
            "properties": { "a": text, "c": { "type": "string", "const": "x" } } });
        assert_eq!(schemas["XxRequestWithA"], with_a);
        let otherwise = json!({ "title": "XxRequestOtherwise", "type": "object", "required": ["c"],
            "properties": { "b": text, "c": { "$ref": "#/components/schemas/XxRequestOtherwiseC" } } });
        assert_eq!(schemas["XxRequestOtherwise"], otherwise);
        let values = json!({ "title": "XxRequestOtherwiseC", "type": "string", "enum": ["y", "z"] });
        assert_eq!(schemas["XxRequestOtherwiseC"], values);
    }

    #[test]
    fn alternatives_with_a_reference_or_too_many_are_no_choice() {
        let endless = json!([{ "required": ["a"], "properties": { "b": { "$ref": "#" } } }]);
        let many: Value = (0..=MAX_ALTERNATIVES).map(|_| json!({ "required": ["a"] })).collect();
        for alternatives in [endless, many, json!({}), json!([1])] {
            let schemas = embedded(&json!({ "properties": { "a": {} }, "x-alternatives": alternatives }));
            let expected = json!({ "title": "XxRequest", "properties": { "a": {} } });
            assert_eq!(schemas["XxRequest"], expected, "{alternatives}");
        }
    }

    #[test]
    fn a_definition_that_is_true_or_false_is_a_schema_with_a_name() {
        let schemas = embedded(&json!({
            "$defs": { "any": true, "none": false },
            "properties": { "a": { "$ref": "#/$defs/any" }, "b": { "$ref": "#/$defs/none" } },
        }));
        assert_eq!(schemas["XxRequestAny"], json!({ "title": "XxRequestAny" }));
        assert_eq!(schemas["XxRequestNone"], json!({ "title": "XxRequestNone", "not": {} }));
    }

    #[test]
    fn a_required_member_is_described_and_a_default_is_left_out() {
        let schemas = embedded(&json!({
            "required": ["a", "b"], "properties": { "a": { "type": "boolean", "default": false } },
            "if": { "required": ["a"] },
        }));
        let expected = json!({
            "title": "XxRequest", "required": ["a", "b"], "properties": { "a": { "type": "boolean" }, "b": {} },
            "if": { "required": ["a"], "properties": { "a": {} } },
        });
        assert_eq!(schemas["XxRequest"], expected);
    }
}
