//! The patient's identity document. Colombian numbers have no public check digit, so only their shape is checked. The
//! shapes are generous: they are those of common practice and not of one law.

use citas_kit::fields::{Fields, set};
use citas_kit::{Field, Violation};

/// A kind of document: cédula de ciudadanía, tarjeta de identidad, registro civil, cédula de extranjería, permiso por
/// protección temporal, pasaporte.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    /// Name of the kind in `/document/type`.
    name: &'static str,
    /// Name of the kind in a key.
    key: &'static str,
    /// Minimum number of characters.
    least: usize,
    /// Maximum number of characters.
    most: usize,
    form: Form,
}

/// The characters of a number.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// A number, so leading zeros do not matter.
    Count,
    /// Digits, of which leading zeros matter. An identity card before 2004 begins with the date of birth, also in the year
    /// 2000.
    Digits,
    /// Letters and digits. Registrations of births before 2000 have letters.
    Letters,
}

const KINDS: &[Kind] = &[
    Kind { name: "CC", key: "cc", least: 3, most: 10, form: Form::Count },
    Kind { name: "TI", key: "ti", least: 10, most: 11, form: Form::Digits },
    Kind { name: "RC", key: "rc", least: 8, most: 11, form: Form::Letters },
    Kind { name: "CE", key: "ce", least: 3, most: 10, form: Form::Count },
    Kind { name: "PPT", key: "ppt", least: 3, most: 10, form: Form::Count },
    Kind { name: "PA", key: "pa", least: 2, most: 20, form: Form::Letters },
];

/// A document in its one canonical spelling, so that a patient's time is claimed under one key.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    kind: &'static Kind,
    number: String,
}

impl Document {
    /// Returns the document of a request.
    ///
    /// # Errors
    /// Returns a violation if the number does not have the shape of its kind.
    pub fn of(request: Fields) -> Result<Self, Violation> {
        let document = Self::booked(request).ok_or_else(|| Violation::new("/document", "co.document.missing"))?;
        if document.is_well_formed() {
            return Ok(document);
        }
        let Kind { name, least, most, form, .. } = document.kind;
        let code = if *form == Form::Letters { "co.document.letters" } else { "co.document.digits" };
        let violation = Violation::new("/document/number", code).with("type", *name);
        Err(violation.with("least", least.to_string()).with("most", most.to_string()))
    }

    /// Returns the document of a request or of a stored appointment, or `None` once it is erased. Checks nothing.
    pub fn booked(attributes: Fields) -> Option<Self> {
        let name = attributes.text("/document/type")?;
        let kind = KINDS.iter().find(|kind| kind.name == name)?;
        Some(Self::spelled(kind, attributes.text("/document/number")?))
    }

    /// Returns the document that a key means, whatever its spelling: `CC 1.032.456.789` is `cc:1032456789`.
    pub fn meant(spelling: &str) -> Option<Self> {
        let (name, number) = spelling.split_once([':', ' ', '-'])?;
        let kind = KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))?;
        let spelled = |character: char| character.is_ascii_alphanumeric() || " .-".contains(character);
        let document = Self::spelled(kind, number);
        (number.chars().all(spelled) && document.is_well_formed()).then_some(document)
    }

    fn spelled(kind: &'static Kind, number: &str) -> Self {
        let typed = number.chars().filter(char::is_ascii_alphanumeric);
        let typed: String = typed.map(|character| character.to_ascii_uppercase()).collect();
        let number = if kind.form == Form::Count { typed.trim_start_matches('0').into() } else { typed };
        Self { kind, number }
    }

    fn is_well_formed(&self) -> bool {
        let Kind { least, most, form, .. } = self.kind;
        let fits = |byte: u8| byte.is_ascii_digit() || *form == Form::Letters;
        (*least..=*most).contains(&self.number.len()) && self.number.bytes().all(fits)
    }

    /// Returns the patient's key, for example `cc:1032456789`.
    pub fn key(&self) -> String {
        [self.kind.key, ":", &self.number].concat()
    }

    /// Writes the canonical spelling into the fields.
    pub fn spell(&self, fields: &mut Vec<Field>) {
        set(fields, Field::text("/document/number", &self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, number: &str) -> Result<String, String> {
        let leaves = [Field::text("/document/type", kind), Field::text("/document/number", number)];
        Document::of(Fields::new(&leaves)).map(|document| document.key()).map_err(|violation| violation.code)
    }

    #[test]
    fn every_spelling_of_a_number_is_one_document() {
        for spelling in ["1032456789", "1.032.456.789", "1 032 456 789", "1032456789"] {
            assert_eq!(of("CC", spelling).as_deref(), Ok("cc:1032456789"), "{spelling}");
        }
        assert_eq!(of("CC", "0079123456").as_deref(), Ok("cc:79123456"));
        assert_eq!(of("PA", "ab-12345").as_deref(), Ok("pa:AB12345"));
    }

    #[test]
    fn leading_zeros_matter_where_digits_are_not_a_number() {
        assert_eq!(of("TI", "00010112345").as_deref(), Ok("ti:00010112345"));
        assert_eq!(of("PA", "007").as_deref(), Ok("pa:007"));
        assert_eq!(of("CE", "000123").as_deref(), Ok("ce:123"));
    }

    #[test]
    fn each_kind_has_its_shape() {
        for (kind, number) in [
            ("CC", "123"),
            ("TI", "1032456789"),
            ("RC", "A1B0123456"),
            ("CE", "345678"),
            ("PPT", "5123456"),
            ("PA", "A1"),
        ] {
            assert!(of(kind, number).is_ok(), "{kind} {number}");
        }
        for (kind, number) in
            [("CC", "12"), ("CC", "00012"), ("CC", "10324567891"), ("CC", "1O32456789"), ("TI", "123456789")]
        {
            assert_eq!(of(kind, number), Err("co.document.digits".into()), "{kind} {number}");
        }
        for (kind, number) in [("RC", "1234567"), ("PA", "A"), ("PA", "ABCDEFGHIJ01234567890")] {
            assert_eq!(of(kind, number), Err("co.document.letters".into()), "{kind} {number}");
        }
        assert_eq!(of("XX", "1032456789"), Err("co.document.missing".into()));
    }

    #[test]
    fn a_key_is_read_in_every_spelling_and_means_itself() {
        let meant = |spelling| Document::meant(spelling).map(|document| document.key());
        for (spelling, key) in [
            ("cc:1032456789", "cc:1032456789"),
            ("CC 1.032.456.789", "cc:1032456789"),
            ("Cc-0079123456", "cc:79123456"),
            ("pa:ab 12345", "pa:AB12345"),
        ] {
            assert_eq!(meant(spelling).as_deref(), Some(key), "{spelling}");
        }
        for wrong in
            ["", "1032456789", "cc:", "cc:12", "cc:１２３４５", "nit:1032456789", "cc:10/32456789", "cc1032456789"]
        {
            assert_eq!(meant(wrong), None, "{wrong}");
        }
    }
}
