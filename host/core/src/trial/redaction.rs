//! Masks personal data in the reports of shadows and replays, which operators read. Responses of the API are not masked
//! here.

use serde_json::{Map, Value as Json, json};

use crate::model::json::nest;
use crate::model::{Field, Revision, Value as Leaf, Violation};
use crate::rules::LoadedRules;
use crate::rules::schema::is_personal;

/// Text that replaces personal data.
const MASK: &str = "…";

/// A request whose personal data is masked, according to its schema.
pub struct Shown<'a> {
    rules: &'a LoadedRules,
    schema: Option<&'a Json>,
    input: &'a [Field],
    about: Option<&'a Revision>,
}

impl<'a> Shown<'a> {
    /// Returns a booking's request if `is_first`, otherwise an action's input. Members that no schema of these rules
    /// describes are masked.
    pub fn of(rules: &'a LoadedRules, action: &str, is_first: bool, input: &'a [Field]) -> Self {
        let action = rules.actions.get(action).map(|action| &action.schema);
        Self { rules, schema: if is_first { Some(&rules.request_schema) } else { action }, input, about: None }
    }

    /// Also masks the personal data of this stored appointment in reasons.
    #[must_use]
    pub fn about(self, appointment: Option<&'a Revision>) -> Self {
        Self { about: appointment, ..self }
    }

    /// Returns the input with personal data masked.
    pub fn input(&self) -> Map<String, Json> {
        let mut input = self.input.to_vec();
        for leaf in input.iter_mut().filter(|leaf| self.hides(&leaf.path)) {
            leaf.value = Leaf::Text(MASK.into());
        }
        nest(&input)
    }

    /// Returns violations as `pointer`, `code` and `message`, in the first language of the rules that found them. A
    /// param that repeats personal data of the input or of the appointment is masked.
    pub fn reasons(&self, rules: &LoadedRules, violations: &[Violation]) -> Vec<Json> {
        let personal = self.personal();
        let shown = |value: &String| {
            let repeats = personal.iter().any(|text| value.contains(text.as_str()));
            if repeats { MASK.to_owned() } else { value.clone() }
        };
        let reason = |violation: &Violation| {
            let params = violation.params.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
            let shown = Violation { params, ..violation.clone() };
            let message = rules.messages.text(&shown, &rules.descriptor.locales[0]);
            json!({ "pointer": violation.path, "code": violation.code, "message": message })
        };
        violations.iter().map(reason).collect()
    }

    fn personal(&self) -> Vec<String> {
        let of_input = self.input.iter().filter(|leaf| self.hides(&leaf.path));
        let stored = self.about.into_iter().flat_map(|revision| &revision.appointment.attributes);
        let of_stored = stored.filter(|leaf| is_personal(&self.rules.appointment_schema, &leaf.path));
        let keys = self.about.map(|revision| revision.appointment.patient.clone());
        let texts = of_input.chain(of_stored).flat_map(|leaf| texts(&leaf.value)).chain(keys);
        texts.filter(|text| !text.is_empty()).collect()
    }

    fn hides(&self, path: &str) -> bool {
        self.schema.is_none_or(|schema| is_personal(schema, path))
    }
}

/// Returns a value at a pointer into a plan (`/phase`, `/slot/…`, `/attributes/…`), masked unless it is known to
/// identify nobody. Keys and claims identify people. Attributes may do so too, unless the appointment's schema
/// describes them as not personal.
pub fn planned(rules: &LoadedRules, pointer: &str, value: &Json) -> Json {
    let is_plain = matches!(pointer, "/phase" | "/events" | "/wake") || pointer.starts_with("/slot/");
    match pointer.strip_prefix("/attributes") {
        Some(path) => presented(rules, path, value),
        None if is_plain || value.is_null() => value.clone(),
        None => MASK.into(),
    }
}

/// Returns a value at a pointer into an appointment as clients see it, masked if it is personal.
pub fn presented(rules: &LoadedRules, pointer: &str, value: &Json) -> Json {
    let is_shown = value.is_null() || !is_personal(&rules.appointment_schema, pointer);
    if is_shown { value.clone() } else { MASK.into() }
}

/// Returns the texts that a reason could repeat. A number of one digit identifies nobody, and masking it would hide too
/// much.
fn texts(leaf: &Leaf) -> Vec<String> {
    match leaf {
        Leaf::Text(text) | Leaf::Decimal(text) => vec![text.clone()],
        Leaf::Texts(texts) => texts.clone(),
        Leaf::Integer(number) if number.unsigned_abs() > 9 => vec![number.to_string()],
        Leaf::Integer(_) | Leaf::Flag(_) => vec![],
    }
}
