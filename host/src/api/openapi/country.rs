//! Describes a country's documents: the schemas of its rules, adapted to generators of clients. Each object, enumeration
//! and definition is a schema of its own, with a name that is unique and stays when another country comes. A choice
//! between sets of members is a choice between whole schemas.

use std::collections::BTreeMap;

use citas_core::model::CountryCode;
use citas_core::rules::schema::{map_subschemas, target};
use citas_core::rules::{BookingDays, LoadedRules, Planned};
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};

use super::components::{Components, is_reference};

/// Annotation of a schema that lists the combinations of members that the rules allow, as `oneOf` would.
const ALTERNATIVES: &str = "x-alternatives";

/// Annotation of an appointment with the forms of its keys, which are parameters of a list.
const FILTERS: &str = "x-filters";

/// Age of the appointment in the examples, in days, so that it was booked before today.
const DAYS_BEFORE: i64 = 30;

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
        let inputs = rules.actions.keys().map(|name| format!("{name}-input"));
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
        for (name, action) in &rules.actions {
            self.embed(&next(&action.schema), &named(country, &format!("{name}-input")), false);
        }
    }

    /// Adds a country's schema under a name, and returns the reference to it. Clients read documents of an open schema,
    /// and these may have further members in a later version.
    fn embed(&mut self, schema: &Value, name: &str, is_open: bool) -> Value {
        let mut embedding = Embedding { components: self, root: schema, name, is_open, definitions: BTreeMap::new() };
        let embedded = embedding.schema(schema, name, true);
        self.put(name, told(embedded))
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
        if let Some((keyword, alternatives)) = alternatives(members).filter(|_| describes) {
            return self.choice(members, keyword, &alternatives, name);
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
        if !describes {
            describe_required(&mut adapted);
        }
        adapted.into()
    }

    /// Adapts a schema within another one. An object or an enumeration gets a name.
    fn part(&mut self, schema: &Value, name: &str) -> Value {
        let adapted = self.schema(schema, name, true);
        let is_object = ["properties", "oneOf", "anyOf"].iter().any(|key| !adapted[key].is_null());
        let is_enumeration = adapted["type"] == "string" && adapted["enum"].is_array();
        if is_object || is_enumeration { self.components.add(name, told(adapted)) } else { adapted }
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
        let adapted = told(self.schema(referred, &name, true));
        let reference = self.components.add(&name, adapted)["$ref"].clone();
        self.definitions.insert(to.to_owned(), reference.clone());
        reference
    }

    /// Returns a choice between whole schemas: each is the schema itself, changed by one of the alternatives.
    fn choice(
        &mut self,
        members: &Map<String, Value>,
        keyword: &str,
        alternatives: &[&Map<String, Value>],
        name: &str,
    ) -> Value {
        let mut whole = members.clone();
        let texts = ["title", "description", "examples"].map(|keyword| whole.remove_entry(keyword));
        if whole.contains_key(ALTERNATIVES) {
            // They say the same.
            CONDITION.iter().for_each(|keyword| drop(whole.remove(*keyword)));
        }
        for keyword in CHOICES {
            whole.remove(keyword);
        }
        for (member, schema) in whole.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            let is_replaced = |alternative: &&Map<String, Value>| {
                let replacing = alternative.get("properties").and_then(|overlay| overlay.get(member));
                replacing.and_then(Value::as_object).is_some_and(has_values)
            };
            if let (Some(schema), true) = (schema.as_object_mut(), alternatives.iter().all(is_replaced)) {
                schema.remove("enum");
            }
        }
        let Value::Object(whole) = self.schema(&whole.into(), name, true) else { unreachable!("an object stays one") };
        let common = required(&whole);
        let branch = |alternative: &&Map<String, Value>| {
            let own: Vec<Value> = required(alternative).into_iter().filter(|member| !common.contains(member)).collect();
            let word = own
                .first()
                .and_then(Value::as_str)
                .map_or_else(|| "Otherwise".to_owned(), |own| format!("With{}", pascal(own)));
            self.components.add(&(name.to_owned() + &word), told(changed(&whole, alternative, own).into()))
        };
        let branches: Vec<Value> = alternatives.iter().map(branch).collect();
        let choice = Map::from_iter(texts.into_iter().flatten());
        choice.into_iter().chain([(keyword.to_owned(), branches.into())]).collect()
    }
}

/// Returns the alternatives of an object's schema with the keyword of their choice, if each only requires, adds or
/// changes members.
fn alternatives(members: &Map<String, Value>) -> Option<(&'static str, Vec<&Map<String, Value>>)> {
    members.get("properties")?;
    let keyword = CHOICES.into_iter().find(|keyword| members.contains_key(*keyword))?;
    let fragments = members[keyword].as_array()?.iter().map(Value::as_object).collect::<Option<Vec<_>>>()?;
    let known = ["type", "title", "description", "required", "properties"];
    let is_fragment = |fragment: &&Map<String, Value>| fragment.keys().all(|key| known.contains(&key.as_str()));
    let all = fragments.iter().all(is_fragment);
    all.then_some((if keyword == "anyOf" { keyword } else { "oneOf" }, fragments))
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
fn has_values(schema: &Map<String, Value>) -> bool {
    ["const", "enum"].iter().any(|keyword| schema.contains_key(*keyword))
}

fn required(members: &Map<String, Value>) -> Vec<Value> {
    members.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Returns an object's schema changed by one alternative, with its own required members. A member whose schema there is
/// `false` is gone.
fn changed(whole: &Map<String, Value>, alternative: &Map<String, Value>, own: Vec<Value>) -> Map<String, Value> {
    let mut changed = whole.clone();
    for keyword in ["title", "description"] {
        changed.extend(alternative.get(keyword).map(|text| (keyword.to_owned(), text.clone())));
    }
    changed.insert("required".into(), [required(whole), own].concat().into());
    let overlay = alternative.get("properties").and_then(Value::as_object);
    let Some(properties) = changed.get_mut("properties").and_then(Value::as_object_mut) else { return changed };
    for (name, member) in overlay.into_iter().flatten() {
        match (properties.get_mut(name), member) {
            (_, Value::Bool(false)) => drop(properties.remove(name)),
            (Some(Value::Object(known)), Value::Object(more)) => {
                // The examples are of values that the alternative may forbid, and its values are some of the member's.
                known.remove("examples");
                if has_values(more) {
                    known.retain(|keyword, _| keyword != "$ref" && keyword != "enum");
                }
                known.extend(more.clone());
            }
            (_, member) => drop(properties.insert(name.clone(), member.clone())),
        }
    }
    changed
}

/// Moves the title of a schema into its description: the title in the document is the schema's name.
fn told(mut schema: Value) -> Value {
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
