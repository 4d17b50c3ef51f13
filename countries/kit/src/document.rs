//! Identity documents other than a country's own number, given in `/document`. Normalizes the spelling and verifies no
//! checksum.

use crate::fields::Fields;

/// A document in its one canonical spelling, so that nobody's time is claimed under two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Kind of document: `passport`, or another of the country's kinds.
    pub kind: String,
    /// Issuing country, ISO 3166-1 alpha-3.
    pub country: String,
    /// Number of the document: only letters and digits, in capitals.
    pub number: String,
}

impl Document {
    /// Returns the document of a request, or `None` if the request has none.
    #[must_use]
    pub fn of(request: Fields) -> Option<Self> {
        let text = |path| request.text(path).unwrap_or_default();
        let number = text("/document/number").chars().filter(char::is_ascii_alphanumeric);
        request.has("/document").then(|| Self {
            kind: text("/document/type").into(),
            country: text("/document/country").into(),
            number: number.map(|character| character.to_ascii_uppercase()).collect(),
        })
    }

    /// Returns the patient's key, for example `passport:VEN:AB12345`.
    #[must_use]
    pub fn key(&self) -> String {
        [&self.kind, ":", &self.country, ":", &self.number].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    #[test]
    fn two_spellings_are_one_document() {
        for spelling in ["AB-12345", "ab12345"] {
            let fields = [
                Field::text("/document/type", "passport"),
                Field::text("/document/number", spelling),
                Field::text("/document/country", "VEN"),
            ];
            let document = Document::of(Fields::new(&fields)).expect("a document");
            assert_eq!(document.key(), "passport:VEN:AB12345");
        }
        assert_eq!(Document::of(Fields::new(&[])), None);
    }
}
