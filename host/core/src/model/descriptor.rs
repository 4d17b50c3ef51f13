//! The constant part of a component: its country, version, schemas, actions and messages, as `describe` returns them.

/// An action on a booked appointment, as a component describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionDescriptor {
    /// Name of the action, which is also its path segment in the API.
    pub name: String,
    /// Roles that may use the action, by their names in the contract.
    pub roles: Vec<String>,
    /// JSON Schema 2020-12 of the input.
    pub input_schema: String,
}

/// The text of one code in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Code of a violation.
    pub code: String,
    /// Language tag (BCP 47).
    pub locale: String,
    /// Text, with `{name}` as the placeholder of each param.
    pub text: String,
}

/// The message for a taken claim, by the beginning of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimWords {
    /// Prefix of the claim's key.
    pub prefix: String,
    /// JSON Pointer into the request.
    pub path: String,
    /// Code of the violation.
    pub code: String,
}

/// The description that a component gives of itself. It is constant for a given component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Country code: ISO 3166-1 alpha-2, lower case.
    pub country: String,
    /// Semantic version.
    pub version: String,
    /// IANA names of the zones, the most common first.
    pub zones: Vec<String>,
    /// Language tags (BCP 47), the default first.
    pub locales: Vec<String>,
    /// JSON Schema 2020-12 of a booking request.
    pub request_schema: String,
    /// JSON Schema 2020-12 of an appointment as clients see it.
    pub appointment_schema: String,
    /// Actions on a booked appointment.
    pub actions: Vec<ActionDescriptor>,
    /// Texts of the codes.
    pub messages: Vec<Message>,
    /// Messages for taken claims.
    pub claims: Vec<ClaimWords>,
    /// Days after an appointment's end from which its personal leaves are erased; `None` means the platform's own.
    pub keep_days: Option<u32>,
    /// Maximum number of days from now until a slot's start; `None` if the contract does not have it.
    pub horizon_days: Option<u16>,
    /// Age in years at which a parent's link ends; `None` if the contract does not have it.
    pub adult_age: Option<u8>,
}
