//! Makes the links in notices. Without a public address it writes the country's words in their place.

use crate::model::{Keyring, Link, Notice, Revision};
use crate::ports::FIRST_CONTRACT;
use crate::rules::{LoadedRules, linked_actions, with_links};

/// Settings of the links in mail.
#[derive(Clone)]
pub struct Links {
    /// Signs the links.
    pub keys: Keyring,
    /// Address of the API as the readers of mail reach it, without a slash at the end.
    pub base: String,
}

/// A notice with its links.
pub(crate) struct LinkedNotice {
    pub notice: Notice,
    /// The text without links, for the invitation. Calendars are shared, and anyone who has a link can use it.
    pub description: String,
}

/// Replaces each `{link:NAME}` of a notice about this revision with a link, or with words if a patient could not follow
/// it. Words cannot stand in an attribute of HTML, so such a notice goes without its HTML, which says the same as its text.
pub(crate) fn fill_links(
    links: Option<&Links>,
    rules: &LoadedRules,
    revision: &Revision,
    mut notice: Notice,
) -> LinkedNotice {
    if rules.contract() == FIRST_CONTRACT || linked_actions(&notice).next().is_none() {
        return LinkedNotice { description: notice.text.clone(), notice };
    }
    let (words, locale) = (rules.messages.no_link(&notice.locale), notice.locale.clone());
    let link = |action: &str| {
        let links = links.filter(|_| rules.is_linkable(action))?;
        Some(format!("{}/links/{}", links.base, Link::new(revision, action, &locale).token(&links.keys)))
    };
    if links.is_some() && !linked_actions(&notice).all(|action| rules.is_linkable(action)) {
        let (country, version) = (rules.country, &rules.id.version);
        tracing::warn!(%country, version, "a notice links to an action that no link can do");
    }
    if linked_actions(&notice).any(|action| link(action).is_none()) {
        notice.html = None;
    }
    let description = with_links(&notice.text, |_| words.clone());
    notice.text = with_links(&notice.text, |action| link(action).unwrap_or_else(|| words.clone()));
    notice.html = notice.html.map(|html| with_links(&html, |action| escaped(&link(action).unwrap_or_default())));
    LinkedNotice { notice, description }
}

/// Escapes the characters of a URL that are special in HTML.
fn escaped(url: &str) -> String {
    url.replace('&', "&amp;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{ActionDescriptor, Message};
    use crate::ports::Fault;
    use crate::testing::{Deciding, notice, revision};

    fn links() -> Links {
        Links { keys: "0a".repeat(32).parse().unwrap(), base: "https://citas.example/a&b'c".into() }
    }

    /// Rules with actions that links may and may not do.
    fn rules() -> Arc<LoadedRules> {
        let mut rules = Deciding::new(Err(Fault::Busy));
        rules.descriptor.locales = vec!["es-PE".into(), "en".into()];
        let action = |name: &str, role: &str, schema: &str| ActionDescriptor {
            name: name.into(),
            roles: vec![role.into()],
            input_schema: schema.into(),
        };
        rules.descriptor.actions = vec![
            action("confirm", "patient", r#"{ "type": "object" }"#),
            action("cancel", "patient", r#"{ "required": ["reason"] }"#),
            action("arrive", "staff", "{}"),
            action("lapse", "clock", "{}"),
        ];
        rules.loaded().1
    }

    fn linking(action: &str) -> Notice {
        let html = Some(format!("<a href=\"{{link:{action}}}\">Sí</a>"));
        Notice { text: format!("Confirme: {{link:{action}}}."), html, ..notice() }
    }

    #[test]
    fn a_link_stands_in_the_text_and_escaped_in_the_html() {
        let revision = revision(Uuid::from_u128(9));
        let LinkedNotice { notice, description } = fill_links(Some(&links()), &rules(), &revision, linking("confirm"));
        let url = notice.text.strip_prefix("Confirme: ").unwrap().strip_suffix('.').unwrap();
        let token = url.strip_prefix("https://citas.example/a&b'c/links/").unwrap();
        assert_eq!(Link::read(&links().keys, token), Some(Link::new(&revision, "confirm", "es-PE")));
        let html = format!("<a href=\"https://citas.example/a&amp;b&#39;c/links/{token}\">Sí</a>");
        assert_eq!(notice.html.as_deref(), Some(html.as_str()));
        assert_eq!(description, "Confirme: use la aplicación o llame al establecimiento.", "a calendar has no link");
    }

    #[test]
    fn words_stand_in_place_of_a_link_that_nobody_could_follow() {
        let revision = revision(Uuid::from_u128(9));
        let links = links();
        let cases = [(None, "confirm")].into_iter();
        for (links, action) in cases.chain(["cancel", "arrive", "lapse", "other"].map(|name| (Some(&links), name))) {
            let LinkedNotice { notice, .. } = fill_links(links, &rules(), &revision, linking(action));
            assert_eq!(notice.text, "Confirme: use la aplicación o llame al establecimiento.", "{action}");
            assert_eq!(notice.html, None, "{action}");
        }
        let english = Notice { locale: "en".into(), ..linking("confirm") };
        assert!(
            fill_links(None, &rules(), &revision, english).notice.text.ends_with("use the app, or call the hospital.")
        );
    }

    #[test]
    fn a_country_has_words_of_its_own_for_what_is_no_link() {
        let mut rules = Deciding::new(Err(Fault::Busy));
        let message = Message { code: "no-link".into(), locale: "en".into(), text: "call 123".into() };
        rules.descriptor.messages = vec![message];
        let revision = revision(Uuid::from_u128(9));
        let linked = fill_links(None, &rules.loaded().1, &revision, linking("confirm"));
        assert_eq!(linked.notice.text, "Confirme: call 123.");
    }

    #[test]
    fn a_notice_without_links_stays_as_it_is() {
        let LinkedNotice { notice: found, description } = fill_links(None, &rules(), &revision(Uuid::nil()), notice());
        assert_eq!((found.html, &found.text, description), (notice().html, &notice().text, notice().text));
    }
}
