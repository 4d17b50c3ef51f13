//! Makes texts that identify patients of a token's claims, by the operator's templates. Knows no tokens; which patient a text
//! means, the country's rules decide.

use std::collections::BTreeMap;
use std::str::FromStr;

use citas_core::model::{CountryCode, NotACountry};
use serde_json::Value;

/// A template for the identity of a country's patients, such as `pe=dni:{/doc};acr>=2`. Each pair of braces has the JSON
/// Pointer (RFC 6901) of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityTemplate {
    country: CountryCode,
    /// Pointer of each claim, with the text before it.
    claims: Vec<(String, String)>,
    /// Text after the last claim.
    end: String,
    /// Minimum of the claim `acr`, the level at which the issuer has verified the bearer (OpenID Connect Core, section 2).
    min_acr: Option<u32>,
}

/// Error for a text that is not such a template.
#[derive(Debug, thiserror::Error)]
pub enum NotATemplate {
    /// There is no `=`.
    #[error("an identity is a country and a template, such as `pe=dni:{{/doc}}`")]
    NoTemplate,
    /// The text before `=` is no country.
    #[error(transparent)]
    Country(#[from] NotACountry),
    /// A brace has no counterpart.
    #[error("braces enclose a claim: `{{/doc}}`")]
    Braces,
    /// The text between braces is no pointer.
    #[error(
        "`{0}` is no JSON Pointer; the claim `doc` is `/doc`, and the member `id` of the claim `person` is `/person/id`"
    )]
    Pointer(String),
    /// Every bearer would be the same patient.
    #[error("the template has no claim; a claim is written as `{{/doc}}`")]
    NoClaim,
    /// The condition is not one on `acr`.
    #[error("after `;` stands the least `acr`, such as `acr>=2`; this is `{0}`")]
    Condition(String),
}

impl FromStr for IdentityTemplate {
    type Err = NotATemplate;

    fn from_str(text: &str) -> Result<Self, NotATemplate> {
        let (country, rest) = text.split_once('=').ok_or(NotATemplate::NoTemplate)?;
        let (template, condition) =
            rest.split_once(';').map_or((rest, None), |(own, condition)| (own, Some(condition)));
        let (mut claims, mut end) = (Vec::new(), template);
        while let Some((before, after)) = end.split_once('{') {
            let (pointer, after) = after.split_once('}').ok_or(NotATemplate::Braces)?;
            if !is_pointer(pointer) {
                return Err(NotATemplate::Pointer(pointer.to_owned()));
            }
            claims.push((before.to_owned(), pointer.to_owned()));
            end = after;
        }
        if claims.iter().map(|(before, _)| before.as_str()).chain([end]).any(|text| text.contains('}')) {
            return Err(NotATemplate::Braces);
        }
        if claims.is_empty() {
            return Err(NotATemplate::NoClaim);
        }
        let least = |condition: &str| condition.strip_prefix("acr>=").and_then(|acr| acr.parse().ok());
        let bad = |condition: &str| NotATemplate::Condition(condition.to_owned());
        let min_acr = condition.map(|condition| least(condition).ok_or_else(|| bad(condition))).transpose()?;
        Ok(Self { country: country.parse()?, claims, end: end.to_owned(), min_acr })
    }
}

impl IdentityTemplate {
    /// Returns the identity, if the claims have all that the template names, and a sufficient `acr`.
    fn identity(&self, claims: &Value) -> Option<String> {
        let acr = || claims.get("acr").and_then(text_of)?.parse::<u32>().ok();
        if self.min_acr.is_some_and(|least| acr().is_none_or(|acr| acr < least)) {
            return None;
        }
        let mut identity = String::new();
        for (before, pointer) in &self.claims {
            identity += before;
            identity += &text_of(claims.pointer(pointer)?)?;
        }
        Some(identity + &self.end)
    }
}

/// Returns the identities in the claims of a token: of each country that of its first template which applies.
pub fn identities(templates: &[IdentityTemplate], claims: &Value) -> BTreeMap<CountryCode, String> {
    // The first one of a country is collected last.
    let found = templates.iter().rev().filter_map(|template| Some((template.country, template.identity(claims)?)));
    found.collect()
}

/// Returns the text of a claim; `None` for one that is empty or neither a text nor an integer.
fn text_of(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()).filter(|_| !number.is_f64()),
        _ => None,
    }
}

