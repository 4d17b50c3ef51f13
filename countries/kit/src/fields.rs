//! Reads and creates the leaves of a JSON document.

use crate::{Field, Value};

/// Leaves by path. A look-up searches all leaves: documents have about twenty, and an index would cost more.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    first: &'a [Field],
    then: &'a [Field],
}

impl<'a> Fields<'a> {
    /// Creates a view of these leaves.
    #[must_use]
    pub const fn new(fields: &'a [Field]) -> Self {
        Self { first: fields, then: &[] }
    }

    /// Creates a view of two lists in which `first` takes precedence over `then` at the same path.
    #[must_use]
    pub const fn over(fields: &'a [Field], then: &'a [Field]) -> Self {
        Self { first: fields, then }
    }

    /// Returns the value at a JSON Pointer.
    #[must_use]
    pub fn get(self, path: &str) -> Option<&'a Value> {
        let field = self.leaves().find(|field| field.path == path)?;
        Some(&field.value)
    }

    /// Returns the text at a path, or `None` if it is absent or not a text.
    #[must_use]
    pub fn text(self, path: &str) -> Option<&'a str> {
        let Some(Value::Text(text)) = self.get(path) else {
            return None;
        };
        Some(text)
    }

    /// Returns the whole number at a path, or `None` if it is absent or not a whole number.
    #[must_use]
    pub fn integer(self, path: &str) -> Option<i64> {
        let Some(Value::Integer(number)) = self.get(path) else {
            return None;
        };
        Some(*number)
    }

    /// True if the flag at a path is present and set.
    #[must_use]
    pub fn flag(self, path: &str) -> bool {
        matches!(self.get(path), Some(Value::Flag(true)))
    }

    /// True if there is a leaf at a path or below it.
    #[must_use]
    pub fn has(self, path: &str) -> bool {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.leaves().any(|field| field.path.strip_prefix(path).is_some_and(below))
    }

    fn leaves(self) -> impl Iterator<Item = &'a Field> {
        self.first.iter().chain(self.then)
    }
}

impl Field {
    /// Creates a leaf of text.
    #[must_use]
    pub fn text(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.into(), value: Value::Text(text.into()) }
    }
}

/// Replaces the leaf at the field's path, or appends the field.
pub fn set(fields: &mut Vec<Field>, field: Field) {
    match fields.iter_mut().find(|old| old.path == field.path) {
        Some(old) => *old = field,
        None => fields.push(field),
    }
}

/// Returns a number of a register without leading zeros: `045678` and `45678` are one doctor.
#[must_use]
pub fn unpadded(number: &str) -> &str {
    number.trim_start_matches('0')
}

/// Replaces the number at a path with its [`unpadded`] spelling.
pub fn unpad(fields: &mut [Field], path: &str) {
    let padded = fields.iter_mut().find(|field| field.path == path);
    if let Some(Field { value: Value::Text(number), .. }) = padded {
        *number = unpadded(number).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves() -> Vec<Field> {
        vec![
            Field::text("/document/number", "A1"),
            Field { path: "/emergency".into(), value: Value::Flag(true) },
            Field { path: "/age".into(), value: Value::Integer(40) },
        ]
    }

    #[test]
    fn a_leaf_is_found_by_its_path_and_kind() {
        let leaves = leaves();
        let fields = Fields::new(&leaves);
        assert_eq!(fields.text("/document/number"), Some("A1"));
        assert_eq!(fields.text("/emergency"), None);
        assert_eq!(fields.integer("/age"), Some(40));
        assert!(fields.flag("/emergency"));
        assert!(!fields.flag("/absent"));
    }

    #[test]
    fn the_leaves_on_top_hide_those_below() {
        let (top, below) = ([Field::text("/document/number", "B2"), Field::text("/date", "2026-12-01")], leaves());
        let fields = Fields::over(&top, &below);
        assert_eq!(fields.text("/document/number"), Some("B2"));
        assert_eq!(fields.text("/date"), Some("2026-12-01"));
        assert_eq!(fields.integer("/age"), Some(40));
        assert!(fields.has("/date") && fields.has("/emergency"));
    }

    #[test]
    fn an_object_is_there_when_a_leaf_of_it_is() {
        let leaves = leaves();
        let fields = Fields::new(&leaves);
        assert!(fields.has("/document"));
        assert!(fields.has("/age"));
        assert!(!fields.has("/doc"));
    }

    #[test]
    fn a_number_loses_the_zeros_before_it_and_no_others() {
        let mut fields = vec![Field::text("/doctor", "00450"), Field::text("/hospital", "00006219")];
        unpad(&mut fields, "/doctor");
        unpad(&mut fields, "/absent");
        assert_eq!(Fields::new(&fields).text("/doctor"), Some("450"));
        assert_eq!(Fields::new(&fields).text("/hospital"), Some("00006219"));
    }

    #[test]
    fn setting_replaces_or_appends() {
        let mut fields = leaves();
        set(&mut fields, Field::text("/document/number", "B2"));
        set(&mut fields, Field::text("/date", "2026-12-01"));
        assert_eq!(Fields::new(&fields).text("/document/number"), Some("B2"));
        assert_eq!(fields.len(), 4);
    }
}
