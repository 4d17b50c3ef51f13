//! The constant part of a component: its country, version, schemas, actions and messages, as `describe` returns them.

/// Something that may be done to an appointment after it is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionDescriptor {
    /// Its place in the API.
    pub name: String,
    /// The contract's words of the roles that may ask for it.
    pub roles: Vec<String>,
    /// JSON Schema 2020-12 of its input.
    pub input_schema: String,
}

/// The text of one code in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The violation's code.
    pub code: String,
    /// BCP 47.
    pub locale: String,
    /// With `{name}` for each param.
    pub text: String,
}

/// What a country says of itself. Constant for a given component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// ISO 3166-1 alpha-2, lower case.
    pub country: String,
    /// Semantic version.
    pub version: String,
    /// IANA names, the commonest first.
    pub zones: Vec<String>,
    /// BCP 47, the default first.
    pub locales: Vec<String>,
    /// JSON Schema 2020-12 of a booking request.
    pub request_schema: String,
    /// JSON Schema 2020-12 of an appointment as clients see it.
    pub appointment_schema: String,
    /// What may be done after booking.
    pub actions: Vec<ActionDescriptor>,
    /// The codes in words.
    pub messages: Vec<Message>,
}