/// True for a JSON Pointer to a member. Of the escapes there are `~0` and `~1` (RFC 6901, section 3).
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(templates: &[&str], claims: &Value) -> Vec<(String, String)> {
        let templates: Vec<IdentityTemplate> = templates.iter().map(|template| template.parse().unwrap()).collect();
        let found = identities(&templates, claims).into_iter();
        found.map(|(country, identity)| (country.to_string(), identity)).collect()
    }

    fn of(country: &str, identity: &str) -> Vec<(String, String)> {
        vec![(country.to_owned(), identity.to_owned())]
    }

    #[test]
    fn a_template_takes_texts_and_integers_at_any_depth() {
        let run = "cl=run:{/RolUnico/numero}-{/RolUnico/DV}";
        let claims = json!({ "RolUnico": { "numero": 11_111_111, "DV": "1" }, "https://id.example/doc": "10117410" });
        assert_eq!(identity(&[run], &claims), of("cl", "run:11111111-1"));
        assert_eq!(identity(&["pe=dni:{/https:~1~1id.example~1doc}"], &claims), of("pe", "dni:10117410"));
        assert_eq!(identity(&["cl={/RolUnico/DV}"], &claims), of("cl", "1"));
        assert_eq!(identity(&["pe={/ids/0}!"], &json!({ "ids": ["a"] })), of("pe", "a!"));
        assert_eq!(
            identity(&["pe={/doc}"], &json!({ "doc": "{/acr}=;" })),
            of("pe", "{/acr}=;"),
            "a claim is no template"
        );
    }

    #[test]
    fn a_claim_that_is_missing_or_no_text_makes_no_identity() {
        for claim in [json!(null), json!(""), json!(true), json!(1.5), json!(["10117410"]), json!({ "a": "b" })] {
            assert_eq!(identity(&["pe=dni:{/doc}"], &json!({ "doc": claim })), [], "{claim}");
        }
        assert_eq!(identity(&["pe={/type}:{/doc}"], &json!({ "doc": "10117410" })), []);
    }

    #[test]
    fn a_level_below_the_least_one_makes_no_identity() {
        let at = |acr: Value| identity(&["pe=dni:{/doc};acr>=2"], &json!({ "doc": "10117410", "acr": acr }));
        for enough in [json!("2"), json!(2), json!(3), json!("10")] {
            assert_eq!(at(enough.clone()), of("pe", "dni:10117410"), "{enough}");
        }
        for less in [json!("1"), json!(0), json!(null), json!("high"), json!(2.5), json!(-2), json!(["2"])] {
            assert_eq!(at(less.clone()), [], "{less}");
        }
        assert_eq!(identity(&["pe=dni:{/doc};acr>=0"], &json!({ "doc": "10117410" })), [], "it has none");
    }

    #[test]
    fn each_country_has_the_identity_of_its_first_template_that_applies() {
        let templates = ["pe=dni:{/dni}", "cl=run:{/run}", "pe=ce:PER:{/ce}"];
        let both = [("cl".to_owned(), "run:1".to_owned()), ("pe".to_owned(), "dni:2".to_owned())];
        assert_eq!(identity(&templates, &json!({ "run": "1", "dni": "2", "ce": "3" })), both);
        assert_eq!(identity(&templates, &json!({ "ce": "3" })), of("pe", "ce:PER:3"));
    }

    #[test]
    fn a_template_that_is_wrong_is_refused_with_what_is_wrong() {
        let words = |text: &str| text.parse::<IdentityTemplate>().unwrap_err().to_string();
        for (wrong, expected) in [
            ("", "`pe=dni:{/doc}`"),
            ("dni:{/doc}", "`pe=dni:{/doc}`"),
            ("PE=dni:{/doc}", "PE"),
            ("per=dni:{/doc}", "per"),
            ("pe=dni:{doc}", "`doc` is no JSON Pointer"),
            ("pe=dni:{}", "`` is no JSON Pointer"),
            ("pe=dni:{/a~2}", "`/a~2` is no JSON Pointer"),
            ("pe=dni:{/doc", "braces enclose a claim: `{/doc}`"),
            ("pe=dni:/doc}", "braces enclose"),
            ("pe=dni:{/doc}}", "braces enclose"),
            ("pe=dni:10117410", "has no claim"),
            ("pe=", "has no claim"),
            ("pe=dni:{/doc};", "`acr>=2`; this is ``"),
            ("pe=dni:{/doc};acr=2", "this is `acr=2`"),
            ("pe=dni:{/doc};acr>=high", "this is `acr>=high`"),
            ("pe=dni:{/doc};acr>=-1", "this is `acr>=-1`"),
            ("pe=dni:{/doc};acr>=2;", "this is `acr>=2;`"),
        ] {
            assert!(words(wrong).contains(expected), "{wrong}: {}", words(wrong));
        }
    }
}
